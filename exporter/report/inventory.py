"""
The inventory: the endpoints of one scrape, to be searched and compared with each other. Pure.

Nothing here is needed to answer Prometheus. It is computed when somebody requests a page, and kept until the
next scrape.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from operator import attrgetter
from typing import NamedTuple

from exporter.engine.lasting import present
from exporter.engine.scrape import EndpointRow, Scrape, TargetRow, verdicts
from exporter.judgement.hidden import Places, at_each_endpoint
from exporter.judgement.issued import Elsewhere
from exporter.judgement.verdicts import JudgedItem
from exporter.model.errors import LeftOut
from exporter.model.observation import Certificate, Failed
from exporter.model.targets import Target
from exporter.report.filters import Selection, Sort
from exporter.report.status import URGENCY, Level, Status, onsets_at, standing, status
from exporter.report.times import date, distance

FRESH = 5.0
"""Seconds for which the levels of endpoints are reused."""


NEVER = float("inf")
"""The end of an endpoint that was never seen."""


class Entry(NamedTuple):
    """
    One endpoint in the list, with its level.
    """

    row: EndpointRow
    level: Level
    end: float
    """The first end among items with deadlines, in seconds since the epoch; NEVER when there is none."""


_name, _end = attrgetter("row.target.name"), attrgetter("end")


@dataclass(eq=False)
class _Judged:
    """
    The endpoints by their level at a time. Those that are well are put in order when somebody asks.
    """

    at: float
    """In seconds since the epoch."""
    places: Places
    by_level: list[list[EndpointRow]]
    """By level."""

    @cached_property
    def urgent(self) -> list[Entry]:
        """
        The endpoints that are not well, the most urgent first.
        """
        return [one for of_level in reversed(URGENCY) if of_level for one in self._in_order(of_level)]

    @cached_property
    def entries(self) -> list[Entry]:
        """
        All endpoints, the most urgent first.
        """
        return self.urgent + self._in_order(Level.OK)

    def _in_order(self, of_level: Level) -> list[Entry]:
        ordered = [Entry(row, of_level, end(row)) for row in self.by_level[of_level]]
        ordered.sort(key=_name)
        ordered.sort(key=_end)
        return ordered


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
    # One value, since threads read it.
    _judged: "_Judged | None" = field(default=None, init=False)

    def status(self, row: EndpointRow, now: float) -> Status:
        """
        Return the status of one of the endpoints.
        """
        return status(row, onsets_at(row, self._judge(now).places), now, self._newest.unseen)

    def entries(self, now: float) -> list[Entry]:
        """
        Return all endpoints, the most urgent first.
        """
        return self._judge(now).entries

    def _judge(self, now: float) -> "_Judged":
        judged = self._judged
        if judged is None or not 0 <= now - judged.at < FRESH:
            places = at_each_endpoint(present(self.scrape.endpoints, now, self.scrape.issuances).values())
            by_level: list[list[EndpointRow]] = [[] for _ in Level]
            for row in self.scrape.endpoints:
                by_level[standing(row, onsets_at(row, places)).level].append(row)
            judged = self._judged = _Judged(now, places, by_level)
        return judged

    def counts(self, now: float) -> dict[Level, int]:
        """
        Return the number of endpoints of each level, the most urgent level first.
        """
        by_level = self._judge(now).by_level
        return {one: len(by_level[one]) for one in reversed(URGENCY)}

    def page(self, selection: Selection, now: float, size: int) -> tuple[list[Entry], int]:
        """
        Return the endpoints on the page of the selection, and the number of those on all of its pages.
        """
        begin, stop = (selection.page - 1) * size, selection.page * size
        if selection == Selection(page=selection.page, limit=selection.limit):
            urgent = self._judge(now).urgent
            if stop <= len(urgent):
                return urgent[begin:stop], len(self.scrape.endpoints)
        found = self.select(selection, now)
        return found[begin:stop], len(found)

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
            search = _Search(selection.text, now)
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
        # Most leaves are alone with their names, or served in many places, and have no newer one.
        first: dict[object, float] = {}
        several: set[object] = set()
        for verdict in verdicts(self.scrape.endpoints):
            items = verdict.items if verdict is not None else ()
            newest.unseen.note(items)
            for one in items:
                end = one.item.not_after
                if one.kin is not None and first.setdefault(one.kin.about, end) != end:
                    several.add(one.kin.about)
        for place in places_of(self.scrape.endpoints) if several else ():
            kin, judged = place.judged.kin, place.judged
            if kin is not None and kin.about in several:
                newest.add(kin, judged.trusted, judged.item.not_after, place)
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
    first = NEVER
    for judged in row.verdict.items if row.verdict is not None else ():
        if judged.deadlines is not None and judged.item.not_after < first:
            first = judged.item.not_after
    return first


_DATE = r"\d{4}-\d\d(?:-\d\d(?: \d\d:\d\d(?: utc)?)?)?|\d\d:\d\d"
_DURATION = r"\d+ (?:d|h|min|s)(?: \d+ (?:h|min))?"
"""A duration as pages show it."""


_TERM = re.compile(rf"(?:{_DATE}|{_DURATION})(?!\S)|\S+")


_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\d)t(\d\d:\d\d)(?::\d\d)?z?")


def _pattern(term: str) -> re.Pattern[str]:
    """
    Return the pattern of a term.

    Serial numbers and fingerprints may be as other programs write them: with colons, a prefix, a zero before.
    """
    digits = re.sub("^(?:sha256:|0x)", "", term).replace(":", "")
    if re.fullmatch("[0-9a-f]{8,}", digits):
        # In pairs there is a zero before an odd number of digits, in DER two before a high one.
        return re.compile(f"{re.escape(term)}|{re.sub('^0{1,3}', '', digits)}")
    # A duration does not end another one: `2 d` is not in `12 d 3 h`.
    return re.compile((r"(?<!\d)" if " " in term else "") + re.escape(term))


class _Search:
    """
    Finds rows in which all terms of a text occur, ignoring case: its words, dates and durations.
    """

    def __init__(self, text: str, now: float) -> None:
        """
        `now` is the time from which durations count, in seconds since the epoch.
        """
        terms = _TERM.findall(_RFC3339.sub(r"\1 \2", text.casefold()))
        self._terms = [_pattern(term) for term in terms]
        # To write times takes longer than all else.
        self._has_date, self._has_duration = (
            any(re.fullmatch(form, term) for term in terms) for form in (_DATE, _DURATION)
        )
        self._now = now
        # A certificate may be at thousands of places, and may have thousands of names.
        self._texts: dict[str, str] = {}
        self._dates: dict[float, str] = {}

    def finds(self, row: EndpointRow) -> bool:
        """
        Return True when each term occurs in the row: names, labels, reasons, a certificate, or a deadline.
        """
        target, observation = row.target, row.held.observation
        parts = [target.name, row.label, target.url.shown, target.policy.name]
        parts += [f"{name}={value}" for name, value in target.labels]
        if isinstance(observation, Failed):
            parts.append(observation.reason)
        if row.verdict is not None:
            parts += [fault.fault for fault in row.verdict.faults]
        text = "\n".join(parts).casefold()
        missing = [term for term in self._terms if not term.search(text)]
        if not missing or row.verdict is None:
            return not missing
        texts = [
            self._text(one.item.certificate) for one in row.verdict.items if one.item.certificate is not None
        ]
        texts += [text for one in row.verdict.items for text in self._times(one)]
        return all(any(term.search(text) for text in texts) for term in missing)

    def _times(self, judged: JudgedItem) -> Iterator[str]:
        """
        Yield the times of an item that are searched, as pages show them.
        """
        item, due = judged.item, judged.deadlines
        if self._has_duration and due is not None:
            yield distance(item.not_after, self._now)
            if due.renewal_due <= self._now:
                yield distance(due.renewal_due, self._now)
        moments = [item.not_before, item.not_after]
        if due is not None:
            moments += [due.renewal_due, due.warning, due.critical]
        for one in moments if self._has_date else ():
            if one not in self._dates:
                self._dates[one] = date(one).casefold()
            yield self._dates[one]

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
