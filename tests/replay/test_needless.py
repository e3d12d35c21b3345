"""
What a person could only shrug at is not reported, or not as critical; what is behind it is, and in time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from exporter.demo.minter import Minted, root
from exporter.model.observation import FoundHazard
from exporter.model.policies import BY_KIND, DAY, HOUR, MANUAL
from exporter.model.problems import Problem
from exporter.model.reasons import Hazard, Reason
from exporter.probes.domains.registration import AUTO_RENEW
from exporter.probes.domains.registries import AGAIN_AFTER
from exporter.report.forecast import forecast
from tests.replay.promtool import Firing, Name, firings, told
from tests.replay.timeline import (
    YEAR,
    Exporter,
    Place,
    Seeing,
    Span,
    anchor,
    domain,
    fleet,
    issuer,
    kept,
    leaf,
    place,
    presented,
    record,
    refused,
    served,
    stored,
    within,
)

INTERVALS = pytest.mark.parametrize("interval", [6 * HOUR, DAY])


def nameless(subject: str, begin: float, lifetime: float, above: Minted | None = None) -> Minted:
    """
    A certificate without any name of a host.
    """
    return (above or issuer()).issue(subject, not_before=begin, not_after=begin + lifetime)


def about(found: Mapping[Name, Firing], target: str) -> set[tuple[str, str]]:
    """
    The names and severities of the alerts about a target.
    """
    return {(name.alert, name.severity) for name in found if name.target == target}


def criticals(found: Mapping[Name, Firing]) -> set[Name]:
    """
    What was critical at any time.
    """
    return {name for name in found if name.severity == "critical"}


@INTERVALS
def test_certificates_that_share_a_subject_are_not_compared(interval: float) -> None:
    """
    Kubeconfigs of two admins, SAML certificates of two customers, sidecars of one service: each has its own.
    """
    pairs = {
        "admin": ["file:///home/{}/.kube/config", "file:///srv/{}/admin.conf"],
        "saml": ["file:///srv/{}/saml.xml", "file:///etc/{}/metadata.xml"],
        "sidecar": ["tls://{}.example.com:15000", "tls://{}.example.net:15000"],
    }
    places = []
    for subject, urls in pairs.items():
        for number, url in enumerate(urls):
            one = nameless(subject, (-340 + 200 * number) * DAY, YEAR)
            seen = served(one) if url.startswith("tls") else kept(one)
            places.append(place(url.format(f"u{number}"), [(0.0, seen)], policy=MANUAL))
    found = firings(record(fleet(*places), 10 * DAY, interval))
    assert "ExpiryNotDeployed" not in {name.alert for name in found}
    # Each that is due says so itself.
    for url in ("file:///home/u0/.kube/config", "file:///srv/u0/saml.xml"):
        assert ("ExpirySoon", "warning") in about(found, url)


def test_certificates_of_other_uses_or_issuers_are_not_compared() -> None:
    """
    A client's certificate is no renewal of a server's; the one of a network's edge is none of the origin's.
    """
    host = "shop.example.com"
    other = root("Edge Authority", not_before=-YEAR, not_after=9 * YEAR)
    old = leaf(host, -80 * DAY, 90 * DAY)
    client = issuer().issue(
        host, [host], not_before=-DAY, not_after=89 * DAY, extended_key_usage=["1.3.6.1.5.5.7.3.2"]
    )
    edge = leaf(host, -DAY, 90 * DAY, other)
    places = [
        place(f"https://{host}", [(0.0, served(old))]),
        place("file:///srv/client.pem", [(0.0, stored(client.pem))]),
        place(f"tls://{host}:8443", [(0.0, presented(edge, other))]),
    ]
    found = firings(record(fleet(*places), 4 * HOUR, HOUR))
    assert about(found, f"https://{host}") == {("ExpiryRenewalOverdue", "warning")}


def test_a_renewal_by_another_issuer_is_still_known_where_it_must_be_the_same_service() -> None:
    """
    Between the addresses of a target, and between what is stored and what is served.
    """
    host = "shop.example.com"
    other = anchor().issue("Second Authority", ca=True, path_length=0)
    old, new = leaf(host, -80 * DAY, 90 * DAY), leaf(host, -DAY, 90 * DAY, other)
    for places in (
        [place(f"https://{host}", [(0.0, served(old))], [(0.0, served(new))])],
        [
            place(f"https://{host}", [(0.0, served(old))]),
            place("file:///srv/shop.pem", [(0.0, stored(new.pem))]),
        ],
    ):
        found = firings(record(fleet(*places), 4 * HOUR, HOUR))
        assert ("ExpiryNotDeployed", "warning") in about(found, f"https://{host}")


def test_what_has_expired_is_one_notification() -> None:
    """
    A SAML certificate whose successor is in another document, and a node that was left behind: several
    problems each, of which the worst is sent.
    """
    host, saml = "shop.example.com", "idp.example.com"
    documents = [
        place(
            f"file:///srv/{name}.xml",
            [(0.0, kept(leaf(saml, age * DAY, 2 * YEAR), "signing"))],
            policy=MANUAL,
        )
        for name, age in (("old", -731), ("new", -30))
    ]
    node = place(f"https://{host}", *([(0.0, served(leaf(host, age * DAY, 90 * DAY)))] for age in (-91, -20)))
    for places, problems in ((documents, 5), ([node], 5)):
        looking = Exporter(places)
        said = looking.scrape(0.0).splitlines()
        assert sum(line.startswith("expiry_problem_end") for line in said) >= problems
        (sent,) = forecast(looking.rows(0.0), 0.0, 1).notifications
        assert {one.problem for one in sent.alerts} == {Problem.PASSED}


@INTERVALS
@pytest.mark.parametrize("same_key", [True, False])
def test_a_ca_whose_successor_stands_beside_it_ends_unnoticed(interval: float, same_key: bool) -> None:
    """
    A healthy rotation, by the name or by the key; without a successor the end is told, and passes.
    """
    old = root("Own CA", not_before=-10 * YEAR + 30 * DAY, not_after=30 * DAY)
    new = (
        root("Own CA, second", not_before=-300 * DAY, not_after=9 * YEAR, key=old.key)
        if same_key
        else root("Own CA", not_before=-300 * DAY, not_after=9 * YEAR)
    )
    both, alone = "file:///etc/ssl/bundle.pem", "file:///etc/ssl/old.pem"
    places = [
        place(both, [(0.0, stored(old.pem + new.pem))]),
        place(alone, [(0.0, stored(old.pem))]),
    ]
    places = [replace(one, target=replace(one.target, matches=BY_KIND)) for one in places]
    found = firings(record(fleet(*places), 40 * DAY, interval))
    assert about(found, both) == set()
    assert ("ExpiryPassed", "critical") in about(found, alone)


@INTERVALS
def test_a_dead_cross_sign_is_a_warning_that_says_so(interval: float) -> None:
    """
    Critical before its end, when nobody knows which clients need it. After it clients accept the server.
    """
    url, end, fixed = "https://letters.example.com", 20 * DAY + 420, 40 * DAY
    old_root = root("Old Root", not_before=-19 * YEAR, not_after=end)
    cross = old_root.cross_sign(anchor(), not_before=-10 * YEAR, not_after=end)
    one = leaf("letters.example.com", -10 * DAY, 200 * DAY)
    schedule = [(0.0, presented(one, issuer(), cross)), (fixed, presented(one, issuer()))]
    recording = record(fleet(place(url, schedule, policy=MANUAL)), 42 * DAY, interval)
    found, said = told(recording, "ExpiryChainEndsBeforeLeaf")
    warning, critical = (
        Name("ExpiryChainEndsBeforeLeaf", one, url, "chain-2") for one in ("warning", "critical")
    )
    assert set(found) == {warning, critical}
    assert found[warning] == Firing(0.0, fixed - interval, complete=True)
    assert end - interval <= found[critical].last <= end
    when = 30 * DAY
    (alert,) = said[warning.alert, when]
    assert "has expired" in alert.title
    assert "dead weight: clients accept the server without it" in alert.title


def test_a_cross_sign_that_clients_need_stays_critical_when_it_has_ended() -> None:
    """
    As long as it is served, with what clients make of it.
    """
    url, end = "https://payments.example.com", 20 * DAY + 420
    cross = anchor().cross_sign(issuer(), not_before=-19 * YEAR, not_after=end)
    seen = presented(leaf("payments.example.com", -10 * DAY, 200 * DAY), cross)
    found = firings(record(fleet(place(url, [(0.0, seen)], policy=MANUAL)), 30 * DAY, 12 * HOUR))
    critical = found[Name("ExpiryChainEndsBeforeLeaf", "critical", url, "chain-1")]
    assert (critical.last, critical.complete) == (30 * DAY, True)
    assert ("ExpiryNotTrusted", "critical") in about(found, url)


NAME = "example.com"
DOMAIN = f"domain:{NAME}"
OWN = ("client transfer prohibited",)
GRACE = (*OWN, "auto renew period")


def critical_at(interval: float, found: Mapping[Name, Firing], begin: float, end: float) -> bool:
    """
    True when something about the domain was critical at each evaluation from the begin until before the end.
    """
    spans = [
        (fire.first, fire.last)
        for name, fire in found.items()
        if name.severity == "critical" and fire.complete
    ]
    steps = range(int(-(-begin // interval)), int(-(-end // interval)))
    return all(any(first <= step * interval <= last for first, last in spans) for step in steps)


def test_auto_renewal_is_a_status_of_registries() -> None:
    """
    The replays below are about what the prober takes for it.
    """
    assert GRACE[-1].replace(" ", "") in AUTO_RENEW


@INTERVALS
def test_a_domain_that_nobody_paid_for_stays_critical_in_its_grace_month(
    interval: float,
) -> None:
    """
    From two weeks before its end until the registry says no more that it renewed the domain by itself.
    """
    end = 20 * DAY
    terms = [(0.0, end, OWN), (end, end + YEAR, GRACE), (end + 45 * DAY, end + YEAR, OWN)]
    found = firings(record(fleet(domain(NAME, terms)), end + 48 * DAY, interval))
    assert critical_at(interval, found, end - 14 * DAY, end + 45 * DAY)
    status = found[Name("ExpiryDomainStatus", "critical", DOMAIN, "")]
    assert status.complete
    assert end + 45 * DAY - interval - AGAIN_AFTER <= status.last < end + 45 * DAY + AGAIN_AFTER


@INTERVALS
@pytest.mark.parametrize("status", ["renew period", "transfer period"])
def test_a_domain_in_grace_that_is_paid_for_is_well(interval: float, status: str) -> None:
    """
    Once it was renewed or transferred, whatever else the registry says of it.
    """
    end, paid = 20 * DAY, 25 * DAY
    terms = [(0.0, end, OWN), (end, end + YEAR, GRACE), (paid, end + 2 * YEAR, (*GRACE, status))]
    found = firings(record(fleet(domain(NAME, terms)), end + 20 * DAY, interval))
    assert critical_at(interval, found, end - 14 * DAY, paid)
    assert max(fire.last for fire in found.values()) < paid + AGAIN_AFTER


@INTERVALS
def test_a_domain_that_was_renewed_in_time_is_never_critical(interval: float) -> None:
    """
    Thirty days before its end, by a registrar at whose registry the status is there all the same.
    """
    end, renewed = 40 * DAY, 10 * DAY
    terms = [(0.0, end, OWN), (renewed, end + YEAR, GRACE), (end + 15 * DAY, end + YEAR, OWN)]
    found = firings(record(fleet(domain(NAME, terms)), 60 * DAY, interval))
    assert criticals(found) == set()


HOST = "old.example.com"
URL = f"https://{HOST}"


def ended_in(days: float, name: Sequence[tuple[Span, Reason]]) -> Place:
    """
    A server whose certificate ends, and what a look-up of its name or a probe gives meanwhile.
    """
    plain = place(URL, [(0.0, served(leaf(HOST, (days - 90) * DAY, 90 * DAY)))])

    def see(now: float) -> Seeing:
        for span, reason in name:
            if within([span], now):
                return refused(reason)
        return plain.see(now)

    return replace(plain, see=see)


@pytest.mark.parametrize("interval", [4 * HOUR, DAY])
def test_a_name_that_was_given_up_is_a_warning_only(interval: float) -> None:
    """
    It left the DNS with most of its certificate's life left, and nobody took it out of the configuration.

    One matter, one alert: no renewal is late where no server is.
    """
    gone = ended_in(30.0, [((2 * DAY, float("inf")), Reason.DNS_NOT_FOUND)])
    recording = record(fleet(gone), 45 * DAY, interval)
    found, said = told(recording, "ExpiryProbeFailing")
    assert criticals(found) == set()
    assert about(found, URL) == {("ExpiryProbeFailing", "warning")}
    failing = found[Name("ExpiryProbeFailing", "warning", URL, "")]
    assert (failing.last, failing.complete) == (45 * DAY, True)
    (alert,) = said["ExpiryProbeFailing", 40 * DAY]
    assert "Remove the target if its name was given up" in alert.annotations["description"]


@pytest.mark.parametrize("reason", [Reason.DNS_FAILED, Reason.DNS_TIMEOUT, Reason.CONNECTION_REFUSED])
def test_a_name_that_may_exist_stays_critical(reason: Reason) -> None:
    """
    A look-up without an answer says nothing about the name, and a server that is down may come back.
    """
    found = firings(record(fleet(ended_in(30.0, [((2 * DAY, float("inf")), reason)])), 40 * DAY, 12 * HOUR))
    passed = found[Name("ExpiryPassed", "critical", URL, "leaf")]
    assert (passed.last, passed.complete) == (40 * DAY, True)


@pytest.mark.parametrize("back", [None, Reason.CONNECTION_REFUSED], ids=["seen", "not-seen"])
def test_a_name_that_is_back_is_critical_at_once(back: Reason | None) -> None:
    """
    Seen or not: clients get there again.
    """
    spans = [((2 * DAY, 35 * DAY), Reason.DNS_NOT_FOUND)]
    if back is not None:
        spans.append(((35 * DAY, float("inf")), back))
    found = firings(record(fleet(ended_in(30.0, spans)), 40 * DAY, 6 * HOUR))
    assert found[Name("ExpiryPassed", "critical", URL, "leaf")] == Firing(35 * DAY, 40 * DAY, complete=True)


def test_a_slip_of_the_dns_changes_nothing() -> None:
    """
    Neither "no such name" for minutes while the certificate is expired, nor no answer where the name is gone.
    """
    minute = 60.0
    expired = ended_in(-1.0, [((HOUR, HOUR + 30 * minute), Reason.DNS_NOT_FOUND)])
    found = firings(record(fleet(expired), 3 * HOUR, 10 * minute))
    assert found[Name("ExpiryPassed", "critical", URL, "leaf")] == Firing(0.0, 3 * HOUR, complete=True)
    gone = ended_in(
        1.0,
        [
            ((DAY + 6 * HOUR, DAY + 6 * HOUR + 30 * minute), Reason.DNS_TIMEOUT),
            ((10 * minute, float("inf")), Reason.DNS_NOT_FOUND),
        ],
    )
    found = firings(record(fleet(gone), DAY + 8 * HOUR, 10 * minute))
    assert max(found[name].last for name in criticals(found)) < 2 * HOUR


@pytest.mark.parametrize("left", [5.0, 0.05, -1.0])
def test_a_name_that_was_lost_near_the_end_is_told_of_until_it_is_back(left: float) -> None:
    """
    Critical for an hour; then a warning, which does not wait for its own pace.
    """
    minute = 60.0
    gone = ended_in(left, [((HOUR, 4 * HOUR), Reason.DNS_NOT_FOUND)])
    found = firings(record(fleet(gone), 5 * HOUR, 5 * minute))
    critical, warning = (
        found[Name("ExpiryProbeFailing", severity, URL, "")] for severity in ("critical", "warning")
    )
    assert critical == Firing(75 * minute, 115 * minute, complete=True)
    assert warning == Firing(2 * HOUR, 4 * HOUR - 5 * minute, complete=True)


@pytest.mark.parametrize("hazard", [Hazard.NAME_NOT_RESOLVING, Hazard.CAA_FORBIDS_ISSUER])
@pytest.mark.parametrize("left", [50, 64])
def test_what_blocks_the_next_renewal_is_told_when_it_is_seen(left: int, hazard: Hazard) -> None:
    """
    Not 25 days before the end, when the renewal is late; and it is over once it was put right.
    """
    plain = served(leaf(HOST, 0.0, 90 * DAY))
    begin, mended = (90 - left) * DAY, (92 - left) * DAY
    blocked = replace(plain, hazards=(FoundHazard(hazard, "simulated"),))
    one = place(URL, [(0.0, plain), (begin, blocked), (mended, plain)])
    found = firings(record(fleet(one), mended + DAY, 6 * HOUR))
    # The rule waits for some minutes: a slip of the DNS is no problem.
    first = begin + 6 * HOUR
    assert found == {
        Name("ExpiryRenewalBlocked", "warning", URL, ""): Firing(first, mended - 6 * HOUR, complete=True)
    }


def test_a_restart_with_its_state_forgets_neither() -> None:
    """
    That the end of a domain was critical when its registry moved it, and that a name does not exist.
    """
    end = 20 * DAY
    looking = Exporter(
        [
            domain(NAME, [(0.0, end, OWN), (end, end + YEAR, GRACE)]),
            ended_in(15.0, [((DAY, float("inf")), Reason.DNS_NOT_FOUND)]),
        ]
    )
    for day in range(22):
        looking.scrape(day * DAY)
    looking.restart(keep_state=True)
    said = [line for line in looking.scrape(22 * DAY).splitlines() if line.startswith("expiry_problem_end")]
    critical = [line for line in said if 'severity="critical"' in line]
    assert any(URL in line for line in said)
    assert [DOMAIN in line and 'problem="domain_status"' in line for line in critical] == [True]
