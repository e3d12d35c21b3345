"""
Trust: what a normal client thinks of a chain, on both sides of every edge.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import inf

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from service_identity.hazmat import DNSPattern

from exporter.demo.minter import Minted, mint, new_key, root
from exporter.model.observation import Certificate
from exporter.model.reasons import Fault
from exporter.pki.candidates import CANDIDATES, LARGEST_KEYS, candidates
from exporter.pki.certificates import CertificateError, certificate
from exporter.pki.path_refusals import NAMESAKES
from exporter.pki.trust import (
    Trust,
    TrustStore,
    TrustStoreError,
    issuers_of,
    judge,
)
from tests.support.certificates import (
    DAY,
    EXTENSIONS,
    NOW,
    extension,
    extensions_of,
    forge,
    parts_of,
    pem,
    remade,
    shared_key,
    signed,
    tlv,
)

NAME = "www.example.com"
BEGIN = NOW - 1000 * DAY
END = NOW + 1000 * DAY
CLIENT_PURPOSE = "1.3.6.1.5.5.7.3.2"
SERVER_PURPOSE = "1.3.6.1.5.5.7.3.1"

ROOT = root("Root", not_before=BEGIN, not_after=END)
ISSUER = ROOT.issue("Issuer", ca=True)
LEAF = ISSUER.issue(NAME, [NAME])
STRANGER = root("Stranger", not_before=BEGIN, not_after=END)
OTHER_ROOT = root("Other Root", not_before=BEGIN, not_after=END)


def seen(*chain: Minted | bytes) -> tuple[Certificate, ...]:
    """
    The chain as it would be read from the wire.
    """
    return tuple(certificate(it.der if isinstance(it, Minted) else it) for it in chain)


def store(*anchors: Minted) -> TrustStore:
    """
    A trust store with these anchors.
    """
    return TrustStore.from_pem(b"".join(anchor.pem for anchor in anchors))


TRUSTED = store(ROOT, OTHER_ROOT)


def judged(
    *chain: Minted | bytes, anchors: TrustStore = TRUSTED, name: str = NAME, now: float = NOW
) -> Trust:
    """
    The judgement of this chain; a usual one but for what the test says.
    """
    return judge(seen(*chain), name, anchors, now)


def faults(
    *chain: Minted | bytes, anchors: TrustStore = TRUSTED, name: str = NAME, now: float = NOW
) -> list[Fault]:
    """
    The faults of this chain, without the details.
    """
    return [found.fault for found in judged(*chain, anchors=anchors, name=name, now=now).faults]


def test_good_chain_is_accepted() -> None:
    """
    A usual chain has no fault, and its path leads from the leaf to the anchor.
    """
    trust = judged(LEAF, ISSUER)
    assert trust.faults == ()
    assert trust.path == seen(LEAF, ISSUER, ROOT)


@pytest.mark.parametrize("kind", ["rsa-2048", "ecdsa-384", "ed25519", "ed448"])
def test_keys_of_every_kind_are_accepted(kind: str) -> None:
    """
    Keys that clients accept are no fault, in a leaf and in what signed it.
    """
    issuer = ROOT.issue("Issuer of a kind", ca=True, key=shared_key(kind))
    assert faults(issuer.issue(NAME, [NAME], key=shared_key(kind)), issuer) == []


def test_served_root_is_no_fault() -> None:
    """
    A root that is presented, though clients have it, changes nothing.
    """
    assert judged(LEAF, ISSUER, ROOT) == judged(LEAF, ISSUER)


def test_leaf_presented_twice_is_no_fault() -> None:
    """
    A chain file that begins with the leaf once more is no fault.
    """
    assert judged(LEAF, LEAF, ISSUER, ISSUER) == judged(LEAF, ISSUER)


def test_order_of_intermediates_does_not_matter() -> None:
    """
    Every order of a longer chain, with a certificate that has nothing to do with it, is judged the same.
    """
    upper = ROOT.issue("Upper", ca=True)
    lower = upper.issue("Lower", ca=True)
    leaf = lower.issue(NAME, [NAME])
    usual = judged(leaf, lower, upper, STRANGER)
    assert usual.faults == ()
    for others in itertools.permutations((lower, upper, STRANGER)):
        assert judged(leaf, *others) == usual


def test_private_authority_may_be_an_intermediate() -> None:
    """
    A CA file with the issuer alone is enough: the path ends there.
    """
    trust = judged(LEAF, anchors=store(ISSUER))
    assert trust.faults == ()
    assert trust.path == seen(LEAF, ISSUER)


@pytest.mark.parametrize("ca", [False, True])
def test_leaf_that_is_an_anchor_is_accepted(*, ca: bool) -> None:
    """
    A certificate that signed itself and is itself in the CA file is what its owner wants, a CA or not.
    """
    usage = ["digitalSignature", "keyCertSign"]
    leaf = mint(NAME, [NAME], not_before=BEGIN, not_after=END, ca=ca, key_usage=usage)
    trust = judged(leaf, anchors=store(leaf))
    assert trust.faults == ()
    assert trust.path == seen(leaf)


def test_no_certificate_is_a_fault() -> None:
    """
    An empty chain is invalid; it raises nothing.
    """
    assert [found.fault for found in judge((), NAME, TRUSTED, NOW).faults] == [Fault.INVALID_CHAIN]


# Dates.


@pytest.mark.parametrize(
    ("now", "found"),
    [
        (NOW - 10 * DAY - 1, [Fault.NOT_YET_VALID]),
        (NOW - 10 * DAY - 0.001, [Fault.NOT_YET_VALID]),
        (NOW - 10 * DAY, []),
        (NOW + 10 * DAY, []),  # the last valid second
        (NOW + 10 * DAY + 0.999, []),
        (NOW + 10 * DAY + 1, [Fault.EXPIRED]),
    ],
)
def test_dates_of_the_leaf(now: float, found: list[Fault]) -> None:
    """
    A leaf is valid from its first to the end of its last second.
    """
    leaf = ISSUER.issue(NAME, [NAME], not_before=NOW - 10 * DAY, not_after=NOW + 10 * DAY)
    assert faults(leaf, ISSUER, now=now) == found


@pytest.mark.parametrize(
    ("now", "found"),
    [
        (NOW - 10 * DAY - 1, [Fault.CHAIN_NOT_YET_VALID]),
        (NOW - 10 * DAY, []),
        (NOW + 10 * DAY, []),
        (NOW + 10 * DAY + 1, [Fault.CHAIN_EXPIRED]),
    ],
)
@pytest.mark.parametrize("above", [0, 1])
def test_dates_above_the_leaf(now: float, found: list[Fault], above: int) -> None:
    """
    An intermediate and an anchor that the chain needs are faults of the chain outside of their dates.
    """
    begin, end = NOW - 10 * DAY, NOW + 10 * DAY
    anchor = root("Short Root", not_before=begin if above else BEGIN, not_after=end if above else END)
    issuer = anchor.issue(
        "Short Issuer", ca=True, not_before=BEGIN if above else begin, not_after=END if above else end
    )
    leaf = issuer.issue(NAME, [NAME], not_before=BEGIN, not_after=END)
    trust = judged(leaf, issuer, anchors=store(anchor, OTHER_ROOT), now=now)
    assert [it.fault for it in trust.faults] == found
    assert trust.path == seen(leaf, issuer, anchor)


def test_expired_leaf_under_expired_issuer_has_both_faults() -> None:
    """
    An expired leaf does not hide its expired issuer.
    """
    assert faults(LEAF, ISSUER, now=END + 1) == [Fault.EXPIRED, Fault.CHAIN_EXPIRED]


def test_expired_leaf_does_not_hide_another_path() -> None:
    """
    An expired leaf under an issuer that has a valid path has its own fault only.
    """
    leaf = ISSUER.issue(NAME, [NAME], not_after=NOW - DAY)
    old = OTHER_ROOT.cross_sign(ISSUER, not_after=NOW - DAY)
    assert faults(leaf, old, ISSUER) == [Fault.EXPIRED]


def test_leaf_that_ends_before_it_begins_is_both() -> None:
    """
    Between a late begin and an early end a certificate has expired and is not yet valid.
    """
    (leaf,) = seen(LEAF)
    odd = replace(leaf, not_before=NOW + DAY, not_after=NOW - DAY)
    trust = judge((odd, *seen(ISSUER)), NAME, TRUSTED, NOW)
    assert [it.fault for it in trust.faults] == [Fault.EXPIRED, Fault.NOT_YET_VALID]


@pytest.mark.parametrize("now", [-1e12, -1e9, -1.0, 0.0, 253_402_300_799.0, 1e15])
def test_any_time_can_be_asked_for(now: float) -> None:
    """
    Times before 1970 and after the year 9999 are judged like all others.
    """
    begin, end = -631_152_000.0, 253_402_300_799.0
    anchor = root("Old Root", not_before=begin, not_after=end)
    leaf = anchor.issue(NAME, [NAME])
    found = faults(leaf, anchors=store(anchor), now=now)
    if begin <= now <= end:
        assert found == []
    elif now < begin:
        assert found == [Fault.NOT_YET_VALID, Fault.CHAIN_NOT_YET_VALID]
    else:
        assert found == [Fault.EXPIRED, Fault.CHAIN_EXPIRED]


def test_date_no_calendar_has_is_told_in_seconds() -> None:
    """
    The detail of a date beyond the year 9999 does not raise.
    """
    odd = replace(certificate(LEAF.der), not_before=1e18, not_after=2e18)
    (found,) = judge((odd, *seen(ISSUER)), NAME, TRUSTED, NOW).faults
    assert found.fault is Fault.NOT_YET_VALID
    assert "1000000000000000000 seconds" in found.detail


# Cross-signing.


def test_expired_cross_sign_is_no_fault_where_the_root_is_an_anchor() -> None:
    """
    The old way to trust a root may expire when clients have the root itself (as in May 2020).
    """
    old = STRANGER.cross_sign(ROOT, not_after=NOW - DAY)
    for chain in itertools.permutations((ISSUER, old, STRANGER)):
        trust = judged(LEAF, *chain)
        assert trust.faults == ()
        assert trust.path == seen(LEAF, ISSUER, ROOT)


def test_expired_anchor_is_no_fault_beside_a_valid_cross_sign() -> None:
    """
    Where the root in the trust store expired, a presented cross-sign by another anchor saves the path.
    """
    old = root("Aging Root", not_before=BEGIN, not_after=NOW - DAY)
    issuer = old.issue("Aging Issuer", ca=True, not_after=END)
    leaf = issuer.issue(NAME, [NAME])
    cross = OTHER_ROOT.cross_sign(old)
    anchors = store(old, OTHER_ROOT)
    assert faults(leaf, issuer, anchors=anchors) == [Fault.CHAIN_EXPIRED]
    trust = judged(leaf, issuer, cross, anchors=anchors)
    assert trust.faults == ()
    assert trust.path == seen(leaf, issuer, cross, OTHER_ROOT)


def test_expired_copy_of_an_issuer_is_no_fault_beside_a_valid_one() -> None:
    """
    Of two certificates of the same issuer the valid one is taken, in either order.
    """
    old = ROOT.cross_sign(ISSUER, not_after=NOW - DAY)
    assert faults(LEAF, old) == [Fault.CHAIN_EXPIRED]
    assert faults(LEAF, old, ISSUER) == []
    assert faults(LEAF, ISSUER, old) == []


@pytest.mark.parametrize("later", [-DAY, DAY])
def test_branch_to_a_stranger_is_no_fault_beside_a_trusted_one(later: float) -> None:
    """
    Where one issuer leads to two roots, one trusted, the trusted path is found in any order and at any age.
    """
    astray = STRANGER.cross_sign(ISSUER, not_after=END + later)
    for chain in itertools.permutations((ISSUER, astray, STRANGER)):
        trust = judged(LEAF, *chain)
        assert trust.faults == ()
        assert trust.path == seen(LEAF, ISSUER, ROOT)


@pytest.mark.parametrize("later", [-DAY, DAY])
def test_deep_branch_to_a_stranger_is_no_fault_beside_a_trusted_one(later: float) -> None:
    """
    The same where the way parts below the certificate that has two signers.
    """
    middle = ROOT.issue("Middle", ca=True)
    lower = middle.issue("Lower", ca=True)
    leaf = lower.issue(NAME, [NAME])
    unknown = STRANGER.issue("Unknown", ca=True)
    astray = unknown.cross_sign(lower, not_after=END + later)
    for chain in itertools.permutations((lower, middle, astray, unknown)):
        assert judged(leaf, *chain).path == seen(leaf, lower, middle, ROOT)


@pytest.mark.parametrize("swap", [False, True])
def test_authority_that_changed_its_key_and_kept_its_name(*, swap: bool) -> None:
    """
    Without key identifiers the anchor whose key fits is taken, whichever comes first.
    """
    old = root("Private CA", not_before=BEGIN, not_after=END, key_identifiers=False)
    new = root("Private CA", not_before=BEGIN, not_after=END, key_identifiers=False)
    leaf = old.issue(NAME, [NAME], key_identifiers=False)
    anchors = store(new, old) if swap else store(old, new)
    assert judged(leaf, anchors=anchors).path == seen(leaf, old)
    assert faults(leaf, anchors=store(new)) == [Fault.INVALID_CHAIN]


def test_many_namesakes_end_the_search() -> None:
    """
    A server that presents a hundred certificates of one name is judged, not searched for ever.
    """
    namesakes = [STRANGER.cross_sign(ISSUER) for _ in range(100)]
    assert faults(LEAF, *namesakes, STRANGER) == [Fault.UNTRUSTED_ROOT]


def test_a_path_is_found_among_hundreds_that_lead_nowhere() -> None:
    """
    Who presents the certificates of many authorities pays for none that is not above the leaf.
    """
    others = [STRANGER.issue(f"Other {number}", ca=True) for number in range(100)]
    for chain in ([LEAF, *others, ISSUER], [LEAF, ISSUER, *others]):
        assert faults(*chain) == []
        assert candidates(seen(LEAF)[0], seen(*chain[1:])) == list(seen(ISSUER))


def test_a_chain_that_does_not_end_is_not_followed_to_its_end() -> None:
    """
    Neither where each has a name of its own, nor where many have the same.
    """
    long = [STRANGER]
    for number in range(2 * CANDIDATES):
        long.append(long[-1].issue(f"Level {number}", ca=True))
    leaf = long[-1].issue(NAME, [NAME])
    presented = seen(*reversed(long))
    assert candidates(seen(leaf)[0], presented) == list(presented[:CANDIDATES])
    assert faults(leaf, *reversed(long)) == [Fault.UNTRUSTED_ROOT]
    same = seen(*(STRANGER.cross_sign(ISSUER) for _ in range(100)))
    assert candidates(seen(LEAF)[0], same) == list(same[:NAMESAKES])


# Names.


@pytest.mark.parametrize(
    ("names", "expected", "good"),
    [
        (["www.example.com"], "www.example.com", True),
        (["WWW.Example.com"], "www.example.COM", True),
        (["www.example.com"], "www.example.com.", True),
        (["example.com"], "www.example.com", False),
        (["www.example.com"], "example.com", False),
        (["*.example.com"], "www.example.com", True),
        (["*.example.com"], "a.www.example.com", False),
        (["*.example.com"], "example.com", False),
        (["*.com"], "example.com", False),
        (["*"], "localhost", False),
        (["w*.example.com"], "www.example.com", False),
        (["www.*.com"], "www.example.com", False),
        (["*.*.example.com"], "a.b.example.com", False),
        (["xn--bcher-kva.example"], "xn--bcher-kva.example", True),
        (["xn--bcher-kva.example"], "bücher.example", True),
        (["*.example"], "xn--bcher-kva.example", False),
        (["*.example.com"], "xn--bcher-kva.example.com", True),
        (["*.example.com"], "bücher.example.com", True),
        (["xn--*.example.com"], "xn--bcher-kva.example.com", False),
        (["label.example.com"], "xn--bcher-kva.example.com", False),
        (["*.xn--bcher-kva.example"], "www.xn--bcher-kva.example", True),
        (["my_host.example.com"], "my_host.example.com", True),
        (["192.0.2.1"], "192.0.2.1", True),
        (["192.0.2.1"], "192.0.2.2", False),
        (["2001:db8::1"], "2001:0db8:0:0:0:0:0:1", True),
        (["fe80::1"], "fe80::1%eth0", True),
        ([x509.DNSName("192.0.2.1")], "192.0.2.1", False),
        ([x509.DNSName("*.0.2.1")], "192.0.2.1", False),
        (["192.0.2.1"], "www.example.com", False),
        (["www.example.com"], "", False),
        (["www.example.com"], "not a name", False),
        (["www.example.com"], "www.example.com\n", False),
    ],
)
def test_names(names: list[str | x509.GeneralName], expected: str, good: bool) -> None:
    """
    Names match as RFC 9525 says: a wildcard is one whole left-most label, addresses match addresses only.
    """
    found = faults(ISSUER.issue("Somebody", names), ISSUER, name=expected)
    assert found == ([] if good else [Fault.NAME_MISMATCH])


def test_of_thousands_of_names_those_are_compared_that_may_match(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Each comparison takes ten microseconds, and a server can present as many wildcards as it likes.
    """
    compared: list[bytes] = []
    usual = DNSPattern.from_bytes

    def noted(name: bytes) -> DNSPattern:
        compared.append(name)
        return usual(name)

    monkeypatch.setattr(DNSPattern, "from_bytes", noted)
    others = [f"*.{number}.example.com" for number in range(5000)]
    leaf = replace(seen(LEAF)[0], dns_names=("*.example.com", NAME, *others, *(["*.EXAMPLE.com"] * 5000)))
    assert judge((leaf, *seen(ISSUER)), NAME, TRUSTED, NOW).faults == ()
    assert sorted(compared) == [b"*.example.com", NAME.encode()]


@pytest.mark.parametrize("name", ["\u212aiosk.example.com", "*.\u212aiosk.example.com"])
def test_a_character_whose_lower_case_is_another_is_not_that_one(name: str) -> None:
    """
    The Kelvin sign of a hostile certificate is no `k`.
    """
    leaf = replace(seen(LEAF)[0], dns_names=(name,))
    found = [
        one.fault
        for wanted in ("kiosk.example.com", "www.kiosk.example.com")
        for one in judge((leaf, *seen(ISSUER)), wanted, TRUSTED, NOW).faults
    ]
    assert found == [Fault.NAME_MISMATCH, Fault.NAME_MISMATCH]


def test_common_name_counts_for_nothing() -> None:
    """
    A certificate with the right common name and no subject alternative name is for no name.
    """
    (found,) = judged(ISSUER.issue(NAME), ISSUER).faults
    assert found.fault is Fault.NAME_MISMATCH
    assert "no such names" in found.detail


def test_mismatch_says_what_the_certificate_is_good_for() -> None:
    """
    The detail lists five names and counts the rest, each fit for a line.
    """
    names = [f"host-{number}.example.com" for number in range(9)]
    (found,) = judged(ISSUER.issue("many", names), ISSUER).faults
    assert found.detail == (
        "www.example.com is not among the subject alternative names: it is good for host-0.example.com, "
        "host-1.example.com, host-2.example.com, host-3.example.com, host-4.example.com and 4 more."
    )


def test_details_are_one_short_line() -> None:
    """
    A hostile certificate can't put a line feed or a page of text into a detail.
    """
    (leaf,) = seen(LEAF)
    hostile = replace(
        leaf,
        subject="CN=a\nb\x1b[31m" + "x" * 100_000,
        issuer="CN=\n" + "y" * 100_000,
        dns_names=("z\n" * 50_000, "\ud800") * 10,
        is_ca=True,
        key_bits=1,
        signature_hash="md5",
        key_usage=frozenset(),
        not_after=NOW - DAY,
    )
    found = judge((hostile,), "x\n" * 1000, TRUSTED, NOW).faults
    assert len(found) == 7
    for it in found:
        assert it.detail.isprintable()
        assert len(it.detail) < 1000


# Trust.


def test_self_signed_leaf() -> None:
    """
    A leaf that signed itself is self-signed, and nothing else.
    """
    leaf = mint(NAME, [NAME], not_before=BEGIN, not_after=END)
    trust = judged(leaf)
    assert [it.fault for it in trust.faults] == [Fault.SELF_SIGNED]
    assert trust.path == ()
    assert faults(leaf, ISSUER, leaf) == [Fault.SELF_SIGNED]


def test_self_signed_leaf_without_a_name() -> None:
    """
    A leaf that signed itself and names nobody is self-signed, too.
    """
    assert faults(mint("", [NAME], not_before=BEGIN, not_after=END)) == [Fault.SELF_SIGNED]


def test_self_signed_authority_as_leaf() -> None:
    """
    What `openssl req -x509` makes, a CA that signed itself, has both faults.
    """
    usage = ["digitalSignature", "keyCertSign"]
    leaf = mint(NAME, [NAME], not_before=BEGIN, not_after=END, ca=True, key_usage=usage)
    assert faults(leaf) == [Fault.SELF_SIGNED, Fault.CA_AS_LEAF]


def test_untrusted_root_that_is_presented() -> None:
    """
    A chain up to a presented root that is no anchor ends there.
    """
    leaf = STRANGER.issue(NAME, [NAME])
    trust = judged(leaf, STRANGER)
    assert [it.fault for it in trust.faults] == [Fault.UNTRUSTED_ROOT]
    assert trust.path == ()
    assert "CN=Stranger" in trust.faults[0].detail


def test_untrusted_issuer_whose_root_is_not_presented() -> None:
    """
    A chain that ends in an intermediate of an unknown root is not trusted, and the detail names the issuer.
    """
    issuer = STRANGER.issue("Their Issuer", ca=True)
    trust = judged(issuer.issue(NAME, [NAME]), issuer)
    assert [it.fault for it in trust.faults] == [Fault.UNTRUSTED_ROOT]
    assert "issuer CN=Stranger was not presented" in trust.faults[0].detail


def test_missing_intermediate() -> None:
    """
    A leaf alone, whose issuer is no anchor, lacks an intermediate; so it does beside a wrong one.
    """
    assert faults(LEAF) == [Fault.MISSING_INTERMEDIATE]
    assert faults(LEAF, STRANGER.issue("Theirs", ca=True)) == [Fault.MISSING_INTERMEDIATE]
    assert "CN=Issuer" in judged(LEAF).faults[0].detail


@pytest.mark.parametrize(
    "odd",
    [
        pytest.param(extension("0603551d0f", b"\3\2\1"), id="key usage"),
        pytest.param(extension("0603551d23", b"?"), id="key of the issuer"),
        pytest.param(extension("0603551d1f", b"?"), id="places of lists"),
        pytest.param(extension("0603551d23", bytes.fromhex("30068004") + b"else"), id="another key"),
    ],
)
@pytest.mark.parametrize("above", [False, True])
def test_an_issuer_that_is_there_is_not_called_missing(odd: bytes, *, above: bool) -> None:
    """
    OpenSSL says so of a certificate of which it can't read an extension: another chain would not help.
    """
    if above:
        issuer = remade(ISSUER, {EXTENSIONS: extensions_of(ISSUER, odd, without="0603551d23")})
        chain = [issuer.issue(NAME, [NAME]), issuer]
    else:
        chain = [remade(LEAF, {EXTENSIONS: extensions_of(LEAF, odd, without="0603551d23")}), ISSUER]
    found = judged(*chain).faults
    assert Fault.INVALID_CHAIN in [one.fault for one in found]
    assert {Fault.MISSING_INTERMEDIATE, Fault.UNTRUSTED_ROOT}.isdisjoint(one.fault for one in found)
    words = (f"CN=Issuer signed CN={NAME}", "CN=Root signed CN=Issuer")
    assert any(one.detail.startswith(words) for one in found)


def test_independent_faults_are_found_at_once() -> None:
    """
    An expired, misnamed, untrusted certificate with a weak key and signature has all those faults, in order.
    """
    leaf = forge(
        STRANGER.issue(
            "old",
            ["old.example.com"],
            not_after=NOW - DAY,
            key=shared_key("rsa-1024"),
            extended_key_usage=[CLIENT_PURPOSE],
        ),
        signature_hash="sha1",
    )
    assert faults(leaf, STRANGER) == [
        Fault.EXPIRED,
        Fault.NAME_MISMATCH,
        Fault.UNTRUSTED_ROOT,
        Fault.WRONG_KEY_USAGE,
        Fault.WEAK_KEY,
        Fault.WEAK_SIGNATURE,
    ]


def test_expired_issuer_under_an_untrusted_root_has_both_faults() -> None:
    """
    A chain that is not trusted may have expired, too.
    """
    issuer = STRANGER.issue("Their Issuer", ca=True, not_after=NOW - DAY)
    leaf = issuer.issue(NAME, [NAME], not_after=END)
    assert faults(leaf, issuer, STRANGER) == [Fault.CHAIN_EXPIRED, Fault.UNTRUSTED_ROOT]


def test_expired_copy_of_an_issuer_is_no_fault_where_neither_is_trusted() -> None:
    """
    Without a path, too, the valid one of two certificates of an issuer is what the chain needs.
    """
    issuer = STRANGER.issue("Their Issuer", ca=True)
    old = STRANGER.cross_sign(issuer, not_after=NOW - DAY)
    leaf = issuer.issue(NAME, [NAME], not_after=END)
    for others in itertools.permutations((issuer, old, STRANGER)):
        assert faults(leaf, *others) == [Fault.UNTRUSTED_ROOT]


# Chains that are invalid.


def not_a_ca() -> list[Minted]:
    """
    A leaf signed by another leaf.
    """
    issuer = ROOT.issue("No CA", ca=False, key_usage=())
    return [issuer.issue(NAME, [NAME]), issuer]


def without_constraints() -> list[Minted]:
    """
    A leaf signed by a certificate that may sign others but does not say that it is a CA.
    """
    issuer = ROOT.issue("No constraints", ca=None, key_usage=["keyCertSign"], extended_key_usage=())
    return [issuer.issue(NAME, [NAME]), issuer]


def too_long() -> list[Minted]:
    """
    A chain with one CA more than the first allows.
    """
    upper = ROOT.issue("Upper", ca=True, path_length=0)
    lower = upper.issue("Lower", ca=True)
    return [lower.issue(NAME, [NAME]), lower, upper]


def must_not_sign() -> list[Minted]:
    """
    A leaf signed by a CA whose key is not for signing certificates.
    """
    issuer = ROOT.issue("CRLs only", ca=True, key_usage=["cRLSign"])
    return [issuer.issue(NAME, [NAME]), issuer]


def outside_constraints() -> list[Minted]:
    """
    A leaf for a name that its CA may not sign for.
    """
    constraint = x509.NameConstraints([x509.DNSName("example.org")], None)
    issuer = ROOT.issue("Limited", ca=True, extensions=[(constraint, True)])
    return [issuer.issue(NAME, [NAME]), issuer]


def critical_in_leaf() -> list[Minted]:
    """
    A leaf with a critical extension that nobody knows.
    """
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
    return [ISSUER.issue(NAME, [NAME], extensions=[(unknown, True)]), ISSUER]


def bad_signature() -> list[Minted]:
    """
    A leaf whose signature does not fit, since its dates were changed.
    """
    return [forge(LEAF, not_after=LEAF.certificate.not_valid_before_utc.replace(year=2050)), ISSUER]


NAME_CONSTRAINTS = x509.ObjectIdentifier("2.5.29.30")
EMPTY_CONSTRAINTS = (x509.UnrecognizedExtension(NAME_CONSTRAINTS, b"\x30\x00"), True)


def excluding(*names: str) -> tuple[x509.NameConstraints, bool]:
    """
    The extension of a CA that may issue for all names but these and what is below them.
    """
    return x509.NameConstraints(None, [x509.DNSName(name) for name in names]), True


def empty_constraints() -> list[Minted]:
    """
    A CA with name constraints that neither permit nor exclude, which Go does not even read.
    """
    issuer = ROOT.issue("Empty", ca=True, extensions=[EMPTY_CONSTRAINTS])
    return [issuer.issue(NAME, [NAME]), issuer]


def empty_subtrees() -> list[Minted]:
    """
    The same with empty lists in it.
    """
    empty = x509.UnrecognizedExtension(NAME_CONSTRAINTS, bytes.fromhex("3004a000a100"))
    issuer = ROOT.issue("Empty lists", ca=True, extensions=[(empty, True)])
    return [issuer.issue(NAME, [NAME]), issuer]


def excluded_by_wildcard() -> list[Minted]:
    """
    A leaf with a wildcard that stands for an excluded name, too.
    """
    issuer = ROOT.issue("Excluding", ca=True, extensions=[excluding("other.org", "Secret.example.com")])
    return [issuer.issue(NAME, [NAME, "*.Example.com"]), issuer]


def excluded_above() -> list[Minted]:
    """
    The same where the CA above the issuer excludes.
    """
    upper = ROOT.issue("Excluding", ca=True, extensions=[excluding("secret.example.com")])
    lower = upper.issue("Below", ca=True)
    return [lower.issue(NAME, [NAME, "*.example.com"]), lower, upper]


INVALID = [
    not_a_ca,
    without_constraints,
    too_long,
    must_not_sign,
    outside_constraints,
    critical_in_leaf,
    bad_signature,
    empty_constraints,
    empty_subtrees,
    excluded_by_wildcard,
    excluded_above,
]

STRICTER = {empty_constraints, empty_subtrees, excluded_by_wildcard, excluded_above}
"""Of these, OpenSSL accepts them."""


@pytest.mark.parametrize("make", INVALID)
def test_invalid_chain(make: Callable[[], list[Minted]]) -> None:
    """
    A chain that breaks a rule of RFC 5280 is invalid, and nothing else.
    """
    trust = judged(*make())
    assert [it.fault for it in trust.faults] == [Fault.INVALID_CHAIN]


@pytest.mark.parametrize(
    ("names", "excluded"),
    [
        # A wildcard stands for one label: what is excluded is deeper, higher up but beside it, or another.
        (["*.example.com"], ["deep.secret.example.com"]),
        (["*.example.com"], ["example.org"]),
        (["*.example.com"], ["com.example.com.example"]),
        (["*.example.com"], [".secret.example.com"]),
        (["*.example.com"], ["ecret.xexample.com"]),
        (["*.sub.example.com"], ["secret.example.com"]),
        (["www.example.com"], ["secret.example.com"]),
    ],
)
def test_wildcard_beside_an_excluded_name_is_accepted(names: list[str], excluded: list[str]) -> None:
    """
    A wildcard is refused only for a name that it stands for.
    """
    issuer = ROOT.issue("Excluding", ca=True, extensions=[excluding(*excluded)])
    assert faults(issuer.issue(NAME, [NAME, *names]), issuer) == []


@pytest.mark.parametrize(
    ("names", "constraints", "found"),
    [(100, 100, []), (500, 490, []), (510, 500, [Fault.INVALID_CHAIN])],
)
def test_more_constraints_than_clients_compare_are_refused(
    names: int, constraints: int, found: list[Fault]
) -> None:
    """
    Each name is compared with each constraint: of a hundred CAs with thousands that is minutes.
    """
    excluded = excluding(*(f"{number}.example.org" for number in range(constraints)))
    issuer = ROOT.issue("Excluding", ca=True, extensions=[excluded])
    leaf = issuer.issue("", [NAME, *(f"{number}.example.com" for number in range(names - 1))])
    assert faults(leaf, issuer) == found
    assert bool(issuers_of(seen(leaf)[0], seen(issuer), TRUSTED)) is not bool(found)


def test_the_words_name_the_wildcard_and_what_is_excluded() -> None:
    """
    The detail says which name of the leaf, which name is excluded, and by whom.
    """
    (found,) = judged(*excluded_by_wildcard()).faults
    assert found.detail == ("*.Example.com covers secret.example.com, which CN=Excluding must not issue for.")


def version_1(minted: Minted) -> Minted:
    """
    The same certificate in version 1, without extensions, as authorities made them before 1997.
    """
    made = signed(tlv(0x30, b"".join(parts_of(minted)[1:7])), minted.issuer or minted)
    return Minted(x509.load_der_x509_certificate(made), minted.key, minted.issuer)


def test_root_of_version_1_is_accepted() -> None:
    """
    It can't have basic constraints, and all clients take it where they are told to trust it.
    """
    anchor = version_1(root("Old Root", not_before=BEGIN, not_after=END))
    assert faults(anchor.issue(NAME, [NAME], key_identifiers=False), anchors=store(anchor)) == []


def test_intermediate_of_version_1_is_refused() -> None:
    """
    Below a root nobody takes a certificate for that of a CA that does not say so.
    """
    issuer = version_1(ROOT.issue("Old Issuer", ca=True))
    assert faults(issuer.issue(NAME, [NAME], key_identifiers=False), issuer) == [Fault.INVALID_CHAIN]


@pytest.mark.parametrize("extensions", [[], [excluding("example.org")]])
def test_root_of_version_3_without_constraints_is_refused(
    extensions: list[tuple[x509.ExtensionType, bool]],
) -> None:
    """
    Go and Firefox refuse a trusted root that does not say that it is a CA; OpenSSL trusts its key usage.
    """
    anchor = mint(
        "No CA", not_before=BEGIN, not_after=END, ca=None, key_usage=["keyCertSign"], extensions=extensions
    )
    trust = judged(anchor.issue(NAME, [NAME]), anchors=store(anchor))
    assert [it.fault for it in trust.faults] == [Fault.INVALID_CHAIN]
    assert trust.faults[0].detail == (
        "CN=No CA issued a certificate, and its basic constraints do not say that it is a CA."
    )


def test_root_with_empty_constraints_is_refused() -> None:
    """
    Constraints of a trusted root count as those of every CA: Go reads neither.
    """
    anchor = root("Empty Root", not_before=BEGIN, not_after=END, extensions=[EMPTY_CONSTRAINTS])
    assert faults(anchor.issue(NAME, [NAME]), anchors=store(anchor)) == [Fault.INVALID_CHAIN]


EMPTY_USE = (x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.37"), b"\x30\x00"), False)


@pytest.mark.parametrize("above", [False, True])
def test_empty_extended_key_usage_is_refused(*, above: bool) -> None:
    """
    An extended key usage that names no use allows none, in a leaf and in a CA.
    """
    issuer = ROOT.issue("Empty", ca=True, extensions=[EMPTY_USE] if above else ())
    leaf = issuer.issue(NAME, [NAME], extended_key_usage=(), extensions=() if above else [EMPTY_USE])
    assert faults(leaf, issuer) == [Fault.WRONG_KEY_USAGE]


def test_the_extended_key_usage_of_a_trusted_root_counts() -> None:
    """
    OpenSSL refuses a root that is for something else, or for nothing, as it does any other CA.
    """
    for extensions, purposes in (([EMPTY_USE], ()), ([], [CLIENT_PURPOSE]), ([], [SERVER_PURPOSE])):
        anchor = root(
            "Purposeful Root",
            not_before=BEGIN,
            not_after=END,
            extended_key_usage=purposes,
            extensions=extensions,
        )
        found = faults(anchor.issue(NAME, [NAME]), anchors=store(anchor))
        assert found == ([] if SERVER_PURPOSE in purposes else [Fault.WRONG_KEY_USAGE])


@pytest.mark.parametrize("make", [make for make in INVALID if make not in STRICTER])
def test_invalid_chain_that_is_not_trusted_has_both_faults(make: Callable[[], list[Minted]]) -> None:
    """
    Where the end of the chain is not trusted, what else is wrong with it is still found.
    """
    found = faults(*make(), ROOT, anchors=store(OTHER_ROOT))
    assert found == [Fault.UNTRUSTED_ROOT, Fault.INVALID_CHAIN]


def test_invalid_chain_has_the_words_of_openssl() -> None:
    """
    The detail says what OpenSSL says, and about which certificate.
    """
    (found,) = judged(*too_long()).faults
    assert found.detail == "OpenSSL refuses CN=Upper: path length constraint exceeded."


def test_certificate_that_openssl_can_not_read_is_a_fault() -> None:
    """
    A leaf of any bytes is an invalid chain; such bytes above it are passed over.
    """
    (leaf,) = seen(LEAF)
    broken = replace(leaf, der=b"hello", fingerprint_sha256="0" * 64)
    assert [it.fault for it in judge((broken, *seen(ISSUER)), NAME, TRUSTED, NOW).faults] == [
        Fault.INVALID_CHAIN
    ]
    assert judge((leaf, broken, *seen(ISSUER)), NAME, TRUSTED, NOW).faults == ()


def test_self_signed_leaf_whose_key_can_not_be_read_has_both_faults() -> None:
    """
    A key that OpenSSL can't read ends its look before it says at which certificate: it is the leaf's.
    """
    leaf = mint(NAME, [NAME], not_before=BEGIN, not_after=END)
    point = leaf.key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    damaged = leaf.der.replace(point, point[:-1] + bytes((point[-1] ^ 1,)))
    first, found = judged(damaged, ISSUER).faults
    assert (first.fault, found.fault) == (Fault.SELF_SIGNED, Fault.INVALID_CHAIN)
    assert found.detail.startswith("OpenSSL refuses CN=www.example.com: ")
    assert "public key" in found.detail


# Use.


def test_authority_as_leaf() -> None:
    """
    A CA certificate in the place of a leaf is a fault, even where its chain is trusted.
    """
    usage = ["digitalSignature", "keyCertSign"]
    leaf = ISSUER.issue(NAME, [NAME], ca=True, key_usage=usage)
    assert faults(leaf, ISSUER) == [Fault.CA_AS_LEAF]


@pytest.mark.parametrize(
    ("purposes", "good"),
    [
        ([], True),
        ([SERVER_PURPOSE], True),
        ([SERVER_PURPOSE, CLIENT_PURPOSE], True),
        (["2.5.29.37.0"], False),
        (["2.5.29.37.0", SERVER_PURPOSE], True),
        ([CLIENT_PURPOSE], False),
    ],
)
@pytest.mark.parametrize("place", ["leaf", "issuer"])
def test_extended_key_usage(purposes: list[str], good: bool, place: str) -> None:
    """
    Leaf and issuer must be for servers where they say what they are for. Any purpose is none for OpenSSL.
    """
    leaf_purposes, issuer_purposes = (purposes, []) if place == "leaf" else ([], purposes)
    issuer = ROOT.issue("Purposeful", ca=True, extended_key_usage=issuer_purposes)
    leaf = issuer.issue(NAME, [NAME], extended_key_usage=leaf_purposes)
    assert faults(leaf, issuer) == ([] if good else [Fault.WRONG_KEY_USAGE])


@pytest.mark.parametrize(
    ("bits", "good"),
    [
        (b"\6\x40", True),  # server
        (b"\6\xc0", True),  # client and server
        (b"\7\x80", False),  # client
        (b"\0", False),  # nothing
    ],
)
def test_netscape_certificate_type(bits: bytes, good: bool) -> None:
    """
    Authorities of old scripts still write it, and clients with OpenSSL still heed it.
    """
    kind = extension("06096086480186f8420101", tlv(0x03, bits))
    leaf = remade(LEAF, {EXTENSIONS: extensions_of(LEAF, kind)})
    assert faults(leaf, ISSUER) == ([] if good else [Fault.WRONG_KEY_USAGE])


@pytest.mark.parametrize(
    ("kind", "usage", "good"),
    [
        ("rsa-2048", "digitalSignature", True),
        ("rsa-2048", "keyEncipherment", True),
        ("rsa-2048", "keyAgreement", False),
        ("rsa-2048", "dataEncipherment", False),
        ("ecdsa-256", "digitalSignature", True),
        ("ecdsa-256", "keyAgreement", True),
        ("ecdsa-256", "keyEncipherment", False),
        ("ed25519", "digitalSignature", True),
        ("ed25519", "keyAgreement", False),
    ],
)
def test_key_usage(kind: str, usage: str, good: bool) -> None:
    """
    A key must be for one of the things that a server does with a key of its kind.
    """
    leaf = ISSUER.issue(NAME, [NAME], key=shared_key(kind), key_usage=[usage])
    assert faults(leaf, ISSUER) == ([] if good else [Fault.WRONG_KEY_USAGE])


# Strength.


@pytest.mark.parametrize(("kind", "found"), [("rsa-2047", [Fault.WEAK_KEY]), ("rsa-2048", [])])
@pytest.mark.parametrize("place", ["leaf", "issuer"])
def test_short_rsa_key(kind: str, found: list[Fault], place: str) -> None:
    """
    RSA keys under 2048 bits are weak, in the leaf and above it.
    """
    strong = new_key()
    issuer = ROOT.issue("Keyed", ca=True, key=shared_key(kind) if place == "issuer" else strong)
    leaf = issuer.issue(NAME, [NAME], key=shared_key(kind) if place == "leaf" else strong)
    assert faults(leaf, issuer) == found


@pytest.mark.parametrize(
    ("curve", "found"), [(ec.SECP192R1(), [Fault.WEAK_KEY]), (ec.SECP224R1(), []), (ec.SECP256R1(), [])]
)
def test_small_curve(curve: ec.EllipticCurve, found: list[Fault]) -> None:
    """
    Curves under 224 bits are weak.
    """
    leaf = ISSUER.issue(NAME, [NAME], key=ec.generate_private_key(curve))
    assert faults(leaf, ISSUER) == found


def test_dsa_key() -> None:
    """
    DSA keys of any size are weak.
    """
    key = dsa.generate_private_key(2048)
    leaf = ISSUER.issue(NAME, [NAME], key=key)  # type: ignore[arg-type]  # not what the minter is for
    assert faults(leaf, ISSUER) == [Fault.WEAK_KEY]


def test_few_cas_with_keys_that_are_dear_to_verify_with_are_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A private authority may have one, and its clients take it. A hostile server may show twenty.
    """
    monkeypatch.setitem(LARGEST_KEYS, "rsa", 2047)
    chain = [ROOT]
    for number in range(3):
        chain.insert(0, chain[0].issue(f"Large {number}", ca=True, key=shared_key("rsa-2048")))
    third, second, first, _ = chain
    assert faults(second.issue(NAME, [NAME]), second, first) == []
    leaf = third.issue(NAME, [NAME])
    (found,) = judged(leaf, third, second, first).faults
    assert found.fault is Fault.INVALID_CHAIN
    assert found.detail == "More than 2 CAs in it have keys as large as rsa-2048, which Go and rustls refuse."
    assert faults(leaf, third, second, first, anchors=store(third, ROOT)) == []
    assert faults(LEAF, ISSUER, third, second, first) == []
    monkeypatch.setitem(LARGEST_KEYS, "rsa", 2048)
    assert faults(third.issue(NAME, [NAME]), third, second, first) == []


def test_weak_anchor_is_no_fault() -> None:
    """
    An anchor is trusted for what it is: neither its key nor its signature counts.
    """
    weak = forge(
        root("Weak", not_before=BEGIN, not_after=END, key=shared_key("rsa-1024")), signature_hash="md5"
    )
    assert faults(weak.issue(NAME, [NAME]), weak, anchors=store(weak)) == []


def test_weak_signature_of_an_intermediate_that_is_an_anchor_is_no_fault() -> None:
    """
    An anchor need not have signed itself to be taken as it is.
    """
    weak = forge(ISSUER, signature_hash="sha1")
    assert faults(LEAF, weak, anchors=store(weak)) == []
    assert faults(LEAF, weak) == [Fault.WEAK_SIGNATURE]


def test_weak_certificate_that_is_not_needed_is_no_fault() -> None:
    """
    A weak certificate that is presented, but on no path, is no fault.
    """
    weak = forge(STRANGER.issue("Weak", ca=True, key=shared_key("rsa-1024")), signature_hash="sha1")
    assert faults(LEAF, ISSUER, weak) == []


@pytest.mark.parametrize("signature_hash", ["sha1", "md5"])
@pytest.mark.parametrize("place", ["leaf", "issuer"])
def test_weak_signature(signature_hash: str, place: str) -> None:
    """
    SHA-1 and MD5 are weak in the signature of the leaf and of an intermediate.
    """
    anchor = root("RSA Root", not_before=BEGIN, not_after=END, key=shared_key("rsa-2048"))
    issuer = anchor.issue("RSA Issuer", ca=True, key=shared_key("rsa-2048"))
    if place == "issuer":
        issuer = forge(issuer, signature_hash=signature_hash)
    leaf = issuer.issue(NAME, [NAME])
    if place == "leaf":
        leaf = forge(leaf, signature_hash=signature_hash)
    assert faults(leaf, issuer, anchors=store(anchor)) == [Fault.WEAK_SIGNATURE]


def test_signature_of_a_self_signed_root_does_not_count() -> None:
    """
    A root that is presented and not trusted has that fault only: its own signature proves nothing.
    """
    old = forge(root("SHA-1 Root", not_before=BEGIN, not_after=END), signature_hash="sha1")
    assert faults(old.issue(NAME, [NAME]), old) == [Fault.UNTRUSTED_ROOT]


# Trust stores.


def test_trust_store_skips_what_it_can_not_read() -> None:
    """
    A bad block beside good ones is counted, and the good ones work; the same anchor twice is one.
    """
    broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    anchors = TrustStore.from_pem(ROOT.pem + broken + ROOT.pem)
    assert (anchors.anchors, anchors.skipped) == (seen(ROOT), 1)
    assert anchors.holds(certificate(ROOT.der))
    assert not anchors.holds(certificate(ISSUER.der))
    assert faults(LEAF, ISSUER, anchors=anchors) == []


MAIL_ONLY = bytes.fromhex("300c300a06082b06010505070304")
"""What `openssl x509 -addtrust emailProtection` puts behind a certificate."""


def test_trusted_certificate_blocks_are_anchors() -> None:
    """
    OpenSSL's own blocks count, but for one that is trusted for mail only.
    """
    usual = pem("TRUSTED CERTIFICATE", ROOT.der + bytes.fromhex("300c300a06082b06010505070301"))
    anchors = TrustStore.from_pem(usual + pem("TRUSTED CERTIFICATE", STRANGER.der + MAIL_ONLY))
    assert (anchors.anchors, anchors.skipped) == (seen(ROOT), 1)
    assert faults(LEAF, ISSUER, anchors=anchors) == []


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "holds no certificate"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "none of its 1 certificates"),
        (pem("TRUSTED CERTIFICATE", ROOT.der + MAIL_ONLY), "not trusted for servers"),
    ],
)
def test_trust_store_without_certificate_is_an_error(data: bytes, words: str) -> None:
    """
    A store of nothing would make everything untrusted: it is refused with the reason.
    """
    with pytest.raises(TrustStoreError, match=words):
        TrustStore.from_pem(data)


# How long a judgement holds.


def test_judgement_holds_between_begin_and_end_of_what_is_presented() -> None:
    """
    A judgement holds from the last begin to the first end among leaf, issuer, anchor, and what else is there.
    """
    leaf = ISSUER.issue(NAME, [NAME], not_before=NOW - 5 * DAY, not_after=NOW + 9 * DAY)
    trust = judged(leaf, ISSUER)
    assert (trust.valid_from, trust.valid_until) == (NOW - 5 * DAY, NOW + 9 * DAY + 1)
    other = STRANGER.issue("Passenger", not_before=NOW - 3 * DAY, not_after=NOW + 7 * DAY)
    trust = judged(leaf, ISSUER, other)
    assert (trust.valid_from, trust.valid_until) == (NOW - 3 * DAY, NOW + 7 * DAY + 1)


def test_judgement_after_the_last_end_holds_for_ever() -> None:
    """
    Where nothing begins or ends any more the judgement stays; before everything it was always so.
    """
    assert judged(LEAF, ISSUER, now=END + 10).valid_until == inf
    assert judged(LEAF, ISSUER, now=BEGIN - 10).valid_from == -inf


def test_judgement_holds_until_an_anchor_begins() -> None:
    """
    A chain that is not trusted may become so by an anchor that is not on any path yet.
    """
    begin = NOW + 3 * DAY
    early = root("Tomorrow", not_before=BEGIN, not_after=NOW - 2 * DAY)
    late = early.cross_sign(early, not_before=begin, not_after=END)
    leaf = early.issue(NAME, [NAME], not_after=END)
    anchors = store(early, Minted(late.certificate, early.key))
    trust = judged(leaf, anchors=anchors)
    assert [it.fault for it in trust.faults] == [Fault.CHAIN_EXPIRED]
    assert trust.valid_until == begin
    assert faults(leaf, anchors=anchors, now=begin) == []


def pieces() -> list[list[Minted]]:
    """
    Certificates for chains: roots, issuers with cross-signs and leaves, of all ages around NOW.
    """
    windows = [(-9, 9), (-5, 2), (1, 8), (-8, -3)]
    anchor = root("Piece Root", not_before=NOW - 9 * DAY, not_after=NOW + 9 * DAY)
    other = root("Piece Other", not_before=NOW - 6 * DAY, not_after=NOW + 5 * DAY)
    issuer = anchor.issue("Piece Issuer", ca=True)
    return [
        [anchor, other],
        [
            signer.cross_sign(issuer, not_before=NOW + begin * DAY, not_after=NOW + end * DAY)
            for signer in (anchor, other, STRANGER)
            for begin, end in windows
        ],
        [
            issuer.issue(NAME, [NAME], not_before=NOW + begin * DAY, not_after=NOW + end * DAY)
            for begin, end in windows
        ],
    ]


ANCHORS, ISSUERS, LEAVES = pieces()


@pytest.mark.no_cover
@given(
    leaf=st.sampled_from(LEAVES),
    others=st.lists(st.sampled_from([*ISSUERS, *ANCHORS, STRANGER]), max_size=5, unique_by=id),
    anchors=st.lists(st.sampled_from([*ANCHORS, *ISSUERS]), min_size=1, max_size=3, unique_by=id),
    now=st.integers(-10 * 24, 10 * 24).map(lambda hours: NOW + 3600.0 * hours),
)
def test_judgement_stays_the_same_as_long_as_it_says(
    leaf: Minted, others: Sequence[Minted], anchors: Sequence[Minted], now: float
) -> None:
    """
    At both ends of its time a judgement is the same, and in any order of what is presented.
    """
    anchor_store = store(*anchors)
    trust = judged(leaf, *others, anchors=anchor_store, now=now)
    assert trust.valid_from <= now < trust.valid_until
    assert trust == judged(leaf, *reversed(others), anchors=anchor_store, now=now)
    assert bool(trust.path) or trust.faults
    kinds = [it.fault for it in trust.faults]
    for moment in (trust.valid_from, trust.valid_until - 1):
        if abs(moment) != inf:
            same = judged(leaf, *others, anchors=anchor_store, now=moment)
            assert [it.fault for it in same.faults] == kinds
            assert same.valid_from <= moment < same.valid_until


@given(
    leaf=st.sampled_from(LEAVES),
    others=st.lists(st.sampled_from([*ISSUERS, STRANGER]), max_size=6, unique_by=id),
    now=st.integers(-10, 10).map(lambda days: NOW + DAY * days),
)
def test_path_is_found_exactly_where_there_is_one(leaf: Minted, others: Sequence[Minted], now: float) -> None:
    """
    No fault of the chain is told where some presented issuer is valid and signed by a valid anchor.
    """
    anchors = store(*ANCHORS)

    def valid(minted: Minted) -> bool:
        (it,) = seen(minted)
        return it.not_before <= now <= it.not_after

    there = any(it.issuer in ANCHORS and valid(it) and valid(it.issuer) for it in others if it.issuer)
    found = set(faults(leaf, *others, anchors=anchors, now=now)) - {Fault.EXPIRED, Fault.NOT_YET_VALID}
    assert (not found) == there


@given(st.dictionaries(st.integers(0, 350), st.integers(1, 255), min_size=1, max_size=3), st.booleans())
def test_damaged_certificates_never_raise(damage: dict[int, int], above: bool) -> None:
    """
    Whatever is damaged in a leaf or an issuer, there is a judgement.
    """
    damaged = bytearray((ISSUER if above else LEAF).der)
    for position, flips in damage.items():
        damaged[position] ^= flips
    try:
        certificate(bytes(damaged))
    except CertificateError:
        return
    chain: list[Minted | bytes] = [LEAF, bytes(damaged)] if above else [bytes(damaged), ISSUER]
    assert judged(*chain).faults
