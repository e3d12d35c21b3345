"""
Memory: what is known of each endpoint, and when it was really seen.

Pure: the clock is an argument, and writing it to disk is the business of `state`.
While an endpoint cannot be seen, its last seen facts are held, so that a warning
does not go quiet when the server goes down.
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
"""Seconds for which a label is remembered after its address was last given for a name."""


GRACE = 3600.0
"""Seconds for which a file is held that a pattern matched and does not match any more.

One that is renewed by removing and creating it is the same file, and what was seen of it must not go quiet.
"""


GONE = Failed(
    Reason.FILE_NOT_FOUND, "it matched the pattern before, and now it is gone: an hour later it is forgotten"
)
"""The observation of such a file."""


QUICK = 2.0
"""Seconds up to which a look that is answered counts as quick."""


SILENT = frozenset({Reason.TIMEOUT, Reason.DNS_TIMEOUT, Reason.CONNECT_TIMEOUT, Reason.HANDSHAKE_TIMEOUT})
"""Reasons of what did not answer."""


NOT_LOOKED_AT = Failed(Reason.TIMEOUT, "not looked at since the exporter started")
"""The observation of an endpoint that is only known from before a restart."""


@dataclass(slots=True)
class EndpointMemory:
    """
    What is known of one endpoint.
    """

    observation: Observation
    """The latest look, whatever it gave."""
    duration: float
    facts: Facts | None = None
    """What was last seen; None when nothing ever was. The same object as long as it is equal."""
    seen_at: float | None = None
    """When that was; None when nothing ever was seen."""
    judged: Judged | None = None
    """The latest verdict on the facts; None before the first."""
    past: Past = field(default_factory=Past)
    logged: Reason | None = None
    """The reason of a failure that the log was last told of; None when that it is seen, or nothing yet."""
    unlogged: int = 0
    """Looks for which a line has been waiting for its turn."""
    gone_at: float | None = None
    """When a file was first found to be gone that a pattern matched; None while it is there."""
    turn: float = NEVER
    """Monotonic time at which the last look began that had its turn."""
    quick: bool = False
    """True when that look was answered, and soon."""

    def copy(self) -> "EndpointMemory":
        """
        What is known now, whatever later looks give.
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
class LastingProblem:
    """
    A problem with the time for which it is known.
    """

    found: Found
    since: float
    """When it was first found, in seconds since the epoch."""
    last: float
    """When it was last found."""


@dataclass(slots=True)
class TargetMemory:
    """
    What is known of one target.
    """

    identity: str
    target: Target | None = None
    """The target as last configured; None when only known from before a restart."""
    endpoints: dict[str, EndpointMemory] = field(default_factory=dict)
    roster: dict[str, float] = field(default_factory=dict)
    """Labels that the target's endpoints had, with the time each was last given."""
    left_out: tuple[LeftOut, ...] = ()
    problems: dict[Key, LastingProblem] = field(default_factory=dict)

    @property
    def rotates(self) -> bool:
        """
        True when each probe may be at another address, so that endpoints are numbered: see `Memory.labels`.
        """
        return len(self.roster) > ADDRESS_LIMIT


def identity(target: Target) -> str:
    """
    What makes held facts a target's own: the same name with another address is another thing.
    """
    return f"{target.url.normal} {target.server_name or ''} {target.keys}"


class Memory:
    """
    All that is known, by target name.
    """

    def __init__(self) -> None:
        self._known: dict[str, TargetMemory] = {}

    def known(self, target: Target) -> TargetMemory:
        """
        What is known of a target; empty for a new one, or one that now means another place.
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
        Take back what was known before a restart. What was seen since goes before it.
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
        Forget all but the targets that were last asked about.
        """
        for name in list(self._known)[: max(0, len(self._known) - count)]:
            del self._known[name]

    def labels(self, target: Target, found: Sequence[str], now: float) -> tuple[str, ...]:
        """
        What the endpoints found are called: their own labels, or numbers when the name's addresses rotate.

        A name whose look-ups give ever new addresses (a content delivery network) would
        make ever new series. Once it had more addresses in a week than are probed at a
        time, its endpoints are `name:port#1`, `#2` and so on.
        """
        if target.url.ip is not None or not target.url.port:
            return tuple(found)
        known = self.known(target)
        roster = known.roster
        # Given in the future: before the time of day was set back. It is to be forgotten in time, too.
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
        A target's endpoints while they can't be located: those known before, else one named by host and port.
        """
        return tuple(self.known(target).endpoints) or (target.url.authority,)

    def update(self, result: TargetResult, now: float) -> None:
        """
        Take in all that was seen of a target at this time.
        """
        for look in result.looks:
            self.take(result.target, look, now)
        self.settle(result, now)

    def take(self, target: Target, look: ProbeResult, now: float) -> EndpointMemory:
        """
        Take in a look that ended at this time. Returns what is known of the endpoint now.
        """
        known = self.known(target)
        held = known.endpoints.get(look.label)
        if held is None:
            held = known.endpoints[look.label] = EndpointMemory(look.observation, look.duration)
        _take(held, look, now, known)
        return held

    def settle(self, result: TargetResult, now: float) -> None:
        """
        Take in that all of a target was looked at: what is not among the looks exists no more.
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
    Those of a pattern's files that are gone and held for a while: in which something was seen that expires.
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
            # The core does not import `exporter.logs`, which makes such fields.
            said = {"target": name, "files": len(labels), "first": labels[0]}
            logger.warning(words, extra={"fields": said})
    return kept


def _take_aside(held: EndpointMemory, aside: tuple[Item, ...], now: float, known: TargetMemory) -> None:
    """
    Take in what expires on our side, beside what was last seen of the endpoint.
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
    What could be read of an endpoint now, and what was there before and is not among it.

    A file that was half overwritten must not silence the warning about what could not be read. A certificate
    that is there still is what it was: beside what can't be read it may pass for something else.
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
    True when there was no answer in the time that was given.
    """
    return isinstance(observation, Failed) and observation.reason in SILENT
