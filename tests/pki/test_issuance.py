"""
Issuance: the CAs that are expected to stand behind a certificate, and those that a stranger pretends.
"""

from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from exporter.demo.minter import Minted, root
from exporter.model.observation import Certificate
from exporter.pki import issuance
from exporter.pki.certificates import certificate
from exporter.pki.issuance import is_issued_by
from exporter.pki.trust import TrustStore, issuers_of
from tests.support.certificates import DAY, NOW

HOST = "www.example.com"


def named(common_name: str, organization: str) -> x509.Name:
    """
    A name as CAs have it.
    """
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def anchor(common_name: str, organization: str) -> Minted:
    """
    A CA that signs itself.
    """
    name = named(common_name, organization)
    return root(name, not_before=NOW - 900 * DAY, not_after=NOW + 900 * DAY)


OURS = anchor("Our Root", "Our Trust, Inc.")
OTHER = anchor("Other Root", "Other Trust")
ISSUING = OURS.issue(named("Our Issuing CA", "Our Services"), ca=True)
LEAF = ISSUING.issue(HOST)


def read(*minted: Minted) -> tuple[Certificate, ...]:
    """
    The certificates as values.
    """
    return tuple(certificate(one.der) for one in minted)


def store(*anchors: Minted) -> TrustStore:
    """
    The trust store of a client.
    """
    return TrustStore(read(*anchors))


def colons(minted: Minted) -> str:
    """
    The fingerprint as openssl prints it.
    """
    digits = certificate(minted.der).fingerprint_sha256.upper()
    return ":".join(digits[at : at + 2] for at in range(0, 64, 2))


@pytest.mark.parametrize(
    ("expected", "is_ours"),
    [
        ("Our Issuing CA", True),
        ("our services", True),
        ("OUR ROOT", True),
        ("Our Trust, Inc.", True),
        ("Our", False),
        ("Our Trust", False),
        ("Our Trust, Inc", False),
        (HOST, False),
    ],
)
def test_a_name_of_any_ca_above_counts(expected: str, is_ours: bool) -> None:
    """
    Whole names, in capitals or not; the root is known from the trust store.
    """
    leaf, *chain = read(LEAF, ISSUING)
    assert is_issued_by([expected], leaf, chain, store(OURS)) == is_ours
    assert is_issued_by(["Third", expected], leaf, chain, store(OTHER, OURS)) == is_ours


def test_a_fingerprint_of_any_ca_above_counts() -> None:
    """
    That of the leaf itself does not.
    """
    leaf, *chain = read(LEAF, ISSUING)
    for one, is_ours in ((ISSUING, True), (OURS, True), (LEAF, False), (OTHER, False)):
        assert is_issued_by([colons(one)], leaf, chain, store(OURS)) == is_ours


def test_without_a_trusted_way_the_presented_cas_count_that_signed() -> None:
    """
    A private authority that the exporter was not given.
    """
    leaf, *chain = read(LEAF, ISSUING, OURS)
    for one in ("Our Issuing CA", "Our Root", colons(OURS)):
        assert is_issued_by([one], leaf, chain, store(OTHER))
        assert is_issued_by([one], leaf, chain, None)


def test_a_ca_that_did_not_sign_does_not_count() -> None:
    """
    Anybody can present our CAs beside a certificate of another, in any order.
    """
    leaf, *chain = read(OTHER.issue(HOST), ISSUING, OURS, OTHER)
    for expected in ("Our Issuing CA", "Our Root", colons(ISSUING), colons(OURS)):
        for trusted in (store(OTHER, OURS), None):
            assert not is_issued_by([expected], leaf, chain, trusted)
            assert not is_issued_by([expected], leaf, chain[::-1], trusted)


def test_a_ca_of_the_same_name_has_another_fingerprint() -> None:
    """
    Who makes a CA of our name has its name, but not its key.
    """
    twin = anchor("Our Root", "Our Trust, Inc.")
    issuing = twin.issue(named("Our Issuing CA", "Our Services"), ca=True)
    leaf, *chain = read(issuing.issue(HOST), ISSUING, issuing, OURS)
    assert not is_issued_by([colons(OURS), colons(ISSUING)], leaf, chain, store(OTHER))
    assert not is_issued_by([colons(OURS), colons(ISSUING)], leaf, chain, store(OURS))
    assert is_issued_by([colons(issuing)], leaf, chain, store(OTHER))


def test_who_signs_itself_is_its_own_issuer() -> None:
    """
    By its name, and by its own fingerprint.
    """
    (alone,) = read(OTHER)
    assert is_issued_by(["other trust"], alone, [], None)
    assert is_issued_by([colons(OTHER)], alone, [], store(OURS))
    assert not is_issued_by(["Our Trust, Inc."], alone, [], store(OURS))


def test_what_nobody_could_have_issued_takes_no_signature(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A file may have thousands of leaves: paths are looked for where an expected CA may be on one.
    """
    looked: list[Certificate] = []

    def path(leaf: Certificate, *rest: Any) -> tuple[Certificate, ...]:
        looked.append(leaf)
        return issuers_of(leaf, *rest)

    monkeypatch.setattr(issuance, "issuers_of", path)
    leaf, *chain = read(ISSUING.issue(HOST), ISSUING, OURS)
    assert not is_issued_by(["Nobody", "ab" * 32], leaf, chain, store(OTHER))
    assert looked == []
    # It may be, and is not.
    assert not is_issued_by(["Other Trust"], leaf, chain, store(OTHER))
    assert is_issued_by([colons(OURS)], leaf, chain, store(OURS))
    assert looked == [leaf, leaf]
