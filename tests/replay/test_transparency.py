"""
What only public logs know: renewals that nobody deployed, CAs that are none of ours; and a healthy fleet.

The logs are a fake: crt.sh's answer as it would be about the certificates of a timeline, at each run of the
source.
"""

import functools
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from exporter.demo.minter import Minted
from exporter.discovery.issuances import bounded, merged
from exporter.discovery.log_answers import of_crt_sh
from exporter.judgement.issued import Issuances
from exporter.model.policies import DAY, HOUR, MANUAL
from exporter.pki.certificates import certificate
from tests.replay.promtool import Firing, Name, firings, told
from tests.replay.timeline import (
    Exporter,
    Fleet,
    Place,
    Recording,
    Schedule,
    fleet,
    leaf,
    place,
    record,
    served,
)
from tests.replay.timeline import anchor as root_of_all

HOST = "www.example.com"
URL = f"https://{HOST}"
LIFETIME = 90 * DAY
STEP = 4 * HOUR
IN_LOGS = 2 * HOUR
"""Seconds until a certificate is in the answers about logs."""


def row(minted: Minted, number: int) -> dict[str, object]:
    """
    A certificate as crt.sh describes it.
    """
    one = certificate(minted.der)
    begin, end = (datetime.fromtimestamp(at, UTC) for at in (one.not_before, one.not_after))
    return {
        "issuer_name": one.issuer,
        "name_value": "\n".join(one.dns_names),
        "id": number,
        "not_before": begin.replace(tzinfo=None).isoformat(),
        "not_after": end.replace(tzinfo=None).isoformat(),
        "serial_number": f"0{one.serial}",
    }


def logs(
    certificates: Iterable[Minted], places: Sequence[Place], every: float
) -> Callable[[float], Issuances]:
    """
    What the source knows at a time, which asks once in `every` seconds.
    """
    answer = json.dumps([row(one, number) for number, one in enumerate(certificates)]).encode()
    read = [one.issuance for one in of_crt_sh(answer) if one.issuance is not None]
    targets = [one.target for one in places]

    @functools.lru_cache(maxsize=1)
    def at(run: float) -> Issuances:
        there = merged(one for one in read if one.not_before + IN_LOGS <= run)
        return Issuances(bounded(there, run)[0], targets)

    return lambda now: at(now // every * every)


def known(certificates: Iterable[Minted], places: Sequence[Place], every: float = DAY) -> Fleet:
    """
    A fleet that one exporter watches, which also asks for these certificates.
    """
    return Fleet([Exporter(places, logs=logs(certificates, places, every))])


@functools.cache
def other_ca() -> Minted:
    """
    A CA that clients accept, too.
    """
    return root_of_all().issue("Other CA", ca=True, path_length=0)


def not_deployed() -> tuple[Recording, Recording]:
    """
    A server that is not reloaded after the renewal at 30 days left, until a person does it at 20: what
    Prometheus gets with logs and without.
    """
    old, new = leaf(HOST, -55 * DAY, LIFETIME), leaf(HOST, 5 * DAY, LIFETIME)
    one = place(URL, [(0.0, served(old)), (15 * DAY, served(new))])
    until = 17 * DAY
    with_logs = known([old, new], [one])
    return record(with_logs, until, STEP), record(fleet(one), until, STEP)


def test_a_renewal_that_was_not_deployed_is_known_from_logs() -> None:
    """
    The alert names the cause when the renewal is late, and ends when the new one is served.
    """
    with_logs, without = not_deployed()
    found, said = told(with_logs, "ExpiryNotDeployed")
    # The one hides the other (`hidden_by`).
    assert {name.alert for name in found} == {"ExpiryNotDeployed", "ExpiryRenewalOverdue"}
    fired = found[Name("ExpiryNotDeployed", "warning", URL, "leaf")]
    # Warned 25.5 days before the end.
    assert fired == Firing(9.5 * DAY, 15 * DAY - STEP, complete=True)
    assert list(firings(without)) == [Name("ExpiryRenewalOverdue", "warning", URL, "leaf")]
    (alert,) = said["ExpiryNotDeployed", 10 * DAY]
    words = "one until 1970-04-06 00:00 UTC was issued on 1970-01-06 00:00 UTC (number 1 at crt.sh)"
    assert f"renewed but not deployed: {words}" in alert.annotations["description"]


def test_what_was_issued_just_now_was_not_left_lying() -> None:
    """
    A renewal that comes late is late, until there was time to deploy it.
    """
    old, new = leaf(HOST, -60 * DAY, LIFETIME), leaf(HOST, 6 * DAY, LIFETIME)
    one = place(URL, [(0.0, served(old)), (7.5 * DAY, served(new))])
    watched = known([old, new], [one], HOUR)
    assert list(firings(record(watched, 10 * DAY, STEP))) == [
        Name("ExpiryRenewalOverdue", "warning", URL, "leaf")
    ]


def renewed(
    names: str | Sequence[str], first: float, lifetime: float, left: float, until: float
) -> list[Minted]:
    """
    A certificate and its renewals, each when so much is left.
    """
    begins = [first]
    while begins[-1] < until:
        begins.append(begins[-1] + lifetime - left)
    return [leaf(names, begin, lifetime) for begin in begins]


def deployed(certificates: Sequence[Minted], *delays: float) -> list[Schedule]:
    """
    What servers show that get each certificate so many seconds after it was issued.
    """
    return [
        [(certificate(one.der).not_before + delay, served(one)) for one in certificates] for delay in delays
    ]


@pytest.mark.parametrize("every", [HOUR, DAY])
def test_a_healthy_fleet_is_silent(every: float) -> None:
    """
    Renewals that are on all servers within hours; two types of key of which one is seen; a CDN in front that
    has its own CA and its own certificate with more names; one ordered twice; and a person's, weeks before.
    """
    until = 130 * DAY
    rolled = renewed("roll.example.com", -50 * DAY, LIFETIME, 30 * DAY, until)
    weekly = renewed("week.example.com", -1 * DAY, 6 * DAY, 3 * DAY, until)
    ecdsa = renewed(["two.example.com", "example.com"], -55 * DAY, LIFETIME, 30 * DAY, until)
    rsa = renewed(["two.example.com", "example.com"], -80 * DAY, LIFETIME, 30 * DAY, until)
    origin = renewed("cdn.example.com", -40 * DAY, LIFETIME, 30 * DAY, until)
    front = [
        other_ca().issue("cdn.example.com", names, not_before=begin * DAY, not_after=(begin + 90) * DAY)
        for begin in (-10, 50, 110, 170)
        for names in (["cdn.example.com"], ["cdn.example.com", "cdn.example.net"])
    ]
    twice = renewed("twice.example.com", -58 * DAY, LIFETIME, 30 * DAY, until)
    again = renewed("twice.example.com", -58 * DAY + HOUR, LIFETIME, 30 * DAY, until)
    by_hand = renewed("hand.example.com", -290 * DAY, 397 * DAY, 60 * DAY, until)
    places = [
        place("https://roll.example.com", *deployed(rolled, HOUR, 3 * HOUR, 7 * HOUR)),
        place("https://week.example.com", *deployed(weekly, HOUR)),
        place("https://two.example.com", *deployed(ecdsa, 2 * HOUR)),
        place("https://cdn.example.com", *deployed(origin, HOUR)),
        place("https://twice.example.com", *deployed(twice, 2 * HOUR)),
        place("https://hand.example.com", *deployed(by_hand, 10 * DAY), policy=MANUAL),
    ]
    every_one = [*rolled, *weekly, *ecdsa, *rsa, *origin, *front, *twice, *again, *by_hand]
    recording = record(known(every_one, places, every), until, 12 * HOUR)
    assert firings(recording) == {}
    # Nor does any metric say that one was renewed, but of that which took the person days.
    assert {
        series.partition('target="')[2].partition('"')[0]
        for series in recording.series
        if series.startswith("expiry_newest_not_after_timestamp_seconds")
    } == {"https://hand.example.com"}


def test_a_certificate_of_a_strange_ca_is_told_though_the_served_one_is_fine() -> None:
    """
    From the next run of the source until it ends, once for all targets that it covers.
    """
    ours = leaf(HOST, 0.0, 80 * DAY)
    strange = other_ca().issue(
        HOST, [HOST, "api.example.com"], not_before=10 * DAY + HOUR, not_after=20 * DAY
    )
    ours_too = leaf("api.example.com", 0.0, 80 * DAY)
    places = [
        place(URL, [(0.0, served(ours))]),
        place("https://api.example.com", [(0.0, served(ours_too))]),
    ]
    expecting = [replace(one, target=replace(one.target, issuers=("Replay Intermediate",))) for one in places]
    issued = [ours, ours_too, strange]
    recording = record(known(issued, expecting), 22 * DAY, STEP)
    found, said = told(recording, "ExpiryForeignIssuer")
    # The first name that has a target.
    name = Name("ExpiryForeignIssuer", "critical", "https://api.example.com", "issued by CN=Other CA")
    assert found == {name: Firing(11 * DAY, 20 * DAY - STEP, complete=True)}
    (alert,) = said["ExpiryForeignIssuer", 15 * DAY]
    for words in (
        "a certificate for api.example.com, www.example.com was issued by CN=Other CA on 1970-01-11",
        "(number 2 at crt.sh)",
        "expected is Replay Intermediate",
    ):
        assert words in alert.title
    # Nobody said which CAs there should be.
    assert firings(record(known(issued, places), 22 * DAY, STEP)) == {}
