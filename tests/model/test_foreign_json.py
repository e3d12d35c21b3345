"""
Foreign JSON: the same values as the library reads, within limits, and never at the cost of other threads.
"""

import gc
import json
import sys
import threading
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.model import foreign_json
from exporter.model.foreign_json import DIGITS_LIMIT, LISTS_LIMIT, VALUES_LIMIT, WINDOW, loads

PADDING = b'"padding":[' + b"0," * WINDOW + b"0]"
"""What makes a document a large one."""

LITTLE = 24
"""Characters that are read at a time, where values of a test shall be longer than that."""


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats(allow_nan=False) | st.text(),
    lambda inside: st.lists(inside) | st.dictionaries(st.text(), inside),
)


@given(VALUES, st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"]))
def test_small_and_large_documents_are_read_alike(value: Any, encoding: str) -> None:
    """
    In each encoding that JSON may have. What is read at a time is little here: so its borders are everywhere
    in the value, and not in what makes a document a large one.
    """
    text = json.dumps(value)
    assert loads(text.encode(encoding)) == value
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(foreign_json, "WINDOW", LITTLE)
        large = f'{{"padding":[{"0," * LITTLE}0], "value":{text}}}'.encode(encoding)
        assert loads(large)["value"] == value


@pytest.mark.parametrize("begin", [b'{"a":', b"{" + PADDING + b',"a":'])
@pytest.mark.parametrize(
    "text", [b"", b"[1,]", b"{'a':1}", b'"\x00"', b"01", b"\xff", b"[" * 100, b"1" * (DIGITS_LIMIT + 1)]
)
def test_what_is_no_json_is_refused(begin: bytes, text: bytes) -> None:
    """
    Whichever of the two readers it is for.
    """
    with pytest.raises(ValueError, match=r"."):
        loads(begin + text + b"}")


@pytest.mark.parametrize("more", [b"", b"," + PADDING])
def test_what_is_nested_too_deep_is_refused(more: bytes) -> None:
    """
    By the error that the library raises for it.
    """
    with pytest.raises(RecursionError):
        loads(b'{"a":' + b"[" * 50_000 + b"]" * 50_000 + more + b"}")


@pytest.mark.parametrize(
    "document",
    [
        b"[" + b"[]," * LISTS_LIMIT + b"[]]",
        b"[" + b"{}," * LISTS_LIMIT + b"{}]",
        b"[" + b"0," * VALUES_LIMIT + b"0]",
    ],
    ids=["lists", "objects", "numbers"],
)
def test_too_many_values_are_refused_unread(document: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    They would take a hundred times the memory.
    """
    monkeypatch.setattr(foreign_json, "_LargeDecoder", None)
    with pytest.raises(ValueError, match=r"more than 1,000,000 lists and objects, or 2,000,000 values"):
        loads(document)


LONG = "x" * WINDOW

LARGE: dict[str, Any] = {
    "many short objects": {"items": [{"metadata": {"name": f"o{number}"}} for number in range(9000)]},
    "a long text": {"items": [{"a": {"b": LONG}, "c": 1}, {"d": [True, None, -1.5e3, "é\n\\"]}]},
    "long in long": {"a": {"b": {"c": {"d": [LONG, {"e": LONG}]}, "f": {}}}, "g": [[], [{}]]},
    "no objects": {"a": [[], [1, 2], "x"] * (WINDOW // 8)},
}


@pytest.mark.parametrize("name", LARGE)
@pytest.mark.parametrize("indent", [None, 1])
def test_what_is_large_is_read_as_ever(name: str, indent: int | None) -> None:
    """
    And what is cut off or followed by more is refused.
    """
    data = json.dumps(LARGE[name], indent=indent, ensure_ascii=False).encode()
    assert len(data) > WINDOW
    assert loads(data) == LARGE[name]
    for broken in (data[:-1], data + b"}", data.replace(b'"', b"'", 1), b"\xff" + data):
        with pytest.raises(ValueError, match=r"."):
            loads(broken)


@pytest.mark.parametrize("part", [b"[]", b"{}", b"0", b'{"a":[{}]}'])
def test_reading_what_is_large_leaves_others_their_turns(part: bytes) -> None:
    """
    The decoder in C has not one turn for them in megabytes.
    """
    data = b'{"a":[' + b",".join([part] * 100_000) + b"]}"
    turns = 0
    over = threading.Event()

    def others() -> None:
        nonlocal turns
        while not over.is_set():
            turns += 1
            time.sleep(0)

    beside = threading.Thread(target=others)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(0.001)
    # What others have the collector call is in Python, and lets others have a turn.
    gc.disable()
    beside.start()
    try:
        before = turns
        assert len(loads(data)["a"]) == 100_000
        assert turns - before > 20
    finally:
        over.set()
        gc.enable()
        sys.setswitchinterval(interval)
        beside.join()
