"""
How long something may not be seen before it is gone.
"""

import random

import pytest

from exporter.engine.sightings import LOOKS_KEPT, RECENT, Sightings, is_long, was_brief
from exporter.model.policies import DAY


def walk(row: str, *, renewed: bool = False) -> list[bool]:
    """
    Whether `b` counts after each look of a row of looks, each of which shows one of two.
    """
    there: dict[str, Sightings] = {}
    counts = []
    before = ""
    for look, what in enumerate(row, 1):
        if what != before:
            back = what in there
            if before:
                there[before].leave(look, 60.0 * look, back=back, renewed=renewed)
            if back:
                there[what].come_back(look, 0)
            else:
                there[what] = Sightings(look)
        before = what
        counts.append(what == "b" or ("b" in there and there["b"].is_due(look, 0)))
    return counts


@pytest.mark.parametrize(("looks", "gone"), [(1, 42), (2, 23), (5, 5), (10, 3), (36, 2), (37, 1), (10**9, 1)])
def test_a_first_change_is_a_renewal_the_sooner_the_longer_nothing_else_was_seen(
    looks: int, gone: int
) -> None:
    """
    After a single look nobody can tell; after 37, at once.
    """
    one = Sightings(1)
    one.leave(1 + looks, 0, back=False, renewed=False)
    assert one.patience == gone


def test_what_was_issued_since_is_a_renewal_at_once() -> None:
    """
    However few looks there were.
    """
    assert walk("bg", renewed=True) == [True, False]


@pytest.mark.parametrize("share", [0.5, 0.2, 0.1])
@pytest.mark.parametrize("seed", range(5))
def test_what_has_its_turns_by_chance_counts_all_the_time(share: float, seed: int) -> None:
    """
    From its first look on, over a thousand.
    """
    dice = random.Random(seed)
    row = "".join("b" if dice.random() < share else "g" for _ in range(1000))
    first = row.index("b")
    assert all(walk(row)[first:])


@pytest.mark.parametrize("hour", [5, 12, 60, 240])
def test_what_comes_every_other_hour_counts_from_its_first_hour_on(hour: int) -> None:
    """
    It is expected to stay away for as long as it was there.
    """
    row = ("g" * hour + "b" * hour) * 5
    assert all(walk(row)[hour:])


def undone(looks: int, moment: int) -> bool:
    """
    Whether one that was shown by so many looks, a minute apart, is back after a moment of the other.
    """
    other = Sightings(1 + looks, 60.0 * looks)
    is_brief = was_brief(other, Sightings(1, 0.0), 60.0 * (looks + moment))
    return is_brief and is_long(other, 1 + looks + moment)


@pytest.mark.parametrize(
    ("looks", "moment", "expected"),
    # A few looks may be by chance; what takes turns by the hour is there for as long.
    [(1440, 40, True), (1440, 4, True), (1440, 3, False), (60, 60, False), (300, 60, False), (360, 60, True)],
)
def test_a_change_that_was_undone_after_a_moment_is_no_turn(
    looks: int,
    moment: int,
    expected: bool,
) -> None:
    """
    A fifth of the time for which what is back was there before.
    """
    assert undone(looks, moment) is expected


def test_what_was_undone_is_gone_like_after_a_first_change() -> None:
    """
    And what is back is as if it had never been away.
    """
    back, wrong = Sightings(1, 0.0), Sightings(2001, 1000.0)
    back.leave(2001, 1000.0, back=False, renewed=False)
    wrong.leave(2041, 1100.0, back=True, renewed=False, brief=True)
    back.come_back(2041, 1100.0, undone=True)
    assert (wrong.patience, wrong.is_due(2041, 0)) == (1, False)
    assert (back.came, back.since, back.left, back.returns) == (1, 0.0, 0, 0)


@pytest.mark.parametrize(("interval", "gone"), [(60.0, 42), (900.0, 16), (3600.0, 4), (86400.0, 1)])
def test_what_was_there_for_one_look_is_gone_after_hours_at_most(interval: float, gone: int) -> None:
    """
    However far the looks are apart, if nothing else was there for long before.
    """
    one = Sightings(100, 99 * interval)
    one.leave(101, 100 * interval, back=True, renewed=False, brief=True)
    assert one.patience == gone


@pytest.mark.parametrize(("share", "longest"), [(0.5, 30), (0.2, 120), (0.1, 250)])
def test_what_had_its_turns_is_gone_after_looks_that_its_share_makes_certain(
    share: float, longest: int
) -> None:
    """
    It is not kept for hours because it once had its turns.
    """
    dice = random.Random(4)
    row = "".join("b" if dice.random() < share else "g" for _ in range(500)) + "g" * 500
    assert not any(walk(row)[row.rindex("b") + longest :])


def test_turns_of_before_are_forgotten() -> None:
    """
    When another server is left out of its turns, the rest is counted anew after a few returns.
    """
    often, rarely = "gb" * 500, ("g" * 9 + "b") * 100
    counts = walk(often + rarely)
    assert all(counts[len(often) + 10 * RECENT :])


def test_nothing_counts_for_longer_than_a_day_of_a_hundred_looks() -> None:
    """
    However rarely it comes.
    """
    one = Sightings(1, left=1, returns=1, missed=10**6, patience=10**7)
    assert one.is_due(10**5, DAY - 1)
    assert one.is_due(LOOKS_KEPT, 10 * DAY)
    assert not one.is_due(LOOKS_KEPT + 1, DAY)
