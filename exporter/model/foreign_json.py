"""
Foreign JSON: documents from servers, files and programs, read so that nothing else waits for it. Pure.

Python's own reader is fast, but no other thread runs until it is done: for a list of millions of empty lists
that takes seconds, and they take a hundred times the memory of their text. So a document with too many values
is refused before it is read, and a large one is read by the slow reader of the same library.
"""

import json
import json.scanner
from typing import Any

LISTS_LIMIT = 1_000_000
"""Lists and objects of a document: as many as 200,000 targets with labels need, or some 100 MB of memory."""


VALUES_LIMIT = 2_000_000
"""Lists, objects and commas of a document."""


LARGE = 100_000
"""Lists, objects and commas from which a document is large: fewer are read in some hundredths of a second."""


DIGITS_LIMIT = 40
"""Digits of a whole number: the time to read one grows with the square of them."""


class _Slow(json.JSONDecoder):
    """
    A reader that is written in Python, so that other threads get their turn.
    """

    def __init__(self) -> None:
        super().__init__(parse_int=_whole)
        made: Any = json.scanner
        self.scan_once = made.py_make_scanner(self)


def loads(data: bytes) -> Any:
    """
    Return the value of a document in UTF-8, UTF-16 or UTF-32. Raises ValueError with words for a person, and
    RecursionError for one that is nested too deep.

    A large one takes a second or two, so what may be one is read in a thread.
    """
    lists = data.count(b"[") + data.count(b"{")
    values = lists + data.count(b",")
    if lists > LISTS_LIMIT or values > VALUES_LIMIT:
        raise ValueError(f"it has more than {LISTS_LIMIT:,} lists and objects, or {VALUES_LIMIT:,} values")
    text = data.decode(json.detect_encoding(data), "surrogatepass")
    return json.loads(text, parse_int=_whole) if values < LARGE else _Slow().decode(text)


def _whole(text: str) -> int:
    if len(text) > DIGITS_LIMIT:
        raise ValueError(f"a number in it has more than {DIGITS_LIMIT} digits")
    return int(text)
