"""
Servers that take turns behind one address or name: the worst one counts for as long as it may come back.
"""

import random
from collections.abc import Callable

import pytest

from exporter.demo.minter import mint
from exporter.model.observation import Facts, Observed
from exporter.model.policies import DAY, HOUR
from tests.replay import promtool
from tests.replay.promtool import Firing, Name, firings
from tests.replay.timeline import (
    MINUTE,
    YEAR,
    Exporter,
    Place,
    Schedule,
    Seeing,
    fleet,
    leaf,
    place,
    presented,
    record,
    served,
    target,
)

HOST = "turns.example.com"
URL = f"https://{HOST}"

Choice = Callable[[float, float], int]
"""Which of five servers answers, at a time and with an interval of scrapes; number 0 is the bad one."""


def by_chance(seed: int) -> Choice:
    """
    Each look is led to any of the five.
    """
    return lambda now, _: random.Random(f"{seed} {now}").randrange(5)


def in_order(now: float, interval: float) -> int:
    """
    One after the other.
    """
    return int(now // interval + 3) % 5


def every_other_hour(now: float, _: float) -> int:
    """
    The bad one for an hour, a good one for the next.
    """
    return int(now // HOUR + 1) % 2


CHOICES: dict[str, Choice] = {
    "by-chance": by_chance(1),
    "by-chance-again": by_chance(5),
    "in-order": in_order,
    "every-other-hour": every_other_hour,
}


def behind_one_address(choose: Choice, interval: float, facts: list[Facts]) -> Place:
    """
    A load balancer in front of the servers.
    """
    return Place(target(URL), lambda now: {"192.0.2.1:443": Observed(facts[choose(now, interval)])})


def one_address_at_a_time(choose: Choice, interval: float, facts: list[Facts]) -> Place:
    """
    A name that leads to another of the servers at each look-up.
    """

    def see(now: float) -> Seeing:
        number = choose(now, interval)
        return {f"192.0.2.{number + 1}:443": Observed(facts[number])}

    return Place(target(URL), see)


How = Callable[[Choice, float, list[Facts]], Place]
"""Where the servers are: behind one address or one name."""


def about(found: dict[Name, Firing]) -> dict[tuple[str, str], Firing]:
    """
    The alerts by name and severity.
    """
    return {(name.alert, name.severity): firing for name, firing in found.items() if name.target}


def told(one: Place, until: float, interval: float, restart: float | None = None) -> dict[str, list[float]]:
    """
    By problem and severity, the times of the scrapes that tell it.
    """
    exporter, found = Exporter([one]), dict[str, list[float]]()
    for step in range(int(until / interval) + 1):
        now = step * interval
        if restart is not None and now - interval < restart <= now:
            exporter.restart(keep_state=True)
        for problem in sorted({(kind, severity) for _, _, kind, severity in exporter.problems(now)}):
            found.setdefault(" ".join(problem), []).append(now)
    return found


@pytest.mark.parametrize("restart", [None, 100 * MINUTE], ids=["one run", "restart"])
@pytest.mark.parametrize("interval", [MINUTE, 5 * MINUTE])
@pytest.mark.parametrize("how", [behind_one_address, one_address_at_a_time])
@pytest.mark.parametrize("choice", CHOICES)
def test_one_of_five_with_the_old_certificate_is_told_of_all_the_time(
    choice: str, how: How, interval: float, restart: float | None
) -> None:
    """
    From the first look at it on, through its end: it is not deployed there, and no problem goes quiet.
    """
    until = 6 * HOUR
    end = until / 2 + 30
    old, new = served(leaf(HOST, end - 90 * DAY, 90 * DAY)), served(leaf(HOST, -20 * DAY, 90 * DAY))
    found = told(how(CHOICES[choice], interval, [old, *[new] * 4]), until, interval, restart)
    # For the first hour of two nobody can know that the newer one comes back.
    found.pop("went_backwards warning", None)
    assert set(found) == {
        *("not_deployed warning", "not_deployed critical", "renewal_overdue warning", "soon critical"),
        "passed critical",
    }
    looks = [step * interval for step in range(int(until / interval) + 1)]
    first = next(now for now in looks if CHOICES[choice](now, interval) == 0)
    for name, times in found.items():
        begun = end if name == "passed critical" else first
        if name.startswith("not_deployed"):
            # Nothing newer is known before a good one was seen.
            begun = max(begun, next(now for now in looks if CHOICES[choice](now, interval) != 0))
        assert times == [now for now in looks if now >= begun], name


def any_four(names: dict[str, Facts], now: float) -> Seeing:
    """
    A name that leads to four of the servers at each look-up.
    """
    return {name: Observed(names[name]) for name in sorted(random.Random(now).sample(sorted(names), 4))}


@pytest.mark.parametrize("how", ["one address", "one address at a time", "four addresses at a time"])
def test_restarts_that_keep_the_state_do_not_forget_the_bad_one_of_twelve(how: str) -> None:
    """
    Each has a certificate of its own, more than are remembered. At first nobody knows which of them was bad.
    """
    ages = [85, *(2 + 4.5 * number for number in range(11))]
    facts = [served(leaf(HOST, -age * DAY, 90 * DAY)) for age in ages]
    names = {f"192.0.2.{number}:443": one for number, one in enumerate(facts, 1)}

    def see(now: float) -> Seeing:
        if how == "four addresses at a time":
            return any_four(names, now)
        name = random.Random(f"5 {now}").choice(sorted(names))
        return {name if how == "one address at a time" else "192.0.2.1:443": Observed(names[name])}

    exporter, found = Exporter([Place(target(URL), see)]), list[float]()
    steps = range(200)
    for step in steps:
        now = step * 10 * MINUTE
        if step in {60, 90, 120, 150, 180}:
            exporter.restart(keep_state=True)
        if 'problem="soon",severity="critical"' in exporter.scrape(now):
            found.append(now)
    assert len(found) > 150
    assert found == [step * 10 * MINUTE for step in steps if step * 10 * MINUTE >= found[0]]


def test_the_title_says_that_it_is_one_of_several() -> None:
    """
    The alerts fire at each evaluation, also where an old one is only not deployed.
    """
    until, end = HOUR, HOUR / 2 + 30
    old, new = served(leaf(HOST, end - 90 * DAY, 90 * DAY)), served(leaf(HOST, -20 * DAY, 90 * DAY))
    one = behind_one_address(in_order, MINUTE, [old, *[new] * 4])
    recording = record(fleet(one), until, MINUTE)
    fired, alerts = promtool.told(recording, "ExpiryPassed", "ExpiryNotDeployed")
    assert all(firing.complete and firing.last == until for firing in about(fired).values())
    said = [*alerts["ExpiryPassed", until], *alerts["ExpiryNotDeployed", until]]
    assert said
    for alert in said:
        assert "one of several behind this address" in alert.title


@pytest.mark.parametrize("interval", [MINUTE, 5 * MINUTE])
@pytest.mark.parametrize("how", [behind_one_address, one_address_at_a_time])
def test_a_rollout_over_all_of_them_resolves_an_hour_of_looks_later(how: How, interval: float) -> None:
    """
    The last of the five was renewed; no look shows the old one any more.
    """
    begin, over = HOUR, 4 * HOUR
    old = served(leaf(HOST, -88 * DAY, 90 * DAY))
    new = served(leaf(HOST, begin, 90 * DAY))

    def see(now: float) -> Seeing:
        renewed = 0 if now < begin else min(5, int((now - begin) / (over - begin) * 5) + 1)
        facts = [*[new] * renewed, *[old] * (5 - renewed)]
        seeing = how(by_chance(7), interval, facts).see(now)
        assert isinstance(seeing, dict)
        return seeing

    until = over + 60 * interval + HOUR
    found = told(Place(target(URL), see), until, interval)
    assert all(times[-1] <= over + 60 * interval for times in found.values())
    assert found["soon critical"][-1] >= over - HOUR


@pytest.mark.parametrize("restart", [None, 40], ids=["one run", "restart"])
@pytest.mark.parametrize("interval", [15.0, MINUTE, 5 * MINUTE])
@pytest.mark.parametrize("servers", [5, 40, 100])
def test_one_that_a_rollout_forgot_is_told_of_until_it_is_mended(
    servers: int, interval: float, restart: int | None
) -> None:
    """
    All had the old certificate for long, then hardly any: it is looked for before it counts as gone.

    Once the last one was renewed, more probes at once make that certain soon.
    """
    begin, over, mend = 50 * interval, 110 * interval, 500 * interval
    old = served(leaf(HOST, -88 * DAY, 90 * DAY))
    new = served(leaf(HOST, begin, 90 * DAY))
    for seed in range(4):

        def see(now: float, seed: int = seed) -> Seeing:
            renewed = servers * (now - begin) / (over - begin) if now < mend else servers + 1
            number = random.Random(f"{seed} {now}").randrange(servers)
            is_old = number >= min(renewed, servers - 1) if now < mend else False
            return {"192.0.2.1:443": Observed(old if is_old else new)}

        until = mend + 280 * interval
        restarted = None if restart is None else over + restart * interval
        times = told(Place(target(URL), see), until, interval, restarted)["soon critical"]
        assert times == [step * interval for step in range(len(times))]
        assert mend - interval <= times[-1] < until


@pytest.mark.parametrize(("servers", "interval"), [(5, MINUTE), (40, MINUTE), (40, 5 * MINUTE)])
def test_one_of_many_is_over_soon_after_it_was_mended(servers: int, interval: float) -> None:
    """
    It was left behind among others that were well. Probes at once make up for the many looks that it takes.
    """
    mend = 600 * interval
    old, new = served(leaf(HOST, -88 * DAY, 90 * DAY)), served(leaf(HOST, -20 * DAY, 90 * DAY))
    for seed in range(4):

        def see(now: float, seed: int = seed) -> Seeing:
            number = random.Random(f"{seed} {now}").randrange(servers)
            is_old = 40 * interval <= now < mend and number == 0
            return {"192.0.2.1:443": Observed(old if is_old else new)}

        times = told(Place(target(URL), see), mend + 12 * servers * interval, interval)["soon critical"]
        assert len(times) == 1 + (times[-1] - times[0]) / interval
        assert mend - 4 * servers * interval < times[-1] < mend + (20 + 6 * servers) * interval


def test_where_probes_at_once_are_led_to_the_same_server_they_prove_nothing() -> None:
    """
    The one of twelve that was left behind has its turn by chance in each scrape, as for one client address.
    """
    old, new = served(leaf(HOST, -88 * DAY, 90 * DAY)), served(leaf(HOST, -20 * DAY, 90 * DAY))

    def see(now: float) -> Seeing:
        number = random.Random(f"1 {now // MINUTE}").randrange(12)
        return {"192.0.2.1:443": Observed(old if number == 0 else new)}

    times = told(Place(target(URL), see), DAY / 2, MINUTE)["soon critical"]
    assert times[0] < 10 * MINUTE
    assert len(times) == 721 - times[0] / MINUTE


@pytest.mark.parametrize("servers", [2, 5])
def test_the_bad_one_stays_as_bad_from_the_very_first_looks_on(servers: int) -> None:
    """
    When nobody knows yet that several take turns, but the probes that follow at once.
    """
    ages = [88, *range(10, 9 + servers)]
    facts = [served(leaf(HOST, -age * DAY, 90 * DAY)) for age in ages]
    for seed in range(24):

        def see(now: float, seed: int = seed) -> Seeing:
            # The first look is at the bad one, and so are few after it.
            number = random.Random(f"{seed} {now}").randrange(servers) if now >= MINUTE else 0
            return {"192.0.2.1:443": Observed(facts[number])}

        assert len(told(Place(target(URL), see), 40 * MINUTE, MINUTE)["soon critical"]) == 41, seed


def test_turns_that_are_seen_later_tell_that_the_bad_one_was_not_replaced() -> None:
    """
    Four looks at its address and seven at others would be a renewal, were these not seen to take turns.
    """
    ages = {1: 88, 2: 5, 3: 30}
    facts = {number: served(leaf(HOST, -age * DAY, 90 * DAY)) for number, age in ages.items()}
    order = [1, 1, 1, 1, 3, 2, 2, 3, 2, 2, 2, 3, 2, 2, 3, 1]

    def number(now: float) -> int:
        return order[min(int(now / MINUTE), 15)]

    def see(now: float) -> Seeing:
        return {f"192.0.2.{number(now)}:443": Observed(facts[number(now)])}

    assert len(told(Place(target(URL), see), 20 * MINUTE, MINUTE)["soon critical"]) == 21


@pytest.mark.parametrize("interval", [MINUTE, 5 * MINUTE, HOUR])
def test_a_renewal_behind_a_single_server_resolves_at_once(interval: float) -> None:
    """
    What was shown by each look until then, and by none from then on, was replaced.
    """
    fixed = 40.5 * interval
    schedule: Schedule = [
        (0.0, served(leaf(HOST, -88 * DAY, 90 * DAY))),
        (fixed, served(leaf(HOST, -DAY, 90 * DAY))),
    ]
    found = about(firings(record(fleet(place(URL, schedule)), fixed + 5 * interval, interval)))
    assert found["ExpirySoon", "critical"] == Firing(0, 40 * interval, complete=True)


def test_a_renewal_right_after_the_start_resolves_at_once() -> None:
    """
    It was issued after the old one was first seen, so it is no other server's.
    """
    schedule: Schedule = [
        (0.0, served(leaf(HOST, -88 * DAY, 90 * DAY))),
        (90.0, served(leaf(HOST, 60, 90 * DAY))),
    ]
    found = about(firings(record(fleet(place(URL, schedule)), HOUR, MINUTE)))
    assert found["ExpirySoon", "critical"] == Firing(0, MINUTE, complete=True)


@pytest.mark.parametrize("looks", [1, 2, 3])
def test_a_fault_put_right_right_after_the_start_resolves_at_once(looks: int) -> None:
    """
    Also with a certificate that had been issued long before: the probes that follow at once see no other.
    """
    schedule: Schedule = [
        (0.0, served(leaf(HOST, -91 * DAY, 90 * DAY))),
        (looks * MINUTE - 30, served(leaf(HOST, -10 * DAY, 90 * DAY))),
    ]
    found = about(firings(record(fleet(place(URL, schedule)), 10 * MINUTE, MINUTE)))
    assert found["ExpiryPassed", "critical"] == Firing(0, (looks - 1) * MINUTE, complete=True)


@pytest.mark.parametrize("interval", [MINUTE, 5 * MINUTE])
def test_five_servers_with_certificates_of_their_own_alert_nobody(interval: float) -> None:
    """
    Each renews by itself, from another authority, at its own time; one of them was restarted lately.
    """
    facts = [served(leaf(HOST, -age * DAY, 90 * DAY)) for age in (5, 15, 25, 35, 55)]
    for how in (behind_one_address, one_address_at_a_time):
        for restart in (None, 2 * HOUR):
            assert told(how(by_chance(2), interval, facts), 5 * HOUR, interval, restart) == {}


@pytest.mark.parametrize("restart", [None, 0.8], ids=["one run", "restart"])
@pytest.mark.parametrize("interval", [5 * MINUTE, HOUR])
@pytest.mark.parametrize(("servers", "turn"), [(3, 1), (8, 1), (8, 5), (12, 5), (12, 10)])
@pytest.mark.parametrize("problem", ["not_trusted critical", "soon critical"])
def test_the_bad_one_of_many_addresses_in_order_stays_as_bad(
    problem: str, servers: int, turn: int, interval: float, restart: float | None
) -> None:
    """
    Each look-up returns one of them, the next one after some looks. None is a mistake that was put right only
    since it is there for a short time, after all others had their turns.

    Clients accepted it in the first cycle. Once it was seen twice, it is known that it comes back.
    """
    well = [served(leaf(HOST, -number * DAY, 90 * DAY)) for number in range(10, 10 + servers)]
    refused = presented(mint("ingress.local", ["ingress.local"], not_before=-HOUR, not_after=YEAR))
    bad = refused if problem.startswith("not_trusted") else served(leaf(HOST, -88 * DAY, 90 * DAY))
    cycle = servers * turn * interval

    def see(now: float) -> Seeing:
        number = int(now // (turn * interval)) % servers
        facts = bad if number == servers - 1 and now >= cycle else well[number]
        return {f"192.0.2.{number + 1}:443": Observed(facts)}

    until = 5 * cycle
    times = told(Place(target(URL), see), until, interval, None if restart is None else until * restart)[
        problem
    ]
    # Few looks in a row, which were the first ones at it, may be the last ones, too.
    begin = (2 if turn == 1 else 3) * cycle - turn * interval
    steps = [step * interval for step in range(round(begin / interval), round(until / interval) + 1)]
    assert [now for now in times if now >= begin] == steps
