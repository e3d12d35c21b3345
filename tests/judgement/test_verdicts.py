"""
Judgement: deadlines, what a handshake agreed on, and when a verdict has to be made anew.
"""

import time
from dataclasses import replace

import pytest

from exporter.demo import minter
from exporter.demo.minter import Minted
from exporter.judgement.habit import Habit, Habits
from exporter.judgement.verdicts import (
    CHAINS_LIMIT,
    WEAK_PROTOCOLS,
    Deadlines,
    Judged,
    judge_again,
    judge_facts,
    judge_item,
    judge_tls,
    leaves_above,
    policy_for,
    replaced_authorities,
)
from exporter.model.observation import Certificate, Chain, Facts, FoundFault, Item, Renewal, Tls
from exporter.model.policies import AUTHORITY, AUTOMATIC, CRL, DOMAIN, MANUAL, SIGNATURE, Match, Policy
from exporter.model.reasons import Fault, Kind
from exporter.model.targets import Target
from exporter.pki import certificates
from exporter.pki.trust import Anchors, TrustStore
from exporter.probes.tls import refusals
from exporter.probes.tls.handshake import Seen
from tests.golden.values import TLS, certificate, facts, intermediate, root, target
from tests.support.certificates import DAY, NOW

END = NOW + 1000 * DAY

NO_HABITS: Habits = {}

NO_ANCHORS = Anchors(None, "can't read the trust anchors in x.pem: No such file or directory")


def deadlines(found: Facts, name: str, policy: Policy = AUTOMATIC) -> Deadlines | None:
    """
    The deadlines of the item of this name.
    """
    item = next(item for item in found.items if item.name == name)
    return judge_item(item, leaf_of(item, found), policy)


def leaf_of(item: Item, found: Facts) -> Certificate | None:
    """
    The leaf of an intermediate's chain; None for other items.
    """
    is_above = item.kind is Kind.INTERMEDIATE and item.certificate is not None
    return leaves_above(found.chains).get(item.certificate) if is_above else None  # type: ignore[arg-type] # see above


# Days before the end at which the renewal is due, a person is warned, it is critical. By hand.
TABLE = [
    (AUTOMATIC, 90, 30, 25.5, 7),
    (AUTOMATIC, 6, 3, 1, 0.75),
    (AUTOMATIC, 398, 30, 25, 7),
    (MANUAL, 398, 45, 45, 21),
    (MANUAL, 90, 45, 45, 21),
    (AUTHORITY, 3650, 365, 365, 90),
    (DOMAIN, 365, 60, 60, 14),
    (AUTOMATIC, 0, 0, 0, 0),
    (AUTOMATIC, -5, 0, 0, 0),
]


@pytest.mark.parametrize(("policy", "lifetime", "due", "warning", "critical"), TABLE)
def test_deadlines_are_before_the_end(
    policy: Policy, lifetime: float, due: float, warning: float, critical: float
) -> None:
    """
    By policy and lifetime; a certificate that ends before it begins has them at its end.
    """
    found = facts(certificate(begin=END - lifetime * DAY, end=END))
    result = deadlines(found, "leaf", policy)
    assert result is not None
    assert (result.renewal_due, result.warning, result.critical) == pytest.approx(
        (END - due * DAY, END - warning * DAY, END - critical * DAY)
    )


def test_a_root_that_is_served_has_no_deadlines() -> None:
    """
    Even when it ends before the leaf.
    """
    ended = replace(root(), not_after=NOW - DAY)
    assert deadlines(facts(certificate(), intermediate(), ended), "chain-2") is None


@pytest.mark.parametrize(("earlier", "has"), [(0, False), (-1, False), (1, True)])
def test_an_intermediate_has_deadlines_when_it_ends_first(earlier: float, has: bool) -> None:
    """
    On both sides of the leaf's end.
    """
    found = facts(certificate(end=END), intermediate(end=END - earlier))
    assert (deadlines(found, "chain-1") is not None) == has


def test_an_intermediate_that_ends_first_has_the_deadlines_of_a_leaf() -> None:
    """
    Its own lifetime of years would warn a quarter of a year too early, or too late.
    """
    end = END - DAY
    found = facts(certificate(begin=END - 90 * DAY, end=END), intermediate(end=end))
    assert deadlines(found, "chain-1") == Deadlines(end - 30 * DAY, end - 25.5 * DAY, end - 7 * DAY)


def test_an_intermediate_is_compared_with_the_leaf_of_its_own_chain() -> None:
    """
    A server with two certificates has two chains: the other leaf says nothing about this one's issuer.
    """
    early, late = certificate(key="rsa-2048", end=END - 60 * DAY), certificate(end=END)
    above_early = intermediate(end=END, name="RSA CA")
    above_late = intermediate(end=END - 30 * DAY, name="ECDSA CA")
    found = refusals.facts(
        Seen(Chain((early, above_early), "rsa"), TLS), Seen(Chain((late, above_late), "ecdsa"), TLS)
    )
    assert deadlines(found, "chain-rsa-1") is None
    assert deadlines(found, "chain-ecdsa-1") is not None


def test_an_intermediate_of_two_chains_must_outlive_both_leaves() -> None:
    """
    The leaf that ends last decides.
    """
    shared = intermediate(end=END - 30 * DAY)
    early, late = certificate(key="rsa-2048", end=END - 60 * DAY), certificate(end=END)
    found = refusals.facts(
        Seen(Chain((early, shared), "rsa"), TLS), Seen(Chain((late, shared), "ecdsa"), TLS)
    )
    assert deadlines(found, "chain-rsa-1") is not None
    assert deadlines(found, "chain-ecdsa-1") is not None


def test_a_ca_certificate_that_stands_alone_has_its_own_deadlines() -> None:
    """
    Nothing renews it together with a leaf.
    """
    alone = intermediate(begin=END - 3650 * DAY, end=END)
    item = Item("ca", Kind.INTERMEDIATE, alone.not_before, alone.not_after, alone)
    assert deadlines(Facts((item,)), "ca", AUTHORITY) == Deadlines(
        END - 365 * DAY, END - 365 * DAY, END - 90 * DAY
    )


def test_who_issues_an_item_says_when_it_is_due() -> None:
    """
    A person is told once that is late, and never later than what is critical.
    """
    for due_before_end, warning_before_end in ((60 * DAY, 55.5 * DAY), (10 * DAY, 7 * DAY), (DAY, 7 * DAY)):
        item = replace(
            Item("leaf", Kind.LEAF, NOW, NOW + 90 * DAY), renewal=Renewal(NOW + 90 * DAY - due_before_end)
        )
        deadlines = judge_item(item, None, AUTOMATIC)

        assert deadlines is not None
        assert deadlines.renewal_due == NOW + 90 * DAY - max(due_before_end, 7 * DAY)
        assert deadlines.warning == NOW + 90 * DAY - warning_before_end
        assert deadlines.critical == NOW + 83 * DAY


def test_an_issuer_that_asks_for_no_hurry_is_no_reason_to_warn_earlier() -> None:
    """
    A window in the usual place, the half of six days: who does not ask, and renews when a third is left, is
    healthy. A window in the first half means hurry.
    """
    ending = NOW + 6 * DAY
    for window_left, warning_left in ((2.97 * DAY, DAY), (5 * DAY, 4.25 * DAY)):
        item = replace(Item("leaf", Kind.LEAF, NOW, ending), renewal=Renewal(ending - window_left))
        deadlines = judge_item(item, None, AUTOMATIC)

        assert deadlines is not None
        assert deadlines.renewal_due == ending - window_left
        assert deadlines.warning == ending - warning_left


@pytest.mark.parametrize(
    ("matches", "policy"),
    [
        ((), AUTOMATIC),
        ((Match(MANUAL, issuers=("*nobody*",)),), AUTOMATIC),
        ((Match(MANUAL, issuers=("*nobody*", "cn=TEST ca*")),), MANUAL),
        ((Match(MANUAL, kinds=frozenset({"crl"})), Match(DOMAIN)), DOMAIN),
        ((Match(MANUAL, kinds=frozenset({"leaf"})), Match(DOMAIN)), MANUAL),
        ((Match(MANUAL, kinds=frozenset({"intermediate"})),), AUTOMATIC),
    ],
)
def test_the_first_match_that_fits_the_leaf_is_its_policy(matches: tuple[Match, ...], policy: Policy) -> None:
    """
    By kind and by issuer, in any case; what accompanies a leaf has the leaf's policy.
    """
    leaf = replace(certificate(), issuer="CN=Test CA,O=Somebody")
    above = intermediate()
    found = facts(leaf, above)

    for item in found.items:
        assert policy_for(item, leaf_of(item, found), found, target(matches=matches)) is policy


def test_kinds_have_policies_of_their_own() -> None:
    """
    Unless the target names one.
    """
    for kind, policy in (
        (Kind.REGISTRATION, DOMAIN),
        (Kind.AUTHORITY, AUTHORITY),
        (Kind.CRL, CRL),
        (Kind.DNSSEC, SIGNATURE),
    ):
        item = Item("x", kind, NOW, NOW + DAY)

        assert policy_for(item, None, Facts((item,)), target()) is policy
        assert policy_for(item, None, Facts((item,)), target(matches=(), policy=MANUAL)) is MANUAL


def test_what_a_look_found_itself_is_told_with_the_faults_of_the_chain() -> None:
    """
    A revocation is no matter of the path to an anchor.
    """
    revoked = FoundFault(Fault.REVOKED, "revoked in 2020")
    verdict = judge_facts(Facts((), faults=(revoked,)), target(), NO_ANCHORS, NOW)

    assert verdict.faults == (revoked,)


def test_what_is_no_certificate_has_deadlines_too() -> None:
    """
    An end date is enough.
    """
    item = Item("registration", Kind.LEAF, END - 365 * DAY, END)
    assert deadlines(Facts((item,)), "registration", DOMAIN) == Deadlines(
        END - 60 * DAY, END - 60 * DAY, END - 14 * DAY
    )


@pytest.mark.parametrize(
    ("protocol", "weak"),
    [
        ("SSLv2", True),
        ("SSLv3", True),
        ("TLSv1", True),
        ("TLSv1.1", True),
        ("TLSv1.2", False),
        ("TLSv1.3", False),
    ],
)
def test_old_protocols_are_weak(protocol: str, weak: bool) -> None:
    """
    All that RFC 8996 and RFC 7568 retired, and no other.
    """
    found = judge_tls(
        Tls(protocol, "TLS_AES_128_GCM_SHA256", None, client_certificate_requested=False, staple=None)
    )
    assert [one.fault for one in found] == [Fault.WEAK_PROTOCOL] * weak
    assert all(protocol in one.detail for one in found)
    assert (protocol in WEAK_PROTOCOLS) == weak


@pytest.mark.parametrize(
    ("cipher", "weak"),
    [
        ("TLS_AES_256_GCM_SHA384", False),
        ("TLS_CHACHA20_POLY1305_SHA256", False),
        ("ECDHE-ECDSA-AES128-GCM-SHA256", False),
        ("ECDHE-RSA-AES256-SHA", False),
        ("DHE-RSA-CAMELLIA256-SHA", False),
        ("AES128-SHA", False),
        ("NULL-SHA256", True),
        ("ECDHE-RSA-NULL-SHA", True),
        ("RC4-SHA", True),
        ("RC4-MD5", True),
        ("DES-CBC3-SHA", True),
        ("EXP-DES-CBC-SHA", True),
        ("ADH-AES128-SHA", True),
        ("AECDH-AES128-SHA", True),
        ("SEED-SHA", True),
        ("IDEA-CBC-SHA", True),
    ],
)
def test_old_ciphers_are_weak(cipher: str, weak: bool) -> None:
    """
    By OpenSSL's names for them.
    """
    found = judge_tls(Tls("TLSv1.2", cipher, None, client_certificate_requested=False, staple=None))
    assert [one.fault for one in found] == [Fault.WEAK_CIPHER] * weak
    assert all(cipher in one.detail for one in found)


def real(minted: Minted) -> Certificate:
    """
    The certificate as values.
    """
    return certificates.certificate(minted.der)


@pytest.fixture
def anchors(ca: Minted) -> Anchors:
    """
    The test root.
    """
    assert ca.issuer is not None
    return Anchors(TrustStore([real(ca.issuer)]))


def chain_facts(ca: Minted, *, end: float = NOW + 75 * DAY, name: str = "lms.example.com") -> Facts:
    """
    A chain that is really signed.
    """
    leaf = ca.issue(name, [name], not_before=NOW - 15 * DAY, not_after=end)
    return facts(*(real(one) for one in leaf.chain))


def test_a_good_endpoint_has_no_faults_until_its_certificate_ends(ca: Minted, anchors: Anchors) -> None:
    """
    The verdict holds until just then.
    """
    found = chain_facts(ca)
    verdict = judge_facts(found, target(), anchors, NOW)
    assert verdict.faults == ()
    assert [judged.item.name for judged in verdict.items] == ["leaf", "chain-1"]
    assert verdict.valid_from <= NOW < verdict.valid_until
    ended = judge_facts(found, target(), anchors, verdict.valid_until)
    assert [one.fault for one in ended.faults] == [Fault.EXPIRED]
    assert verdict.valid_until == pytest.approx(NOW + 75 * DAY, abs=1)


def test_faults_of_several_chains_and_of_the_handshake_are_told_once_in_order(
    ca: Minted, anchors: Anchors
) -> None:
    """
    Two chains with the same fault, and a weak handshake.
    """
    old = Tls("TLSv1", "RC4-SHA", None, client_certificate_requested=False, staple=None)
    one, other = chain_facts(ca, name="wrong.example.com"), chain_facts(ca, end=NOW - DAY)
    found = refusals.facts(
        Seen(Chain(one.chains[0].certificates, "rsa"), old),
        Seen(Chain(one.chains[0].certificates + other.chains[0].certificates, "ecdsa"), old),
        Seen(Chain(other.chains[0].certificates, "other"), old),
    )
    verdict = judge_facts(found, target(), anchors, NOW)
    assert [one.fault for one in verdict.faults] == [
        Fault.EXPIRED,
        Fault.NAME_MISMATCH,
        Fault.WEAK_PROTOCOL,
        Fault.WEAK_CIPHER,
    ]


def test_without_anchors_the_verdict_says_why() -> None:
    """
    And holds forever: only other anchors change it.
    """
    verdict = judge_facts(facts(certificate()), target(), NO_ANCHORS, NOW)
    assert [(one.fault, one.detail) for one in verdict.faults] == [
        (Fault.TRUST_STORE_UNUSABLE, NO_ANCHORS.problem)
    ]
    assert (verdict.valid_from, verdict.valid_until) == (float("-inf"), float("inf"))


def test_what_is_not_on_the_wire_has_no_faults_of_the_wire() -> None:
    """
    No chains, no handshake: deadlines only.
    """
    verdict = judge_facts(Facts((Item("x", Kind.LEAF, NOW, END),)), target(), NO_ANCHORS, NOW)
    assert verdict.faults == ()
    assert len(verdict.items) == 1


@pytest.fixture
def judged(ca: Minted, anchors: Anchors) -> Judged:
    """
    A first verdict.
    """
    return judge_again(None, chain_facts(ca), target(), anchors, NOW, NO_HABITS)


@pytest.mark.parametrize("later", [0.0, 1.0, 74 * DAY])
def test_a_verdict_is_kept_while_nothing_changes(judged: Judged, later: float) -> None:
    """
    The same object, also for an equal target after a reload.
    """
    assert judge_again(judged, judged.facts, target(), judged.anchors, NOW + later, NO_HABITS) is judged


@pytest.mark.parametrize("when", [NOW + 75 * DAY + 1, NOW - 16 * DAY])
def test_a_verdict_is_made_anew_outside_its_time(judged: Judged, when: float) -> None:
    """
    A certificate ended, or the clock went back before it began.
    """
    again = judge_again(judged, judged.facts, judged.target, judged.anchors, when, NO_HABITS)
    assert again is not judged
    assert again.verdict.faults != judged.verdict.faults


def test_a_verdict_is_made_anew_when_what_it_was_made_of_changes(judged: Judged, ca: Minted) -> None:
    """
    Facts, target, anchors or habits.
    """
    same = (judged.facts, judged.target, judged.anchors)
    for changed in (
        (chain_facts(ca), *same[1:]),
        (same[0], target(server_name="other.example.com"), same[2]),
        (same[0], target(policy=MANUAL), same[2]),
        (*same[:2], NO_ANCHORS),
    ):
        again = judge_again(judged, *changed, NOW, NO_HABITS)
        assert again is not judged
        assert (again.facts, again.target, again.anchors) == changed
    assert judge_again(judged, *same, NOW, {"leaf": Habit(NOW, NOW)}) is not judged


def trusted(found: Facts, of: Target, given: Anchors) -> dict[str, bool | None]:
    """
    Whether each item is trusted, by its name.
    """
    return {one.item.name: one.trusted for one in judge_facts(found, of, given, NOW).items}


def alone(minted: Minted) -> Facts:
    """
    What a server shows that presents this certificate and nothing else.
    """
    return facts(real(minted))


def own(*, ca: bool = False) -> Minted:
    """
    A certificate that signed itself.
    """
    return minter.root("lms.example.com", not_before=NOW - DAY, not_after=NOW + 9 * 365 * DAY, ca=ca)


def stranger() -> Minted:
    """
    A leaf of a root that nobody knows, which it presents.
    """
    above = minter.root("Stranger", not_before=NOW - DAY, not_after=NOW + 365 * DAY)
    return above.issue("lms.example.com", ["lms.example.com"], not_after=NOW + 90 * DAY)


def test_a_leaf_that_is_refused_for_what_it_is_is_not_trusted(ca: Minted, anchors: Anchors) -> None:
    """
    Self-signed, of a strange root, of a broken chain, an authority's own, for clients only, revoked.
    """
    strange = stranger()
    assert strange.issuer is not None
    for_clients = ca.issue(
        "lms.example.com", ["lms.example.com"], extended_key_usage=["1.3.6.1.5.5.7.3.2"], not_after=END
    )
    pathless = ca.issue("Below", ca=True).issue("lms.example.com", ["lms.example.com"])
    revoked = replace(chain_facts(ca), faults=(FoundFault(Fault.REVOKED, "its list says so"),))
    for found, fault in (
        (alone(own()), Fault.SELF_SIGNED),
        (facts(real(strange), real(strange.issuer)), Fault.UNTRUSTED_ROOT),
        (facts(*(real(one) for one in pathless.chain)), Fault.INVALID_CHAIN),
        (alone(ca), Fault.CA_AS_LEAF),
        (facts(real(for_clients), real(ca)), Fault.WRONG_KEY_USAGE),
        (revoked, Fault.REVOKED),
    ):
        assert fault in {one.fault for one in judge_facts(found, target(), anchors, NOW).faults}
        assert trusted(found, target(), anchors)["leaf"] is False, fault


def test_a_leaf_that_is_refused_for_where_or_when_it_is_is_trusted(ca: Minted, anchors: Anchors) -> None:
    """
    Another name, over, not begun, without its intermediate, a small key, an old protocol.
    """
    later = ca.issue("lms.example.com", ["lms.example.com"], not_before=NOW + DAY)
    small = ca.issue("lms.example.com", ["lms.example.com"], key=minter.new_key("rsa-1024"))
    old = Tls("TLSv1", "RC4-SHA", None, client_certificate_requested=False, staple=None)
    for found, fault in (
        (chain_facts(ca, name="other.example.com"), Fault.NAME_MISMATCH),
        (chain_facts(ca, end=NOW - DAY), Fault.EXPIRED),
        (facts(real(later), real(ca)), Fault.NOT_YET_VALID),
        (alone(ca.issue("lms.example.com", ["lms.example.com"])), Fault.MISSING_INTERMEDIATE),
        (facts(real(small), real(ca)), Fault.WEAK_KEY),
        (replace(chain_facts(ca), tls=old), Fault.WEAK_PROTOCOL),
    ):
        assert fault in {one.fault for one in judge_facts(found, target(), anchors, NOW).faults}
        assert trusted(found, target(), anchors)["leaf"] is True, fault
        assert trusted(found, target(), anchors).get("chain-1") is None


def test_each_of_two_leaves_is_trusted_by_itself(ca: Minted, anchors: Anchors) -> None:
    """
    A server with a self-signed RSA certificate and a good ECDSA one.
    """
    good = chain_facts(ca).chains[0].certificates
    found = refusals.facts(Seen(Chain((real(own()),), "rsa"), TLS), Seen(Chain(good, "ecdsa"), TLS))
    both = trusted(found, target(), anchors)
    assert (both["leaf-rsa"], both["leaf-ecdsa"]) == (False, True)


def test_what_no_client_is_shown_is_neither_trusted_nor_refused(anchors: Anchors) -> None:
    """
    In a file, say; nor is what can't be judged, for want of anchors.
    """
    shown = alone(own())
    kept = replace(shown, chains=tuple(replace(one, presented=False) for one in shown.chains), tls=None)
    assert trusted(kept, target(), anchors) == {"leaf": None}
    assert trusted(shown, target(), NO_ANCHORS) == {"leaf": None}


def test_a_certificate_that_strict_clients_refuse_is_a_fault_wherever_it_is() -> None:
    """
    Served, above a leaf, or in a file; but not where it is ours, which the server does not show.
    """
    leaf, above = certificate(), intermediate()
    odd = replace(leaf, irregular="its end is odd")
    served = facts(odd, above)
    in_file = Facts((Item("leaf", Kind.LEAF, odd.not_before, odd.not_after, odd),))
    for found in (served, in_file):
        verdict = judge_facts(found, target(), NO_ANCHORS, NOW)
        fault = next(one for one in verdict.faults if one.fault is Fault.MALFORMED)
        assert fault.detail == "Strict clients refuse to read the certificate leaf: its end is odd."
    ours = Item("client", Kind.LEAF, odd.not_before, odd.not_after, replace(odd, der=b"another"))
    usual = facts(leaf, above)
    with_ours = judge_facts(replace(usual, items=(*usual.items, ours)), target(), NO_ANCHORS, NOW)
    assert Fault.MALFORMED not in {one.fault for one in with_ours.faults}


def authority(name: str, subject: str, begin: float, end: float, key: str = "") -> Item:
    """
    A CA certificate that stands alone. The begin and the end are in days from now.
    """
    one = certificate(subject=subject, begin=NOW + begin * DAY, end=NOW + end * DAY, names=(), is_ca=True)
    one = replace(one, public_key_sha256=key or name)
    return Item(name, Kind.AUTHORITY, one.not_before, one.not_after, one)


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        # By the subject, by the key, over several generations; each ends before its successor.
        ([authority("old", "CN=A", -300, 9), authority("new", "CN=A", -9, 900)], {"old"}),
        ([authority("old", "CN=A", -300, 9, "k"), authority("new", "CN=B", -9, 900, "k")], {"old"}),
        (
            [
                authority("1", "CN=A", -900, 9),
                authority("2", "CN=A", -9, 90, "k"),
                authority("3", "CN=B", 0, 900, "k"),
            ],
            {"1", "2"},
        ),
        # Another CA, one without a subject, one that begins too late, one that ends at the same moment.
        ([authority("old", "CN=A", -300, 9), authority("new", "CN=B", -9, 900)], set()),
        ([authority("old", "", -300, 9), authority("new", "", -9, 900)], set()),
        ([authority("old", "CN=A", -300, 9), authority("new", "CN=A", 10, 900)], set()),
        ([authority("old", "CN=A", -300, 9), authority("new", "CN=A", -9, 9)], set()),
    ],
)
def test_a_ca_whose_successor_stands_beside_it_is_replaced(items: list[Item], expected: set[str]) -> None:
    """
    In any order. It has no deadlines then; its successor has.
    """
    for order in (items, items[::-1]):
        assert replaced_authorities(order) == expected
        judged = judge_facts(Facts(tuple(order)), target(), NO_ANCHORS, NOW).items
        assert {one.item.name for one in judged if one.deadlines is None} == expected


@pytest.mark.parametrize("presented", [True, False], ids=["served", "stored"])
def test_a_ca_that_has_ended_is_needless_where_a_path_does_without_it(presented: bool) -> None:
    """
    From its end on, and not where the only path leads over it, nor where it is not known.
    """
    end = NOW + 20 * DAY
    above = minter.root("Root", not_before=NOW - 900 * DAY, not_after=NOW + 900 * DAY)
    issuing = above.issue("Issuing", ca=True)
    leaf = issuing.issue("lms.example.com", ["lms.example.com"], not_before=NOW, not_after=NOW + 90 * DAY)
    old = minter.root("Old Root", not_before=NOW - 900 * DAY, not_after=end)
    dead, needed = old.cross_sign(above), above.cross_sign(issuing, not_after=end)
    anchors = Anchors(TrustStore([certificates.certificate(above.der)]))

    def needless(*chain: Minted, given: Anchors = anchors, now: float = end + 1) -> set[str]:
        found = refusals.facts(Seen(Chain(tuple(certificates.certificate(one.der) for one in chain)), TLS))
        if not presented:
            found = replace(found, tls=None, chains=(replace(found.chains[0], presented=False),))
        verdict = judge_facts(found, target(), given, now)
        assert not {one.item.name for one in verdict.items if one.needless and one.deadlines is not None}
        return {one.item.name for one in verdict.items if one.needless}

    assert needless(leaf, issuing, dead) == {"chain-2"}
    assert needless(leaf, issuing, dead, now=end) == set()
    assert needless(leaf, needed, issuing) == {"chain-1"}
    assert needless(leaf, needed) == set()
    assert needless(leaf, issuing, dead, given=NO_ANCHORS) == set()


@pytest.mark.parametrize(("count", "expected"), [(CHAINS_LIMIT, {"chain-2"}), (CHAINS_LIMIT + 1, set())])
def test_of_a_file_with_thousands_of_chains_the_first_are_judged(count: int, expected: set[str]) -> None:
    """
    What has ended in the others counts as needed: it is told, and nobody waits.
    """
    above = minter.root("Root", not_before=NOW - 900 * DAY, not_after=NOW + 900 * DAY)
    old = minter.root("Old Root", not_before=NOW - 900 * DAY, not_after=NOW - DAY)
    leaf = above.issue("a.example", ["a.example"])
    dead = old.cross_sign(above)
    found = refusals.facts(Seen(Chain(tuple(map(real, (leaf, above, dead)))), TLS))
    chain = replace(found.chains[0], presented=False)
    found = replace(found, tls=None, chains=(chain,) * count)
    verdict = judge_facts(found, target(), Anchors(TrustStore([real(above)])), NOW)
    assert {one.item.name for one in verdict.items if one.needless} == expected


def test_a_file_of_thousands_of_chains_costs_no_more_than_each_of_them() -> None:
    """
    Each item is judged by its own chain: to look for it among all of them took seconds.
    """

    def cost(count: int) -> float:
        pairs = [
            (
                replace(certificate(), fingerprint_sha256=f"leaf {number}"),
                replace(intermediate(), fingerprint_sha256=f"above {number}"),
            )
            for number in range(count)
        ]
        items = [
            Item(f"{kind} {number}", kind, one.not_before, one.not_after, one)
            for number, pair in enumerate(pairs)
            for kind, one in zip((Kind.LEAF, Kind.INTERMEDIATE), pair, strict=True)
        ]
        found = Facts(tuple(items), tuple(Chain(pair, presented=False) for pair in pairs))
        begin = time.process_time()
        judge_facts(found, target(), NO_ANCHORS, NOW)
        return time.process_time() - begin

    # Ten times as many take ten times as long, not a hundred times.
    assert min(cost(2000) for _ in range(3)) < 35 * min(cost(200) for _ in range(5))
