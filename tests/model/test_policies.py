"""
Policies: when a renewal is due, and when a person is told.
"""

from dataclasses import replace
from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.model.policies import (
    AUTHORITY,
    AUTOMATIC,
    BUILT_IN,
    DAY,
    DOMAIN,
    HOUR,
    MANUAL,
    RENEWERS,
    Before,
    Match,
    Policy,
    TimeLeft,
    lateness,
    renewer_of,
)

YEAR = 365 * DAY

# Days that are left when renewal is due, at the warning, and when it is critical, for lifetimes in days.
# Worked out by hand from the rules in the manual, not by the code.
TABLE = [
    # A third, the warning late by min(max(1 d, 1/20), 1/8, 5 d); a half and a sixth under ten days;
    # critical at an eighth, a week at most.
    (AUTOMATIC, 1 / 24, 1 / 48, 1 / 144, 1 / 192),
    (AUTOMATIC, 1, 0.5, 1 / 6, 0.125),
    (AUTOMATIC, 6, 3, 1, 0.75),
    (AUTOMATIC, 10, 10 / 3, 10 / 3 - 1, 1.25),
    (AUTOMATIC, 14, 14 / 3, 14 / 3 - 1, 1.75),
    (AUTOMATIC, 45, 15, 12.75, 5.625),
    (AUTOMATIC, 47, 47 / 3, 47 / 3 - 2.35, 5.875),
    (AUTOMATIC, 90, 30, 25.5, 7),
    (AUTOMATIC, 200, 30, 25, 7),
    (AUTOMATIC, 398, 30, 25, 7),
    (AUTOMATIC, 3650, 30, 25, 7),
    (AUTOMATIC, 9999 * 365, 30, 25, 7),
    # 45 days and 21 days, a half and a quarter at most.
    (MANUAL, 1 / 24, 1 / 48, 1 / 48, 1 / 96),
    (MANUAL, 1, 0.5, 0.5, 0.25),
    (MANUAL, 6, 3, 3, 1.5),
    (MANUAL, 45, 22.5, 22.5, 11.25),
    (MANUAL, 47, 23.5, 23.5, 11.75),
    (MANUAL, 90, 45, 45, 21),
    (MANUAL, 200, 45, 45, 21),
    (MANUAL, 398, 45, 45, 21),
    (MANUAL, 3650, 45, 45, 21),
    (MANUAL, 9999 * 365, 45, 45, 21),
    # 365 days and 90 days, likewise.
    (AUTHORITY, 1 / 24, 1 / 48, 1 / 48, 1 / 96),
    (AUTHORITY, 1, 0.5, 0.5, 0.25),
    (AUTHORITY, 6, 3, 3, 1.5),
    (AUTHORITY, 45, 22.5, 22.5, 11.25),
    (AUTHORITY, 47, 23.5, 23.5, 11.75),
    (AUTHORITY, 90, 45, 45, 22.5),
    (AUTHORITY, 200, 100, 100, 50),
    (AUTHORITY, 398, 199, 199, 90),
    (AUTHORITY, 3650, 365, 365, 90),
    (AUTHORITY, 9999 * 365, 365, 365, 90),
    # 60 days and 14 days, likewise.
    (DOMAIN, 1 / 24, 1 / 48, 1 / 48, 1 / 96),
    (DOMAIN, 1, 0.5, 0.5, 0.25),
    (DOMAIN, 6, 3, 3, 1.5),
    (DOMAIN, 45, 22.5, 22.5, 11.25),
    (DOMAIN, 47, 23.5, 23.5, 11.75),
    (DOMAIN, 90, 45, 45, 14),
    (DOMAIN, 200, 60, 60, 14),
    (DOMAIN, 398, 60, 60, 14),
    (DOMAIN, 3650, 60, 60, 14),
    (DOMAIN, 9999 * 365, 60, 60, 14),
]


@pytest.mark.parametrize(("policy", "lifetime", "due", "warning", "critical"), TABLE)
def test_the_built_in_deadlines(
    policy: Policy, lifetime: float, due: float, warning: float, critical: float
) -> None:
    """
    For every lifetime that is in use.
    """
    left = policy.time_left(lifetime * DAY)
    days = (left.renewal_due / DAY, left.warning / DAY, left.critical / DAY)
    assert days == pytest.approx((due, warning, critical))


@pytest.mark.parametrize("policy", BUILT_IN.values(), ids=BUILT_IN)
@pytest.mark.parametrize("lifetime", [0.0, -1.0, -YEAR])
def test_a_certificate_without_a_lifetime_is_due_at_its_end(policy: Policy, lifetime: float) -> None:
    """
    A broken certificate has deadlines nevertheless.
    """
    assert policy.time_left(lifetime) == TimeLeft(0, 0, 0)


@pytest.mark.parametrize(
    ("lifetime", "late"),
    [
        (0, 0),
        (HOUR, HOUR / 8),
        (DAY, 3 * HOUR),
        (6 * DAY, 18 * HOUR),
        (8 * DAY, DAY),
        (20 * DAY, DAY),
        (90 * DAY, 4.5 * DAY),
        (100 * DAY, 5 * DAY),
        (398 * DAY, 5 * DAY),
    ],
)
def test_how_late_a_healthy_renewal_may_be(lifetime: float, late: float) -> None:
    """
    An eighth, a day, a twentieth, then five days.
    """
    assert lateness(lifetime) == pytest.approx(late)


@pytest.mark.parametrize(
    "lifetime", [HOUR, DAY, 6 * DAY, 14 * DAY, 45 * DAY, 47 * DAY, 90 * DAY, 200 * DAY, 398 * DAY, 10 * YEAR]
)
def test_a_healthy_renewal_never_alerts(lifetime: float) -> None:
    """
    Renewed when a third or 30 days are left and late by a day, or by an eighth of a short lifetime, nobody
    is told.
    """
    renewed = min(lifetime / 3, 30 * DAY)
    assert renewed - min(DAY, lifetime / 8) >= AUTOMATIC.time_left(lifetime).warning


@pytest.mark.parametrize(
    ("before", "lifetime", "left"),
    [
        (Before(duration=30 * DAY), 90 * DAY, 30 * DAY),
        (Before(duration=30 * DAY), DAY, 30 * DAY),
        (Before(share=0.25), 90 * DAY, 22.5 * DAY),
        (Before(duration=30 * DAY, share=0.25), 90 * DAY, 22.5 * DAY),
        (Before(duration=30 * DAY, share=0.25), 398 * DAY, 30 * DAY),
    ],
)
def test_a_moment_before_the_end(before: Before, lifetime: float, left: float) -> None:
    """
    A duration, a share, or whichever leaves less time.
    """
    assert before.left(lifetime) == left


def test_a_policy_without_warning_warns_when_renewal_is_late() -> None:
    """
    As the automatic policy does, without its rule for short lifetimes.
    """
    policy = Policy("a", renewal_due=Before(share=1 / 3), critical=Before(duration=DAY))
    left = policy.time_left(90 * DAY)
    assert (left.renewal_due, left.warning, left.critical) == pytest.approx((30 * DAY, 25.5 * DAY, DAY))
    assert policy.time_left(6 * DAY).renewal_due == pytest.approx(2 * DAY)


@pytest.mark.parametrize(("lifetime", "share"), [(10 * DAY - 1, 0.5), (10 * DAY, 1 / 3)])
def test_the_rule_for_short_lifetimes_ends_at_ten_days(lifetime: float, share: float) -> None:
    """
    On both sides of its edge.
    """
    assert AUTOMATIC.time_left(lifetime).renewal_due == pytest.approx(lifetime * share)


def test_the_built_in_policies_have_their_own_names() -> None:
    """
    The key is what a configuration writes.
    """
    names = {"automatic", "manual", "authority", "domain", "signature", "crl"}
    assert {name: policy.name for name, policy in BUILT_IN.items()} == {
        name: name for name in names | {renewer.policy.name for renewer in RENEWERS}
    }


def test_each_renewer_is_stated_by_somebody() -> None:
    """
    The document has the rule, or the figure that it follows from.
    """
    assert all(one.who and one.rule and one.source.startswith("https://") for one in RENEWERS)


@pytest.mark.parametrize(
    ("name", "lifetime", "left"),
    [
        *(("acme", days * DAY, days * DAY / 3) for days in (45, 47, 90)),
        *(("acme", days * DAY, days * DAY / 2) for days in (6, 90)),
        *(("cert-manager", days * DAY, days * DAY / 3) for days in (1, 6, 47, 90, 398)),
        *(("vault-agent", days * DAY, days * DAY * 0.1) for days in (1, 3, 32, 90, 365)),
        *(("kubelet", days * DAY, days * DAY * share) for days in (1, 30, 365) for share in (0.1, 0.3)),
        *(("step", lifetime, lifetime / 3) for lifetime in (HOUR, DAY, 90 * DAY)),
        *((name, lifetime, lifetime / 2) for name in ("istio", "spire") for lifetime in (HOUR, DAY)),
        *((f"cloud-{days}", lifetime * DAY, days * DAY) for days in (60, 45, 30) for lifetime in (198, 398)),
        ("monthly", 47 * DAY, 16 * DAY),
    ],
)
def test_healthy_renewers_are_not_alerted_by_their_policy(name: str, lifetime: float, left: float) -> None:
    """
    Though they are late by a day, or by a twenty-fourth of a short lifetime.
    """
    assert left - min(DAY, lifetime / 24) > BUILT_IN[name].time_left(lifetime).warning


@pytest.mark.parametrize(
    ("issuer", "subject", "place", "stated", "expected"),
    [
        ("CN=Vault Intermediate,O=Example", "CN=a", "https://a", "", "vault-agent"),
        ("CN=E7,O=Let's Encrypt,C=US", "CN=a", "https://a", "", "acme"),
        ("CN=Any", "CN=a", "/etc/letsencrypt/live/a/fullchain.pem", "", "acme"),
        ("CN=kubernetes", "CN=system:node:a,O=system:nodes", "https://a:10250", "", "kubelet"),
        ("CN=kubernetes", "CN=a", "/var/lib/kubelet/pki/kubelet-client-current.pem", "", "kubelet"),
        ("O=cluster.local", "", "tls://a:15443", "", "istio"),
        ("CN=Amazon RSA 2048 M02,O=Amazon,C=US", "CN=a", "https://a", "", "cloud-60"),
        ("CN=GeoTrust TLS RSA CA G1,O=DigiCert Inc", "CN=a", "https://a.azurewebsites.net", "", "cloud-45"),
        (
            "CN=GeoTrust TLS RSA CA G1,O=DigiCert Inc",
            "CN=a",
            "https://a.azurewebsites.net:8443",
            "",
            "cloud-45",
        ),
        ("CN=GeoTrust TLS RSA CA G1,O=DigiCert Inc", "CN=a", "https://a.example.com", "", None),
        ("CN=Vault", "CN=a", "prod/web:tls.crt", "cert-manager", "cert-manager"),
        ("CN=Vault", "CN=a", "/etc/letsencrypt/live/a/cert.pem", "", "acme"),
        ("CN=Corporate CA,O=Example", "CN=a", "https://a", "", None),
    ],
)
def test_what_gives_a_renewer_away(
    issuer: str, subject: str, place: str, stated: str, expected: str | None
) -> None:
    """
    What the facts say first, then a place, then an issuer.
    """
    found = renewer_of(issuer, subject, [place], stated)
    assert (found and found.policy.name) == expected


PATTERNS = st.lists(st.text("ab*?[]!A", max_size=6), min_size=1, max_size=3).map(tuple)


@given(st.text("abAB\n", max_size=6), PATTERNS)
def test_issuers_match_as_file_names_do(issuer: str, patterns: tuple[str, ...]) -> None:
    """
    Words are searched for without an expression, which must make no difference.
    """
    expected = any(fnmatchcase(issuer.lower(), pattern.lower()) for pattern in patterns)
    assert Match(AUTOMATIC, issuers=patterns).fits("leaf", issuer) == expected


BEFORE = st.builds(Before, st.floats(1, 100 * YEAR), st.none() | st.floats(0.001, 0.5)) | st.builds(
    Before, st.none(), st.floats(0.001, 0.5)
)
POLICIES = st.sampled_from(list(BUILT_IN.values())) | st.builds(
    Policy,
    name=st.just("own"),
    renewal_due=BEFORE,
    critical=BEFORE,
    warning=st.none() | BEFORE,
    renewal_due_short=st.none() | BEFORE,
    warning_short=st.none() | BEFORE,
)
LIFETIMES = st.floats(-YEAR, 9999 * YEAR)


@given(POLICIES, LIFETIMES)
def test_deadlines_are_in_order_and_in_the_second_half(policy: Policy, lifetime: float) -> None:
    """
    Of any policy and any lifetime; the critical one in the last quarter.
    """
    left = policy.time_left(lifetime)
    assert max(lifetime, 0) / 2 >= left.renewal_due >= left.warning >= left.critical >= 0
    assert left.critical <= max(lifetime, 0) / 4


@given(st.sampled_from(list(BUILT_IN.values())), st.floats(60, 9999 * YEAR))
def test_a_person_is_told_before_it_is_critical(policy: Policy, lifetime: float) -> None:
    """
    The built-in policies leave time between the two.
    """
    left = policy.time_left(lifetime)
    assert left.warning >= 1.2 * left.critical > 0


@given(st.floats(10 * DAY, 9999 * YEAR))
def test_the_automatic_warning_comes_after_renewal_is_due(lifetime: float) -> None:
    """
    By the lateness, exactly: a healthy renewer has that long.
    """
    left = AUTOMATIC.time_left(lifetime)
    assert left.renewal_due - left.warning == pytest.approx(lateness(lifetime), rel=1e-6)


def test_the_deadlines_of_a_lifetime_are_computed_once_for_each_policy() -> None:
    """
    Ten thousand certificates have few lifetimes. Of a policy of the same name that says otherwise, after a
    reload for example, they are others.
    """
    policy = replace(AUTOMATIC, name="of the team")
    earlier = replace(policy, critical=Before(duration=9 * DAY))
    assert policy.time_left(90 * DAY) is policy.time_left(90 * DAY)
    assert earlier.time_left(90 * DAY).critical == 9 * DAY
    assert policy.time_left(90 * DAY).critical == 7 * DAY
    assert hash(policy) == hash(earlier)
    assert policy != earlier
