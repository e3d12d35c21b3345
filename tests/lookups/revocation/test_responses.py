"""
OCSP responses: what they say counts when the certificate's issuer, or a responder of its, signed it.
"""

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from exporter.demo.minter import Minted
from exporter.model.observation import Item
from exporter.model.reasons import Fault, Kind
from exporter.pki.ocsp import OcspAnswer, judge_staple, must_staple, read_response, request
from exporter.pki.renewal_information import certificate_id
from exporter.pki.revocation import RevocationError, pointers
from tests.lookups.revocation.making import (
    MUST_STAPLE,
    REVOKED,
    UNKNOWN,
    issuer_of,
    lists_at,
    responder,
    responders_at,
    response,
)
from tests.support.certificates import (
    DAY,
    EXTENSIONS,
    NOW,
    authority,
    extension,
    extensions_of,
    remade,
    shared_key,
)

NAME = "www.example"


@pytest.fixture(scope="module")
def leaf(ca: Minted) -> Minted:
    """
    A certificate that responses are about.
    """
    return ca.issue(NAME, [NAME])


def read(data: bytes, leaf: Minted) -> OcspAnswer:
    """
    What the response says of this certificate.
    """
    return read_response(data, leaf.der, issuer_of(leaf).der)


def refused(data: bytes, leaf: Minted) -> str:
    """
    Why the response says nothing of this certificate.
    """
    with pytest.raises(RevocationError) as error:
        read(data, leaf)
    return str(error.value)


def test_a_good_response_has_its_dates(leaf: Minted) -> None:
    """
    Its begin and its end, as they were signed.
    """
    assert read(response(leaf), leaf) == OcspAnswer(NOW - DAY, NOW + 6 * DAY, known=True)


def test_a_revocation_has_its_time_and_reason(leaf: Minted) -> None:
    """
    In the words of RFC 5280.
    """
    said = read(response(leaf, status=REVOKED, reason=x509.ReasonFlags.key_compromise), leaf)
    assert said == OcspAnswer(
        NOW - DAY, NOW + 6 * DAY, known=True, revoked_at=NOW - 2 * DAY, reason="keyCompromise"
    )


def test_a_response_without_a_next_update_has_no_end(leaf: Minted) -> None:
    """
    Its responder has newer information at any time: there is no item then, and no fault.
    """
    data = response(leaf, next_update=None)
    assert read(data, leaf).next_update is None
    judged = judge_staple(data, "staple", leaf.der, issuer_of(leaf).der)
    assert (judged.item, judged.faults) == (None, ())


@pytest.mark.parametrize("algorithm", [hashes.SHA1(), hashes.SHA256(), hashes.SHA384(), hashes.SHA512()])
def test_the_certificate_may_be_named_by_any_hash(leaf: Minted, algorithm: hashes.HashAlgorithm) -> None:
    """
    SHA-1 is usual, and newer responders use SHA-256.
    """
    assert read(response(leaf, algorithm=algorithm), leaf).known


@pytest.mark.parametrize("kind", ["rsa-2048", "ecdsa-384", "ed25519", "ed448"])
def test_every_kind_of_key_may_sign(kind: str) -> None:
    """
    What an authority has for certificates it has for responses.
    """
    above = issuer_of(authority())
    key = shared_key(kind)
    ca = above.issue("CA", ca=True, key=key)
    leaf = ca.issue(NAME, [NAME])
    assert read(response(leaf), leaf).known


def test_a_responder_that_the_issuer_certified_may_sign(ca: Minted, leaf: Minted) -> None:
    """
    RFC 6960 section 4.2.2.2: its certificate comes with the response, is for that use, and the issuer's own.
    """
    assert read(response(leaf, signer=responder(ca), with_signer=True), leaf).known


@pytest.mark.parametrize(
    "signer",
    [
        pytest.param(lambda ca: responder(ca, use=ExtendedKeyUsageOID.SERVER_AUTH.dotted_string), id="use"),
        pytest.param(lambda _: responder(authority("Stranger")), id="issuer"),
        pytest.param(lambda _: authority("Stranger"), id="stranger"),
        pytest.param(lambda ca: authority(ca.certificate.subject.rfc4514_string()[3:].split()[0]), id="name"),
    ],
)
def test_nobody_else_may_sign(ca: Minted, leaf: Minted, signer: object) -> None:
    """
    Not a server of the same issuer, not another's responder, not another authority, not one of the same name.
    """
    assert callable(signer)
    data = response(leaf, signer=signer(ca), with_signer=True)
    assert "signature is not that of" in refused(data, leaf)


def test_a_responder_whose_time_was_over_may_not_sign(ca: Minted, leaf: Minted) -> None:
    """
    Its certificate must be valid when the response is made.
    """
    old = responder(ca, not_after=DAY)
    assert "signature is not that of" in refused(response(leaf, signer=old, with_signer=True), leaf)


def test_a_response_about_another_certificate_says_nothing(ca: Minted, leaf: Minted) -> None:
    """
    Of the same issuer, or with the same serial number of another.
    """
    other = ca.issue(NAME, [NAME])
    namesake = authority("Stranger").issue(NAME, [NAME], serial=leaf.certificate.serial_number)
    assert "about another certificate" in refused(response(other), leaf)
    assert "about another certificate" in refused(response(namesake), leaf)


def test_a_responder_that_did_not_answer(leaf: Minted) -> None:
    """
    A response without a word about any certificate.
    """
    data = ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.TRY_LATER)
    assert "try_later" in refused(data.public_bytes(Encoding.DER), leaf)


def test_a_good_staple_is_an_item(leaf: Minted) -> None:
    """
    It ends when the next one should be there.
    """
    judged = judge_staple(response(leaf), "staple", leaf.der, issuer_of(leaf).der)
    assert judged.item == Item("staple", Kind.OCSP, NOW - DAY, NOW + 6 * DAY)
    assert judged.faults == ()


def test_a_staple_may_say_revoked(leaf: Minted) -> None:
    """
    Then it is an item and a fault.
    """
    data = response(leaf, status=REVOKED, reason=x509.ReasonFlags.superseded)
    judged = judge_staple(data, "staple", leaf.der, issuer_of(leaf).der)
    assert judged.item is not None
    assert [one.fault for one in judged.faults] == [Fault.REVOKED]
    assert "superseded" in judged.faults[0].detail


@pytest.mark.parametrize(
    "make",
    [
        lambda leaf: response(leaf, status=UNKNOWN),
        lambda leaf: response(leaf, signer=authority("Stranger")),
        lambda leaf: response(leaf, status=REVOKED, signer=authority("Stranger")),
        lambda leaf: response(leaf)[:-10],
        lambda _: b"",
        lambda _: b"no response",
    ],
    ids=["unknown", "forged", "forged revocation", "cut off", "empty", "text"],
)
def test_a_bad_staple_is_a_fault_and_no_item(leaf: Minted, make: object) -> None:
    """
    Clients refuse it. Above all it revokes nothing.
    """
    assert callable(make)
    judged = judge_staple(make(leaf), "staple", leaf.der, issuer_of(leaf).der)
    assert judged.item is None
    assert [one.fault for one in judged.faults] == [Fault.STAPLE_INVALID]


def test_a_question_is_about_the_certificate(leaf: Minted) -> None:
    """
    What is sent to a responder names it.
    """
    asked = ocsp.load_der_ocsp_request(request(leaf.der, issuer_of(leaf).der))
    assert asked.serial_number == leaf.certificate.serial_number


def test_must_staple_is_found(ca: Minted) -> None:
    """
    In the one extension that says it, which may list other features too.
    """
    versions = x509.TLSFeature([x509.TLSFeatureType.status_request_v2])
    assert must_staple(ca.issue(NAME, extensions=[MUST_STAPLE]).der)
    assert not must_staple(ca.issue(NAME, extensions=[(versions, False)]).der)
    assert not must_staple(ca.issue(NAME).der)


def test_the_object_identifier_elsewhere_is_not_must_staple(ca: Minted) -> None:
    """
    It is looked for in the bytes first, and then in the right place.
    """
    odd = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), bytes.fromhex("06082b06010505070118"))
    assert not must_staple(ca.issue(NAME, extensions=[(odd, False)]).der)


def test_pointers_are_http_urls_only(ca: Minted) -> None:
    """
    Https would need what it is to tell of, and ldap is not asked. A certificate may have none.
    """
    lists = lists_at("ldap://a.example/cn=a", "http://a.example/a.crl", "https://a.example/b.crl")
    both = ca.issue(NAME, extensions=[lists, responders_at("http://o.example/", "https://o.example/")])
    found = pointers(both.der)
    assert found.crl_urls == ("http://a.example/a.crl",)
    assert found.ocsp_urls == ("http://o.example/",)
    nothing = pointers(ca.issue(NAME).der)
    assert (nothing.crl_urls, nothing.ocsp_urls) == ((), ())


@pytest.mark.parametrize(
    "odd",
    [
        pytest.param(extension("0603551d25", bytes.fromhex("3000")), id="an empty extended key usage"),
        pytest.param(extension("0603551d20", b"no DER"), id="policies that are none"),
        pytest.param(extension("06032a0304", b"") * 2, id="one twice"),
    ],
)
def test_an_extension_that_can_not_be_read_hides_no_other(ca: Minted, odd: bytes) -> None:
    """
    Where to ask, for what and whether it must be stapled is known all the same.
    """
    kinds = [lists_at("http://a.example/a.crl"), responders_at("http://o.example/"), MUST_STAPLE]
    plain = ca.issue(NAME, extensions=kinds)
    made = remade(plain, {EXTENSIONS: extensions_of(plain, odd)})
    found = pointers(made.der)
    assert (found.crl_urls, found.ocsp_urls) == (("http://a.example/a.crl",), ("http://o.example/",))
    assert must_staple(made.der)
    assert certificate_id(made.der) == certificate_id(plain.der) is not None


@pytest.mark.parametrize("der", [b"", b"\x30", bytes.fromhex("06082b06010505070118")])
def test_what_is_no_certificate_has_no_pointers(der: bytes) -> None:
    """
    Nothing is raised for odd bytes: they come from servers.
    """
    assert not must_staple(der)
    assert pointers(der).crl_urls == ()
