"""
What a policy says besides deadlines, and policies of the usual renewers: healthy ones never alert.
"""

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.hashes import SHA256

from exporter.demo.minter import Minted
from exporter.model.observation import Facts
from exporter.model.policies import AUTOMATIC, BUILT_IN, DAY, HOUR, Before
from tests.replay.promtool import Firing, Name, firings, told
from tests.replay.test_fleets import Fleet as Looks
from tests.replay.test_fleets import told as problems
from tests.replay.timeline import (
    MINUTE,
    Place,
    Span,
    anchor,
    fleet,
    issuer,
    leaf,
    place,
    presented,
    record,
    served,
)

CYCLES = 3
"""Renewals that each healthy renewer makes."""


def renewed(policy: str, lifetime: float, lefts: Sequence[float], late: float) -> tuple[Place, float]:
    """
    A target with this policy, renewed each time that so much is left and a little late, and when it is over.
    """
    host, begin = f"{policy}-{lifetime:.0f}.example.com", 0.0
    schedule: list[tuple[float, Facts]] = []
    dice = random.Random(host)
    for left in (*lefts, lefts[0]):
        schedule.append((begin, served(leaf(host, int(begin), lifetime))))
        begin = int(begin + lifetime - left + late * dice.random())
    return place(f"https://{host}", schedule, policy=BUILT_IN[policy]), schedule[-1][0] + lifetime / 3


RENEWED = [
    # At 90 % of the lifetime, and with the jitter of its certificates between 87 and 93 %.
    *(("vault-agent", days * DAY, (0.1, 0.07, 0.13)) for days in (3, 32, 90)),
    *(("kubelet", days * DAY, (0.3, 0.1, 0.2)) for days in (1, 30, 365)),
    *(("acme", days * DAY, (1 / 3, 1 / 2, 1 / 3)) for days in (6, 45, 90)),
    *(("cert-manager", days * DAY, (1 / 3,) * CYCLES) for days in (1, 90)),
    ("step", DAY, (1 / 3, 0.3, 1 / 3)),
    *((name, lifetime, (1 / 2,) * CYCLES) for name, lifetime in (("istio", DAY), ("spire", HOUR))),
    *((f"cloud-{days}", 198 * DAY, (days / 198,) * CYCLES) for days in (60, 45, 30)),
    ("monthly", 47 * DAY, (17 / 47, 16 / 47, 19 / 47)),
]
"""Policy, lifetime and the shares of it that are left at each renewal."""


@pytest.mark.parametrize(("policy", "lifetime", "shares"), RENEWED)
def test_a_healthy_renewer_never_alerts_with_its_policy(
    policy: str, lifetime: float, shares: Sequence[float]
) -> None:
    """
    Three renewals, each late by up to a day or a fortieth of the lifetime. Where the exporter has no problem,
    the rules have nothing to alert on.
    """
    lefts = [share * lifetime for share in shares]
    one, until = renewed(policy, lifetime, lefts, min(DAY, lifetime / 40))
    interval = max(MINUTE, lifetime / 100 // MINUTE * MINUTE)
    assert problems(Looks([one], until, interval)) == {}


def test_a_renewer_that_stops_is_told_of_with_its_policy() -> None:
    """
    With Vault Agent, once less is left than it ever leaves.
    """
    host = "stopped.example.com"
    end = 4 * DAY
    policy = BUILT_IN["vault-agent"]
    one = place(f"https://{host}", [(0.0, served(leaf(host, end - 32 * DAY, 32 * DAY)))], policy=policy)
    found = firings(record(fleet(one), 5 * DAY, HOUR))
    warning = found[Name("ExpiryRenewalOverdue", "warning", f"https://{host}", "leaf")]
    critical = found[Name("ExpirySoon", "critical", f"https://{host}", "leaf")]
    assert end - 0.04 * 32 * DAY <= warning.first < critical.first < end


# What can't be seen.


def standing(host: str, left: float, failing: Sequence[Span], unseen: Before | None = None) -> Place:
    """
    A certificate of 90 days that fails to be seen in these spans.
    """
    schedule = [(0.0, served(leaf(host, left - 90 * DAY, 90 * DAY)))]
    policy = replace(AUTOMATIC, unseen=unseen)
    return place(f"https://{host}", schedule, policy=policy, failing=failing)


@pytest.mark.parametrize("keep_state", [True, False])
def test_a_host_that_is_down_each_night_alerts_nobody(keep_state: bool) -> None:
    """
    For 25 minutes, with 80 days left; the exporter is restarted once while it is up.

    Scraped every minute it has no problem either, of which the rules could make an alert.
    """
    nights = [(night * DAY + 2 * HOUR, night * DAY + 2 * HOUR + 25 * MINUTE) for night in range(2)]
    one = standing("night.example.com", 80 * DAY, nights)
    down = (DAY, DAY + 5 * MINUTE)
    simulated = replace(fleet(one, exporter_down=[down]), keep_state=keep_state)
    assert firings(record(simulated, 1.25 * DAY, 5 * MINUTE)) == {}
    assert problems(Looks([one], 1.25 * DAY, MINUTE, [down]), [(down[1], keep_state)]) == {}


def test_a_host_that_is_off_at_weekends_alerts_nobody_where_the_policy_says_so() -> None:
    """
    From Friday evening to Monday morning; by default that is told after a day.
    """
    off = [(DAY, 3.6 * DAY)]
    patient = standing("patient.example.com", 80 * DAY, off, Before(3 * DAY))
    usual = standing("usual.example.com", 80 * DAY, off)
    found = firings(record(fleet(patient, usual), 4 * DAY, 20 * MINUTE))
    (name,) = found
    assert name == Name("ExpiryProbeFailing", "warning", "https://usual.example.com", "")
    assert found[name].first == 2 * DAY


def test_a_dead_host_is_told_of_over_a_restart() -> None:
    """
    From a day after the first failure on, without a gap, with the state that is kept.
    """
    one = standing("dead.example.com", 80 * DAY, [(HOUR, float("inf"))])
    down = [(30 * HOUR, 30 * HOUR + 5 * MINUTE)]
    found = firings(record(fleet(one, exporter_down=down), 32 * HOUR, 5 * MINUTE))
    failing = found[Name("ExpiryProbeFailing", "warning", "https://dead.example.com", "")]
    assert failing == Firing(25 * HOUR, 32 * HOUR, complete=True)


def test_near_the_end_what_can_not_be_seen_is_critical_soon() -> None:
    """
    A quarter of an hour after the first failure, whatever the policy says.
    """
    one = standing("near.example.com", 5 * DAY, [(HOUR, float("inf"))], Before(3 * DAY))
    found = firings(record(fleet(one), 2 * HOUR, MINUTE))
    failing = found[Name("ExpiryProbeFailing", "critical", "https://near.example.com", "")]
    assert failing == Firing(75 * MINUTE, 2 * HOUR, complete=True)


# Whose certificates they are.

HOST = "mine.example.com"


def foreign(host: str = HOST) -> Facts:
    """
    A valid certificate of another CA that clients trust as much.
    """
    other = anchor().issue("Somebody Else", ca=True, path_length=0)
    return presented(leaf(host, HOUR, 90 * DAY, other), other)


def of_ours(begin: float = -20 * DAY) -> Facts:
    """
    A certificate of the CA that is expected.
    """
    return served(leaf(HOST, begin, 90 * DAY))


def expecting(one: Place, *issuers: str) -> Place:
    """
    The place with its expected issuers.
    """
    return replace(one, target=replace(one.target, issuers=issuers))


def test_what_another_issuer_issued_is_neither_newer_nor_what_was_there_before() -> None:
    """
    Once ours is back for two days it went nowhere, and there is nothing to deploy.
    """
    schedule = [(0.0, of_ours(-62 * DAY)), (DAY, foreign()), (3 * DAY, of_ours(2 * DAY))]
    one = expecting(place(f"https://{HOST}", schedule), "replay intermediate")
    found = firings(record(fleet(one), 8 * DAY, HOUR))
    assert {name.alert for name in found} == {"ExpiryForeignIssuer"}


def test_another_issuer_is_critical_at_once_and_until_it_is_put_right() -> None:
    """
    Also inside the renewal window, where nothing else would be said, and while it can't be seen.
    """
    schedule = [(0.0, of_ours(-62 * DAY)), (HOUR, foreign()), (3 * HOUR, of_ours(2 * HOUR))]
    one = expecting(
        place(f"https://{HOST}", schedule, failing=[(2 * HOUR, 2.5 * HOUR)]), "replay intermediate"
    )
    recording = record(fleet(one), 4 * HOUR, MINUTE)
    found, said = told(recording, "ExpiryForeignIssuer")
    name = Name("ExpiryForeignIssuer", "critical", f"https://{HOST}", "leaf")
    assert found == {name: Firing(HOUR, 3 * HOUR - MINUTE, complete=True)}
    (alert,) = said["ExpiryForeignIssuer", HOUR]
    assert "is of a CA that is not yours" in alert.title
    assert "expected is replay intermediate" in alert.title


def test_another_issuer_at_a_new_address_is_critical_at_once() -> None:
    """
    Though all that was there before is as it was.
    """
    before = place(f"https://{HOST}", [(0.0, of_ours())])
    after = place(f"https://{HOST}", [(0.0, of_ours())], [(0.0, foreign())])
    one = replace(before, see=lambda now: (before if now < HOUR else after).see(now))
    found = firings(record(fleet(expecting(one, "Replay Intermediate")), 2 * HOUR, MINUTE))
    name = Name("ExpiryForeignIssuer", "critical", f"https://{HOST}", "leaf")
    assert found == {name: Firing(HOUR, 2 * HOUR, complete=True)}


@pytest.mark.parametrize(
    ("issuers", "told"),
    [
        (("Replay Intermediate", "Replay Second"), set()),
        # Nobody said whose certificates are expected.
        ((), {"ExpiryIdentityChanged"}),
        (("Replay Intermediate",), {"ExpiryForeignIssuer", "ExpiryIdentityChanged"}),
    ],
)
def test_a_change_to_another_ca_of_ones_own_alerts_nobody(issuers: tuple[str, ...], told: set[str]) -> None:
    """
    Long before a renewal is due, as all hosts are moved there.
    """
    second = anchor().issue("Replay Second", ca=True, path_length=0)
    moved = presented(leaf(HOST, DAY, 90 * DAY, second), second)
    one = place(f"https://{HOST}", [(0.0, of_ours()), (DAY, moved)])
    found = firings(record(fleet(expecting(one, *issuers)), 5 * DAY, HOUR))
    assert {name.alert for name in found} == told


def test_renewals_by_expected_issuers_alert_nobody() -> None:
    """
    By turns from two CAs of one's own, and with a root that is named by its fingerprint.
    """
    second = anchor().issue("Replay Second", ca=True, path_length=0)

    def signed(begin: float, above: Minted) -> Facts:
        return presented(leaf(HOST, begin, 6 * DAY, above), above)

    schedule = [
        (begin, signed(begin, above))
        for begin, above in ((0.0, issuer()), (3 * DAY, second), (6 * DAY, issuer()))
    ]
    digest = anchor().certificate.fingerprint(SHA256()).hex(":")
    places = [
        expecting(place(f"https://{HOST}", schedule), "Replay Intermediate", "Replay Second"),
        expecting(place(f"https://{HOST}:8443", schedule), digest),
    ]
    assert firings(record(fleet(*places), 8 * DAY, HOUR)) == {}
