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
                there[before].leave(look, back=back, renewed=renewed)
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
    one.leave(1 + looks, back=False, renewed=False)
    assert one.patience == gone


def test_what_was_issued_since_is_a_renewal_at_once() -> None:
    """
    However few looks there were.
    """
    assert walk("bg", renewed=True) == [True, False]


RUNS = 100
"""Of each simulation, all with numbers of their own."""


def by_chance(dice: random.Random, share: float, looks: int) -> str:
    """
    A row of looks with this share of `b`.
    """
    return "".join("b" if dice.random() < share else "g" for _ in range(looks))


@pytest.mark.parametrize(
    ("servers", "well", "most"),
    [(2, 1, 0), (5, 500, 0), (20, 500, 1), (40, 1, 3), (40, 500, 3), (100, 500, 10)],
)
def test_what_has_its_turns_by_chance_counts_all_the_time(servers: int, well: int, most: int) -> None:
    """
    One of so many, from its first look on, over a day of a look a minute.

    After few turns its share is not known well: some runs take the absences of one of many for its end.
    """
    dice, resolved = random.Random(servers), 0
    for _ in range(RUNS):
        row = "g" * well + by_chance(dice, 1 / servers, 1440)
        resolved += not all(walk(row)[row.find("b") :])
    assert resolved <= most


@pytest.mark.parametrize(
    ("servers", "usual", "longest"),
    [(2, 35, 50), (5, 70, 110), (40, 460, 1000)],
)
def test_what_had_its_turns_is_gone_after_looks_that_its_share_makes_certain(
    servers: int, usual: int, longest: int
) -> None:
    """
    It is not kept for hours because it once had its turns.
    """
    dice = random.Random(servers)
    rows = [by_chance(dice, 1 / servers, 1440) for _ in range(RUNS)]
    stayed = sorted(sum(walk(row + "g" * 1100)[row.rindex("b") :]) for row in rows)
    assert stayed[RUNS // 2] <= usual
    assert stayed[-1] <= longest


def rollout(dice: random.Random, servers: int, looks: int, left: int) -> str:
    """
    A row of looks while so many servers are renewed one after the other, but the last ones that are `left`.
    """
    return "".join(
        "b" if dice.random() < max(left, servers - look * servers // looks) / servers else "g"
        for look in range(looks)
    )


@pytest.mark.parametrize(("servers", "most"), [(5, 0), (10, 4), (20, 25)])
def test_one_that_a_rollout_forgot_counts_all_the_time(servers: int, most: int) -> None:
    """
    Its share falls to that of one of all within an hour of looks: of many, some runs miss it then.
    """
    dice, resolved = random.Random(servers), 0
    for _ in range(RUNS):
        row = rollout(dice, servers, 60, 1) + by_chance(dice, 1 / servers, 500)
        # The first change would be a renewal.
        resolved += not all(walk(row)[row.index("gb") + 1 :])
    assert resolved <= most


@pytest.mark.parametrize("looks", [10, 60, 600])
@pytest.mark.parametrize("servers", [5, 20])
def test_a_rollout_over_all_is_over_about_an_hour_of_looks_later(servers: int, looks: int) -> None:
    """
    Usually; a quick one shows few turns, from which it may seem that it takes longer.
    """
    dice = random.Random(looks)
    rows = ["b" * 100 + rollout(dice, servers, looks, 0) + "g" * 500 for _ in range(RUNS)]
    stayed = sorted(sum(walk(row)[100 + looks :]) for row in rows)
    assert stayed[RUNS // 2] <= 90
    assert stayed[-1] <= 140


@pytest.mark.parametrize("hour", [5, 12, 60, 240])
def test_what_comes_every_other_hour_counts_from_its_first_hour_on(hour: int) -> None:
    """
    It is expected to stay away for as long as it was there, or three times as long.
    """
    for away in (1, 2, 3):
        row = "g" * hour + ("b" * hour + "g" * away * hour) * 5
        assert all(walk(row)[hour:])


def undone(looks: int, moment: int) -> bool:
    """
    Whether one that was shown by so many looks, a minute apart, is back after a moment of the other.
    """
    other = Sightings(1 + looks, 60.0 * looks)
    is_brief = was_brief(other, Sightings(1, 0.0, left=looks), 60.0 * (looks + moment))
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


def test_what_comes_after_others_is_no_moment_of_what_left_long_before() -> None:
    """
    A short turn is one, though nobody was there for as long as what had its turn before that of the others.
    """
    before, turn = Sightings(1, 0.0, left=10), Sightings(111, 6600.0)
    assert not was_brief(turn, before, 7200.0)
    before.left = 110
    assert was_brief(turn, before, 7200.0)


def test_what_was_undone_is_gone_like_after_a_first_change() -> None:
    """
    And what is back is as if it had never been away.
    """
    back, wrong = Sightings(1, 0.0), Sightings(2001, 1000.0)
    back.leave(2001, back=False, renewed=False)
    wrong.leave(2041, back=True, renewed=False, brief=True)
    back.come_back(2041, 1100.0, undone=True)
    assert (wrong.patience, wrong.is_due(2041, 0)) == (1, False)
    assert (back.came, back.since, back.left, back.returns) == (1, 0.0, 0, 0)


@pytest.mark.parametrize(("interval", "gone"), [(60.0, 126), (900.0, 16), (3600.0, 4), (86400.0, 1)])
def test_what_was_there_for_one_look_is_gone_after_hours_at_most(interval: float, gone: int) -> None:
    """
    However far the looks are apart, if nothing else was there for long before.
    """
    one = Sightings(100, 99 * interval)
    one.leave(101, back=True, renewed=False, brief=True)
    due = [look for look in range(101, 500) if one.is_due(look, (look - 100) * interval)]
    assert len(due) == gone - 1


@pytest.mark.parametrize(("run", "gone"), [(1, 349), (2, 88), (3, 39), (4, 22), (5, 18), (60, 183)])
def test_what_came_between_others_is_due_for_longer_the_fewer_looks_it_had_or_for_three_more_turns(
    run: int, gone: int
) -> None:
    """
    A few looks may be a small share of all; one of four that come for hours is away for three times as long.
    """
    one = Sightings(100)
    one.leave(100 + run, back=True, renewed=False)
    due = [look for look in range(100 + run, 600) if one.is_due(look, 0)]
    assert len(due) == gone - 1


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
