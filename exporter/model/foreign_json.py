"""
Foreign JSON: documents from servers, files and programs, read so that nothing else waits for it. Pure.

Python's own reader is fast, but no other thread runs until it is done: for a list of millions of empty lists
that takes seconds, and they take a hundred times the memory of their text. So a document with too many values
is refused before it is read, and a large one is read in parts.
"""

import json
from json import scanner
from typing import Any

LISTS_LIMIT = 1_000_000
"""Lists and objects of a document: as many as 200,000 targets with labels need, or some 100 MB of memory."""


VALUES_LIMIT = 2_000_000
"""Lists, objects and commas of a document."""


WINDOW = 16 * 1024
"""Characters that are read at a time by the reader in C, beside which no other thread has a turn."""


DIGITS_LIMIT = 40
"""Digits of a whole number: the time to read one grows with the square of them."""


class _LargeDecoder(json.JSONDecoder):
    """
    A decoder of large texts, beside which other threads have their turns.

    Each object that is short, as nearly all are in long lists, is read by the reader in C, all else in
    Python.
    """

    def __init__(self, size: int) -> None:
        super().__init__(parse_int=_whole)
        # Not in the stubs of the types: they have been there since Python 3.0.
        decoder: Any = self
        self._quick = decoder.scan_once
        self._whole = decoder.parse_object
        self._tries = 16 + 2 * size // WINDOW
        """How often an object may still turn out to be a long one: what is in it is read again."""
        self.parse_object = self._object
        self.scan_once = scanner.py_make_scanner(self)  # type: ignore[attr-defined]  # as above

    def _object(self, where: tuple[str, int], *options: Any) -> Any:
        """
        Return an object, and where it ends. `where` is the text, and the place behind the brace.
        """
        text, begin = where
        if self._tries:
            try:
                found, length = self._quick(text[begin - 1 : begin - 1 + WINDOW], 0)
            except (ValueError, StopIteration):
                # It is longer, or broken: that is found below.
                self._tries -= 1
            else:
                return found, begin - 1 + length
        return self._whole(where, *options)


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
    return (_SMALL if len(text) <= WINDOW else _LargeDecoder(len(text))).decode(text)


def _whole(text: str) -> int:
    if len(text) > DIGITS_LIMIT:
        raise ValueError(f"a number in it has more than {DIGITS_LIMIT} digits")
    return int(text)


_SMALL = json.JSONDecoder(parse_int=_whole)
