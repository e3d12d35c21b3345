"""
What went backwards, and whose identity changed: told when somebody must act, silent for what comes and goes.
"""

import random
from dataclasses import replace

import pytest

from exporter.demo.minter import Minted, mint, root
from exporter.model.observation import Facts, Observed
from exporter.model.policies import DAY, HOUR
from exporter.model.problems import Problem
from tests.replay.timeline import (
    MINUTE,
    YEAR,
    Exporter,
    Place,
    Schedule,
    anchor,
    leaf,
    place,
    presented,
    served,
    target,
)

HOST = "history.example.com"

PROBLEMS = {Problem.WENT_BACKWARDS, Problem.IDENTITY_CHANGED}


def told(
    shown: Schedule | Place, until: float, interval: float, restarts: tuple[float, ...] = ()
) -> dict[str, set[float]]:
    """
    By problem, the times of scrapes that tell it. At some of them the exporter starts anew with its state.
    """
    exporter = Exporter([shown if isinstance(shown, Place) else place(f"https://{HOST}", shown)])
    found: dict[str, set[float]] = {}
    for step in range(int(until // interval) + 1):
        now = step * interval
        if any(now - interval < when <= now for when in restarts):
            exporter.restart(keep_state=True)
        for problem in PROBLEMS & {kind for _, _, kind, _ in exporter.problems(now)}:
            found.setdefault(problem, set()).add(now)
    return found


def default() -> Facts:
    """
    What an ingress shows that has no certificate.
    """
    name = "ingress.local"
    return presented(
        mint("Kubernetes Ingress Controller Fake Certificate", [name], not_before=-HOUR, not_after=YEAR)
    )


def of_age(days: float, above: Minted | None = None, names: str = HOST) -> Facts:
    """
    A certificate of ninety days.
    """
    return served(leaf(names, -days * DAY, 90 * DAY, above))


def other_authority() -> Minted:
    """
    An intermediate of another organization that clients trust as well.
    """
    return anchor().issue("Replay Other", ca=True)


NEWER, OLDER = of_age(5), of_age(40)
TEN = 10 * DAY


def healthy() -> dict[str, Schedule]:
    """
    What operators do.
    """
    week = 7 * DAY
    elsewhere, renewed = of_age(20, other_authority()), served(leaf(HOST, TEN, 90 * DAY))
    return {
        "a default certificate for 40 minutes": [(0, OLDER), (DAY, default()), (DAY + 40 * MINUTE, OLDER)],
        "a default certificate first": [(0, default()), (DAY, OLDER)],
        "a maintenance page": [(0, OLDER), (DAY, NEWER), (DAY + 2 * HOUR, OLDER)],
        "another site's put right": [(0, of_age(1, names="other.example.com")), (DAY, OLDER)],
        "another site's for a while": [
            (0, OLDER),
            (DAY, of_age(1, names="other.example.com")),
            (2 * DAY, OLDER),
        ],
        "a drill to a second site": [(0, OLDER), (2 * DAY, NEWER), (2 * DAY + 4 * HOUR, OLDER)],
        "a drill to an older one": [(0, NEWER), (2 * DAY, OLDER), (2 * DAY + 4 * HOUR, NEWER)],
        "a canary": [(0, OLDER), (2 * DAY, of_age(-2)), (2 * DAY + 3 * HOUR, OLDER), (4 * DAY, of_age(-2))],
        "weekly failover": [(number * week, (OLDER, NEWER)[number % 2]) for number in range(6)],
        "weekly failover, the other first": [
            (number * week, (NEWER, OLDER)[number % 2]) for number in range(6)
        ],
        "a drill of a day to a site that was renewed while the first one was watched": [
            (0, OLDER),
            (TEN, served(leaf(HOST, 5 * DAY, 90 * DAY))),
            (TEN + 26 * HOUR, OLDER),
        ],
        "failover to a site, and again when both were renewed": [
            (0, OLDER),
            (3 * DAY, NEWER),
            (6 * DAY, OLDER),
            (TEN, renewed),
            (13 * DAY, NEWER),
            (16 * DAY, renewed),
            (20 * DAY, served(leaf(HOST, 18 * DAY, 90 * DAY))),
            (23 * DAY, renewed),
        ],
        "an expired one replaced by another authority": [
            (0, of_age(89)),
            (2 * DAY, served(leaf(HOST, 2 * DAY, 90 * DAY, other_authority()))),
        ],
        "a self-signed one put right": [
            (0, presented(mint(HOST, [HOST], not_before=-YEAR, not_after=9 * YEAR))),
            (2 * DAY, elsewhere),
        ],
        "a private one put right": [
            (0, presented(leaf(HOST, -DAY, YEAR, root("Private", not_before=-YEAR, not_after=YEAR)))),
            (2 * DAY, elsewhere),
        ],
    }


@pytest.mark.parametrize("restarts", [(), (DAY + HOUR, 8 * DAY)], ids=["one run", "restarts"])
@pytest.mark.parametrize("interval", [20 * MINUTE, 3 * HOUR])
@pytest.mark.parametrize("name", healthy())
def test_what_operators_do_is_no_rollback_and_no_hijack(
    name: str, interval: float, restarts: tuple[float, ...]
) -> None:
    """
    Over five weeks.
    """
    schedule = healthy()[name]
    found = told(schedule, schedule[-1][0] + 3 * DAY, interval, restarts)
    # Clients refuse it, and its identity is another one for as long as it is there.
    shown = found.pop(Problem.IDENTITY_CHANGED, set()) if name.startswith("a default") else set()
    assert all(DAY <= when < DAY + 40 * MINUTE for when in shown)
    assert found == {}


@pytest.mark.parametrize("restarts", [(), (12 * DAY, 21.2 * DAY)], ids=["one run", "restarts"])
@pytest.mark.parametrize("interval", [20 * MINUTE, 3 * HOUR])
def test_a_rollback_is_told_until_the_newer_one_is_back(interval: float, restarts: tuple[float, ...]) -> None:
    """
    The renewed one was in service for ten days; a default certificate in between changes nothing.
    """
    renewed = served(leaf(HOST, TEN, 90 * DAY))
    schedule: Schedule = [
        (0, OLDER),
        (TEN, renewed),
        (2 * TEN, default()),
        (2 * TEN + DAY, OLDER),
        (2 * TEN + 3 * DAY, renewed),
    ]
    found = told(schedule, 25 * DAY, interval, restarts)[Problem.WENT_BACKWARDS]
    expected = {step * interval for step in range(int(25 * DAY // interval) + 1)}
    assert found == {when for when in expected if 2 * TEN + DAY <= when < 2 * TEN + 3 * DAY}


@pytest.mark.parametrize("interval", [5 * MINUTE, HOUR, 3 * HOUR])
def test_a_rollback_is_told_from_the_first_look_at_it_on(interval: float) -> None:
    """
    More probes at once tell that no server shows the newer one any more.
    """
    renewed = served(leaf(HOST, 2 * DAY, 90 * DAY))
    schedule: Schedule = [(0, OLDER), (2 * DAY, renewed), (5 * DAY, OLDER), (6 * DAY, renewed)]
    steps = range(int(5 * DAY / interval), int(6 * DAY / interval))
    assert told(schedule, 7 * DAY, interval) == {Problem.WENT_BACKWARDS: {step * interval for step in steps}}


def test_a_second_site_with_an_authority_of_its_own_is_told_of_once() -> None:
    """
    When it serves for the first time; not when its certificate was renewed since.
    """
    other = other_authority()
    schedule: Schedule = [
        (0, of_age(2)),
        (5 * DAY, of_age(2, other)),
        (TEN, of_age(2)),
        (2 * TEN, served(leaf(HOST, 15 * DAY, 90 * DAY, other))),
    ]
    found = told(schedule, 24 * DAY, 3 * HOUR)
    assert found.keys() == {Problem.IDENTITY_CHANGED}
    assert {when // DAY for when in found[Problem.IDENTITY_CHANGED]} == {5, 6, 7}


def test_another_identity_is_told_until_the_one_of_before_is_back() -> None:
    """
    A valid certificate of another authority, long before a renewal was due; when it comes again, it is known.
    """
    young, theirs = of_age(2), served(leaf(HOST, -DAY, 90 * DAY, other_authority()))
    schedule: Schedule = [(0, young), (DAY, theirs), (2 * DAY, young), (4 * DAY, theirs), (5 * DAY, young)]
    assert told(schedule, 6 * DAY, HOUR) == {
        Problem.IDENTITY_CHANGED: {DAY + hour * HOUR for hour in range(24)}
    }


def by_chance(begin: float, *facts: Facts) -> Place:
    """
    An address behind which each connection is led to any of these from a time on; until then, to the first.
    """

    def see(now: float) -> dict[str, Observed]:
        one = random.Random(now).choice(facts) if now >= begin else facts[0]
        return {"192.0.2.1:443": Observed(one)}

    return Place(target(f"https://{HOST}"), see)


@pytest.mark.parametrize("restarts", [(), (DAY + HOUR, DAY + 3 * HOUR)], ids=["one run", "restarts"])
@pytest.mark.parametrize(
    ("others", "interval"), [(1, MINUTE), (1, 5 * MINUTE), (11, 10 * MINUTE), (11, HOUR)]
)
def test_certificates_of_two_authorities_by_turns_are_no_hijack(
    others: int, interval: float, restarts: tuple[float, ...]
) -> None:
    """
    Those of a content delivery network: more probes at once find the one of before again.
    """
    above = [None, other_authority()]
    facts = [of_age(2 + number, above[number % 2]) for number in range(1 + others)]
    assert told(by_chance(DAY, *facts), max(2 * DAY, DAY + 50 * interval), interval, restarts) == {}


@pytest.mark.parametrize("interval", [MINUTE, 5 * MINUTE])
def test_who_takes_over_after_a_first_try_is_told_of(interval: float) -> None:
    """
    The one of before was back for one probe between. It is no server that has its turns.
    """
    young, theirs = of_age(2), of_age(1, other_authority())
    taken = DAY + 2 * interval
    schedule: Schedule = [(0, young), (DAY, theirs), (DAY + interval, young), (taken, theirs)]
    times = told(schedule, DAY + 12 * HOUR, interval)[Problem.IDENTITY_CHANGED]
    since = min(when for when in times if when > DAY)
    assert since <= taken + 90 * interval
    assert {when for when in times if when > DAY} == {
        step * interval for step in range(int(1.5 * DAY / interval) + 1) if step * interval >= since
    }


@pytest.mark.parametrize("restarts", [(), (DAY + HOUR, 6 * DAY)], ids=["one run", "restarts"])
@pytest.mark.parametrize("interval", [5 * MINUTE, HOUR, 6 * HOUR])
@pytest.mark.parametrize("days", [2, 3.5, 10, 40])
def test_a_takeover_that_is_put_right_is_no_rollback_however_late(
    days: float, interval: float, restarts: tuple[float, ...]
) -> None:
    """
    Also when whoever took over renewed meanwhile, and when it happens again with another certificate.
    """
    # Long runs take few looks.
    interval, lifetime = max(interval, days * DAY / 200), 90 * DAY
    ours, authority = served(leaf(HOST, -DAY, lifetime)), other_authority()
    taken, again, back = DAY, (1 + days / 2) * DAY, (1 + days) * DAY
    theirs = [served(leaf(HOST, begin, lifetime, authority)) for begin in (taken, again)]
    schedule: Schedule = [(0, ours), (taken, theirs[0]), (again, theirs[1]), (back, ours)]
    found = told(schedule, (5 + days) * DAY, interval, restarts)
    assert found.keys() == {Problem.IDENTITY_CHANGED}
    assert max(found[Problem.IDENTITY_CHANGED]) < min(back, taken + 3 * DAY + interval)


@pytest.mark.parametrize("interval", [5 * MINUTE, HOUR])
def test_a_move_to_an_authority_that_renews_each_day_is_told_for_three_days(interval: float) -> None:
    """
    Each renewal has a new key, and is no change of its own.
    """
    authority = other_authority()
    days = [(day * DAY, served(leaf(HOST, day * DAY, 2 * DAY, authority))) for day in range(1, 8)]
    found = told([(0, served(leaf(HOST, -DAY, 398 * DAY))), *days], 8 * DAY, interval)
    assert found == {
        Problem.IDENTITY_CHANGED: {DAY + step * interval for step in range(round(3 * DAY / interval))}
    }


@pytest.mark.parametrize("restarts", [(), (DAY + HOUR, 12 * DAY)], ids=["one run", "restarts"])
@pytest.mark.parametrize("interval", [5 * MINUTE, 3 * HOUR])
@pytest.mark.parametrize(
    "case", ["of the same authority", "within the new authority", "of expected authorities"]
)
def test_a_rollback_after_a_move_to_another_authority_is_told(
    case: str, interval: float, restarts: tuple[float, ...]
) -> None:
    """
    What came after the change of identity replaced it in its own right, or is expected by configuration.
    """
    authority = other_authority()
    ours, ours_again = of_age(2), served(leaf(HOST, 3 * DAY, 90 * DAY))
    theirs, again = (served(leaf(HOST, begin * DAY, 90 * DAY, authority)) for begin in (1, 8))
    shown: dict[str, Schedule] = {
        "of the same authority": [(0, ours), (DAY, theirs), (3 * DAY, ours_again), (10 * DAY, ours)],
        "within the new authority": [(0, ours), (DAY, theirs), (8 * DAY, again), (10 * DAY, theirs)],
        "of expected authorities": [(0, ours), (DAY, theirs), (10 * DAY, ours)],
    }
    one = place(f"https://{HOST}", shown[case])
    if case == "of expected authorities":
        one = replace(one, target=replace(one.target, issuers=("Replay Intermediate", "Replay Other")))
    found = told(one, 11 * DAY, interval, restarts)
    steps = range(round(10 * DAY / interval), round(11 * DAY / interval) + 1)
    assert found[Problem.WENT_BACKWARDS] == {step * interval for step in steps}


@pytest.mark.parametrize("interval", [MINUTE, 15 * MINUTE])
@pytest.mark.parametrize(("first", "seed"), [(1, 7), (1, 28), (2, 4), (4, 3)])
def test_right_after_a_start_the_rare_turn_of_a_newer_one_makes_no_rollback(
    first: int, seed: int, interval: float
) -> None:
    """
    One server of twenty is renewed already, and the first looks of an exporter without state are led to it.
    """
    old, new = of_age(61), of_age(1)

    def see(now: float) -> dict[str, Observed]:
        is_new = now < first * interval or random.Random(f"{seed} {now / interval * 60}").random() < 0.05
        return {"192.0.2.1:443": Observed(new if is_new else old)}

    assert told(Place(target(f"https://{HOST}"), see), 150 * interval, interval) == {}


@pytest.mark.parametrize(("looks", "after"), [(3, 26 * HOUR), (40, 0)])
def test_a_rollback_right_after_a_start_is_told_when_it_is_certain(looks: int, after: float) -> None:
    """
    After few looks at the newer one, only when it was away for a day; after many, at once.
    """
    back = looks * 5 * MINUTE
    found = told([(0, of_age(1)), (back, of_age(61))], 3 * DAY, 5 * MINUTE)
    times = found[Problem.WENT_BACKWARDS]
    assert back + after - DAY / 12 <= min(times) <= back + after
    assert len(times) == 1 + (3 * DAY - min(times)) / (5 * MINUTE)
