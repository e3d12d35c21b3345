"""
Foreign JSON: the same values as the library reads, within limits, and never at the cost of other threads.
"""

import json
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.model import foreign_json
from exporter.model.foreign_json import DIGITS_LIMIT, LARGE, LISTS_LIMIT, VALUES_LIMIT, loads

PADDING = b'"padding":[' + b"0," * LARGE + b"0]"
"""What makes a document a large one."""


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats(allow_nan=False) | st.text(),
    lambda inside: st.lists(inside) | st.dictionaries(st.text(), inside),
)


@given(VALUES, st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"]))
def test_small_and_large_documents_are_read_alike(value: Any, encoding: str) -> None:
    """
    In each encoding that JSON may have.
    """
    text = json.dumps(value)
    assert loads(text.encode(encoding)) == value
    large = f'{{{PADDING.decode()}, "value":{text}}}'.encode(encoding)
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
    monkeypatch.setattr(foreign_json, "_Slow", None)
    with pytest.raises(ValueError, match=r"more than 1,000,000 lists and objects, or 2,000,000 values"):
        loads(document)


def test_other_threads_go_on_while_a_large_document_is_read() -> None:
    """
    The library's usual reader lets none of them have a turn.
    """
    document = b"[" + b"[]," * 300_000 + b"[]]"
    over = threading.Event()
    turns = 0

    def read() -> None:
        loads(document)
        over.set()

    thread = threading.Thread(target=read)
    thread.start()
    while not over.wait(0.0001):
        turns += 1
    thread.join()
    assert turns > 20
