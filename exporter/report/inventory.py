"""
The fleet: one scrape as people look at it, and what its endpoints have to do with each other. Pure.

Nothing here is needed to answer Prometheus. All is made when somebody asks for a
page, and remembered until the next scrape.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from urllib.parse import quote

from exporter.engine.scrape import EndpointRow, Scrape, TargetRow
from exporter.judgement.newest import Newest, names_key
from exporter.judgement.verdicts import JudgedItem
from exporter.model.errors import LeftOut
from exporter.model.observation import Certificate, Failed
from exporter.model.reasons import Kind
from exporter.model.targets import Target
from exporter.report.filters import Selection, Sort
from exporter.report.status import URGENCY, Level, status

FRESH = 5.0
"""Seconds for which levels are not judged again."""


NEVER = float("inf")
"""The end of what was never seen."""


_RANK = {level: -rank for rank, level in enumerate(URGENCY)}


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """
    An endpoint in the list.
    """

    row: EndpointRow
    level: Level
    end: float
    """When the item ends that ends first of those with deadlines; NEVER when there is none."""


@dataclass(frozen=True, slots=True)
class Place:
    """
    An item where it is.
    """

    row: EndpointRow
    judged: JudgedItem


@dataclass(frozen=True, slots=True)
class Rhythm:
    """
    When the exporter is asked to look, which is up to who scrapes it.
    """

    last: float
    """When it was last asked, in seconds since the epoch."""
    every: float
    """Seconds between two scrapes, the longest of the last few."""

    @property
    def next(self) -> float:
        """
        When the next look is due.
        """
        return self.last + self.every


@dataclass(eq=False)
class Inventory:
    """
    One scrape, ready to be searched.
    """

    scrape: Scrape
    # When the levels were judged, and what came of it. One value, since threads read it.
    _judged: tuple[float, list[Entry]] = field(default=(float("-inf"), []), init=False)

    def entries(self, now: float) -> list[Entry]:
        """
        All endpoints, the most urgent first.
        """
        judged_at, entries = self._judged
        if not 0 <= now - judged_at < FRESH:
            entries = [Entry(row, status(row, now).level, end(row)) for row in self.scrape.endpoints]
            entries.sort(key=lambda one: (_RANK[one.level], one.end, one.row.target.name))
            self._judged = now, entries
        return entries

    def counts(self, now: float) -> dict[Level, int]:
        """
        How many endpoints have each level, the most urgent level first.
        """
        counted = Counter(one.level for one in self.entries(now))
        return {level: counted[level] for level in reversed(URGENCY)}

    def select(self, selection: Selection, now: float) -> list[Entry]:
        """
        The endpoints that fit, in the order asked for, on whichever page.
        """
        found = self.entries(now)
        if selection.levels:
            found = [one for one in found if one.level in selection.levels]
        if selection.targets:
            found = [one for one in found if one.row.target.name in selection.targets]
        if selection.labels:
            wanted = set(selection.labels)
            found = [one for one in found if wanted <= set(one.row.target.labels)]
        if selection.text:
            search = _Search(selection.text)
            found = [one for one in found if search.finds(one.row)]
        match selection.sort:
            case Sort.TARGET:
                found = sorted(found, key=lambda one: (one.row.target.name, one.row.label))
            case Sort.ENDPOINT:
                found = sorted(found, key=lambda one: (one.row.label, one.row.target.name))
            case Sort.END:
                found = sorted(found, key=lambda one: one.end)
            case Sort.URGENCY:
                pass
        return found[::-1] if selection.descending else found

    def find(self, asked: str) -> TargetRow | None:
        """
        The target of this name, or None. Forgives what proxies and templates do to names in paths.

        Some proxies make `//` to `/`, and Prometheus's `urlquery` writes a space as `+`.
        """
        names = self.targets
        return (
            names.get(asked) or names.get(asked.replace("+", " ")) or self._by_squeezed.get(_squeezed(asked))
        )

    @cached_property
    def targets(self) -> dict[str, TargetRow]:
        """
        The targets by name.
        """
        return {one.target.name: one for one in self.scrape.targets}

    @cached_property
    def _by_squeezed(self) -> dict[str, TargetRow]:
        return {_squeezed(name): row for name, row in self.targets.items()}

    @cached_property
    def left_out(self) -> Mapping[str, tuple[LeftOut, ...]]:
        """
        By target name, the places that are not probed.
        """
        return {one.target.name: one.left_out for one in self.scrape.results if one.left_out}

    @cached_property
    def labels(self) -> list[tuple[tuple[str, str], int]]:
        """
        The users' labels with how many targets have each, sorted.
        """
        return sorted(Counter(pair for one in self.scrape.targets for pair in one.target.labels).items())

    def of_target(self, target: Target, now: float) -> list[Entry]:
        """
        The endpoints of a target, the most urgent first.
        """
        return [one for one in self.entries(now) if one.row.target.name == target.name]

    def sharing(self, certificate: Certificate) -> list[Place]:
        """
        Every place where this very certificate is.
        """
        return self._places[0].get(certificate.fingerprint_sha256, [])

    def newest_end(self, judged: JudgedItem) -> float | None:
        """
        The latest end of an item of the same names, itself included; None for what has no names.

        Of those that count for it, see `Newest`.
        """
        newest = self._newest(judged)
        return newest.judged.item.not_after if newest is not None else None

    def newer(self, judged: JudgedItem) -> Place | None:
        """
        Where the newest item of the same names is that ends later than this one; None when there is none.
        """
        newest = self._newest(judged)
        return newest if newest is not None and newest.judged.item.not_after > judged.item.not_after else None

    def _newest(self, judged: JudgedItem) -> Place | None:
        certificate = judged.item.certificate
        if certificate is None or judged.item.kind is not Kind.LEAF:
            return None
        _, keys, newest = self._places
        key = keys.get(certificate.fingerprint_sha256)
        return newest.of(key, judged.trusted)[1] if key is not None else None

    @cached_property
    def _places(self) -> tuple[dict[str, list[Place]], dict[str, tuple[object, ...]], Newest[Place]]:
        """
        By fingerprint, every place of that certificate, and the key of its names; by that key, the newest.
        """
        places: dict[str, list[Place]] = defaultdict(list)
        for place in places_of(self.scrape.endpoints):
            if place.judged.item.certificate is not None:
                places[place.judged.item.certificate.fingerprint_sha256].append(place)
        # Names are compared once for each certificate, not for each place: there may be thousands of both.
        keys: dict[str, tuple[object, ...]] = {}
        newest: Newest[Place] = Newest()
        for fingerprint, found in places.items():
            leaves = [place for place in found if place.judged.item.kind is Kind.LEAF]
            key = names_key(leaves[0].judged) if leaves else None
            if key is None:
                continue
            keys[fingerprint] = key
            # It may be trusted in one place, refused in another (another `ca_file`), and in a file besides.
            for place in {place.judged.trusted: place for place in reversed(leaves)}.values():
                newest.add(key, place.judged.trusted, place.judged.item.not_after, place)
        return dict(places), keys, newest


def _squeezed(name: str) -> str:
    """
    A name with single slashes.
    """
    return re.sub("/+", "/", name)


def places_of(rows: tuple[EndpointRow, ...]) -> Iterator[Place]:
    """
    Each item of these endpoints.
    """
    return (Place(row, judged) for row in rows if row.verdict is not None for judged in row.verdict.items)


def deciding(row: EndpointRow) -> JudgedItem | None:
    """
    The item with deadlines that ends first; None when there is none.
    """
    if row.verdict is None:
        return None
    judged = [one for one in row.verdict.items if one.deadlines is not None]
    return min(judged, key=lambda one: one.item.not_after) if judged else None


def end(row: EndpointRow) -> float:
    """
    When an endpoint's first item ends; NEVER when there is none with deadlines.
    """
    first = deciding(row)
    return first.item.not_after if first is not None else NEVER


class _Search:
    """
    Finds rows that have all words somewhere, whatever their case.
    """

    def __init__(self, text: str) -> None:
        self._words = text.casefold().split()
        # A certificate may be at thousands of places, and may have thousands of names.
        self._texts: dict[str, str] = {}

    def finds(self, row: EndpointRow) -> bool:
        """
        True when each word is in something of this row.
        """
        target, observation = row.target, row.held.observation
        parts = [target.name, row.label, target.url.shown, target.policy.name]
        parts += [f"{name}={value}" for name, value in target.labels]
        if isinstance(observation, Failed):
            parts.append(observation.reason)
        if row.verdict is not None:
            parts += [fault.fault for fault in row.verdict.faults]
        text = "\n".join(parts).casefold()
        missing = [word for word in self._words if word not in text]
        if not missing or row.verdict is None:
            return not missing
        texts = [
            self._text(one.item.certificate) for one in row.verdict.items if one.item.certificate is not None
        ]
        return all(any(word in text for text in texts) for word in missing)

    def _text(self, certificate: Certificate) -> str:
        known = self._texts.get(certificate.fingerprint_sha256)
        if known is None:
            known = "\n".join(
                (
                    certificate.subject,
                    certificate.issuer,
                    certificate.serial,
                    certificate.fingerprint_sha256,
                    certificate.key,
                    *certificate.dns_names,
                    *certificate.ip_addresses,
                )
            ).casefold()
            self._texts[certificate.fingerprint_sha256] = known
        return known


def target_path(name: str) -> str:
    """
    The path of a target's page, from the root of the site. A slash in a name is no step of the path.
    """
    return f"targets/{quote(name, safe='', errors='replace')}"
