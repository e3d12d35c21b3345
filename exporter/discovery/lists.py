"""
Lists: what a source found, as it is kept. No clock is read: it is an argument.

A list that lost much at once is more often a broken source than a decision: what is missing is kept until
several runs over a day agree. The texts are those of the state file, each value checked by its type.
"""

import base64
import binascii
import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import islice
from math import inf
from typing import Any

from exporter.discovery.base import Found
from exporter.model.policies import DAY

ONE_TAKEN_OUT = 1
"""Targets that may go at once from a list of any length, as long as others are left."""


MUCH = 0.25
"""Share of a list that may not go at once."""


CONFIRMING_RUNS = 3
"""Runs that must miss a kept target before it is given up."""


CONFIRMING_TIME = DAY
"""Seconds for which they must miss it."""


NOWHERE_LIMIT = 100_000
"""Names without an address, or without an answer yet, that are kept of one list."""


UNPACKED_LIMIT = 512 * 1024 * 1024
"""Bytes of the JSON of a list: of the most targets, with names of the greatest length."""


Key = tuple[str, str, str]
"""The identity of a found target from run to run: name, URL and the name that is sent."""


def key_of(found: Found) -> Key:
    """
    Return what makes this target the same one in the next list.
    """
    return found.name, found.url, str(found.settings.get("server_name", ""))


@dataclass(frozen=True, slots=True)
class Missing:
    """
    A kept target that its source does not list.
    """

    since: float
    """Seconds since the epoch."""
    runs: int


@dataclass(frozen=True, slots=True)
class Names:
    """
    The names in a list that are targets only if they have an address, by what is known of that.
    """

    nowhere: tuple[Found, ...] = ()
    """What would be targets if this host's resolver knew an address of their names."""
    unsure: frozenset[str] = frozenset()
    """URLs of targets for whose names no name server had an answer yet: they may have no address."""
    waiting: tuple[Found, ...] = ()
    """What becomes a target only when its name has an address, and for which no answer came yet."""

    @property
    def open(self) -> frozenset[str]:
        """
        URLs of all for which no answer came yet.
        """
        return self.unsure.union(one.url for one in self.waiting)


@dataclass(frozen=True, slots=True)
class Kept:
    """
    The list of one source.
    """

    found: tuple[Found, ...] = ()
    missing: Mapping[Key, Missing] = field(default_factory=dict)
    """Those among `found` that the last runs did not list."""
    above: int = 0
    """Targets above the limit, which were left out."""
    names: Names = field(default_factory=Names)

    @property
    def listed(self) -> tuple[Found, ...]:
        """
        The part of `found` that the last run did list.
        """
        # Mostly all of them: at ten thousand, looking at each one takes milliseconds of the event loop.
        if not self.missing:
            return self.found
        return tuple(one for one in self.found if key_of(one) not in self.missing)


def wanted(found: Iterable[Found], include: Iterable[str], exclude: Iterable[str]) -> Iterator[Found]:
    """
    Yield each target once that a pattern of `include` fits, or any if there are none, and none of `exclude`.
    """
    wants, seen = wanting(include, exclude), set[Key]()
    for one in found:
        key = key_of(one)
        if key in seen:
            continue
        seen.add(key)
        if wants(one):
            yield one


def wanting(include: Iterable[str], exclude: Iterable[str]) -> Callable[[Found], bool]:
    """
    Return whether a pattern of `include` fits a target, or any if there are none, and none of `exclude`.
    """
    keep, drop = [one.lower() for one in include], [one.lower() for one in exclude]
    return lambda one: (not keep or _fits(one, keep)) and not _fits(one, drop)


def excluding(exclude: Iterable[str]) -> Callable[[Found], bool]:
    """
    Return whether a pattern of `exclude` fits a target.
    """
    drop = [one.lower() for one in exclude]
    return lambda one: _fits(one, drop)


def _fits(found: Found, patterns: Iterable[str]) -> bool:
    url, name = found.url.lower(), found.name.lower()
    host = url.partition("://")[2].partition("/")[0].rpartition("@")[2]
    bare = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
    return any(fnmatchcase(text, one) for one in patterns for text in (url, name, host, bare) if text)


def chosen(kept: Kept, include: Iterable[str], exclude: Iterable[str], limit: int) -> Kept:
    """
    Return what other patterns and another limit leave of a list.
    """
    found = tuple(islice(wanted(kept.found, include, exclude), limit))
    there = {key_of(one) for one in found}
    missing = {key: one for key, one in kept.missing.items() if key in there}
    names = Names(
        tuple(wanted(kept.names.nowhere, include, exclude)),
        kept.names.unsure.intersection(one.url for one in found),
        tuple(wanted(kept.names.waiting, include, exclude)),
    )
    return Kept(found, missing, kept.above, names)


_NO_NAMES = Names()


def settled(
    before: Kept,
    found: Iterable[Found],
    limit: int,
    now: float,
    names: Names = _NO_NAMES,
    *,
    counts: bool = True,
) -> Kept:
    """
    Return the list after a run that found these targets, at `now` (seconds since the epoch).

    What was a target before goes first, as it was: a new one pushes nothing out at the limit. `counts`: False
    if the source was not asked, so what it lost is lost no longer by that.
    """
    places = {key_of(one): place for place, one in enumerate(before.found)}
    all_of_them = sorted(found, key=lambda one: places.get(key_of(one), inf))
    taken, above = all_of_them[:limit], max(0, len(all_of_them) - limit)
    there = {key_of(one) for one in taken}
    # What no name server could tell, and has no address as they now say, is an answer and no loss.
    answered = before.names.unsure & {one.url for one in names.nowhere}
    had = [one for one in before.found if one.url not in answered]
    gone = [one for one in had if key_of(one) not in there]
    fresh = [one for one in gone if key_of(one) not in before.missing]
    listed = len(had) - len(before.missing)
    # At the limit, what is left out is another matter, and told as such.
    much = not taken or (len(fresh) > ONE_TAKEN_OUT and len(fresh) >= MUCH * listed and not above)
    missing: dict[Key, Missing] = {}
    for one in gone:
        key = key_of(one)
        lost = before.missing.get(key)
        if lost is None and much:
            missing[key] = Missing(now, 1)
        elif lost is not None and not counts:
            missing[key] = lost
        elif lost is not None:
            again = Missing(lost.since, lost.runs + 1)
            if again.runs < CONFIRMING_RUNS or now - again.since < CONFIRMING_TIME:
                missing[key] = again
    # What comes and goes all the time must not make the list ever longer: what was lost first is kept.
    longest = min(limit, max(len(had), 2 * listed, 2 * len(taken)))
    kept = sorted((one for one in gone if key_of(one) in missing), key=lambda one: missing[key_of(one)].since)
    kept = kept[: max(0, longest - len(taken))]
    missing = {key: missing[key] for key in map(key_of, kept)}
    unsure = names.unsure.intersection(one.url for one in taken)
    names = Names(names.nowhere[:NOWHERE_LIMIT], unsure, names.waiting[:NOWHERE_LIMIT])
    return Kept((*taken, *kept), missing, above, names)


def same_objects(before: Kept, found: Iterable[Found]) -> Iterator[Found]:
    """
    Yield what was found, those equal to one of before as the same object.
    """
    known = {key_of(one): one for one in before.found}
    for one in found:
        old = known.get(key_of(one))
        yield old if old == one and old is not None else one


def to_text(kept: Kept, remembered: Any) -> str:
    """
    Return the list, and what its source remembers: JSON, packed, since one target is much like the other.
    """
    text = json.dumps(
        {
            "found": list(map(_row, kept.found)),
            "missing": [[*key, one.since, one.runs] for key, one in kept.missing.items()],
            "above": kept.above,
            "nowhere": list(map(_row, kept.names.nowhere)),
            "unsure": sorted(kept.names.unsure),
            "waiting": list(map(_row, kept.names.waiting)),
            "remembered": remembered,
        }
    )
    return base64.b64encode(zlib.compress(text.encode())).decode()


def _row(one: Found) -> list[Any]:
    return [
        *(one.url, one.why, one.name, dict(one.labels), one.policy, dict(one.settings)),
        one.renew_before,
        one.links,
    ]


def _unpacked(text: str) -> str:
    """
    Return the JSON. Raises ValueError.
    """
    reader = zlib.decompressobj()
    try:
        raw = reader.decompress(base64.b64decode(text, validate=True), UNPACKED_LIMIT)
    except (binascii.Error, zlib.error) as error:
        raise ValueError(f"no list of a source: {error}") from None
    if not reader.eof:
        raise ValueError("no list of a source: it has no end, or is too large")
    return raw.decode()


def from_text(text: str) -> tuple[Kept, Any]:
    """
    Return a list, and what its source remembers, from its text. Raises ValueError for what is none.
    """
    try:
        # Of an earlier version it is not packed.
        value = json.loads(text if text.startswith("{") else _unpacked(text))
        found = tuple(_found(*one) for one in value["found"])
        there = {key_of(one) for one in found}
        missing = {
            (str(name), str(url), str(sent)): Missing(float(since), int(runs))
            for name, url, sent, since, runs in value["missing"]
        }
        missing = {key: one for key, one in missing.items() if key in there}
        # An earlier version did not have these.
        nowhere = tuple(_found(*one) for one in value.get("nowhere", ()))
        unsure = frozenset(map(str, value.get("unsure", ())))
        waiting = tuple(_found(*one) for one in value.get("waiting", ()))
        names = Names(nowhere, unsure, waiting)
        return Kept(found, missing, int(value["above"]), names), value["remembered"]
    except (KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"no list of a source: {type(error).__name__}") from None


def _found(
    url: Any, why: Any, name: Any, labels: Any, policy: Any, settings: Any, before: Any, links: Any = None
) -> Found:
    """
    Return what a row says; one of an earlier version has no links. Raises TypeError and ValueError.
    """
    texts = (url, why, name, policy, *labels, *labels.values()) if isinstance(labels, dict) else (None,)
    if not all(isinstance(one, str) for one in texts) or not isinstance(settings, dict):
        raise TypeError
    numbers = None if links is None else tuple(map(int, links))
    return Found(url, why, name, labels, policy, settings, None if before is None else float(before), numbers)
