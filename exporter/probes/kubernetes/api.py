"""
Responses of the Kubernetes API: pages of lists, and events of watches. Opens nothing and reads no clock.
"""

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from exporter.model import foreign_json
from exporter.model.errors import ProbeError
from exporter.model.foreign_text import clean
from exporter.model.reasons import Reason
from exporter.probes.kubernetes.objects import Key, Stored, key_of, version_of

MESSAGE_LIMIT = 300
"""Characters of the server's message that are kept."""


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


def json_object(data: bytes) -> dict[str, Any]:
    """
    Return a JSON object. Raises ProbeError, whose message does not repeat its content.
    """
    try:
        document = foreign_json.loads(data)
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
