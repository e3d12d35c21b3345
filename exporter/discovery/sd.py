"""
Prometheus's service discovery formats (file_sd, http_sd): groups of targets with labels.
"""

import json
import re
from collections.abc import Iterator
from itertools import islice
from typing import Any

from exporter.discovery.base import Found
from exporter.model.foreign_text import printable
from exporter.model.hosts import without_user
from exporter.model.schemes import SCHEMES, Form
from exporter.model.targets import RESERVED_LABELS
from exporter.model.urls import url_of_host
from exporter.passwords import shown

META = "__meta_"
"""Begins labels that say where a target is from: they are for relabelling, and end there."""


FOUND_LIMIT = 200_000
"""Targets of one source that are read: twice the highest `limit`, for what patterns leave out."""


_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


class GroupError(Exception):
    """
    A document is no list of groups. The message says what is wrong, and where.
    """


def targets(groups: Any, where: str, notes: dict[str, None]) -> Iterator[Found]:
    """
    Yield the targets of the groups. Raises GroupError. What is passed over becomes a key of `notes`.
    """
    if groups is None:
        return
    if not isinstance(groups, list):
        raise GroupError('it must be a list of groups: [{"targets": ["host:443"], "labels": {}}]')
    for number, group in enumerate(groups, 1):
        addresses = group.get("targets") if isinstance(group, dict) else ""
        # What Go programs write for a list with nothing in it is `null`.
        if not isinstance(addresses, list | None):
            raise GroupError(f"group {number} is no mapping with a list of `targets`")
        if "targets" not in group and (others := group.keys() - {"labels", "source"}):
            # Misspelt, it would be a list that became empty.
            raise GroupError(f"group {number} has no `targets`, but {shown(str(min(others, key=str)))}")
        labels = group.get("labels") or {}
        if not isinstance(labels, dict):
            raise GroupError(f"the labels of group {number} are no mapping")
        scheme = str(labels.get("__scheme__") or "")
        kept, why = _kept(labels, notes), f"group {number} of {where}"
        for text in addresses or ():
            address = labels.get("__address__") or text
            if not isinstance(address, str):
                raise GroupError(f"a target of group {number} is no text")
            url = url_for(address.strip(), scheme)
            if (bare := without_user(url)) != url:
                notes["user and password of a URL are left out: a handshake needs none"] = None
            yield Found(_without_path(bare), why, labels=kept)


def bounded(found: Iterator[Found], room: int, notes: dict[str, None]) -> list[Found]:
    """
    Return as many as there is room for. More of them are a note.
    """
    taken = list(islice(found, room))
    if next(found, None) is not None:
        notes[f"more than {FOUND_LIMIT:,} targets are listed: the rest is left out"] = None
    return taken


def is_of(found: Found, where: str) -> bool:
    """
    Return True when `targets` found it there.
    """
    return found.why.partition(" of ")[2] == where


def url_for(address: str, scheme: str) -> str:
    """
    Return the URL of an address as Prometheus has it: a URL already, or `host:port` with `__scheme__`.

    A scheme without TLS is that of what Prometheus scrapes there, and says nothing about this: the port does.
    """
    if "://" in address or address.partition(":")[0].lower() in {"domain", "dns"}:
        return address
    if scheme.lower() in SCHEMES:
        return f"{scheme.lower()}://{address}"
    return url_of_host(address) or f"https://{address}"


def _without_path(url: str) -> str:
    """
    Return a URL without the path of a page, which lists for other probers have: a handshake needs none.
    """
    scheme, separator, rest = url.partition("://")
    known = SCHEMES.get(scheme.lower())
    place, *path = re.split(r"[/?#]", rest, maxsplit=1)
    # With an '@' behind it, what looks like the host may be a part of a password.
    if not separator or known is None or known.form is not Form.HOST or "@" in "".join(path):
        return url
    return f"{scheme}://{place}"


def _kept(labels: dict[str, Any], notes: dict[str, None]) -> dict[str, str]:
    """
    Return the labels that a target keeps. Names that have a meaning here get Prometheus's own prefix.
    """
    kept: dict[str, str] = {}
    for name, value in labels.items():
        if name.startswith(META) or name in {"__scheme__", "__address__"} or value is None or value == "":
            continue
        if name.startswith("__"):
            notes[f"the label {shown(name)} has no meaning here, and is left out"] = None
        elif not _NAME.fullmatch(name):
            notes[f"{shown(name)} can't be the name of a label here, and is left out"] = None
        elif isinstance(value, list | dict):
            notes[f"the value of the label {shown(name)} is no text, and is left out"] = None
        else:
            # Numbers and truth values of JSON stay as they are written there.
            text = value if isinstance(value, str) else json.dumps(value)
            kept[f"exported_{name}" if name in RESERVED_LABELS else name] = printable(text)
    return kept
