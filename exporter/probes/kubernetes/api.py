"""
Responses of the Kubernetes API: pages of lists, and events of watches. Opens nothing and reads no clock.
"""

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from json import scanner
from typing import Any

from exporter.model.errors import ProbeError
from exporter.model.foreign_text import clean
from exporter.model.reasons import Reason
from exporter.probes.kubernetes.objects import Key, Stored, key_of, version_of

MESSAGE_LIMIT = 300
"""Characters of the server's message that are kept."""


WINDOW = 64 * 1024
"""Characters that are read at a time by the decoder in C, beside which no other thread has a turn."""


ReadObject = Callable[[Any], tuple[Key, Stored]]
"""Reads an object. Raises ProbeError."""


class GoneError(Exception):
    """
    The server no longer has the resourceVersion that was requested (410 Gone).
    """


@dataclass(frozen=True, slots=True)
class Page:
    """
    One part of a list.
    """

    objects: dict[Key, Stored]
    next: str
    """The `continue` token of the next page; empty at the end of the list."""
    version: str


@dataclass(frozen=True, slots=True)
class Change:
    """
    One event of a watch. `stored` is None when the object was deleted, `key` is None for a bookmark.
    """

    key: Key | None
    stored: Stored | None
    version: str


def read_page(data: bytes, read: ReadObject) -> Page:
    """
    Return the objects of a page. Raises ProbeError.
    """
    document = json_object(data)
    metadata = document.get("metadata")
    items = document.get("items")
    if not isinstance(metadata, dict) or not isinstance(items, list | None):
        raise ProbeError(Reason.HTTP_FAILED, "what the API server answers is no list of objects")
    found = dict(read(one) for one in items or ())
    version, following = metadata.get("resourceVersion"), metadata.get("continue")
    return Page(
        found,
        following if isinstance(following, str) else "",
        version if isinstance(version, str) else "",
    )


def read_events(data: bytes, read: ReadObject) -> list[Change]:
    """
    Return the events of a watch, one on each line. Raises ProbeError and GoneError.
    """
    # Line by line: a million empty ones need not be there all at once.
    return [_event(json_object(line), read) for line in io.BytesIO(data) if line.strip()]


def _event(event: Mapping[str, Any], read: ReadObject) -> Change:
    kind, obj = event.get("type"), event.get("object")
    if not isinstance(obj, dict):
        raise ProbeError(Reason.HTTP_FAILED, "the API server sent an event without an object")
    if kind == "ERROR":
        if obj.get("code") == 410:
            raise GoneError
        raise ProbeError(Reason.HTTP_FAILED, f"the watch ended with an error: {message_of(obj)}")
    if kind == "BOOKMARK":
        return Change(None, None, version_of(obj))
    if kind == "DELETED":
        return Change(key_of(obj), None, version_of(obj))
    key, stored = read(obj)
    return Change(key, stored, version_of(obj))


class _LargeDecoder(json.JSONDecoder):
    """
    A decoder of large texts, beside which other threads have their turns.

    The one in C is quick, but it reads megabytes without a pause. Here it reads each object that is short, as
    nearly all in a page are; the rest is read by the one in Python.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
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


def json_object(data: bytes) -> dict[str, Any]:
    """
    Return a JSON object. Raises ProbeError, whose message does not repeat its content.
    """
    try:
        document = json.loads(data) if len(data) <= WINDOW else _LargeDecoder(len(data)).decode(data.decode())
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise ProbeError(Reason.HTTP_FAILED, "what the API server answers is not the JSON of an object")
    return document


def message_of(status: Mapping[str, Any], secrets: tuple[str, ...] = ()) -> str:
    """
    Return the message of a Status object, bounded, printable and without secrets; empty when it has none.
    """
    message = status.get("message")
    return clean(message, MESSAGE_LIMIT, secrets) if isinstance(message, str) else ""
