"""
A simulated fleet without network: what stands where and when, as one function of time for each target.

Every step of a timeline goes through the exporter's own memory, judgement and
exposition. Only the network, the clock and Prometheus's scraping are simulated. Time
begins at the epoch, because promtool's does: moments are seconds since 1970.
"""

import functools
import json
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, cast

from exporter import __version__
from exporter.demo.minter import Minted, root
from exporter.engine.by_turns import same_server
from exporter.engine.lasting import problem_rows
from exporter.engine.memory import ProblemRow
from exporter.engine.monitor import Monitor
from exporter.engine.results import ProbeResult, TargetResult, seen_facts
from exporter.engine.scrape import EndpointRow, TargetRow
from exporter.engine.sightings import CERTAIN
from exporter.engine.state import State
from exporter.formats import parse
from exporter.formats.parsed import ParseContext
from exporter.judgement.issued import NONE, Issuances
from exporter.judgement.problems import Key
from exporter.lookups.merge import added
from exporter.model.hosts import join_host_port
from exporter.model.observation import Chain, Facts, Failed, Item, Observation, Observed, Tls
from exporter.model.policies import AUTOMATIC, DAY, Policy
from exporter.model.reasons import Kind, Reason
from exporter.model.targets import Target
from exporter.model.urls import parse_url
from exporter.net.dns_records import Signature, signature_item
from exporter.net.named_files import system_file
from exporter.pki.authorities import Authorities
from exporter.pki.certificates import certificate
from exporter.pki.ocsp import judge_staple
from exporter.probes import PROBES
from exporter.probes.domains import rdap, registration
from exporter.probes.domains.probe import DELEGATION_AGAIN
from exporter.probes.domains.registries import AGAIN_AFTER
from exporter.probes.tls.handshake import Seen
from exporter.probes.tls.refusals import facts
from exporter.report import families
from exporter.report.exposition import Exposition, Samples
from tests.lookups.revocation.making import revocation_list
from tests.support.certificates import staple
from tests.support.state import taken

if TYPE_CHECKING:
    from exporter.probes.dependencies import Dependencies

MINUTE = 60.0
YEAR = 365 * DAY

MORE = 1e-3
"""Seconds from one probe to the next of those that are made at once."""

JOB = "expiry"
INSTANCE = "exporter:10119"

_TLS = Tls("TLSv1.3", "TLS_AES_256_GCM_SHA384", None, client_certificate_requested=False, staple=None)

Seeing = Failed | Mapping[str, Observation]
"""What is seen of a target: each address's observation, or why its name can't be looked up."""

Span = tuple[float, float]
"""From one moment until before another."""


@dataclass(frozen=True, slots=True)
class Place:
    """
    A target with what the exporter sees of it at any time.
    """

    target: Target
    see: Callable[[float], Seeing]


@functools.cache
def anchor() -> Minted:
    """
    The root that all healthy chains of a timeline lead to.
    """
    return root("Replay Root", not_before=-19 * YEAR, not_after=79 * YEAR)


@functools.cache
def issuer() -> Minted:
    """
    The intermediate that issues leaves.
    """
    return anchor().issue("Replay Intermediate", ca=True, path_length=0)


@functools.cache
def anchor_file() -> str:
    """
    A file with the root, there for as long as this process lives.
    """
    directory = _kept_directory()
    path = Path(directory.name) / "anchors.pem"
    path.write_bytes(anchor().pem)
    return str(path)


@functools.cache
def _kept_directory() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="expiry-replay-")


def leaf(names: str | Sequence[str], begin: float, lifetime: float, above: Minted | None = None) -> Minted:
    """
    A certificate for these names, of a key of its own.
    """
    names = [names] if isinstance(names, str) else names
    return (above or issuer()).issue(names[0], names, not_before=begin, not_after=begin + lifetime)


def presented(*chain: Minted) -> Facts:
    """
    What a server with these certificates shows on the wire.
    """
    return facts(Seen(Chain(tuple(certificate(one.der) for one in chain)), _TLS))


def served(minted: Minted) -> Facts:
    """
    What a server shows that presents the certificate with its intermediates.
    """
    return presented(*minted.chain)


def kept(minted: Minted, name: str = "leaf") -> Facts:
    """
    The certificate as an item that no handshake shows: in a Secret or a keystore.
    """
    one = certificate(minted.der)
    return Facts((Item(name, Kind.LEAF, one.not_before, one.not_after, one),))


def stored(content: bytes) -> Facts:
    """
    What is in a file with these bytes.
    """
    found = parse(content, ParseContext()).facts
    assert found.items, "the file has nothing in it that expires"
    return found


def revocations(begin: float, end: float, ca: Minted | None = None) -> Facts:
    """
    A file with a revocation list that is superseded by its end.
    """
    return stored(revocation_list(ca or issuer(), this_update=begin, next_update=end))


def stapled(minted: Minted, begin: float, end: float) -> Facts:
    """
    What a server shows that staples an OCSP response of this begin and end.
    """
    assert minted.issuer is not None
    response = staple(minted, this_update=begin, next_update=end)
    judged = judge_staple(response, "staple", minted.der, minted.issuer.der)
    assert judged.item is not None, judged.faults
    return added(served(minted), (judged.item,), judged.faults)


def signed(begin: float, end: float) -> Facts:
    """
    What a name server shows of a zone that was signed with this validity.
    """
    item = signature_item([Signature("SOA", 20326, begin, end)], {20326})
    assert item is not None
    return Facts((item,))


@functools.cache
def registered(
    domain: str, end: float, statuses: tuple[str, ...] = ("active",), seen_at: float = 0.0
) -> Facts:
    """
    What the registry of a domain answers, as it was looked up at that time.
    """
    events = [("registration", -4 * YEAR), ("expiration", end)]
    answer = {
        "ldhName": domain,
        "status": statuses,
        "events": [
            {"eventAction": action, "eventDate": datetime.fromtimestamp(when, UTC).isoformat()}
            for action, when in events
        ],
    }
    return registration.facts(rdap.from_rdap(json.dumps(answer).encode(), domain), seen_at)


Terms = Sequence[tuple[float, float, tuple[str, ...]]]
"""What a registry says from when on, in the order of time: from then, the end, the statuses."""


GONE = frozenset({"server hold", "client hold", "redemption period", "pending delete"})
"""Statuses with which a domain is not in the zone above (RFC 5731, RFC 3915)."""


def domain(name: str, terms: Terms) -> Place:
    """
    A domain as a target. Its registry is asked every few hours only, so news may be as old as that.

    What takes it out of the zone above, or puts it back, is asked for once that was seen.
    """
    one = target(f"domain:{name}")

    def see(now: float) -> Seeing:
        asked = now // AGAIN_AFTER * AGAIN_AFTER
        for (_, _, before), (begin, _, after) in pairwise(sorted(terms)):
            seen = begin + 2 * DELEGATION_AGAIN
            if now >= seen and GONE.isdisjoint(before) != GONE.isdisjoint(after):
                asked = max(asked, seen)
        _, end, statuses = max((term for term in terms if term[0] <= asked), default=terms[0])
        return {name: Observed(registered(name, end, statuses, asked))}

    return Place(one, see)


Schedule = Sequence[tuple[float, Facts]]
"""What stands there from when on, in the order of time."""


def at(schedule: Schedule, now: float) -> Facts:
    """
    What stands there at this time: the first entry counts before its time too.
    """
    found = schedule[0][1]
    for begin, what in schedule:
        if begin > now:
            break
        found = what
    return found


def within(spans: Iterable[Span], now: float) -> bool:
    """
    True when the moment lies in one of the spans.
    """
    return any(begin <= now < end for begin, end in spans)


def target(url: str, policy: Policy = AUTOMATIC, **labels: str) -> Target:
    """
    A target as a configuration would give it, judged by the timeline's own root.
    """
    return Target(parse_url(url), url, policy, labels=tuple(sorted(labels.items())), ca_file=anchor_file())


def refused(reason: Reason = Reason.CONNECTION_REFUSED) -> Failed:
    """
    A look that failed before anything was seen.
    """
    return Failed(reason, "simulated")


def place(
    url: str,
    *schedules: Schedule,
    policy: Policy = AUTOMATIC,
    failing: Iterable[Span] = (),
    unresolved: Iterable[Span] = (),
    addresses: Sequence[str] = (),
    **labels: str,
) -> Place:
    """
    A target with one address for each schedule. Looks and look-ups of its name fail in some spans.

    What has no port has its own name for an endpoint, unless `addresses` says what its endpoints are called.
    """
    one = target(url, policy, **labels)
    failing, unresolved = tuple(failing), tuple(unresolved)
    if one.url.port:
        addresses = addresses or [f"192.0.2.{number}" for number in range(1, len(schedules) + 1)]
        endpoints = [join_host_port(address, one.url.port) for address in addresses]
    else:
        endpoints = list(addresses) or [one.url.authority]

    def see(now: float) -> Seeing:
        if within(unresolved, now):
            return refused(Reason.DNS_NOT_FOUND)
        if within(failing, now):
            return dict.fromkeys(endpoints, refused())
        return {
            label: Observed(at(schedule, now)) for label, schedule in zip(endpoints, schedules, strict=True)
        }

    return Place(one, see)


BUILD = (("version", __version__), ("python", "3.13.5"), ("openssl", "OpenSSL 3.5.1"))
"""What an exporter says that it is."""


@functools.cache
def _content(path: str) -> bytes:
    """
    The content of a file, which stays as it is: it is asked for at each judgement.
    """
    return Path(path).read_bytes()


class _Judging:
    """
    All that judging takes of the world: files with trust anchors, read at once.
    """

    def __init__(self) -> None:
        self.authorities = Authorities(_content, system_file())
        self.loop = None
        """Nothing is probed, so nothing waits."""


class Exporter:
    """
    One exporter of the simulated fleet: its memory, its judgement and its text, all real.
    """

    def __init__(
        self,
        places: Sequence[Place],
        instance: str = INSTANCE,
        logs: Callable[[float], Issuances] = lambda _: NONE,
    ) -> None:
        """
        `logs` returns what is known from public logs at a time: over a restart too, as the state keeps it.
        """
        self.places = places
        self.instance = instance
        self._logs = logs
        self._now = 0.0
        self._begin()

    def _begin(self) -> None:
        # No sweep is made, so nothing ever asks the network.
        self._watch = Monitor(cast("Dependencies", _Judging()), 1, lambda: self._now)
        self._exposition = Exposition()

    def restart(self, *, keep_state: bool) -> None:
        """
        Begin anew, with what the state file gave back.
        """
        before = self._watch.memory
        self._begin()
        if not keep_state:
            return
        with tempfile.TemporaryDirectory() as directory:
            written = State(directory)
            written.save(taken(before))
            written.close()
            read = State(directory)
            for name, known in read.load(self._now).items():
                self._watch.memory.restore(name, known)
            read.close()

    def scrape(self, now: float) -> str:
        """
        The text that a scrape at this time gets.
        """
        rows, found = self._look(now)
        targets = [one.target for one in self.places]
        failures = sum(isinstance(row.held.observation, Failed) for row in rows)
        own: Samples = {
            family: [((), float(value))]
            for family, value in (
                (families.SWEEP_COMPLETE, 1),
                (families.SWEEP_TIME, now),
                (families.SWEEP_TARGETS, len(targets)),
                (families.SWEEP_ENDPOINTS, len(rows)),
                (families.SWEEP_FAILURES, failures),
                (families.RELOAD_SUCCESS, 1),
            )
        }
        own[families.BUILD] = [(BUILD, 1.0)]
        return self._exposition.text(
            [TargetRow(one, PROBES[one.url.scheme].name, 0) for one in targets],
            rows,
            own,
            found,
            now,
            self._logs(now),
        )

    def problems(self, now: float) -> set[Key]:
        """
        The problems that a scrape at this time has. No text is made of them, which would take as long again.
        """
        return {row.found.onset.key for row in self._look(now)[1]}

    def _look(self, now: float) -> tuple[list[EndpointRow], tuple[ProblemRow, ...]]:
        self._now = now
        memory = self._watch.memory
        for one in self.places:
            result = self._result(one, now)
            for look in result.looks:
                self._take(one, look, now)
            memory.settle(result, now)
        rows = self.rows(now)
        targets = [one.target for one in self.places]
        return rows, problem_rows(memory, targets, rows, now, self._logs(now))

    def _take(self, one: Place, look: ProbeResult, now: float) -> None:
        """
        Take in a probe, and as many more as a sweep makes at once where that must know what is still there.
        """
        held = self._watch.memory.known(one.target).endpoints.get(look.label)
        facts, before = seen_facts(look.observation), None
        if held is not None and held.facts is not None and facts is not None:
            before = held.doubted(one.target, facts, now)
        self._watch._take(now, one.target, look)
        for number in range(CERTAIN):
            if before is None or facts is None or (number and same_server(before, facts)):
                break
            seen = one.see(now + (number + 1) * MORE)
            again = look.observation if isinstance(seen, Failed) else seen.get(look.label, look.observation)
            self._watch._take(now, one.target, replace(look, observation=again))
            facts = seen_facts(again)

    def rows(self, now: float) -> list[EndpointRow]:
        """
        What is known of each endpoint at this time, without another look.
        """
        return list(
            self._watch._rows([TargetResult(one.target, (), located=True) for one in self.places], now)
        )

    def _result(self, one: Place, now: float) -> TargetResult:
        memory = self._watch.memory
        seen = one.see(now)
        if isinstance(seen, Failed):
            looks = tuple(ProbeResult(label, seen, 0.01) for label in memory.unlocated(one.target))
            return TargetResult(one.target, looks, located=False)
        labels = memory.labels(one.target, tuple(seen), now)
        looks = tuple(
            ProbeResult(label, observation, 0.01)
            for label, observation in zip(labels, seen.values(), strict=True)
        )
        return TargetResult(one.target, looks, located=True)


@dataclass(frozen=True, slots=True)
class Fleet:
    """
    Exporters and the Prometheus that scrapes them, with their bad times.
    """

    exporters: Sequence[Exporter]
    exporter_down: Sequence[Span] = ()
    """The first exporter does not answer; it starts anew when the span is over."""
    prometheus_down: Sequence[Span] = ()
    """Nothing is scraped at all."""
    keep_state: bool = True


def fleet(*places: Place, exporter_down: Sequence[Span] = (), prometheus_down: Sequence[Span] = ()) -> Fleet:
    """
    A fleet that one exporter watches.
    """
    return Fleet([Exporter(places)], exporter_down, prometheus_down)


@dataclass(slots=True)
class _Values:
    """
    The values of one series in the notation of promtool, with runs of equal steps written short.
    """

    written: list[str] = field(default_factory=list)
    length: int = 0
    """Steps that have a value or a gap so far."""
    gone: bool = False
    """True while the series ended with a stale marker."""
    start: float = 0.0
    step: float = 0.0
    more: int = -1
    """Values of the run under way after its first; -1 when there is none."""

    def add(self, position: int, value: float) -> None:
        self.gone = False
        if position > self.length:
            self._gap(position - self.length)
        if self.more == 0:
            self.step = value - self.start
        if self.more < 0:
            self.start, self.step, self.more = value, 0.0, 0
        elif value == self.start + self.step * (self.more + 1):
            self.more += 1
        else:
            self._end_run()
            self.start, self.step, self.more = value, 0.0, 0
        self.length += 1

    def stale(self, position: int) -> None:
        self.gone = True
        if position > self.length:
            self._gap(position - self.length)
        self._end_run()
        self.written.append("stale")
        self.length += 1

    def text(self) -> str:
        self._end_run()
        return " ".join(self.written)

    def _gap(self, steps: int) -> None:
        self._end_run()
        self.written.append(f"_x{steps}")
        self.length += steps

    def _end_run(self) -> None:
        if self.more >= 0:
            self.written.append(f"{self.start!r}{self.step:+.17g}x{self.more}")
        self.more = -1


@dataclass(frozen=True, slots=True)
class Recording:
    """
    What Prometheus stored over a timeline.
    """

    series: Mapping[str, str]
    """Values of each series, both in the notation of promtool's unit tests."""
    interval: float
    until: float
    """The last moment, a multiple of the interval."""


def record(fleet: Fleet, until: float, interval: float) -> Recording:
    """
    Let time pass from 0 until this moment, with one scrape in each interval.
    """
    stored: dict[str, _Values] = {}
    for exporter in fleet.exporters:
        down_before = False
        found: dict[str, _Values] = {}
        for position in range(int(until // interval) + 1):
            now = position * interval
            if within(fleet.prometheus_down, now):
                continue
            down = exporter is fleet.exporters[0] and within(fleet.exporter_down, now)
            if down_before and not down:
                exporter.restart(keep_state=fleet.keep_state)
            down_before = down
            lines = [f"up {0 if down else 1}"]
            if not down:
                lines += [line for line in exporter.scrape(now).splitlines() if line[0] != "#"]
            _store(found, lines, position)
        stored |= {_labelled(series, exporter.instance): values for series, values in found.items()}
    return Recording({series: values.text() for series, values in stored.items()}, interval, until)


def _store(found: dict[str, _Values], lines: Iterable[str], position: int) -> None:
    for line in lines:
        series, _, value = line.rpartition(" ")
        values = found.get(series)
        if values is None:
            values = found[series] = _Values()
        values.add(position, float(value))
    # As Prometheus does for what was in the last scrape and is not in this one.
    for values in found.values():
        if values.length <= position and not values.gone:
            values.stale(position)


def _labelled(series: str, instance: str) -> str:
    name, _, labels = series.partition("{")
    return f'{name}{{job="{JOB}",instance="{instance}"' + (f",{labels}" if labels else "}")
