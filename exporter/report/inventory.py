"""
The inventory: the endpoints of one scrape, to be searched and compared with each other. Pure.

But for the coverage, nothing here is needed to answer Prometheus. It is computed when somebody requests a
page, and kept until the next scrape.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from urllib.parse import quote

from exporter.engine.lasting import present
from exporter.engine.scrape import EndpointRow, Scrape, TargetRow, verdicts
from exporter.judgement.issued import Elsewhere
from exporter.judgement.problems import Onset, Places, at_each_endpoint
from exporter.judgement.verdicts import JudgedItem
from exporter.model.errors import LeftOut
from exporter.model.observation import Certificate, Failed
from exporter.model.targets import Target
from exporter.report.coverage import Coverage, coverage
from exporter.report.filters import Selection, Sort
from exporter.report.status import URGENCY, Level, Status, status

FRESH = 5.0
"""Seconds for which the levels of endpoints are reused."""


NEVER = float("inf")
"""The end of an endpoint that was never seen."""


_RANK = {level: -rank for rank, level in enumerate(URGENCY)}


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """
    One endpoint in the list, with its level.
    """

    row: EndpointRow
    level: Level
    end: float
    """The first end among items with deadlines, in seconds since the epoch; NEVER when there is none."""


@dataclass(frozen=True, slots=True)
class Place:
    """
    An item with the endpoint that it is at.
    """

    row: EndpointRow
    judged: JudgedItem


@dataclass(frozen=True, slots=True)
class Rhythm:
    """
    The times of scrapes, as observed: the exporter does not know the configured interval.
    """

    last: float
    """Time of the last scrape, in seconds since the epoch."""
    every: float
    """Scrape interval in seconds, the longest of the last few."""

    @property
    def next(self) -> float:
        """
        Expected time of the next scrape, in seconds since the epoch.
        """
        return self.last + self.every


@dataclass(eq=False)
class Inventory:
    """
    The endpoints of one scrape, to be searched. All its methods take `now` in seconds since the epoch.
    """

    scrape: Scrape
    earlier: Coverage | None = None
    """The coverage of an earlier scrape, which is reused if nothing has changed."""
    # When the problems and levels were judged. One value, since threads read it.
    _judged: tuple[float, Places, list[Entry]] = field(default=(float("-inf"), {}, []), init=False)

    def status(self, row: EndpointRow, now: float) -> Status:
        """
        Return the status of one of the endpoints.
        """
        _, places, _ = self._judge(now)
        return status(row, _onsets(row, places), now, self._newest.unseen)

    def entries(self, now: float) -> list[Entry]:
        """
        Return all endpoints, the most urgent first.
        """
        _, _, entries = self._judge(now)
        return entries

    @cached_property
    def coverage(self) -> Coverage:
        """
        What no target looks at. It is compared once for each scrape.
        """
        return coverage((one.target for one in self.scrape.targets), self.scrape.endpoints, self.earlier)

    def _judge(self, now: float) -> tuple[float, Places, list[Entry]]:
        judged_at, places, entries = self._judged
        if not 0 <= now - judged_at < FRESH:
            found = present(self.scrape.endpoints, now, self.scrape.issuances)
            places = at_each_endpoint(found.values())
            entries = [
                Entry(row, status(row, _onsets(row, places), now).level, end(row))
                for row in self.scrape.endpoints
            ]
            entries.sort(key=lambda one: (_RANK[one.level], one.end, one.row.target.name))
            self._judged = now, places, entries
        return self._judged

    def counts(self, now: float) -> dict[Level, int]:
        """
        Return the number of endpoints of each level, the most urgent level first.
        """
        counted = Counter(one.level for one in self.entries(now))
        return {level: counted[level] for level in reversed(URGENCY)}

    def select(self, selection: Selection, now: float) -> list[Entry]:
        """
        Return the endpoints that pass the filters, in the order of the selection, of all pages.
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
            case Sort.LOCATION:
                found = sorted(found, key=lambda one: (one.row.label, one.row.target.name))
            case Sort.END:
                found = sorted(found, key=lambda one: one.end)
            case Sort.URGENCY:
                pass
        return found[::-1] if selection.descending else found

    def find(self, asked: str) -> TargetRow | None:
        """
        Return the target of a name from a URL's path, or None.

        It is also found when a proxy made `//` to `/`, or Prometheus's `urlquery` wrote a space as `+`.
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
        The places that are not probed, by target name.
        """
        return {one.target.name: one.left_out for one in self.scrape.results if one.left_out}

    @cached_property
    def labels(self) -> list[tuple[tuple[str, str], int]]:
        """
        The users' labels, sorted, each with the number of targets that have it.
        """
        return sorted(Counter(pair for one in self.scrape.targets for pair in one.target.labels).items())

    def of_target(self, target: Target, now: float) -> list[Entry]:
        """
        Return the endpoints of a target, the most urgent first.
        """
        return [one for one in self.entries(now) if one.row.target.name == target.name]

    def sharing(self, certificate: Certificate) -> list[Place]:
        """
        Return every place of this certificate.
        """
        return self._places.get(certificate.fingerprint_sha256, [])

    def newest_end(self, judged: JudgedItem) -> float | None:
        """
        Return the latest end of an item and its renewals; None for an item that is not compared.

        In seconds since the epoch. `Elsewhere` decides which others may be its renewal.
        """
        if judged.kin is None:
            return None
        newer = self._newest.newer_end(judged)
        return newer if newer is not None else judged.item.not_after

    def newer(self, judged: JudgedItem) -> Place | None:
        """
        Return the place of the latest renewal of this item; None when none is known.
        """
        if judged.kin is None:
            return None
        newer = self._newest.newer(judged.kin, judged.trusted, judged.item.not_after)
        return newer[1] if newer is not None else None

    @cached_property
    def _places(self) -> dict[str, list[Place]]:
        """
        The places of each certificate, by its fingerprint.
        """
        places: dict[str, list[Place]] = defaultdict(list)
        for place in places_of(self.scrape.endpoints):
            if place.judged.item.certificate is not None:
                places[place.judged.item.certificate.fingerprint_sha256].append(place)
        return dict(places)

    @cached_property
    def _newest(self) -> Elsewhere[Place]:
        newest: Elsewhere[Place] = Elsewhere(self.scrape.issuances, self.scrape.at)
        for places in self._places.values():
            for place in places:
                newest.note((place.judged,), place)
        for verdict in verdicts(self.scrape.endpoints):
            newest.unseen.note(verdict.items if verdict is not None else ())
        return newest


def _squeezed(name: str) -> str:
    """
    Return a name with single slashes.
    """
    return re.sub("/+", "/", name)


def places_of(rows: tuple[EndpointRow, ...]) -> Iterator[Place]:
    """
    Return each item of these endpoints, with its endpoint.
    """
    return (Place(row, judged) for row in rows if row.verdict is not None for judged in row.verdict.items)


def deciding(row: EndpointRow) -> JudgedItem | None:
    """
    Return the item with deadlines that ends first; None when there is none.
    """
    if row.verdict is None:
        return None
    judged = [one for one in row.verdict.items if one.deadlines is not None]
    return min(judged, key=lambda one: one.item.not_after) if judged else None


def end(row: EndpointRow) -> float:
    """
    Return the first end among an endpoint's items with deadlines, in seconds since the epoch; else NEVER.
    """
    first = deciding(row)
    return first.item.not_after if first is not None else NEVER


class _Search:
    """
    Finds rows in which all words of a text occur, ignoring case.
    """

    def __init__(self, text: str) -> None:
        self._words = text.casefold().split()
        # A certificate may be at thousands of places, and may have thousands of names.
        self._texts: dict[str, str] = {}

    def finds(self, row: EndpointRow) -> bool:
        """
        Return True when each word occurs in the row: names, labels, reasons, or a certificate.
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
    Return the path of a target's page, relative to the root of the site. Slashes in the name are escaped.
    """
    return f"targets/{quote(name, safe='', errors='replace')}"


def _onsets(row: EndpointRow, places: Places) -> list[Onset]:
    """
    Return what gives cause for problems at an endpoint, and at addresses that take turns with it.
    """
    labels = dict.fromkeys([row.label, *(one.location for one in row.others)])
    return [onset for label in labels for onset in places.get((row.target.name, label), ())]
