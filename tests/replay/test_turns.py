"""
Servers that take turns behind one address or name: the worst one counts for as long as it may come back.
"""

import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from exporter.model.observation import Facts, Observed
from exporter.model.policies import DAY, HOUR
from tests.replay.promtool import Firing, Name, alerts, firings
from tests.replay.timeline import (
    MINUTE,
    Place,
    Schedule,
    Seeing,
    Span,
    fleet,
    leaf,
    place,
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


def about(found: dict[Name, Firing]) -> dict[tuple[str, str], Firing]:
    """
    The alerts by name and severity.
    """
    return {(name.alert, name.severity): firing for name, firing in found.items() if name.target}


@pytest.mark.parametrize("interval", [MINUTE, 5 * MINUTE])
@pytest.mark.parametrize("how", [behind_one_address, one_address_at_a_time])
@pytest.mark.parametrize("choice", CHOICES)
def test_one_of_five_with_the_old_certificate_is_told_of_all_the_time(
    choice: str, how: Callable[[Choice, float, list[Facts]], Place], interval: float
) -> None:
    """
    From the first look at it on, through its end: it is not deployed there, and no alert goes quiet.
    """
    until = 6 * HOUR + (DAY / 4 if interval > MINUTE else 0)
    end = until / 2 + 30
    old, new = served(leaf(HOST, end - 90 * DAY, 90 * DAY)), served(leaf(HOST, -20 * DAY, 90 * DAY))
    one = how(CHOICES[choice], interval, [old, *[new] * 4])
    recording = record(fleet(one), until, interval)
    found = about(firings(recording))
    assert set(found) == {
        ("ExpiryNotDeployed", "warning"),
        ("ExpiryNotDeployed", "critical"),
        ("ExpiryRenewalOverdue", "warning"),
        ("ExpirySoon", "critical"),
        ("ExpiryPassed", "critical"),
    }
    first = next(
        step * interval
        for step in range(int(until / interval))
        if CHOICES[choice](step * interval, interval) == 0
    )
    for name, firing in found.items():
        assert firing.complete, name
        assert firing.last == until
        begun = end if name[0] == "ExpiryPassed" else first
        if name[0] == "ExpiryNotDeployed":
            # Nothing newer is known before a good one was seen.
            begun = max(begun, interval)
        assert firing.first - begun <= interval
    passed = alerts(recording, [("ExpiryPassed", until)])["ExpiryPassed", until]
    assert "one of several behind this address" in passed[0].title


@pytest.mark.parametrize("interval", [MINUTE, 5 * MINUTE])
@pytest.mark.parametrize("how", [behind_one_address, one_address_at_a_time])
def test_a_restart_in_between_does_not_silence_it(
    how: Callable[[Choice, float, list[Facts]], Place], interval: float
) -> None:
    """
    The state knows what each of them showed.
    """
    until = 5 * HOUR
    old, new = served(leaf(HOST, -88 * DAY, 90 * DAY)), served(leaf(HOST, -20 * DAY, 90 * DAY))
    one = how(by_chance(3), interval, [old, *[new] * 4])
    down = [(2 * HOUR, 2 * HOUR + 2 * interval)]
    found = about(firings(record(fleet(one, exporter_down=down), until, interval)))
    for name in (("ExpirySoon", "critical"), ("ExpiryNotDeployed", "critical")):
        assert (found[name].complete, found[name].last) == (True, until)


@pytest.mark.parametrize("interval", [MINUTE, 5 * MINUTE])
@pytest.mark.parametrize("how", [behind_one_address, one_address_at_a_time])
def test_a_rollout_over_all_of_them_resolves_an_hour_of_looks_later(
    how: Callable[[Choice, float, list[Facts]], Place], interval: float
) -> None:
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
    found = about(firings(record(fleet(Place(target(URL), see)), until, interval)))
    for firing in found.values():
        assert firing.last <= over + 60 * interval
    assert found["ExpirySoon", "critical"].last >= over - HOUR


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


@pytest.mark.parametrize("interval", [MINUTE, 5 * MINUTE])
def test_five_servers_with_certificates_of_their_own_alert_nobody(interval: float) -> None:
    """
    Each renews by itself, from another authority, at its own time; one of them was restarted lately.
    """
    facts = [served(leaf(HOST, -age * DAY, 90 * DAY)) for age in (5, 15, 25, 35, 55)]
    spans: list[Span] = [(2 * HOUR, 2 * HOUR + 2 * interval)]
    for how in (behind_one_address, one_address_at_a_time):
        simulated = fleet(how(by_chance(2), interval, facts), exporter_down=spans)
        for keep_state in (True, False):
            recording = record(replace(simulated, keep_state=keep_state), 5 * HOUR, interval)
            assert about(firings(recording)) == {}
