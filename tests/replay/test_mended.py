"""
Faults that are put right: each is told for as long as it is there, and over soon after it.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from exporter.demo.minter import mint, root
from exporter.model.observation import Facts, Observed
from exporter.model.policies import DAY, HOUR
from tests.replay.promtool import firings
from tests.replay.test_fleets import Fleet as Looks
from tests.replay.test_fleets import balanced, of_age, renewed, told
from tests.replay.timeline import (
    MINUTE,
    YEAR,
    Fleet,
    Place,
    Seeing,
    fleet,
    leaf,
    place,
    presented,
    record,
    served,
    target,
)

HOST = "fleet.example.com"
URL = f"https://{HOST}"

REFUSED = f"{URL} not_trusted critical"


def default() -> Facts:
    """
    What an ingress shows that has no certificate.
    """
    return presented(mint("ingress.local", ["ingress.local"], not_before=-HOUR, not_after=YEAR))


def staging() -> Facts:
    """
    A certificate of an authority for tests.
    """
    above = root("(STAGING) Pretend Pear", not_before=-YEAR, not_after=9 * YEAR)
    return presented(leaf(HOST, -HOUR, 90 * DAY, above), above)


@dataclass(frozen=True, slots=True)
class Mistake:
    """
    What was there for a while.
    """

    wrong: Callable[[], Facts]
    begin: float
    lasts: float
    problem: str = "not_trusted critical"
    after: float = 2 * HOUR
    """Seconds after the mend within which it is over, also if few looks saw it."""


MISTAKES = {
    "a default certificate for an hour": Mistake(default, 6 * HOUR, HOUR),
    "another site's for 40 minutes": Mistake(
        lambda: of_age(1, names="other.example.com"), DAY, 40 * MINUTE, after=4 * HOUR
    ),
    "an authority for tests for three hours": Mistake(staging, DAY, 3 * HOUR),
    "an expired one of another name for a night": Mistake(
        lambda: of_age(100, names="old.example.com"), 3 * DAY, 9 * HOUR, "passed critical"
    ),
    # It may as well be the first turn of a server that was left behind.
    "the one of before for three hours": Mistake(
        lambda: of_age(88), 4 * DAY, 3 * HOUR, "soon critical", 4 * HOUR
    ),
}


def schedules(one: Mistake) -> list[Place]:
    """
    The earlier one is back; another one is there instead; a name led elsewhere.
    """
    good, wrong, end = of_age(10), one.wrong(), one.begin + one.lasts

    def elsewhere(now: float) -> Seeing:
        if one.begin <= now < end:
            return {"198.51.100.7:443": Observed(wrong)}
        return {"192.0.2.1:443": Observed(good)}

    return [
        place(URL, [(0, good), (one.begin, wrong), (end, good)]),
        place(URL, [(0, good), (one.begin, wrong), (end, of_age(20))]),
        Place(target(URL), elsewhere),
    ]


@pytest.mark.parametrize("restarts", [(), (0.4, 1.05)], ids=["one run", "restarts"])
@pytest.mark.parametrize("interval", [5 * MINUTE, 15 * MINUTE])
@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_over_when_it_was_put_right(name: str, interval: float, restarts: tuple[float]) -> None:
    """
    Not after as long again as it lasted. Before that it is told in each scrape.
    """
    one = MISTAKES[name]
    end = one.begin + one.lasts
    for there in schedules(one):
        looks = Looks([there], end + one.lasts + one.after, interval)
        found = told(looks, [(end * share, True) for share in restarts])
        steps = [step * interval for step in range(int(looks.until // interval) + 1)]
        assert [now for now in steps if one.begin <= now < end] == [
            now for now in found[f"{URL} {one.problem}"] if now < end
        ]
        # Of what few looks saw, it takes some to know that it is not one of several.
        assert max(when for times in found.values() for when in times) <= end + one.after


@pytest.mark.parametrize("by_name", [False, True])
@pytest.mark.parametrize(
    ("well", "turn", "interval"),
    [(2, 1, MINUTE), (12, 1, MINUTE), (2, 1, 5 * MINUTE), (12, 1, 5 * MINUTE)]
    + [(well, turn, 5 * MINUTE) for well in (20, 30, 100) for turn in (1, 3)],
)
def test_an_old_one_every_other_hour_is_no_mistake_that_was_put_right(
    well: int, turn: int, interval: float, *, by_name: bool
) -> None:
    """
    Also after days without it: a server that was left behind is told of from its first turn on.
    """
    old, new = of_age(88), of_age(20)

    def see(now: float) -> Seeing:
        is_old = now >= well * HOUR and int((now / HOUR - well) // turn) % 2 == 0
        return {f"192.0.2.{1 + is_old * by_name}:443": Observed(old if is_old else new)}

    looks = Looks([Place(target(URL), see)], (well + 4 * turn) * HOUR, interval)
    begun = round(looks.until / interval) - round(well * HOUR / interval)
    found = told(looks)
    for problem in ("soon critical", "renewal_overdue warning", "not_deployed critical"):
        assert begun <= len(found[f"{URL} {problem}"]) <= begun + 1


@pytest.mark.parametrize("hours", [6, 8])
@pytest.mark.parametrize("by_name", [False, True])
def test_an_old_one_for_some_hours_of_each_day_is_told_of_all_the_day(hours: float, *, by_name: bool) -> None:
    """
    Three or four sites share the day.
    """
    old, new = of_age(88), of_age(20)

    def see(now: float) -> Seeing:
        is_old = now >= 12 * HOUR and (now / HOUR - 12) % 24 < hours
        return {f"192.0.2.{1 + is_old * by_name}:443": Observed(old if is_old else new)}

    looks = Looks([Place(target(URL), see)], 3 * DAY, 15 * MINUTE)
    times = told(looks)[f"{URL} soon critical"]
    assert len(times) == 60 * 4 + 1


@pytest.mark.parametrize(
    ("servers", "interval", "seed"),
    [(20, MINUTE, 9), (20, MINUTE, 14), (20, 15 * MINUTE, 38), (40, MINUTE, 1), (40, 5 * MINUTE, 3)],
)
def test_one_of_many_left_behind_is_told_of_from_the_first_look_at_it_on(
    servers: int, interval: float, seed: int
) -> None:
    """
    Also when it is first seen after many looks at others, and then not for fifty or more.
    """
    old, new = of_age(88), of_age(20)

    def see(now: float) -> Seeing:
        is_old = random.Random(f"{seed} {now}").randrange(servers) == 0
        return {"192.0.2.1:443": Observed(old if is_old else new)}

    looks = Looks([Place(target(URL), see)], 400 * interval, interval)
    times = told(looks)[f"{URL} soon critical"]
    assert times[0] > 0
    assert len(times) == 401 - times[0] / interval


@pytest.mark.parametrize("interval", [15.0, 5 * MINUTE])
def test_what_begins_later_is_told_of_until_shortly_before(interval: float) -> None:
    """
    A certificate that was deployed hours before it is valid is no clock that is ahead.
    """
    schedule = [(0.0, of_age(10)), (HOUR, served(leaf(HOST, 4 * HOUR, 90 * DAY)))]
    assert told(Looks([place(URL, schedule)], 5 * HOUR, interval)) == {
        REFUSED: [step * interval for step in range(int(HOUR / interval), int((4 * HOUR - 300) / interval))]
    }


@pytest.mark.parametrize("lasts", [HOUR, 3 * HOUR])
def test_a_mistake_that_few_looks_saw_is_over_after_four_hours(lasts: float) -> None:
    """
    With one look an hour it could be one of several, which would need days to have its turn again.
    """
    schedule = [(0.0, of_age(10)), (3 * DAY, default()), (3 * DAY + lasts, of_age(10))]
    found = told(Looks([place(URL, schedule)], 5 * DAY, HOUR))
    assert found[REFUSED][-1] <= 3 * DAY + lasts + 4 * HOUR


@pytest.mark.parametrize("interval", [MINUTE, 5 * MINUTE])
@pytest.mark.parametrize("by_name", [False, True])
def test_a_restart_without_state_does_not_end_what_one_of_several_shows(
    interval: float, *, by_name: bool
) -> None:
    """
    It began when the bad one was first seen, and stays though the exporter does not see it for a while.

    Once all are well, it is over when the exporter has looked as often as makes that certain.
    """
    old, new = of_age(88), of_age(20)

    def see(now: float) -> Seeing:
        is_old = random.Random(now).random() < 0.2 and now < mended
        return {f"192.0.2.{1 + is_old * by_name}:443": Observed(old if is_old else new)}

    restart = (60 * interval, 60 * interval + 1)
    for mended in (1e9, 50 * interval):
        simulated = Fleet(fleet(Place(target(URL), see)).exporters, [restart], keep_state=False)
        until = 200 * interval
        found = firings(record(simulated, until, interval))
        assert found
        for fired in found.values():
            assert fired.complete
            assert (fired.last == until) == (mended > until)


@pytest.mark.parametrize("interval", [MINUTE, 5 * MINUTE])
def test_a_restart_without_state_leaves_no_gap_where_clients_refuse(interval: float) -> None:
    """
    The new exporter does not know that they accepted it before.
    """
    begin, end = 3 * HOUR, 5 * HOUR
    one = place(URL, [(0, of_age(10)), (begin, default()), (end, of_age(10))])
    simulated = replace(fleet(one, exporter_down=[(4 * HOUR, 4 * HOUR + 1)]), keep_state=False)
    found = {
        name: fired for name, fired in firings(record(simulated, 8 * HOUR, interval)).items() if name.target
    }
    (critical,) = (fired for name, fired in found.items() if name.severity == "critical")
    assert critical.complete
    assert critical.first == begin
    assert end - interval <= critical.last <= end + interval


@pytest.mark.parametrize(("lifetime", "interval"), [(HOUR, MINUTE), (DAY, 15 * MINUTE), (90 * DAY, DAY)])
def test_one_of_three_that_renews_no_more_is_told_of_from_its_next_look_to_its_renewal(
    lifetime: float, interval: float
) -> None:
    """
    The others renew by themselves, and say nothing about it.
    """
    share, cycle = 1 / 2 if lifetime < 10 * DAY else 2 / 3, lifetime / 2
    others = [renewed(-cycle * part, lifetime, share, 9) for part in (0.2, 0.6)]
    last = 1.2 * lifetime
    forgotten = [
        (-lifetime, served(leaf(HOST, 0.2 * lifetime, lifetime))),
        (last, served(leaf(HOST, last, 9 * lifetime))),
    ]
    looks = Looks([balanced([1, 1, 1], *others, forgotten)], 2.4 * lifetime, interval)
    found = told(looks)
    end = 1.2 * lifetime
    overdue = found[f"{URL} renewal_overdue warning"]
    begun = end - lifetime / 3
    assert begun - interval <= overdue[0] <= begun + 0.28 * lifetime
    steps = [step * interval for step in range(int(looks.until // interval) + 1)]
    assert overdue == [now for now in steps if overdue[0] <= now <= overdue[-1]]
    assert last - interval <= overdue[-1] < looks.until


@pytest.mark.parametrize(("servers", "seed", "by_name"), [(50, 2, False), (12, 4, True), (12, 33, True)])
def test_one_of_more_than_are_remembered_is_told_of_from_the_first_look_at_it_on(
    servers: int, seed: int, *, by_name: bool
) -> None:
    """
    Each has a certificate of its own: what follows the bad one was forgotten, and is no news.
    """
    old, well = of_age(88), [of_age(number) for number in range(1, servers)]

    def see(now: float) -> Seeing:
        number = random.Random(f"{seed} {now}").randrange(servers)
        if number == 0 and now >= 100 * MINUTE:
            return {"192.0.2.1:443": Observed(old)}
        return {f"192.0.2.{1 + number * by_name}:443": Observed(well[max(number, 1) - 1])}

    times = told(Looks([Place(target(URL), see)], 500 * MINUTE, MINUTE))[f"{URL} soon critical"]
    assert times[0] > 100 * MINUTE
    assert len(times) == 501 - times[0] / MINUTE


@pytest.mark.parametrize("restarts", [(), (8.5 * DAY, 12.2 * DAY)], ids=["one run", "restarts"])
@pytest.mark.parametrize("interval", [5 * MINUTE, 15 * MINUTE, HOUR, 6 * HOUR])
@pytest.mark.parametrize(("back", "again"), [(HOUR, False), (4 * DAY, False), (4 * DAY, True)])
def test_a_rollback_is_over_a_day_after_it_was_put_right(
    back: float, interval: float, restarts: tuple[float, ...], *, again: bool
) -> None:
    """
    Also where so few probes are made in a day that what takes turns would be remembered for weeks.

    Until then it is told in each scrape, and is not deployed. `again`: it is put right by one more renewal.
    """
    begin, mended = 8 * DAY, 8 * DAY + back
    old, new = of_age(64), served(leaf(HOST, 2 * DAY, 90 * DAY))
    fresh = served(leaf(HOST, mended, 90 * DAY)) if again else new
    one = place(URL, [(0, old), (2 * DAY, new), (begin, old), (mended, fresh)])
    found = told(Looks([one], mended + 16 * DAY, interval), [(when, True) for when in restarts])
    steps = [step * interval for step in range(int(mended / interval) + 1)]
    for problem in ("renewal_overdue warning", "not_deployed warning", "went_backwards warning"):
        times = found[f"{URL} {problem}"]
        since = [now for now in times if now >= begin]
        assert [now for now in steps if begin <= now < mended] == [now for now in since if now < mended]
        assert since[-1] < mended + DAY + interval
    assert f"{URL} passed critical" not in found
