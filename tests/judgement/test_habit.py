"""
Habits: what is learned from renewals, and what it makes of deadlines.
"""

from collections.abc import Sequence
from itertools import accumulate, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.judgement.habit import REMEMBERED, ROLLOUT, Habit, Habits, learned, usual
from exporter.judgement.verdicts import Deadlines, judge_item
from exporter.model.observation import Facts, Item, Renewal
from exporter.model.policies import AUTOMATIC, CRL, DAY, HOUR, MANUAL, Policy
from exporter.model.reasons import Kind

NAME = "it"


def facts(begin: float, lifetime: float, kind: Kind = Kind.CRL) -> Facts:
    """
    One item that begins then.
    """
    return Facts((Item(NAME, kind, begin, begin + lifetime),))


def watched(
    begins: Sequence[float], lifetime: float = 10 * DAY, interval: float = HOUR, kind: Kind = Kind.CRL
) -> Habits:
    """
    The habits that are learned by a probe in each interval, until the last item is seen.
    """
    habits: Habits = {}
    before, seen, now = facts(begins[0], lifetime, kind), begins[0], begins[0]
    while before.items[0].not_before < begins[-1]:
        now += interval
        after = facts(max(begin for begin in begins if begin <= now), lifetime, kind)
        if after != before:
            habits = learned(habits, before, after, seen, now)
        before, seen = after, now
    return habits


def rhythm(*ages: float, interval: float = HOUR) -> float | None:
    """
    The rhythm that is learned of items that had these ages in days when they were renewed, in days too.
    """
    habits = watched(list(accumulate((age * DAY for age in ages), initial=0.0)), interval=interval)
    found = habits[NAME].rhythm
    return None if found is None else found / DAY


def deadlines(
    kind: Kind,
    lifetime: float,
    ages: Sequence[float],
    policy: Policy = AUTOMATIC,
    renewal: float | None = None,
) -> tuple[float, float, float]:
    """
    The time left at the three deadlines of an item that was renewed at these ages; all in days.
    """
    begins = list(accumulate((age * DAY for age in ages), initial=0.0))
    habit = watched(begins, lifetime * DAY, kind=kind).get(NAME)
    (item,) = facts(begins[-1], lifetime * DAY, kind).items
    if renewal is not None:
        item = Item(
            NAME, kind, item.not_before, item.not_after, None, Renewal(item.not_after - renewal * DAY)
        )
    found = judge_item(item, None, policy, habit)
    assert found is not None
    times = found.renewal_due, found.warning, found.critical
    due, warning, critical = ((item.not_after - time) / DAY for time in times)
    return due, warning, critical


@pytest.mark.parametrize(
    ("ages", "expected"),
    [
        ([1, 1], None),
        ([1, 1, 1], 1),
        # One by hand among them, one late.
        ([1, 1, 0.3, 1], 1),
        ([1, 1, 1, 0.3, 0.7, 1], 1),
        ([7, 7, 9, 7], 7),
        ([1, 1, 1, 5], 1),
        # A new rhythm is none until it has been one for a while.
        ([1, 1, 1, 3, 3, 3], None),
        ([1, 1, 1, 3, 3, 3, 3, 3], 3),
        # None at all.
        ([0.1, 2, 0.4, 1, 3], None),
    ],
)
def test_a_rhythm_is_what_most_renewals_have(ages: list[float], expected: float | None) -> None:
    """
    Of three at least.
    """
    assert rhythm(*ages) == (pytest.approx(expected) if expected is not None else None)


@pytest.mark.parametrize("interval", [HOUR, 10 * HOUR, DAY, 1.2 * DAY, 2 * DAY, 3.4 * DAY, 5.5 * DAY])
def test_the_rhythm_is_never_taken_for_shorter_than_it_is(interval: float) -> None:
    """
    However far the probes are apart: what they miss makes it longer.
    """
    found = rhythm(*[1] * 60, interval=interval)
    assert found is not None
    assert 1 <= found <= max(1, interval / DAY + 1)


def test_what_is_brought_there_late_is_as_old_as_it_was_seen() -> None:
    """
    A certificate that is installed five days after it was issued: the old one stays for as long.
    """
    old, new = facts(0, 90 * DAY, Kind.LEAF), facts(60 * DAY, 90 * DAY, Kind.LEAF)
    (replacement,) = learned({}, old, new, 65 * DAY, 65 * DAY + HOUR)[NAME].renewals
    assert replacement == (65 * DAY, 25 * DAY)


def test_only_the_latest_renewals_are_remembered() -> None:
    """
    The state of a list that is made each hour stays small.
    """
    habits = watched([HOUR * number for number in range(50)], interval=HOUR / 2)
    assert len(habits[NAME].renewals) == REMEMBERED


def test_what_is_served_by_turns_has_no_habit() -> None:
    """
    An older one that is back hours later: several stand there, or somebody rolled back.
    """
    habits = watched([0, DAY, 2 * DAY, 3 * DAY])
    assert habits[NAME].rhythm == DAY
    new, old = facts(3 * DAY, 10 * DAY), facts(2 * DAY, 10 * DAY)
    soon = learned(habits, new, old, 3 * DAY + HOUR, 3 * DAY + ROLLOUT - 1)
    assert soon[NAME].rhythm == DAY
    later = learned(habits, new, old, 3 * DAY + HOUR, 3 * DAY + ROLLOUT)
    assert later[NAME].rhythm is None
    # What comes again is no renewal. Else each turn would be judged anew.
    assert learned(soon, old, new, 3 * DAY + HOUR, 3 * DAY + 2 * HOUR) is soon


def test_another_lifetime_alone_is_no_renewal() -> None:
    """
    It ends earlier: a replacement that is not one of the same habit.
    """
    assert learned({}, facts(0, 90 * DAY), facts(DAY, 7 * DAY), 0, DAY)[NAME].renewals == ()


@pytest.mark.parametrize("kind", [Kind.INTERMEDIATE, Kind.ROOT, Kind.AUTHORITY, Kind.REGISTRATION])
def test_what_people_renew_or_comes_with_a_leaf_is_not_learned(kind: Kind) -> None:
    """
    It would cost memory for nothing.
    """
    assert watched([0, DAY], kind=kind) == {}


# Days left when renewal is due, at the warning, and when it is critical. By hand.
@pytest.mark.parametrize(
    ("kind", "policy", "lifetime", "ages", "expected"),
    [
        # Due a third of a day after the next day; one day may be left out.
        (Kind.CRL, CRL, 10, [1] * 9, (10 - 4 / 3, 10 - 7 / 3, 0.25)),
        # Until five days are over nobody knows whether there will be a weekend, and a longer one.
        (Kind.CRL, CRL, 10, [1] * 4, (10 - 4 / 3, 10 - 16 / 3, 0.25)),
        (Kind.CRL, CRL, 10, [1] * 5, (10 - 4 / 3, 10 - 7 / 3, 0.25)),
        # On working days: a longer weekend after each of four weeks, with three holidays.
        (Kind.CRL, CRL, 10, [3, 1, 1, 1, 1] * 3, (10 - 4 / 3, 10 - 19 / 3, 0.25)),
        # A weekend that is more than five weeks ago is forgotten.
        (Kind.CRL, CRL, 10, [1, 1, 3, *[1] * 37], (10 - 4 / 3, 10 - 7 / 3, 0.25)),
        # Each hour: a day at least; in office hours, also over a weekend.
        (Kind.CRL, CRL, 4, [1 / 24] * 170, (4 - 1 / 18, 4 - 25 / 24, 0.1)),
        (
            Kind.CRL,
            CRL,
            7,
            [*[*[1 / 24] * 8, 16 / 24] * 4, *[1 / 24] * 8, 64 / 24] * 2,
            (7 - 1 / 18, 7 - 5.68056, 0.175),
        ),
        # A third of what is left, and 1/20 of the lifetime, five days at most.
        (Kind.LEAF, AUTOMATIC, 395, [335] * 3, (40, 35, 7)),
        # Not in the first half.
        (Kind.LEAF, AUTOMATIC, 90, [30] * 3, (50, 45, 7)),
        # The policy is earlier.
        (Kind.LEAF, AUTOMATIC, 90, [60] * 3, (30, 25.5, 7)),
        (Kind.LEAF, AUTOMATIC, 90, [45] * 3, (30, 25.5, 7)),
        # Not enough is known.
        (Kind.LEAF, AUTOMATIC, 395, [335] * 2, (30, 25, 7)),
        # People have no habits.
        (Kind.LEAF, MANUAL, 395, [335] * 3, (45, 45, 21)),
        # With a tenth left: two thirds and a half of that, or half of what is critical by policy.
        (Kind.LEAF, AUTOMATIC, 90, [81] * 3, (9, 6, 4.5)),
        (Kind.LEAF, AUTOMATIC, 32, [28.8] * 3, (3.2, 3.2 * 2 / 3, 2)),
        (Kind.LEAF, AUTOMATIC, 3, [2.7] * 3, (0.3, 0.2, 0.1875)),
        # With nothing left: half of what is critical by policy.
        (Kind.LEAF, AUTOMATIC, 90, [89] * 3, (3.5, 3.5, 3.5)),
        # After the end: that is no habit.
        (Kind.LEAF, AUTOMATIC, 90, [92] * 3, (30, 25.5, 7)),
    ],
)
def test_deadlines_by_habit(
    kind: Kind, policy: Policy, lifetime: float, ages: list[float], expected: tuple[float, float, float]
) -> None:
    """
    Earlier or later than by policy.
    """
    habit_of_it = ages if policy.habit else []
    assert deadlines(kind, lifetime, habit_of_it, policy) == pytest.approx(expected, abs=1e-3)


def test_the_word_of_the_issuer_goes_before_a_late_habit_and_an_early_habit_before_that() -> None:
    """
    An issuer that wants it renewed with 30 days left is late when others are.
    """
    assert deadlines(Kind.LEAF, 90, [81] * 3, renewal=30) == pytest.approx((30, 25.5, 7))
    assert deadlines(Kind.LEAF, 395, [335] * 3, renewal=30) == pytest.approx((40, 35, 7))


@pytest.mark.parametrize(("before", "after"), [(90, 45), (45, 90), (398, 200), (200, 398), (47, 398)])
@pytest.mark.parametrize("renewer", ["share", "left", "age"])
def test_another_lifetime_is_no_reason_to_be_late(before: float, after: float, renewer: str) -> None:
    """
    Whether the renewer goes by a share of the lifetime, by the days left or by the days since the last time.
    """
    age = before * 2 / 3
    due = {"share": after * 2 / 3, "left": after - before / 3, "age": age}[renewer]
    begins = [0.0, age * DAY, 2 * age * DAY, 3 * age * DAY]
    habit = watched(begins, before * DAY, kind=Kind.LEAF)[NAME]
    expected = usual(habit, Item(NAME, Kind.LEAF, 0, after * DAY))
    assert expected is not None
    assert expected.due > due * DAY or due >= after


@given(
    st.sampled_from([(Kind.CRL, CRL), (Kind.LEAF, AUTOMATIC)]),
    st.floats(HOUR, 400 * DAY),
    st.lists(st.floats(0.01, 1.5), min_size=3, max_size=9),
    st.floats(0.2, 3),
)
def test_deadlines_are_in_order_and_within_their_bounds(
    kinds: tuple[Kind, Policy], lifetime: float, shares: list[float], longer: float
) -> None:
    """
    Whatever was learned: never critical earlier than by policy, nor at less than half of what that leaves.
    """
    kind, policy = kinds
    begins = list(accumulate((share * lifetime for share in shares), initial=0.0))
    habits: Habits = {}
    for before, after in pairwise(begins):
        old, new = facts(before, lifetime, kind), facts(after, lifetime, kind)
        habits = learned(habits, old, new, after, after)
    (item,) = facts(begins[-1], lifetime * longer, kind).items
    by_policy = judge_item(item, None, policy)
    found = judge_item(item, None, policy, habits[NAME])
    assert by_policy is not None
    assert found is not None
    assert found.renewal_due <= found.warning <= found.critical <= item.not_after
    assert by_policy.critical <= found.critical
    assert item.not_after - found.critical >= (item.not_after - by_policy.critical) * 0.499
    expected = usual(habits[NAME], item)
    if found.warning > by_policy.warning:
        assert expected is not None
        assert item.not_after - found.warning >= expected.left / 2


@given(
    st.floats(HOUR, 30 * DAY),
    st.floats(1.5, 40),
    st.lists(st.floats(0.99, 1.01), min_size=4, max_size=12),
    st.floats(0.05, 2.9),
    st.sampled_from([Kind.CRL, Kind.LEAF]),
)
def test_who_keeps_his_rhythm_is_never_late_by_it(
    age: float, lifetimes: float, shares: list[float], interval: float, kind: Kind
) -> None:
    """
    At any interval of probes, in the order of the rhythm or far below it.
    """
    lifetime, apart = age * lifetimes, age * interval
    begins = list(accumulate((share * age for share in shares), initial=0.0))
    habits: Habits = {}
    before, seen = facts(begins[0], lifetime, kind), 0.0
    for step in range(1, int(begins[-1] / apart) + 1):
        now = step * apart
        after = facts(max(begin for begin in begins if begin <= now), lifetime, kind)
        if after != before:
            habits = learned(habits, before, after, seen, now)
        before, seen = after, now
        expected = usual(habits[NAME], after.items[0]) if NAME in habits else None
        assert expected is None or expected.warning > now


def test_an_item_without_a_lifetime_has_no_habit() -> None:
    """
    A broken certificate that ends before it begins.
    """
    habit = Habit(0.0, 0.0, watched([0, DAY, 2 * DAY, 3 * DAY])[NAME].renewals)
    assert usual(habit, Item(NAME, Kind.CRL, 5 * DAY, 4 * DAY)) is None
    assert learned({}, facts(0, -DAY), facts(DAY, DAY), 0, DAY)[NAME].renewals == ()
    broken = judge_item(Item(NAME, Kind.CRL, 0, -1), None, CRL, habit)
    assert broken == Deadlines(-1, -1, -1)


def test_a_rollout_over_several_servers_is_one_renewal() -> None:
    """
    Five servers behind one address are renewed within the hour, all five days before the end: that is late
    once, and no habit of renewing late, which would silence those whose turn has not come.
    """
    lifetime = 90 * DAY
    habits: Habits = {}
    old = [facts(number * HOUR, lifetime, Kind.LEAF) for number in range(5)]
    now = 85 * DAY
    for number, before in enumerate(old):
        now += 600.0
        after = facts(now - 60.0, lifetime, Kind.LEAF)
        habits = learned(habits, before, after, now, now)
        # The other servers' turns come between.
        for other in old[number + 1 :]:
            habits = learned(habits, after, other, now + 15.0, now + 15.0)
            habits = learned(habits, other, after, now + 30.0, now + 30.0)
    assert habits[NAME].rhythm is None
    assert len(habits[NAME].renewals) == 1
