"""
Turns: who is next, and that nobody waits for ever.
"""

import pytest

from exporter.net.turns import NEVER, Turns


def drain(turns: Turns[str]) -> list[str]:
    """
    Who is next, one at a time, each done before the next one.
    """
    found = []
    while (job := turns.next()) is not None:
        found.append(job.work)
        turns.over(job)
    return found


def test_of_the_rest_what_waited_longest_is_next() -> None:
    """
    What never had a turn is first of all; what waited equally long goes by the order that is given.
    """
    turns: Turns[str] = Turns(8)
    for work, last_turn, order in (
        ("late", 9.0, 0),
        ("never-2", NEVER, 2),
        ("early", 1.0, 5),
        ("never-1", NEVER, 1),
    ):
        turns.add(work, last_turn, order, quick=False)
    assert drain(turns) == ["never-1", "never-2", "early", "late"]


@pytest.mark.parametrize(("places", "certain", "most"), [(1, 1, 1), (2, 1, 1), (8, 2, 7), (256, 64, 224)])
def test_the_rest_has_some_places_for_certain_and_never_all(places: int, certain: int, most: int) -> None:
    """
    With quick ones waiting it gets a quarter, alone it leaves an eighth free; one of each at the least.
    """
    busy: Turns[str] = Turns(places)
    for number in range(2 * busy.places):
        busy.add("quick", 0.0, number, quick=True)
        busy.add("rest", 0.0, number, quick=False)
    taken = [job.work for job in iter(busy.next, None)]
    assert len(taken) == busy.places == max(2, places)
    assert taken.count("rest") == busy.certain == certain

    alone: Turns[str] = Turns(places)
    for number in range(2 * alone.places):
        alone.add("rest", 0.0, number, quick=False)
    assert len(list(iter(alone.next, None))) == alone.most == most
    alone.add("quick", 0.0, 0, quick=True)
    job = alone.next()
    assert job is not None
    assert job.work == "quick"


def test_a_place_that_is_given_back_is_taken_by_the_next() -> None:
    """
    A class that had as many as it may goes on when one of its own is over.
    """
    turns: Turns[str] = Turns(2)
    for work in ("a", "b"):
        turns.add(work, 0.0, 0, quick=False)
    first = turns.next()
    assert first is not None
    assert turns.next() is None
    turns.over(first)
    second = turns.next()
    assert second is not None
    assert (first.work, second.work) == ("a", "b")


def test_what_is_not_wanted_any_more_waits_no_more() -> None:
    """
    The others keep their order.
    """
    turns: Turns[str] = Turns(4)
    for number, work in enumerate("abcdef"):
        turns.add(work, float(-number), 0, quick=work in "abc")
    turns.keep(lambda work: work not in "bf")
    assert len(turns) == 4
    assert sorted(drain(turns)) == ["a", "c", "d", "e"]
