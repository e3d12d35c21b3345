"""
Memory: the last known state of each endpoint, and when it was really seen.

Pure: the clock is an argument, and `state` writes it to disk. While an endpoint cannot be seen, its last seen
facts are held, so that a warning does not go quiet when the server goes down.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from exporter.engine.results import ProbeResult, TargetResult, seen_facts
from exporter.judgement.history import Past
from exporter.judgement.problems import Found, Key
from exporter.judgement.verdicts import Judged
from exporter.model.errors import LeftOut
from exporter.model.observation import Facts, Failed, Item, Observation
from exporter.model.reasons import Kind, Reason
from exporter.model.targets import ADDRESS_LIMIT, Target
from exporter.net.turns import NEVER

logger = logging.getLogger(__name__)


ROSTER_AGE = 7 * 86400.0
"""Seconds for which a label is remembered after its address was last returned for a name."""


GRACE = 3600.0
"""
Seconds for which a file is held that matched a pattern and no longer does.

A file that is renewed by removing and creating it is the same file, and its warnings must not go quiet.
"""


GONE = Failed(
    Reason.FILE_NOT_FOUND, "it matched the pattern before, and now it is gone: an hour later it is forgotten"
)
"""The observation of a file that matched a pattern and is gone."""


QUICK = 2.0
"""Seconds within which a probe must be answered to count as quick."""


SILENT = frozenset({Reason.TIMEOUT, Reason.DNS_TIMEOUT, Reason.CONNECT_TIMEOUT, Reason.HANDSHAKE_TIMEOUT})
"""Reasons of probes that got no answer."""


NOT_LOOKED_AT = Failed(Reason.TIMEOUT, "not looked at since the exporter started")
"""The observation of an endpoint that is only known from before a restart."""


@dataclass(slots=True)
class EndpointMemory:
    """
    The state of one endpoint.
    """

    observation: Observation
    """The result of the latest probe, failed or not."""
    duration: float
    facts: Facts | None = None
    """The facts last seen; None when none ever were. The same object while they are equal."""
    seen_at: float | None = None
    """Time at which the facts were last seen, in seconds since the epoch; None when none ever were."""
    judged: Judged | None = None
    """The latest verdict on the facts; None before the first."""
    past: Past = field(default_factory=Past)
    logged: Reason | None = None
    """
    Reason of the failure last logged; None when the last line said that the endpoint is seen, or none was
    written.
    """
    unlogged: int = 0
    """Number of probes for which a log line has been waiting for its turn."""
    gone_at: float | None = None
    """
    Time at which a file that matched a pattern was first found gone, in seconds since the epoch; None while
    it is there.
    """
    turn: float = NEVER
    """Loop time at which the last probe began that had a turn."""
    quick: bool = False
    """True when that probe was answered within QUICK seconds."""

    def copy(self) -> "EndpointMemory":
        """
        Return a copy of the present state, which later probes do not change.
        """
        return EndpointMemory(
            self.observation,
            self.duration,
            self.facts,
            self.seen_at,
            self.judged,
            self.past,
            self.logged,
            self.unlogged,
            self.gone_at,
            self.turn,
            self.quick,
        )


@dataclass(frozen=True, slots=True)
class ProblemRow:
    """
    A problem, with the time for which it is known. All that is exported for it.
    """

    found: Found
    since: float
    """Time at which it was first found, in seconds since the epoch."""
    last: float
    """Time at which it was last found, in seconds since the epoch."""


@dataclass(slots=True)
class TargetMemory:
    """
    The state of one target and its endpoints.
    """

    identity: str
    target: Target | None = None
    """The target as last configured; None when only known from before a restart."""
    endpoints: dict[str, EndpointMemory] = field(default_factory=dict)
    roster: dict[str, float] = field(default_factory=dict)
    """Labels that the target's endpoints had, with the time (seconds since the epoch) each was last found."""
    left_out: tuple[LeftOut, ...] = ()
    problems: dict[Key, ProblemRow] = field(default_factory=dict)

    @property
    def rotates(self) -> bool:
        """
        True when each probe may reach another address, so that endpoints are numbered: see `Memory.labels`.
        """
        return len(self.roster) > ADDRESS_LIMIT


def identity(target: Target) -> str:
    """
    Return the key by which held facts belong to a target: a target of the same name and another URL has
    another.
    """
    return f"{target.url.normal} {target.server_name or ''} {target.keys}"


class Memory:
    """
    The state of all targets, by name.
    """

    def __init__(self) -> None:
        self._known: dict[str, TargetMemory] = {}

    def known(self, target: Target) -> TargetMemory:
        """
        Return the state of a target; empty for a new one, or one whose identity has changed.
        """
        found = self._known.get(target.name)
        if found is not None and found.target is target:
            return found
        means = identity(target)
        if found is None or found.identity != means:
            found = self._known[target.name] = TargetMemory(means)
        found.target = target
        return found

    def restore(self, name: str, known: TargetMemory) -> None:
        """
        Restore the state from before a restart. Facts that were seen since then take precedence.
        """
        there = self._known.setdefault(name, known)
        if there is known or there.identity != known.identity:
            return
        there.roster = known.roster | there.roster
        for label, before in known.endpoints.items():
            held = there.endpoints.setdefault(label, before)
            if held.facts is None:
                held.facts, held.seen_at, held.past = before.facts, before.seen_at, before.past

    def __iter__(self) -> Iterator[tuple[str, TargetMemory]]:
        return iter(self._known.items())

    def __len__(self) -> int:
        return len(self._known)

    def keep_only(self, names: Iterable[str]) -> None:
        """
        Forget every target that is not named: it is no longer configured.
        """
        wanted = set(names)
        for name in [name for name in self._known if name not in wanted]:
            del self._known[name]

    def keep_newest(self, count: int) -> None:
        """
        Forget all but the `count` targets that were probed last.
        """
        for name in list(self._known)[: max(0, len(self._known) - count)]:
            del self._known[name]

    def labels(self, target: Target, found: Sequence[str], now: float) -> tuple[str, ...]:
        """
        Return the labels of the endpoints found: their own, or numbers when the name's addresses rotate.

        A name that resolves to ever new addresses (a content delivery network) would make ever new series.
        Once it had more addresses in a week than are probed at a time, its endpoints are `name:port#1`, `#2`
        and so on. `now` is in seconds since the epoch.
        """
        if target.url.ip is not None or not target.url.port:
            return tuple(found)
        known = self.known(target)
        roster = known.roster
        # From the future: the time of day was set back since. It must be forgotten in time, too.
        for label in [label for label, given in roster.items() if given > now]:
            roster[label] = now
        for label in [label for label, given in roster.items() if given < now - ROSTER_AGE]:
            del roster[label]
        for label in found:
            roster.pop(label, None)
            roster[label] = now
        # Two limits' worth is enough to know that it rotates; the roster itself must stay small.
        for label in list(roster)[: max(0, len(roster) - 2 * ADDRESS_LIMIT)]:
            del roster[label]
        if not known.rotates:
            return tuple(found)
        return tuple(f"{target.url.authority}#{number}" for number in range(1, len(found) + 1))

    def unlocated(self, target: Target) -> tuple[str, ...]:
        """
        Return labels while a target's endpoints can't be found: the remembered ones, else `host:port`.
        """
        return tuple(self.known(target).endpoints) or (target.url.authority,)

    def update(self, result: TargetResult, now: float) -> None:
        """
        Add the results of all probes of a target, which ended at `now` (seconds since the epoch).
        """
        for look in result.looks:
            self.take(result.target, look, now)
        self.settle(result, now)

    def take(self, target: Target, look: ProbeResult, now: float) -> EndpointMemory:
        """
        Add the result of a probe that ended at `now` (seconds since the epoch); return the endpoint's state.
        """
        known = self.known(target)
        held = known.endpoints.get(look.label)
        if held is None:
            held = known.endpoints[look.label] = EndpointMemory(look.observation, look.duration)
        _take(held, look, now, known)
        return held

    def settle(self, result: TargetResult, now: float) -> None:
        """
        Remove endpoints that are not in the complete result of a target: they exist no more.
        """
        known = self.known(result.target)
        # To the end: `keep_newest` forgets from the beginning.
        self._known[result.target.name] = self._known.pop(result.target.name)
        if not result.located:
            return
        known.left_out = result.left_out
        labels = [look.label for look in result.looks]
        if list(known.endpoints) == labels:
            return
        gone = known.endpoints.keys() - labels
        held = _hold_files(known, sorted(gone), now) if result.target.url.scheme == "file" and gone else ()
        endpoints = known.endpoints
        # It may have been forgotten meanwhile: then only what was seen since is known.
        known.endpoints = {label: endpoints[label] for label in (*labels, *held) if label in endpoints}


def _take(held: EndpointMemory, look: ProbeResult, now: float, known: TargetMemory) -> None:
    held.observation = look.observation
    held.duration = look.duration
    held.gone_at = None
    held.past.note_name(look.observation, now)
    if look.turn is not None:
        held.turn = look.turn
        held.quick = look.duration < QUICK and not is_silent(look.observation)
    facts = seen_facts(look.observation)
    if facts is None:
        if isinstance(look.observation, Failed):
            _take_aside(held, look.observation.aside, now, known)
        return
    held.seen_at = now if facts.seen_at is None else facts.seen_at
    if facts.partial and held.facts is not None:
        facts = with_missing(facts, held.facts)
    if facts is held.facts or facts == held.facts:
        return
    if held.facts is not None:
        held.past.note_change(held.facts, facts, now, rotates=known.rotates)
    held.facts = facts


def _hold_files(known: TargetMemory, gone: Iterable[str], now: float) -> list[str]:
    """
    Return the labels of files that are gone and still held: those in which something was seen that expires.
    """
    kept: list[str] = []
    new: list[str] = []
    over: list[str] = []
    for label in gone:
        held = known.endpoints[label]
        if held.facts is None:
            continue
        if held.gone_at is None:
            held.gone_at = now
            held.observation, held.duration = GONE, 0.0
            new.append(label)
        # The time of day may have been set back since.
        held.gone_at = min(held.gone_at, now)
        if now - held.gone_at < GRACE:
            kept.append(label)
        else:
            over.append(label)
    for words, labels in (("files of a pattern are gone", new), ("files that are gone are forgotten", over)):
        if labels:
            name = known.target.name if known.target is not None else ""
            # A pure module can't import `exporter.logs`, which makes such fields.
            said = {"target": name, "files": len(labels), "first": labels[0]}
            logger.warning(words, extra={"fields": said})
    return kept


def _take_aside(held: EndpointMemory, aside: tuple[Item, ...], now: float, known: TargetMemory) -> None:
    """
    Add items of this side (the client certificate) that a failed probe had, to the facts last seen.
    """
    if not aside:
        return
    names = {item.name for item in aside}
    before = held.facts if held.facts is not None else Facts(())
    facts = replace(before, items=(*(item for item in before.items if item.name not in names), *aside))
    if facts == before:
        return
    held.past.note_change(before, facts, now, rotates=known.rotates)
    held.facts = facts


def with_missing(facts: Facts, before: Facts) -> Facts:
    """
    Return the facts that could be read now, with the earlier items that are missing among them.

    A file that was half overwritten must not silence the warning about what could not be read. A certificate
    that is still there keeps its earlier item: beside unreadable ones it may be taken for another kind.
    """
    named = {item.name for item in facts.items}
    was = {
        item.certificate.fingerprint_sha256: item
        for item in before.items
        if item.certificate is not None and item.name not in named
    }
    if was:
        items = tuple(
            was.get(item.certificate.fingerprint_sha256, item) if item.certificate is not None else item
            for item in facts.items
        )
        facts = replace(facts, items=tuple(dict.fromkeys(items)))
    there = {item.name for item in facts.items}
    missing = tuple(item for item in before.items if item.name not in there)
    if not missing:
        return facts
    leaves = {item.certificate for item in missing if item.kind is Kind.LEAF}
    chains = tuple(chain for chain in before.chains if chain.leaf in leaves)
    return replace(facts, items=(*facts.items, *missing), chains=(*facts.chains, *chains))


def is_silent(observation: Observation) -> bool:
    """
    Return True when the probe got no answer in its time.
    """
    return isinstance(observation, Failed) and observation.reason in SILENT
