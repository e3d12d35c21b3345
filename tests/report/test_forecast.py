"""
The forecast: which alerts come when, from values made by hand.
"""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.engine.results import ProbeResult
from exporter.model.observation import Facts, Item, Observed
from exporter.model.policies import DAY, HOUR, MANUAL, Severity
from exporter.model.reasons import Fault, Kind, Reason
from exporter.report.forecast import Forecast, document, forecast
from tests.golden.scenes import failed, seen
from tests.golden.values import ADDRESS, Scene, certificate, facts, intermediate, target
from tests.support.certificates import NOW
from tests.support.pages import in_numbers

OTHER = "192.0.2.11:443"

Told = tuple[float, str, str]
"""Days from now (0 for what fires already), alert, severity."""


def told(found: Forecast) -> list[Told]:
    """
    The alerts in their order.
    """
    return [(max(one.at - NOW, 0.0) / DAY, one.name, str(one.severity)) for one in found.alerts]


def of(*looks: ProbeResult, days: float = 90, **settings: Any) -> Forecast:
    """
    The forecast for one target.
    """
    return forecast(Scene().see(target(**settings), *looks).rows(), NOW, days)


def ending(left: float, lifetime: float = 90 * DAY) -> Facts:
    """
    A chain whose leaf has so much left.
    """
    return facts(certificate(begin=NOW + left - lifetime, end=NOW + left), intermediate())


def single(kind: Kind, left: float, lifetime: float) -> ProbeResult:
    """
    An item that is no certificate.
    """
    return ProbeResult(
        ADDRESS, Observed(Facts((Item(str(kind), kind, NOW + left - lifetime, NOW + left),))), 0.01
    )


def test_an_automatic_renewal_is_late_then_critical_then_over() -> None:
    """
    The renewal was due with 30 days left: it is told as overdue with 25.5, critical with 7.
    """
    assert told(of(seen(ending(75 * DAY)))) == [
        (49.5, "ExpiryRenewalOverdue", "warning"),
        (68.0, "ExpirySoon", "critical"),
        (75.0, "ExpiryPassed", "critical"),
    ]


def test_a_renewal_by_hand_is_told_when_it_is_due() -> None:
    """
    Then nothing is late: it is to be done.
    """
    assert told(of(seen(ending(50 * DAY, 365 * DAY)), policy=MANUAL)) == [
        (5.0, "ExpirySoon", "warning"),
        (29.0, "ExpirySoon", "critical"),
        (50.0, "ExpiryPassed", "critical"),
    ]


@pytest.mark.parametrize(
    ("kind", "left", "lifetime", "names"),
    [
        (
            Kind.AUTHORITY,
            80 * DAY,
            3650 * DAY,
            ["ExpiryAuthorityEnding", "ExpiryAuthorityEnding", "ExpiryPassed"],
        ),
        (
            Kind.REGISTRATION,
            70 * DAY,
            365 * DAY,
            ["ExpiryDomainEnding", "ExpiryDomainEnding", "ExpiryPassed"],
        ),
        (Kind.CRL, 5 * DAY, 7 * DAY, ["ExpirySignatureStale", "ExpirySignatureStale"]),
        (Kind.OCSP, 5 * DAY, 7 * DAY, ["ExpirySignatureStale", "ExpirySignatureStale"]),
        (Kind.DNSSEC, 9 * DAY, 14 * DAY, ["ExpirySignatureStale", "ExpirySignatureStale"]),
    ],
)
def test_each_kind_has_its_alert(kind: Kind, left: float, lifetime: float, names: list[str]) -> None:
    """
    The end of a signature is no outage of its own, so nothing tells that it has passed.
    """
    assert [name for _, name, _ in told(of(single(kind, left, lifetime)))] == names


def test_an_intermediate_that_ends_first_is_told_at_once() -> None:
    """
    And once more when it becomes critical. Clients refuse then what still has a good leaf.
    """
    found = of(seen(facts(certificate(), intermediate(end=NOW + 40 * DAY))), days=45)
    assert [one for one in told(found) if one[1] == "ExpiryChainEndsBeforeLeaf"] == [
        (0.0, "ExpiryChainEndsBeforeLeaf", "warning"),
        (33.0, "ExpiryChainEndsBeforeLeaf", "critical"),
    ]


def test_what_fires_already_comes_first_with_the_critical_before_the_rest() -> None:
    """
    When it began to fire is kept.
    """
    found = of(seen(ending(2 * DAY)))
    assert told(found) == [
        (0.0, "ExpirySoon", "critical"),
        (0.0, "ExpiryRenewalOverdue", "warning"),
        (2.0, "ExpiryPassed", "critical"),
    ]
    assert [found.firing(one) for one in found.alerts] == [True, True, False]
    assert [one.at - NOW for one in found.alerts[:2]] == [-5 * DAY, -23.5 * DAY]


def test_a_newer_certificate_elsewhere_is_one_that_was_not_deployed() -> None:
    """
    Only once the old one should have been replaced, and only where the old one is.
    """
    scene = Scene().see(target(name="old"), seen(ending(40 * DAY)))
    scene.see(target(name="new"), seen(ending(85 * DAY)))
    found = forecast(scene.rows(), NOW, 60)
    assert [
        (one.target, (one.at - NOW) / DAY, one.severity)
        for one in found.alerts
        if one.name == "ExpiryNotDeployed"
    ] == [
        ("old", 14.5, Severity.WARNING),
        ("old", 33.0, Severity.CRITICAL),
    ]


def test_a_newer_certificate_that_clients_refuse_is_none_that_was_not_deployed() -> None:
    """
    Behind a split horizon.
    """
    scene = Scene().see(target(name="public"), seen(ending(10 * DAY)))
    scene.see(target(name="inside"), seen(ending(3000 * DAY, 3650 * DAY)), found=[Fault.SELF_SIGNED])
    found = forecast(scene.rows(), NOW, 60)
    assert {one.name for one in found.alerts if one.target == "public"} == {
        "ExpiryRenewalOverdue",
        "ExpirySoon",
        "ExpiryPassed",
    }


def test_what_came_and_should_not_have_come_is_told() -> None:
    """
    Another issuer and key at once, for three days; an older one, once the newer was in service for days.
    """
    new, old = (
        certificate(issuer="CN=Other", key="rsa-2048"),
        certificate(begin=NOW - 60 * DAY, end=NOW + 30 * DAY),
    )
    scene = Scene().see(target(), seen(facts(old)), at=NOW - 20 * DAY)
    for days in (14, 1):
        scene.see(target(), seen(facts(certificate())), at=NOW - days * DAY)
    scene.see(target(), seen(facts(old)), at=NOW)
    assert (0.0, "ExpiryWentBackwards", "warning") in told(forecast(scene.rows(), NOW, 1))

    scene = Scene().see(target(), seen(facts(certificate())), at=NOW - DAY)
    scene.see(target(), seen(facts(new)), at=NOW - HOUR)
    found = forecast(scene.rows(), NOW, 1)
    assert [(one.at, one.name, one.item) for one in found.alerts] == [
        (NOW - HOUR, "ExpiryIdentityChanged", "leaf")
    ]
    assert forecast(scene.rows(), NOW + 3 * DAY - HOUR, 1).alerts == ()


def test_an_alert_is_told_once_for_its_worst_endpoint() -> None:
    """
    With the endpoints that are concerned by then.
    """
    found = of(
        seen(ending(60 * DAY)), seen(ending(50 * DAY), OTHER), seen(ending(50 * DAY), "192.0.2.12:443")
    )
    overdue = next(one for one in found.alerts if one.name == "ExpiryRenewalOverdue")
    assert (overdue.at, overdue.location, overdue.endpoints) == (NOW + 24.5 * DAY, OTHER, 2)
    assert overdue.end == NOW + 50 * DAY
    assert len(found.alerts) == len({(one.name, one.severity) for one in found.alerts})


def test_of_what_fires_already_all_that_is_concerned_now_is_counted() -> None:
    """
    Not only what was when it began: the worst is what ends first now.
    """
    found = of(seen(ending(20 * DAY)), seen(ending(10 * DAY), OTHER))
    (overdue,) = [one for one in found.alerts if one.name == "ExpiryRenewalOverdue"]
    assert (overdue.endpoints, overdue.location) == (2, OTHER)


def test_the_reach_of_a_certificate_is_counted() -> None:
    """
    In targets, not endpoints.
    """
    shared = ending(20 * DAY)
    scene = Scene().see(target(name="a"), seen(shared), seen(shared, OTHER))
    scene.see(target(name="b"), seen(shared)).see(target(name="c"), seen(ending(21 * DAY)))
    found = forecast(scene.rows(), NOW, 90)
    assert {one.target: one.targets for one in found.alerts} == {"a": 2, "b": 2, "c": 1}


def test_what_can_not_be_seen_is_said() -> None:
    """
    It fires soon, and its ends are missing.
    """
    found = of(failed(Reason.CONNECTION_REFUSED))
    assert told(found) == [(900 / DAY, "ExpiryProbeFailing", "warning")]
    assert found.alerts[0].reasons == ("connection_refused",)
    assert [row.label for row in found.unseen] == [ADDRESS]


def test_what_was_seen_and_can_not_be_any_more_is_told_at_the_pace_of_its_policy() -> None:
    """
    As critical once what was seen last is critical.
    """
    scene = Scene().see(target(), seen(ending(26 * DAY)))
    scene.see(target(), failed(Reason.TIMEOUT), at=NOW + 60)
    failing = [one for one in forecast(scene.rows(), NOW + 60, 90).alerts if one.name == "ExpiryProbeFailing"]
    assert [(one.at - NOW, one.severity) for one in failing] == [
        (60 + DAY, Severity.WARNING),
        (19 * DAY, Severity.CRITICAL),
    ]


def test_what_shows_itself_and_turns_us_away_is_seen() -> None:
    """
    Its ends are known, and nobody is told that it fails.
    """
    found = of(failed(Reason.CLIENT_CERTIFICATE_REQUIRED, found=ending(75 * DAY)))
    assert [name for _, name, _ in told(found)] == ["ExpiryRenewalOverdue", "ExpirySoon", "ExpiryPassed"]
    assert found.unseen == ()


def test_what_clients_refuse_is_told_with_all_reasons() -> None:
    """
    But not for its own end, which has its own alert.
    """
    scene = Scene().see(
        target(), seen(ending(-DAY)), found=[Fault.EXPIRED, Fault.NAME_MISMATCH, Fault.WEAK_KEY]
    )
    found = forecast(scene.rows(), NOW, 1).alerts
    (refused,) = [one for one in found if one.name == "ExpiryNotTrusted"]
    assert (refused.severity, refused.endpoints) == (Severity.WARNING, 1)
    assert refused.reasons == ("name_mismatch", "weak_key")


def test_nothing_due_is_an_empty_forecast() -> None:
    """
    Of what was looked at.
    """
    found = of(seen(ending(85 * DAY)), days=30)
    assert (found.alerts, found.targets, found.unseen) == ((), 1, ())


def test_no_targets_are_no_alerts() -> None:
    """
    And no error.
    """
    assert forecast([], NOW, 90) == Forecast(NOW, NOW + 90 * DAY, (), (), 0, ())


def test_the_document_has_what_a_program_needs() -> None:
    """
    Times in seconds; what does not apply is null.
    """
    leaf = certificate(begin=NOW - 83 * DAY, end=NOW + 7.5 * DAY)
    scene = Scene().see(target(name="a"), seen(facts(leaf, intermediate())))
    scene.see(target(name="gone"), failed(Reason.TIMEOUT))
    made = in_numbers(json.loads(json.dumps(document(forecast(scene.rows(), NOW, 1)))))
    assert made["unseen"] == [
        {"target": "gone", "location": ADDRESS, "reason": "timeout", "detail": "words about timeout"}
    ]
    overdue = next(one for one in made["alerts"] if one["alert"] == "ExpiryRenewalOverdue")
    assert overdue | {"at": 0} == {
        "at": 0,
        "firing": True,
        "alert": "ExpiryRenewalOverdue",
        "severity": "warning",
        "notification": 1,
        "target": "a",
        "item": "leaf",
        "kind": "leaf",
        "not_after": NOW + 7.5 * DAY,
        "location": ADDRESS,
        "endpoints": 1,
        "fingerprint_sha256": leaf.fingerprint_sha256,
        "targets_with_the_same": 1,
        "reasons": [],
    }
    failing = next(one for one in made["alerts"] if one["alert"] == "ExpiryProbeFailing")
    assert [failing[name] for name in ("item", "kind", "not_after", "fingerprint_sha256")] == [None] * 4


CHAINS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c"]),
        st.floats(-400, 400),
        st.floats(0, 800),
        st.one_of(st.none(), st.floats(-400, 400)),
    ),
    max_size=6,
)


@given(CHAINS, st.floats(0.5, 400))
def test_alerts_are_in_order_within_bounds_and_once_each(
    chains: list[tuple[str, float, float, float | None]], days: float
) -> None:
    """
    Whatever ends when: also what is broken, endless, or over for years.
    """
    scene = Scene()
    looks: dict[str, list[ProbeResult]] = {}
    for number, (name, left, lifetime, above) in enumerate(chains):
        end = NOW + left * DAY
        leaf = certificate(begin=end - lifetime * DAY, end=end, name=f"{number % 2}.example.com")
        chain = (leaf,) if above is None else (leaf, intermediate(end=NOW + above * DAY))
        looks.setdefault(name, []).append(seen(facts(*chain), f"192.0.2.{number}:443"))
    for name, ones in looks.items():
        scene.see(target(name=name), *ones)
    found = forecast(scene.rows(), NOW, days)

    moments = [max(one.at, NOW) for one in found.alerts]
    assert moments == sorted(moments)
    assert all(one.at <= found.until for one in found.alerts)
    firing = [one.severity for one in found.alerts if found.firing(one)]
    assert firing == sorted(firing, key=lambda one: one is not Severity.CRITICAL)
    keys = [(one.name, one.severity, one.target, one.item) for one in found.alerts]
    assert len(keys) == len(set(keys))
    for one in found.alerts:
        assert 1 <= one.endpoints <= len(looks[one.target])
        assert one.name != "ExpiryPassed" or (one.end is not None and one.at >= one.end)
    # A shorter look ahead is the beginning of a longer one.
    short = forecast(scene.rows(), NOW, days / 2)
    assert short.alerts == tuple(one for one in found.alerts if one.at <= short.until)


@given(st.floats(1, 80), st.floats(81, 400))
def test_each_end_is_told_before_it_comes(left: float, lifetime: float) -> None:
    """
    A warning, then critical, then that it has passed.
    """
    alerts = of(seen(ending(left * DAY, lifetime * DAY))).alerts
    when = {(one.name == "ExpiryPassed", one.severity): one.at for one in alerts}
    assert when[False, Severity.WARNING] <= when[False, Severity.CRITICAL] <= when[True, Severity.CRITICAL]
    assert when[True, Severity.CRITICAL] == pytest.approx(NOW + left * DAY)


def sent(found: Forecast) -> list[tuple[float, list[tuple[str, str]]]]:
    """
    The notifications: days from now, and the alerts and targets of each.
    """
    return [
        (max(one.at - NOW, 0.0) / DAY, [(each.name, each.target) for each in one.alerts])
        for one in found.notifications
    ]


def test_one_certificate_is_one_notification_for_each_severity() -> None:
    """
    However many targets have it, and whatever is wrong with it; what an alert inhibits is in none.
    """
    leaf = certificate(begin=NOW - 83 * DAY, end=NOW + 7.5 * DAY)
    scene = Scene().see(target(name="a"), seen(facts(leaf))).see(target(name="b"), seen(facts(leaf)))
    assert sent(forecast(scene.rows(), NOW, 30)) == [
        (0.0, [("ExpiryRenewalOverdue", "a"), ("ExpiryRenewalOverdue", "b")]),
        (0.5, [("ExpirySoon", "a"), ("ExpirySoon", "b")]),
        (7.5, [("ExpiryPassed", "a"), ("ExpiryPassed", "b")]),
    ]
    ended = certificate(begin=NOW - 100 * DAY, end=NOW - DAY)
    found = forecast(Scene().see(target(name="a"), seen(facts(ended))).rows(), NOW, 30)
    assert sent(found) == [(0.0, [("ExpiryPassed", "a")])]
    assert len(found.alerts) == 3


def test_alerts_without_a_certificate_are_one_notification_by_name() -> None:
    """
    Those that begin more than five minutes after the first of them are told by another.
    """
    scene = Scene()
    for number in range(3):
        scene.see(target(name=f"t{number}"), failed(Reason.CONNECT_TIMEOUT))
    ((_, alerts),) = sent(forecast(scene.rows(), NOW, 1))
    assert alerts == [("ExpiryProbeFailing", f"t{number}") for number in range(3)]
    scene = Scene()
    for name, left in (("a.example", 80.0), ("b.example", 80.001), ("c.example", 81.0)):
        scene.see(target(name=name), single(Kind.REGISTRATION, left * DAY, 365 * DAY))
    first = [[each for _, each in alerts] for _, alerts in sent(forecast(scene.rows(), NOW, 60))][:2]
    assert first == [["a.example", "b.example"], ["c.example"]]
