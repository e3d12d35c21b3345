"""
Memory: the last known state of each endpoint, and when it was really seen.

Pure: the clock is an argument, and `state` writes it to disk. While an endpoint cannot be seen, its last seen
facts are held, so that a warning does not go quiet when the server goes down.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from exporter.engine.absent import change_listed
from exporter.engine.by_turns import (
    Shown,
    is_crowded,
    is_doubtful,
    is_due,
    is_kept,
    is_left_behind,
    is_looked_for,
    is_mistake,
    is_strange,
    is_turn,
    most_important,
    same_server,
    was_issued_since,
)
from exporter.engine.gone_files import hold_files
from exporter.engine.partial import with_missing
from exporter.engine.results import ProbeResult, TargetResult, is_silent, seen_facts
from exporter.engine.sightings import Sightings, is_long
from exporter.judgement.habit import learned
from exporter.judgement.history import Past
from exporter.judgement.problems import Found, Key
from exporter.judgement.verdicts import Judged
from exporter.model.errors import LeftOut
from exporter.model.observation import Facts, Failed, Item, Observation
from exporter.model.reasons import Reason
from exporter.model.targets import ADDRESS_LIMIT, Target
from exporter.net.turns import NEVER

ROSTER_AGE = 7 * 86400.0
"""Seconds for which a label is remembered after its address was last returned for a name."""


QUICK = 2.0
"""Seconds within which a probe must be answered to count as quick."""


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
    looks: int = 0
    """Number of probes that saw something."""
    shown: Sightings = field(default_factory=Sightings)
    """The times at which those saw these facts."""
    others: Sequence[Shown] = ()
    """What other servers behind the same address showed in turn with these facts; empty for most."""
    mixed: bool = False
    """True when probes at once saw other facts: then such probes are led to any of the servers."""
    tries: int = 0
    """Number of probes at once that saw the same, before it was known that they are mixed."""
    listed: Sightings = field(default_factory=Sightings)
    """The times at which the target's name had this address."""
    plain: ProbeResult | None = None
    """The latest probe, without the answers of look-ups; None where it is repeated in each scrape."""
    unconcerned: Facts | None = None
    """What the target showed when no look-up had to do with it; None when one had."""

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
            self.looks,
            self.shown,
            self.others,
            self.mixed,
            self.tries,
            self.listed,
        )

    def doubted(self, target: Target, facts: Facts, now: float) -> Facts | None:
        """
        Return the facts that more probes now would show if they are still there, though one saw `facts`:
        something is wrong with them, or the others are older or somebody else's. None when there are none.
        """
        assert self.facts is not None
        # Of several that are known to take turns, each is remembered as long as it needs.
        if facts is not self.facts and (
            (is_doubtful(target, self.facts, self.judged, facts, now) and self._is_alone(facts, now))
            or (is_strange(target, self.facts, facts, now) and self._was_alone(facts, now))
        ):
            return self.facts
        for one in self.others:
            is_bad = is_doubtful(target, one.facts, one.judged, facts, now)
            shown = Shown(self.facts, now, self.shown)
            if is_bad and is_looked_for(one, shown, self.looks, now, mixed=self.mixed, tries=self.tries):
                return one.facts
        return None

    def note_at_once(self) -> None:
        """
        Note that the next look is made at once after the last one.
        """
        self.shown.at_once += 1
        if not self.mixed:
            # All of these may be led to the same server: to what has its turns they are one look.
            self.tries += 1
            for one in self.others:
                one.sightings.left += one.sightings.returns > 0

    def _was_alone(self, facts: Facts, now: float) -> bool:
        """
        Return True when what is shown was there alone, and not for a turn as long as that of these facts.
        """
        back = next((one for one in self.others if same_server(one.facts, facts)), None)
        return not (back and is_turn(back, self.shown, now)) and self.shown.was_alone(self.looks, now)

    def _is_alone(self, facts: Facts, now: float) -> bool:
        """
        Return True when nothing is known to take turns with what is shown, though a probe sees these facts.
        """
        assert self.facts is not None
        lately = [one for one in self.others if is_kept(one, self.looks, now)]
        if lately and (
            self.shown.returns or any(one.sightings.returns or is_due(one, self.looks, now) for one in lately)
        ):
            return False
        back = next((one for one in self.others if same_server(one.facts, facts)), None)
        if back is None:
            return True
        left = Shown(self.facts, now, self.shown)
        # An older one may have turns of hours, which more probes now would not see.
        return is_mistake(left, back, now) and not is_left_behind(left, back)

    def take_turns(self, facts: Facts, seen_at: float, now: float, *, put_right: bool = False) -> None:
        """
        Show other facts from now on. Those that were shown until `seen_at` are remembered for a while.

        `put_right`: those were what a rollback had brought back.
        """
        assert self.facts is not None
        if not any(is_kept(one, self.looks, now) for one in self.others):
            # Its turns are over: it was alone since.
            self.shown.returns = 0
        back = next((one for one in self.others if same_server(one.facts, facts)), None)
        # What it had taken the place of, unless that is forgotten.
        earlier = next((one for one in self.others if one.sightings.left == self.shown.came - 1), back)
        left = Shown(self.facts, seen_at, self.shown, self.judged)
        brief = earlier is not None and is_mistake(left, earlier, now)
        undone = brief and back is not None and is_long(self.shown, self.looks)
        self.mixed = self.mixed or 0 <= now - seen_at < QUICK
        self.shown.leave(
            self.looks,
            back=back is not None,
            renewed=was_issued_since(facts.items, self.shown.since),
            brief=brief,
            old=earlier is not None and is_left_behind(left, earlier),
            crowded=is_crowded(self.others, self.looks, now),
            probed=self.mixed,
            put_right=put_right,
        )
        self.shown.turn = back is not None and is_turn(back, self.shown, now)
        self.others = [one for one in (*self.others, left) if one is not back]
        self.others = most_important(self.others, self.looks, now)
        if back is None:
            self.facts, self.shown = facts, Sightings(self.looks, now)
            return
        back.sightings.come_back(self.looks, now, undone=undone)
        for one in () if undone else self.others:
            if one is not left and is_due(one, self.looks, now):
                one.sightings.note_turns()
        self.shown, self.judged = back.sightings, back.judged
        # The same object while they are equal.
        self.facts = back.facts if back.facts == facts else facts


@dataclass(frozen=True, slots=True)
class ProblemRow:
    """
    A problem, with the time for which it is known. All that is exported for it.
    """

    found: Found
    since: float
    """Time at which it was first found, in seconds since the epoch."""


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
    looks: int = 0
    """Number of times that the target's endpoints were found."""
    absent: dict[str, EndpointMemory] = field(default_factory=dict)
    """Endpoints that the name led to in turn with those that it leads to now, by label; empty for most."""
    problems: dict[Key, ProblemRow] = field(default_factory=dict)
    began: dict[Key, float] = field(default_factory=dict)
    """When problems of before a restart began, in seconds since the epoch; empty after the first scrape."""
    probed: Target | None = None
    """The target as it was last probed; None before, and when it had no turn of its own."""
    probed_at: float = 0.0
    """Time at which that probe ended, in seconds since the epoch."""
    located: Any = None
    """What its probe calls the endpoints of `target`, where these last; None where they are to be found."""

    @property
    def rotates(self) -> bool:
        """
        True when each probe may reach another address, so that endpoints are numbered: see `Memory.labels`.
        """
        return len(self.roster) > ADDRESS_LIMIT

    @property
    def trusted_at(self) -> float | None:
        """
        Time at which clients last accepted what its name led to, in seconds since the epoch; None when never.

        They refuse what they accepted before if the name leads to another address since. What the first look
        found was never accepted before.
        """
        if self.target is None or not self.target.is_served or not self.looks:
            return None
        there = (*self.endpoints.values(), *self.absent.values())
        return max((held.past.trusted_at for held in there if held.past.trusted_at is not None), default=None)


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
        if found is None or found.identity != target.identity:
            found = self._known[target.name] = TargetMemory(target.identity)
        found.target, found.located = target, None
        for held in (*found.endpoints.values(), *found.absent.values()):
            held.unconcerned = None
        return found

    def restore(self, name: str, known: TargetMemory) -> None:
        """
        Restore the state from before a restart. Facts that were seen since then take precedence.
        """
        there = self._known.setdefault(name, known)
        if there is known or there.identity != known.identity:
            return
        there.roster = known.roster | there.roster
        there.began = known.began
        if not there.absent:
            there.absent = {
                label: held for label, held in known.absent.items() if label not in there.endpoints
            }
            there.looks += known.looks
        for label, before in known.endpoints.items():
            held = there.endpoints.setdefault(label, before)
            if held.facts is None:
                held.facts, held.seen_at, held.past = before.facts, before.seen_at, before.past
                held.looks, held.shown, held.mixed = before.looks, before.shown, before.mixed
                held.others = before.others

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
            held = known.absent.pop(look.label, None)
            if held is None:
                held = EndpointMemory(look.observation, look.duration, listed=Sightings(known.looks + 1, now))
                held.past.trusted_at = known.trusted_at
            known.endpoints[look.label] = held
        _take(held, look, now, known)
        return held

    def settle(self, result: TargetResult, now: float) -> None:
        """
        Remove endpoints that are not in the complete result of a target: they exist no more.
        """
        known = self.known(result.target)
        # Without a turn of its own it is still to be probed.
        on_turn = all(look.turn is not None for look in result.looks)
        known.probed, known.probed_at = (result.target, now) if on_turn else (None, 0.0)
        # To the end: `keep_newest` forgets from the beginning.
        self._known[result.target.name] = self._known.pop(result.target.name)
        if not result.located:
            return
        known.left_out = result.left_out
        known.looks += 1
        labels = [look.label for look in result.looks]
        endpoints = known.endpoints
        back = [held for held in endpoints.values() if held.listed.left]
        if not back and list(endpoints) == labels:
            return
        gone = endpoints.keys() - labels
        held = hold_files(known, sorted(gone), now) if result.target.url.scheme == "file" and gone else ()
        if result.target.url.ip is None and result.target.is_served:
            change_listed(known, gone, back, now)
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
        held.past.note_failure(now)
        if isinstance(look.observation, Failed):
            _take_aside(held, look.observation.aside, now, known)
        return
    before_at = held.seen_at
    held.seen_at = now if facts.seen_at is None else facts.seen_at
    held.looks += 1
    if held.others and before_at is not None and 0 <= now - before_at < QUICK:
        held.note_at_once()
    held.past.failing_since = None
    take_facts(held, facts, before_at, now, known)


def take_facts(
    held: EndpointMemory, facts: Facts, before_at: float | None, now: float, known: TargetMemory
) -> None:
    """
    Hold the facts of an endpoint, and note what has changed since they were seen at `before_at`.
    """
    if facts.partial and held.facts is not None:
        facts = with_missing(facts, held.facts)
    if facts is held.facts or facts == held.facts:
        return
    if held.facts is None or before_at is None:
        held.facts, held.shown, held.past.first_at = facts, Sightings(held.looks, now), now
        return
    accepted = not held.facts.presented or held.past.trusted_at == before_at
    expected = held.judged is not None and held.judged.verdict.expected
    rolled_back = held.past.rolled_back_at
    held.past.note_change(
        held.facts, facts, now, before_at, accepted=accepted, expected=expected, rotates=known.rotates
    )
    # Where addresses rotate, each probe may be at another server.
    seen_at = held.seen_at if held.seen_at is not None else now
    habits = {} if known.rotates else learned(held.past.habits, held.facts, facts, before_at, seen_at)
    held.past.habits = habits
    assert known.target is not None
    if known.target.is_served and not same_server(held.facts, facts):
        held.take_turns(facts, before_at, now, put_right=held.past.is_put_right(rolled_back))
    else:
        held.facts = facts


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
    held.past.habits = learned(held.past.habits, before, facts, now, now)
    held.facts = facts
