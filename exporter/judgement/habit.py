"""
Habit: how often an item is renewed, learned from the renewals that were seen.

Pure: the clock is an argument. A policy knows what most renewers do; the habit of an item is what its own
renewer does. Times are seconds since the epoch, durations are seconds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from statistics import median_high, median_low
from typing import NamedTuple

from exporter.model.observation import Facts, Item
from exporter.model.policies import DAY, HOUR, lateness
from exporter.model.reasons import SIGNED, Kind

ENOUGH = 3
"""Renewals from which a habit is learned."""


REMEMBERED = 7
"""Renewals of an item that are remembered: a new rhythm replaces an old one in time."""


REGULAR = 2 / 3
"""Share of the renewals that must agree: one or two by hand, or late, do not make a habit unknown."""


ROLLOUT = 3 * HOUR
"""Seconds for which the old and the new item may be seen by turns: a deployment over several servers."""


TOLERANCE = 1 / 3
"""Share of the rhythm by which a renewal may differ from it, and by which the next one may be late."""


WORKING_DAYS = 5 * DAY
"""Seconds in which there is a weekend. What is made anew on working days has a pause then."""


WEEKEND = 2 * DAY
"""Seconds by which a weekend is longer than other pauses. One that is not known yet may be as much longer."""


HOLIDAYS = 3 * DAY
"""Seconds by which a weekend may be longer than the longest one that is known."""


PAUSES_FOR = 35 * DAY
"""Seconds for which the longest pauses are remembered, longer than that of the renewals of a fast rhythm."""


PAUSES = 4
"""Most pauses that are remembered."""


BY_THE_CLOCK = SIGNED | {Kind.METADATA}
"""Kinds that a machine makes anew by the clock, often many times in their lifetime."""


LEARNED = BY_THE_CLOCK | {Kind.LEAF, Kind.SSH}
"""
Kinds whose habit is learned. An intermediate comes with its leaf; people renew authorities and domains.
"""


class Replacement(NamedTuple):
    """
    One renewal that was seen.
    """

    age: float
    """Age of the old item when the new one took its place."""
    left: float
    """Time left of the old item then; negative when it came after the end."""


@dataclass(frozen=True, slots=True)
class Habit:
    """
    The renewals of one item.
    """

    newest: float
    """Begin of the newest item that was seen."""
    at: float
    """Time at which that was first seen."""
    renewals: tuple[Replacement, ...] = ()
    """The latest ones, oldest first."""
    since: float | None = None
    """Time of the first renewal that was seen; None before it."""
    pauses: tuple[tuple[float, float], ...] = ()
    """The longest ages at which the item was last seen before a renewal, each with its time: a shorter one
    counts once the longer ones are forgotten."""

    @property
    def rhythm(self) -> float | None:
        """
        The usual age at which the item is renewed; None while no regular one is known.
        """
        if len(self.renewals) < ENOUGH:
            return None
        usual = median_high(one.age for one in self.renewals)
        regular = sum(abs(one.age - usual) <= usual * TOLERANCE for one in self.renewals)
        return usual if regular >= max(ENOUGH, REGULAR * len(self.renewals)) else None


Habits = Mapping[str, Habit]
"""By item name."""


@dataclass(frozen=True, slots=True)
class Usual:
    """
    The times of an item's next renewal, if that goes as usual.
    """

    due: float
    """Time from which the renewal is late."""
    warning: float
    """Time at which it is so late that a person should know."""
    left: float
    """Least time that is usually left of this item at its renewal."""


def learned(habits: Habits, before: Facts, after: Facts, seen: float, now: float) -> Habits:
    """
    Return the habits of an endpoint whose facts changed; `before` was last seen at `seen`, `after` at `now`.

    A renewal begins later and ends later than what it replaces. When an older item is back after more than a
    deployment takes, several are served by turns or somebody rolled back: nothing is known from then on.
    """
    there = {item.name: item for item in before.items if item.kind in LEARNED}
    found = dict(habits)
    for new in after.items:
        old = there.get(new.name)
        if old is None or old.kind is not new.kind or new.not_before == old.not_before:
            continue
        known = habits.get(new.name) or Habit(old.not_before, now)
        if new.not_before > known.newest:
            found[new.name] = replace(_with(known, old, new, seen, now), newest=new.not_before, at=now)
        elif new.not_before < known.newest and now - known.at >= ROLLOUT:
            found[new.name] = Habit(known.newest, known.at)
    # The same object while nothing is learned: the verdict is that of before where servers take turns.
    return found if found != habits else habits


def _with(known: Habit, old: Item, new: Item, seen: float, now: float) -> Habit:
    lifetime = old.not_after - old.not_before
    if lifetime <= 0 or new.not_after <= old.not_after:
        return known
    # The new one is there from its begin on, or is brought here later. Probes may have missed some between.
    age = max(new.not_before, seen) - old.not_before
    if known.renewals and now - known.at < age * TOLERANCE:
        # Another server behind this place, whose own one was as old. The next renewal takes its time.
        return known
    # While nobody looked for long, others may have come and gone: that is no pause.
    pause = age if now - seen <= DAY else seen - old.not_before
    longer = [one for one in known.pauses if one[1] > pause and 0 <= now - one[0] < PAUSES_FOR]
    return replace(
        known,
        renewals=(*known.renewals, Replacement(age, lifetime - age))[-REMEMBERED:],
        since=now if known.since is None else known.since,
        pauses=(*longer, (now, pause))[-PAUSES:],
    )


def usual(habit: Habit, item: Item) -> Usual | None:
    """
    Return when the item is usually renewed; None while no habit is known, or for an item without a lifetime.

    Nobody knows whether a renewer counts the days since the last time, the days left, or a share of the
    lifetime: where the lifetime has changed, the latest of the three counts.
    """
    lifetime = item.not_after - item.not_before
    if habit.rhythm is None or lifetime <= 0:
        return None
    lefts = [min(one.left, one.left / (one.age + one.left) * lifetime) for one in habit.renewals]
    left = median_low(lefts)
    least = median_low(
        min(by_left, lifetime - one.age) for by_left, one in zip(lefts, habit.renewals, strict=True)
    )
    age = lifetime - least
    slack = max(min(age, least), 0.0) * TOLERANCE
    grace = lateness(lifetime)
    if item.kind in BY_THE_CLOCK:
        # So many come in one lifetime that one may be left out.
        grace = max(grace, age)
    # The longest that passed lately: a rhythm may change.
    longest = min(max(one.age for one in habit.renewals), lifetime)
    if item.kind in BY_THE_CLOCK:
        longest = _longest_pause(habit, age)
    due, warning = age + slack, max(age + max(slack + grace, DAY), longest + slack)
    if item.kind not in BY_THE_CLOCK:
        # As by policy: who installs something anew each week is not bound to do so for ever.
        warning = max(warning, lifetime / 2)
    return Usual(item.not_before + due, item.not_before + warning, left)


def _longest_pause(habit: Habit, age: float) -> float:
    """
    Return the age that an item may have after a pause, of one that is usually made anew at this age.

    On working days there are weekends, and weekends with holidays. Whether there are is known when nothing
    was left out for longer than the working days of a week.
    """
    longest = max((pause for _, pause in habit.pauses), default=0.0)
    # Shorter pauses have shorter exceptions.
    longest += min(max(longest - age, 0.0) / WEEKEND, 1) * HOLIDAYS
    if habit.since is None or habit.at - habit.since + age < WORKING_DAYS:
        longest = max(longest, age + 2 * WEEKEND)
    return longest
