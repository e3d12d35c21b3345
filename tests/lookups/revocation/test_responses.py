"""
OCSP responses: what they say counts when the certificate's issuer, or a responder of its, signed it.
"""

import hashlib
from collections.abc import Callable

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import mldsa, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from exporter.demo.minter import Minted
from exporter.model.observation import Item
from exporter.model.reasons import Fault, Kind
from exporter.pki.fields import public_key_bits
from exporter.pki.ocsp import judge_staple, must_staple, read_response, request
from exporter.pki.ocsp_data import OcspAnswer
from exporter.pki.renewal_information import certificate_id
from exporter.pki.revocation import RevocationError, issued, pointers
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
    ALGORITHM,
    DAY,
    EXTENSIONS,
    ISSUER,
    NOW,
    PUBLIC_KEY,
    SERIAL,
    authority,
    children,
    extension,
    extensions_of,
    generalized_time,
    parts_of,
    remade,
    shared_key,
    signed,
    tlv,
)

NAME = "www.example"
GOOD_STATUS = b"\x80\0"
SHA_1 = "sha1"
HASHES = {
    SHA_1: "06052b0e03021a",
    "sha224": "0609608648016503040204",
    "sha256": "0609608648016503040201",
    "sha384": "0609608648016503040202",
    "sha512": "0609608648016503040203",
    "sha3_256": "0609608648016503040208",
    "sha3_384": "0609608648016503040209",
    "sha3_512": "060960864801650304020a",
}
"""Object identifiers of hashes (RFC 8017, NIST CSOR), DER."""


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


def answer(
    leaf: Minted,
    status: bytes = GOOD_STATUS,
    *,
    begin: bytes = generalized_time("20270114080000Z"),
    end: bytes = generalized_time("20270121080000Z"),
    algorithm: str = SHA_1,
) -> bytes:
    """
    An answer about this certificate (SingleResponse, RFC 6960 section 4.2.1), which no library would make.
    """
    name, key = parts_of(leaf)[ISSUER], public_key_bits(issuer_of(leaf).der)
    digests = [tlv(0x04, hashlib.new(algorithm, part).digest()) for part in (name, key)]
    named = tlv(0x30, bytes.fromhex(HASHES[algorithm])) + b"".join(digests) + parts_of(leaf)[SERIAL]
    return tlv(0x30, tlv(0x30, named) + status + begin + (tlv(0xA0, end) if end else b""))


def made(
    leaf: Minted,
    *answers: bytes,
    produced: str = "20270114080000Z",
    before: bytes = b"",
    sign: Callable[[bytes], bytes] | None = None,
) -> bytes:
    """
    A response with these answers, signed by the issuer.
    """
    fields = before + tlv(0xA2, tlv(0x04, bytes(20))) + generalized_time(produced)
    body = tlv(0x30, fields + tlv(0x30, b"".join(answers)))
    basic = signed(body, issuer_of(leaf)) if sign is None else sign(body)
    inside = tlv(0x30, bytes.fromhex("06092b0601050507300101") + tlv(0x04, basic))
    return tlv(0x30, b"\x0a\1\0" + tlv(0xA0, inside))


def revoked_at(time: str, *reason: int) -> bytes:
    """
    The status of what was revoked at this time.
    """
    why = [tlv(0xA0, tlv(0x0A, bytes(reason)))] if reason else []
    return tlv(0xA1, generalized_time(time) + b"".join(why))


YESTERDAY = "20270113080000Z"


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        pytest.param(revoked_at(YESTERDAY, 1), "keyCompromise", id="usual"),
        pytest.param(revoked_at(YESTERDAY, 7), "", id="a reason that is none"),
        pytest.param(revoked_at(YESTERDAY, 99), "", id="a reason of the future"),
        pytest.param(revoked_at("20270113080000.123Z"), "", id="a fraction of a second"),
        pytest.param(revoked_at("never"), "", id="no time"),
        pytest.param(b"\x81\0", "", id="nothing"),
    ],
)
def test_revoked_is_revoked_whatever_is_odd_about_it(leaf: Minted, status: bytes, reason: str) -> None:
    """
    Neither when nor why changes that.
    """
    found = read(made(leaf, answer(leaf, status)), leaf)
    assert (found.revoked_at is not None, found.reason) == (True, reason)


@pytest.mark.parametrize("oid", HASHES)
def test_a_certificate_is_named_by_any_hash(leaf: Minted, oid: str) -> None:
    """
    Responders of today use newer ones than SHA-1.
    """
    assert read(made(leaf, answer(leaf, algorithm=oid)), leaf).known


def test_times_in_a_response_may_be_odd(leaf: Minted) -> None:
    """
    As in certificates, OpenSSL reads more than RFC 5280 allows.
    """
    begin, end = generalized_time("202701140800Z"), generalized_time("20270121090000+0100")
    found = read(made(leaf, answer(leaf, begin=begin, end=end), produced="20270114080000.5Z"), leaf)
    assert found == OcspAnswer(NOW - DAY, NOW + 6 * DAY, known=True)


@pytest.mark.parametrize(
    "odd",
    [
        pytest.param(tlv(0x30, b""), id="empty"),
        pytest.param(tlv(0x04, b"?"), id="no answer"),
        pytest.param(tlv(0x30, tlv(0x30, tlv(0x30, b""))), id="about nothing"),
    ],
)
def test_an_answer_that_is_odd_hides_no_other(leaf: Minted, odd: bytes) -> None:
    """
    Nor does one about another certificate, nor the version, which need not be said.
    """
    other = issuer_of(leaf).issue("other")
    found = answer(leaf, revoked_at(YESTERDAY))
    response = made(
        leaf, odd, answer(other, begin=generalized_time("?")), found, before=bytes.fromhex("a003020100")
    )
    assert read(response, leaf).revoked_at == NOW - 2 * DAY


def test_a_signature_may_have_the_padding_of_today(ca: Minted) -> None:
    """
    RSASSA-PSS (RFC 4055): private authorities sign so, certificates as well as responses.
    """
    issuer = issuer_of(ca).issue("RSA", ca=True, key=shared_key("rsa-2048"))
    leaf = issuer.issue(NAME)
    assert isinstance(issuer.key, rsa.RSAPrivateKey)
    padded, sha_256 = padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256()
    request = x509.CertificateSigningRequestBuilder(x509.Name([]))
    algorithm = children(request.sign(issuer.key, sha_256, rsa_padding=padded).public_bytes(Encoding.DER))[1]

    def sign(body: bytes) -> bytes:
        assert isinstance(issuer.key, rsa.RSAPrivateKey)
        return tlv(0x30, body + algorithm + tlv(0x03, b"\0" + issuer.key.sign(body, padded, sha_256)))

    assert read(made(leaf, answer(leaf, revoked_at(YESTERDAY)), sign=sign), leaf).revoked_at is not None
    with pytest.raises(RevocationError, match="its signature is not that"):
        read(made(leaf, answer(leaf), sign=lambda body: sign(body)[:-1] + b"?"), leaf)


def test_the_issuer_may_have_a_key_of_the_next_age(ca: Minted) -> None:
    """
    ML-DSA (RFC 9881): who issued a certificate is known.
    """
    key, plain = mldsa.MLDSA65PrivateKey.generate(), issuer_of(ca).issue("Issuer", ca=True)
    algorithm = bytes.fromhex("300b0609608648016503040312")

    def sign(body: bytes) -> bytes:
        return tlv(0x30, body + algorithm + tlv(0x03, b"\0" + key.sign(body)))

    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    issuer = remade(plain, {PUBLIC_KEY: public})
    fields = parts_of(plain.issue(NAME))
    fields[ALGORITHM] = algorithm
    leaf = sign(tlv(0x30, b"".join(fields)))
    assert issued(leaf, issuer.der)
    assert not issued(leaf, plain.der)


def test_of_several_answers_the_newest_counts(leaf: Minted) -> None:
    """
    In any order; of two that are as new, the one that says revoked.
    """
    old = answer(leaf, begin=generalized_time("20261201000000Z"), end=generalized_time("20261208000000Z"))
    good, revoked = answer(leaf), answer(leaf, revoked_at(YESTERDAY))
    for answers, is_revoked in (([old, revoked], True), ([good, revoked], True), ([good, old], False)):
        for order in (answers, answers[::-1]):
            assert (read(made(leaf, *order), leaf).revoked_at is not None) is is_revoked


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
