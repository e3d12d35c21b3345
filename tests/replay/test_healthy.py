"""
Healthy fleets never alert, renewers that stop do, and nothing that fires goes quiet before the fix.
"""

import functools
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from exporter.demo.minter import Minted, mint
from exporter.model.observation import Facts, Observed
from exporter.model.policies import AUTOMATIC, DAY, HOUR, MANUAL, Policy
from tests.replay.promtool import Firing, Name, alerts, firings, told
from tests.replay.test_fleets import Fleet as Looks
from tests.replay.test_fleets import told as problems
from tests.replay.timeline import (
    MINUTE,
    YEAR,
    Exporter,
    Fleet,
    Place,
    Recording,
    Schedule,
    Seeing,
    Span,
    anchor,
    fleet,
    issuer,
    leaf,
    place,
    presented,
    record,
    refused,
    served,
    target,
)
from tests.support.certificates import forge

OUTAGE_OF_CA = 17 * HOUR


@dataclass(frozen=True, slots=True)
class Lifetime:
    """
    A lifetime that is in use, and how it is replayed.
    """

    seconds: float
    interval: float
    left: tuple[float, ...]
    """How much is left when healthy renewers renew."""

    @property
    def late(self) -> float:
        """
        Seconds by which they may be late: a day, less for short lifetimes.
        """
        return min(DAY, self.seconds / 24)

    @property
    def rollout(self) -> float:
        """
        Seconds from the first to the last server with the new certificate.
        """
        return min(2 * HOUR, self.seconds / 12)


LIFETIMES = {
    # A third for certbot, cert-manager and Caddy, a half where the issuer says so. Clouds: 60, 45 or 30 days.
    "1h": Lifetime(HOUR, MINUTE, (HOUR / 2, HOUR / 3)),
    "24h": Lifetime(DAY, 4 * MINUTE, (DAY / 2, DAY / 3)),
    "6d": Lifetime(6 * DAY, HOUR, (3 * DAY, 2 * DAY)),
    "14d": Lifetime(14 * DAY, 2 * HOUR, (14 * DAY / 3,)),
    "47d": Lifetime(47 * DAY, 4 * HOUR, (47 * DAY / 3,)),
    "90d": Lifetime(90 * DAY, 8 * HOUR, (30 * DAY, 45 * DAY)),
    "200d": Lifetime(200 * DAY, 18 * HOUR, (200 * DAY / 3, 60 * DAY, 45 * DAY, 30 * DAY)),
    "398d": Lifetime(398 * DAY, 2 * DAY, (398 * DAY / 3, 60 * DAY, 45 * DAY, 30 * DAY)),
    "10y": Lifetime(10 * YEAR, 8 * DAY, (10 * YEAR / 3, 30 * DAY)),
}
SURVIVE_OUTAGE = LIFETIMES.keys() - {"1h", "24h"}
"""Lifetimes that survive a renewal that is late by an outage of the authority of 17 hours."""


def renewals(
    name: str, lifetime: float, left: float, lateness: Sequence[float], begin: float
) -> list[tuple[float, Minted]]:
    """
    A certificate from this moment on, and its renewals: each when so much is left, and late by so much.

    Two authorities issue them by turns, as for those who have a second one ready.
    """
    found = [(begin, leaf(name, begin, lifetime))]
    for number, late in enumerate(lateness):
        begin = int(begin + lifetime - left + late)
        found.append((begin, leaf(name, begin, lifetime, (other_issuer(), issuer())[number % 2])))
    return found


@functools.cache
def other_issuer() -> Minted:
    """
    The intermediate of another authority.
    """
    return anchor().issue("Replay Second", ca=True, path_length=0)


def hiccups(until: float, interval: float, dice: random.Random) -> list[Span]:
    """
    Single scrapes in which a look fails, never two in a row.
    """
    steps = range(5, int(until / interval), 7)
    return [(step * interval, (step + 1) * interval) for step in steps if dice.random() < 0.2]


def healthy(
    name: str, how: Lifetime, left: float, dice: random.Random, *, outage: bool
) -> tuple[Place, float]:
    """
    A target with five servers that are renewed three times, and when the last one was.
    """
    host = f"{name}-{left:.0f}.example.com"
    lateness = [how.late, dice.random() * how.late, OUTAGE_OF_CA if outage else 0.0]
    # The first renewal is due shortly after the timeline begins.
    certificates = renewals(host, how.seconds, left, lateness, -(how.seconds - left) + 8 * how.interval)
    schedules = [
        [(begin + number * how.rollout / 4, served(one)) for begin, one in certificates]
        for number in range(5)
    ]
    until = certificates[-1][0] + 4 * how.rollout + 8 * how.interval
    failing = hiccups(until, how.interval, dice)
    return place(f"https://{host}", *schedules, failing=failing, team="web"), until


def cycles(name: str) -> tuple[list[Place], float]:
    """
    Healthy targets with certificates of this lifetime, and when their three cycles are over.
    """
    how, dice = LIFETIMES[name], random.Random(name)
    found = [healthy(name, how, left, dice, outage=name in SURVIVE_OUTAGE) for left in how.left]
    until = max(end for _, end in found)
    # A target whose renewals all came before the others' would otherwise run out in the meantime.
    return [replace(one, see=_no_longer(one, end)) for one, end in found], until


@pytest.mark.parametrize("name", LIFETIMES)
def test_a_healthy_fleet_never_has_a_problem(name: str) -> None:
    """
    Three cycles with jitter, failed looks, an authority that is out for 17 hours, and rolling deployments.
    """
    places, until = cycles(name)
    assert problems(Looks(places, until, LIFETIMES[name].interval)) == {}


@pytest.mark.parametrize("name", ["1h", "24h", "6d"])
def test_a_healthy_fleet_never_alerts(name: str) -> None:
    """
    The rules make nothing of no problem, at intervals from a minute to an hour.
    """
    places, until = cycles(name)
    assert firings(record(fleet(*places), until, LIFETIMES[name].interval)) == {}


def _no_longer(one: Place, end: float) -> Callable[[float], Seeing]:
    """
    What is seen of a place, which stays the same from this moment on.
    """
    return lambda now: one.see(min(now, end))


def restarts(interval: float, until: float) -> dict[str, Sequence[Span]]:
    """
    Prometheus is gone for three minutes, and later the exporter for two.
    """
    return {
        "prometheus_down": [(until / 3, until / 3 + 3 * MINUTE)],
        "exporter_down": [(until / 2, until / 2 + max(2 * MINUTE, interval))],
    }


@pytest.mark.parametrize("keep_state", [True, False])
def test_restarts_of_a_healthy_fleet_alert_nobody(keep_state: bool) -> None:
    """
    Neither Prometheus's nor the exporter's, with or without a state file.
    """
    how, dice = LIFETIMES["1h"], random.Random(1)
    one, until = healthy("1h", how, HOUR / 2, dice, outage=False)
    long = place("https://long.example.com", [(0, served(leaf("long.example.com", -DAY, 90 * DAY)))])
    until += HOUR
    lasting = replace(one, see=_no_longer(one, until - HOUR))
    times = restarts(how.interval, until - HOUR)
    simulated = replace(fleet(lasting, long, **times), keep_state=keep_state)
    assert firings(record(simulated, until - HOUR, how.interval)) == {}


@pytest.mark.parametrize("interval", [MINUTE, 5 * MINUTE])
def test_an_address_that_flips_during_a_deployment_alerts_nobody(interval: float) -> None:
    """
    Old and new alternate behind one address for two hours, the new more and more; five addresses take turns.
    """
    host = "flip.example.com"
    begin, end = HOUR, 3 * HOUR
    old, new = served(leaf(host, -60 * DAY, 90 * DAY)), served(leaf(host, HOUR, 90 * DAY))
    dice = random.Random(2)
    schedule: list[tuple[float, Facts]] = [(0, old)]
    schedule += [
        (now, new if dice.random() < (now - begin) / (end - begin) else old)
        for now in range(int(begin), int(end), int(interval))
    ]
    schedule.append((end, new))
    changes = sum(one[1] is not other[1] for one, other in pairwise(schedule))
    assert changes > 3
    rolled = f"rolling.{host}"
    before, after = served(leaf(rolled, -60 * DAY, 90 * DAY)), served(leaf(rolled, HOUR, 90 * DAY))
    rolling = [[(0.0, before), (begin + number * HOUR / 2, after)] for number in range(5)]
    places = [place(f"https://{host}", schedule), place(f"https://{rolled}", *rolling)]
    assert firings(record(fleet(*places), 7 * HOUR, interval)) == {}


def test_an_aborted_deployment_alerts_nobody() -> None:
    """
    What was in service for an hour only was tried: that the one of before is back is no rollback.
    """
    host = "abort.example.com"
    old, new = served(leaf(host, -60 * DAY, 90 * DAY)), served(leaf(host, HOUR, 90 * DAY))
    schedule = [(0.0, old), (HOUR, new), (2 * HOUR, old)]
    assert firings(record(fleet(place(f"https://{host}", schedule)), 7 * HOUR, 5 * MINUTE)) == {}


def test_another_authority_at_a_renewal_alerts_nobody() -> None:
    """
    The new leaf has another issuer, and its intermediate is older than the one before.
    """
    host = "switch.example.com"
    younger = anchor().issue("Younger", ca=True, not_before=-30 * DAY, not_after=9 * YEAR)
    elsewhere = anchor().issue("Elsewhere", ca=True)
    older = elsewhere.issue("Older", ca=True, not_before=-5 * YEAR, not_after=8 * YEAR)
    schedule = [
        (0.0, presented(leaf(host, -60 * DAY, 90 * DAY, younger), younger)),
        (HOUR, presented(leaf(host, HOUR, 90 * DAY, older), older, elsewhere)),
    ]
    assert firings(record(fleet(place(f"https://{host}", schedule)), 9 * HOUR, 10 * MINUTE)) == {}


def stopped(lifetime: float, policies: Iterable[Policy]) -> tuple[Recording, float, float]:
    """
    Certificates that nobody renews until some time after their end: the recording, the end, and the fix.

    There is one for each policy, on a host that is called as that.
    """
    # Nothing is due in the first half of a lifetime, nor before 60 days are left.
    ahead = min(lifetime * 0.55, 60 * DAY)
    interval = max(MINUTE, ahead // 130 // MINUTE * MINUTE)
    end = ahead // interval * interval + interval / 2
    fixed = end + 10 * interval
    places = []
    for policy in policies:
        schedule = [
            (0.0, served(leaf(policy.name, end - lifetime, lifetime))),
            (fixed, served(leaf(policy.name, fixed, lifetime))),
        ]
        places.append(place(f"https://{policy.name}", schedule, policy=policy))
    return record(fleet(*places), fixed + 3 * interval, interval), end, fixed


@pytest.mark.parametrize("name", LIFETIMES)
def test_a_renewer_that_stops_is_told_of_until_it_is_mended(name: str) -> None:
    """
    Warning, then critical, then the end, each from its deadline to the fix without a gap.
    """
    lifetime = LIFETIMES[name].seconds
    warnings = {AUTOMATIC: "ExpiryRenewalOverdue", MANUAL: "ExpirySoon"}
    recording, end, fixed = stopped(lifetime, warnings)
    fired = firings(recording)
    assert {one.target for one in fired} == {f"https://{policy.name}" for policy in warnings}
    for policy, warning in warnings.items():
        found = {one: firing for one, firing in fired.items() if one.target == f"https://{policy.name}"}
        kinds = [(warning, "warning"), ("ExpirySoon", "critical"), ("ExpiryPassed", "critical")]
        in_order = sorted(found, key=lambda one: found[one].first)
        assert [(one.alert, one.severity) for one in in_order] == kinds
        left = policy.time_left(lifetime)
        for one, due in zip(in_order, (end - left.warning, end - left.critical, end), strict=True):
            firing = found[one]
            assert firing.complete
            # Rounding of deadlines to whole seconds aside.
            assert -1 <= firing.first - due <= recording.interval
            assert fixed - recording.interval <= firing.last < fixed


def critical(found: Mapping[Name, Firing]) -> Firing:
    """
    When ExpirySoon was critical.
    """
    return next(
        fire for name, fire in found.items() if (name.alert, name.severity) == ("ExpirySoon", "critical")
    )


def ending(host: str, end: float) -> Schedule:
    """
    A certificate of 90 days with this end.
    """
    return [(0, served(leaf(host, end - 90 * DAY, 90 * DAY)))]


def test_an_endpoint_that_dies_keeps_its_alert() -> None:
    """
    Killed while two days are left: the warning stays, and so does the end when it comes.
    """
    host, end = "killed.example.com", 3 * DAY
    one = place(f"https://{host}", ending(host, end), failing=[(DAY, float("inf"))])
    found = firings(record(fleet(one), 4 * DAY, HOUR))
    assert critical(found) == Firing(0, 4 * DAY, complete=True)
    passed = found[Name("ExpiryPassed", "critical", f"https://{host}", "leaf")]
    assert passed == Firing(end + HOUR, 4 * DAY, complete=True)
    failing = found[Name("ExpiryProbeFailing", "critical", f"https://{host}", "")]
    assert failing.last == 4 * DAY


def test_a_dead_endpoint_keeps_its_alert_over_a_restart_of_the_exporter() -> None:
    """
    The state file knows what was served.
    """
    host = "killed.example.com"
    one = place(f"https://{host}", ending(host, 2 * DAY), failing=[(HOUR, float("inf"))])
    down = [(2 * HOUR, 2 * HOUR + 2 * MINUTE)]
    found = firings(record(fleet(one, exporter_down=down), 3 * HOUR, MINUTE))
    assert critical(found) == Firing(0, 3 * HOUR, complete=True)


@pytest.mark.parametrize("keep_state", [True, False])
def test_an_exporter_that_is_down_keeps_alerts(keep_state: bool) -> None:
    """
    For three hours, through its return; that it is down is told too.
    """
    host = "kept.example.com"
    one = place(f"https://{host}", ending(host, 2 * DAY), team="web")
    down = [(HOUR, 4 * HOUR)]
    simulated = replace(fleet(one, exporter_down=down), keep_state=keep_state)
    recording = record(simulated, 5 * HOUR, 2 * MINUTE)
    found, said = told(recording, "ExpirySoon")
    assert critical(found) == Firing(0, 5 * HOUR, complete=True)
    down_alert = found[Name("ExpiryExporterDown", "critical", "", "")]
    assert down_alert.complete
    assert (down_alert.first, down_alert.last) == (HOUR + 6 * MINUTE, 4 * HOUR - 2 * MINUTE)
    before, during = (
        [alert.labels for alert in said["ExpirySoon", when] if alert.labels["severity"] == "critical"]
        for when in (0, 2 * HOUR)
    )
    assert before == during


def test_rotating_addresses_neither_flap_nor_go_quiet() -> None:
    """
    A name with 64 addresses, 8 at each look-up; one address in ten serves an old certificate.
    """
    host, until = "cdn.example.com", 4 * HOUR
    old, new = served(leaf(host, -80 * DAY, 90 * DAY)), served(leaf(host, -20 * DAY, 90 * DAY))

    def see(now: float) -> Seeing:
        numbers = random.Random(now).sample(range(64), 8)
        return {
            f"192.0.2.{number}:443": Observed(old if number % 10 == 0 else new) for number in sorted(numbers)
        }

    found = firings(record(fleet(Place(target(f"https://{host}"), see)), until, MINUTE))
    settled = 20 * MINUTE
    assert {(name.alert, name.severity) for name in found} == {
        ("ExpiryNotDeployed", "warning"),
        ("ExpiryRenewalOverdue", "warning"),
    }
    for firing in found.values():
        assert (firing.complete, firing.last) == (True, until)
        assert firing.first <= settled


def test_two_replicas_give_one_alert() -> None:
    """
    Two exporters over the same targets, one of them down for a while, are one set of alerts.
    """
    host = "twice.example.com"
    one = place(f"https://{host}", ending(host, 2 * DAY), team="web")
    both = [Exporter([one], "a:10119"), Exporter([one], "b:10119")]
    recording = record(Fleet(both, exporter_down=[(HOUR, 2 * HOUR)]), 3 * HOUR, 2 * MINUTE)
    found, said = told(recording, "ExpirySoon")
    assert critical(found) == Firing(0, 3 * HOUR, complete=True)
    moments = [0, 90 * MINUTE, 3 * HOUR]
    labels = [alert.labels for when in moments for alert in said["ExpirySoon", when]]
    assert len(labels) == len(moments)
    assert labels[0] == labels[1] == labels[2]
    assert labels[0]["team"] == "web"


def test_targets_that_share_a_certificate_share_a_fingerprint() -> None:
    """
    200 targets behind one wildcard can be one notification.
    """
    shared = [(0.0, served(leaf("*.example.com", -85 * DAY, 90 * DAY)))]
    places = [place(f"https://host-{number}.example.com", shared) for number in range(200)]
    recording = record(fleet(*places), 2 * MINUTE, MINUTE)
    found = alerts(recording, [("ExpirySoon", MINUTE)])["ExpirySoon", MINUTE]
    assert len(found) == 200
    assert len({alert.labels["fingerprint_sha256"] for alert in found}) == 1


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def odd(begin: datetime, end: datetime) -> Facts:
    """
    A self-signed certificate with dates that no authority would give.
    """
    host = "odd.example.com"
    return presented(
        forge(mint(host, [host], not_before=-DAY, not_after=DAY), not_before=begin, not_after=end)
    )


@pytest.mark.parametrize(
    ("begin", "end", "expected"),
    [
        (_EPOCH + 20 * timedelta(365), _EPOCH + timedelta(365), set()),
        (_EPOCH - timedelta(1), _EPOCH - timedelta(365), {"ExpirySoon", "ExpiryPassed"}),
        (
            _EPOCH - timedelta(4000),
            _EPOCH - timedelta(3000),
            {"ExpiryRenewalOverdue", "ExpirySoon", "ExpiryPassed"},
        ),
        (_EPOCH - timedelta(1), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC), set()),
    ],
    ids=["ends-before-it-begins", "ended-before-it-began", "before-1970", "year-9999"],
)
def test_odd_dates_are_judged_like_others(begin: datetime, end: datetime, expected: set[str]) -> None:
    """
    Nothing is said of an end that is far, and all of one that is over.
    """
    one = place("https://odd.example.com", [(0, odd(begin, end))])
    found = firings(record(fleet(one), HOUR, 5 * MINUTE))
    # What is due and overdue at the same moment may be either warning.
    about_the_end = {name.alert for name in found if name.item}
    assert about_the_end == expected
    assert {name.alert for name in found if not name.item} == {"ExpiryNotTrusted"}
    assert all(firing.complete and firing.last == HOUR for firing in found.values())


def test_what_was_never_seen_is_told_of_as_such_only() -> None:
    """
    Nothing is concluded from what is not known.
    """
    one = place("https://new.example.com", [(0, Facts(()))], failing=[(0, float("inf"))])
    two = Place(target("https://none.example.com"), lambda _: refused())
    found = firings(record(fleet(one, two), HOUR, MINUTE))
    assert set(found) == {
        Name("ExpiryProbeFailing", "warning", one.target.name, ""),
        Name("ExpiryProbeFailing", "warning", two.target.name, ""),
    }
    assert all(firing == Firing(15 * MINUTE, HOUR, complete=True) for firing in found.values())


def test_quotes_and_line_ends_in_labels_reach_the_title() -> None:
    """
    Whatever a person called a target, its alert can be read.
    """
    host = "quoted.example.com"
    wild = 'the "old" one\nof C:\\certs'
    one = place(f"https://{host}", ending(host, 2 * DAY), team='we "quote"\n')
    one = replace(one, target=replace(one.target, name=wild))
    found = alerts(record(fleet(one), MINUTE, MINUTE), [("ExpirySoon", MINUTE)])["ExpirySoon", MINUTE]
    (alert,) = found
    assert alert.labels["target"] == wild
    assert alert.labels["team"] == 'we "quote"\n'
    assert alert.title == f"Certificate for {wild} expires in 1d 23h 59m 0s and was not renewed"
    assert "192.0.2.1:443" in alert.annotations["description"]
