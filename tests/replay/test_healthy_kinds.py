"""
What is no leaf: healthy lists, staples, zones, authorities and domains never alert, and do when they stop.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest

from exporter.demo.minter import root
from exporter.model.policies import AUTHORITY, CRL, DAY, DOMAIN, HOUR, MANUAL, SIGNATURE, Policy, Severity
from exporter.probes.domains.registries import AGAIN_AFTER
from tests.replay.promtool import Name, firings
from tests.replay.test_fleets import Fleet as Looks
from tests.replay.test_fleets import told
from tests.replay.timeline import (
    MINUTE,
    YEAR,
    Place,
    Span,
    domain,
    fleet,
    leaf,
    place,
    record,
    revocations,
    signed,
    stapled,
    stored,
)

Validities = Sequence[Span]
"""What comes one after the other: the begin and end of each. It is there from its begin on."""


def lists(validities: Validities) -> Place:
    """
    A file with the newest revocation list.
    """
    return place("file:///srv/ca.crl", [(begin, revocations(begin, end)) for begin, end in validities])


def staples(validities: Validities) -> Place:
    """
    A server that staples the newest response. Its certificate is good for years.
    """
    one = leaf("stapled.example.com", -YEAR, 10 * YEAR)
    schedule = [(begin, stapled(one, begin, end)) for begin, end in validities]
    return place("https://stapled.example.com", schedule, policy=MANUAL)


def zones(validities: Validities) -> Place:
    """
    A zone on two name servers, one of which gets each version half an hour later.
    """
    schedules = [
        [(begin + delay, signed(begin, end)) for begin, end in validities] for delay in (0.0, HOUR / 2)
    ]
    return place(
        "dns:example.com",
        *schedules,
        addresses=["ns1.example.com (192.0.2.1)", "ns2.example.com (192.0.2.2)"],
    )


def authorities(validities: Validities) -> Place:
    """
    A file with a CA certificate alone.
    """
    schedule = [
        (begin, stored(root("Own Root", not_before=begin, not_after=end).pem)) for begin, end in validities
    ]
    return place("file:///etc/ssl/own-ca.pem", schedule)


def registrations(validities: Validities) -> Place:
    """
    A domain.
    """
    return domain("example.com", [(begin, end, ("active",)) for begin, end in validities])


@dataclass(frozen=True, slots=True)
class Habit:
    """
    How somebody who is well makes anew what ends.
    """

    made: Callable[[Validities], Place]
    policy: Policy
    lifetime: float
    left: float
    """How much is left when the next one comes, if that is in time."""
    late: float
    """Seconds by which that may be late."""
    interval: float
    alert: str
    passes: bool = False
    """True when `ExpiryPassed` tells of the end, too."""


STALE = "ExpirySignatureStale"

HABITS = {
    "crl-weekly": Habit(lists, CRL, 7.7 * DAY, 0.7 * DAY, HOUR, 2 * HOUR, STALE),
    "crl-daily": Habit(lists, CRL, 26.4 * HOUR, 2.4 * HOUR, 10 * MINUTE, 10 * MINUTE, STALE),
    "staple": Habit(staples, SIGNATURE, 7 * DAY, 3.5 * DAY, DAY, 4 * HOUR, STALE),
    # BIND: for 30 days unless told otherwise, made anew when a quarter of that is left.
    "dnssec-bind": Habit(zones, SIGNATURE, 30 * DAY, 7.5 * DAY, DAY, 12 * HOUR, STALE),
    # OpenDNSSEC's example policy: for 14 days, made anew when three are left.
    "dnssec-opendnssec": Habit(zones, SIGNATURE, 14 * DAY, 3 * DAY, 4 * HOUR, 4 * HOUR, STALE),
    "authority": Habit(
        authorities,
        AUTHORITY,
        10 * YEAR,
        2 * YEAR,
        180 * DAY,
        16 * DAY,
        "ExpiryAuthorityEnding",
        passes=True,
    ),
    # A year at a time, paid three months ahead.
    "registration": Habit(
        registrations,
        DOMAIN,
        YEAR + 90 * DAY,
        90 * DAY,
        20 * DAY,
        3 * DAY,
        "ExpiryDomainEnding",
        passes=True,
    ),
}

AD_CS = Habit(lists, CRL, 180 * HOUR + 20 * MINUTE, 12 * HOUR + 10 * MINUTE, 0.0, 20 * MINUTE, STALE)
"""
What Active Directory's authority does unless told otherwise: weekly, with an overlap of twelve hours at most.

Ten minutes are added at both sides for clocks that differ.
"""


def cycles(how: Habit) -> tuple[Place, float]:
    """
    Three cycles of a habit, and when they are over.
    """
    dice = random.Random(how.lifetime)
    begin = -(how.lifetime - how.left) + 4 * how.interval
    validities = [(begin, begin + how.lifetime)]
    for lateness in (how.late, dice.random() * how.late, 0.0):
        begin = float(int(begin + how.lifetime - how.left + lateness))
        validities.append((begin, begin + how.lifetime))
    return how.made(validities), begin + HOUR + 4 * how.interval


@pytest.mark.parametrize("name", HABITS)
def test_a_healthy_habit_never_alerts(name: str) -> None:
    """
    Three cycles with jitter. Where the exporter has no problem to report, the rules have nothing to alert on.
    """
    one, until = cycles(HABITS[name])
    assert told(Looks([one], until, HABITS[name].interval)) == {}


def test_lists_of_active_directory_never_alert() -> None:
    """
    The usual settings of the authority that most organizations have.
    """
    one, until = cycles(AD_CS)
    assert told(Looks([one], until, AD_CS.interval)) == {}


@pytest.mark.parametrize("name", HABITS)
def test_a_habit_that_stops_is_told_of_until_it_is_taken_up_again(name: str) -> None:
    """
    Warning, then critical, each from its deadline to the fix without a gap; then the end, where it has one.
    """
    how = HABITS[name]
    left = how.policy.time_left(how.lifetime)
    interval = max(MINUTE, left.warning / 120 // MINUTE * MINUTE)
    if how.made is registrations:
        # News of a domain are as old as the last look at its registry.
        interval = AGAIN_AFTER
    end = (left.warning * 1.1) // interval * interval + interval / 2
    fixed = end + 10.5 * interval
    one = how.made([(end - how.lifetime, end), (fixed, fixed + how.lifetime)])
    found = firings(record(fleet(one), fixed + 14 * interval, interval))
    kinds = [(how.alert, "warning", left.warning), (how.alert, "critical", left.critical)]
    if how.passes:
        kinds.append(("ExpiryPassed", "critical", 0.0))
    in_order = sorted(found, key=lambda one: found[one].first)
    assert [(one.alert, one.severity) for one in in_order] == [kind[:2] for kind in kinds]
    # A zone is mended when its last server is.
    mended = fixed + (HOUR / 2 if how.made is zones else 0.0)
    for one_name, (_, _, deadline) in zip(in_order, kinds, strict=True):
        firing = found[one_name]
        assert firing.complete
        # Rounding of deadlines to whole seconds aside.
        assert -1 <= firing.first - (end - deadline) <= interval
        assert mended - interval <= firing.last < mended


def test_a_renewal_by_the_registry_alone_is_critical_for_as_long_as_the_registry_says_so() -> None:
    """
    By design: for 45 days nobody can tell from outside whether the renewal was paid or will be undone.
    """
    end, interval = 70 * DAY, AGAIN_AFTER
    statuses = ("client transfer prohibited",)
    terms = [
        (0.0, end, statuses),
        (end, end + YEAR, (*statuses, "auto renew period")),
        (end + 45 * DAY, end + YEAR, statuses),
    ]
    found = firings(record(fleet(domain("example.com", terms)), end + 60 * DAY, interval))
    ending = [Name("ExpiryDomainEnding", one, "domain:example.com", "registration") for one in Severity]
    status = Name("ExpiryDomainStatus", "critical", "domain:example.com", "")
    assert set(found) == {*ending, status}
    assert [found[one].last for one in ending] == [end - interval] * 2
    assert [found[one].first for one in ending] == [end - 60 * DAY, end - 14 * DAY]
    assert found[status].complete
    # At once: what was critical before must not be over in between.
    assert (found[status].first, found[status].last) == (end, end + 45 * DAY - interval)
