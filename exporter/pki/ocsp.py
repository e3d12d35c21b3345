"""
OCSP responses (RFC 6960): who signed them, and what they say of a certificate.

Pure.
"""

import warnings
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from exporter.model.caches import remembered
from exporter.model.observation import FoundFault, Item
from exporter.model.reasons import Fault, Kind
from exporter.pki.certificates import CertificateError, certificate
from exporter.pki.fields import encoded_names, public_key_bits
from exporter.pki.ocsp_data import OcspAnswer, SignedResponse, about, answered, load_response
from exporter.pki.revocation import (
    _TLS_FEATURE,
    _UNREADABLE,
    RevocationError,
    _verify,
    _words,
    extension,
    issued,
    loaded,
    revoked,
)

SIGNERS = 8
"""Certificates in a response that may be the responder's. One is usual; there is room for hundreds."""


_OCSP_SIGNING = ExtendedKeyUsageOID.OCSP_SIGNING.dotted_string


@dataclass(frozen=True, slots=True)
class Judged:
    """
    The judgement of a certificate's status: the item for the OCSP response, and the faults.
    """

    item: Item | None = None
    faults: tuple[FoundFault, ...] = ()


@remembered("extensions")
def must_staple(der: bytes) -> bool:
    """
    Return True when a certificate demands a stapled OCSP response (RFC 7633 section 4.2.3.1).
    """
    # Hardly any has it: what is not there need not be parsed.
    if _TLS_FEATURE not in der:
        return False
    feature = extension(der, x509.TLSFeature)
    return feature is not None and x509.TLSFeatureType.status_request in feature


@remembered("staples")
def judge_staple(staple: bytes, name: str, leaf_der: bytes, issuer_der: bytes) -> Judged:
    """
    Return the judgement of the leaf by the response stapled to it. The item is called `name`.

    There is no item when the response has no next update: then it does not expire (RFC 6960 section 4.2.2.1).
    """
    try:
        answer = read_response(staple, leaf_der, issuer_der)
    except RevocationError as error:
        return Judged(
            None, (FoundFault(Fault.STAPLE_INVALID, f"The stapled OCSP response is no good: {error}."),)
        )
    if not answer.known:
        words = "The stapled OCSP response says that the issuer's responder does not know this certificate."
        return Judged(None, (FoundFault(Fault.STAPLE_INVALID, words),))
    return judge_answer(answer, name, "The stapled OCSP response")


def outdated(staple: Item | None, leaf_der: bytes, now: float) -> tuple[FoundFault, ...]:
    """
    Return the fault that a stapled response is out of date, where the leaf demands one: clients ignore such a
    response.

    Without that demand most clients accept it. Its end is reported by the item in any case.
    """
    if staple is None or now <= staple.not_after or not must_staple(leaf_der):
        return ()
    words = (
        "The stapled OCSP response is past its next update, and the certificate demands one that is not "
        "(must-staple)."
    )
    return (FoundFault(Fault.STAPLE_INVALID, words),)


def judge_answer(answer: OcspAnswer, name: str, source: str) -> Judged:
    """
    Return the item for an OCSP answer, and the fault when the certificate is revoked.
    """
    item = None
    if answer.next_update is not None:
        item = Item(name, Kind.OCSP, answer.this_update, answer.next_update)
    if answer.revoked_at is None:
        return Judged(item)
    return Judged(item, (revoked(source, answer.reason),))


def read_response(data: bytes, der: bytes, issuer_der: bytes) -> OcspAnswer:
    """
    Return the status of a certificate in an OCSP response (DER). Raises RevocationError, and nothing else.

    The response must be signed by the issuer, or by a responder that the issuer certified (RFC 6960 section
    4.2.2.2).
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _read_response(data, der, issuer_der)
    except RevocationError:
        raise
    except _UNREADABLE as error:
        raise RevocationError(f"it can't be read: {_words(error)}") from None


def unreadable_staple(staple: bytes) -> tuple[FoundFault, ...]:
    """
    Return the fault that a staple is no OCSP response at all, whoever should have signed it; else none.
    """
    try:
        load_response(staple)
    except CertificateError as error:
        words = f"The stapled OCSP response can't be read: {_words(error)}."
        return (FoundFault(Fault.STAPLE_INVALID, words),)
    return ()


def _read_response(data: bytes, der: bytes, issuer_der: bytes) -> OcspAnswer:
    read = load_response(data)
    if read.status:
        raise RevocationError(f"the responder answered {read.status}")
    fitting = [one for one in read.answers if _is_about(one, der, issuer_der)]
    if not fitting:
        raise RevocationError("it is about another certificate")
    _verify_response(read, issuer_der)
    # Of several the newest counts.
    return max(map(answered, fitting), key=lambda one: (one.this_update, one.revoked_at is not None))


def _is_about(answer: bytes, der: bytes, issuer_der: bytes) -> bool:
    """
    Return True when the answer is about this certificate of this issuer.
    """
    try:
        named = about(answer)
    except ValueError:
        return False
    algorithm = _HASHES.get(named.algorithm)
    if algorithm is None or named.serial != loaded(der).serial_number:
        return False
    return named.issuer_hashes == _issuer_hashes(der, issuer_der, algorithm)


_HASHES: dict[bytes, hashes.HashAlgorithm] = {
    bytes.fromhex("06052b0e03021a"): hashes.SHA1(),  # noqa: S303 - what most use; it proves nothing here
    bytes.fromhex("0609608648016503040204"): hashes.SHA224(),
    bytes.fromhex("0609608648016503040201"): hashes.SHA256(),
    bytes.fromhex("0609608648016503040202"): hashes.SHA384(),
    bytes.fromhex("0609608648016503040203"): hashes.SHA512(),
    bytes.fromhex("0609608648016503040208"): hashes.SHA3_256(),
    bytes.fromhex("0609608648016503040209"): hashes.SHA3_384(),
    bytes.fromhex("060960864801650304020a"): hashes.SHA3_512(),
}
"""Hashes by which a response may identify the certificate, by their object identifiers (DER)."""


def _issuer_hashes(der: bytes, issuer_der: bytes, algorithm: hashes.HashAlgorithm) -> tuple[bytes, bytes]:
    """
    Return the hashes of the issuer's name and key that identify a certificate in requests (RFC 6960 section
    4.1.1).

    The name is hashed as the certificate encodes it: a mended name has another hash.
    """
    name, _ = encoded_names(der)
    key = public_key_bits(issuer_der)
    return _hashed(name, algorithm), _hashed(key, algorithm)


def _hashed(data: bytes, algorithm: hashes.HashAlgorithm) -> bytes:
    made = hashes.Hash(algorithm)
    made.update(data)
    return made.finalize()


def _verify_response(read: SignedResponse, issuer_der: bytes) -> None:
    """
    Raise RevocationError when neither the issuer nor a responder of its own signed the response.
    """
    assert read.signature is not None
    made = read.signature
    for signer in (
        issuer_der,
        *(one for one in read.certificates[:SIGNERS] if _may_respond(one, issuer_der, read.produced_at)),
    ):
        try:
            key, padded = loaded(signer).public_key(), made.signature_algorithm_parameters
            _verify(key, made.signature, read.signed, made.signature_hash_algorithm, padded)
        except _UNREADABLE:
            continue
        return
    raise RevocationError("its signature is not that of the certificate's issuer, nor of a responder of its")


def _may_respond(signer_der: bytes, issuer_der: bytes, produced_at: float) -> bool:
    """
    Return True for a certificate of a delegated responder of this issuer that was valid when it signed.
    """
    try:
        signer = certificate(signer_der)
    except CertificateError:
        return False
    in_time = signer.not_before <= produced_at <= signer.not_after
    uses = signer.extended_key_usage or ()
    return in_time and _OCSP_SIGNING in uses and issued(signer_der, issuer_der)


def request(der: bytes, issuer_der: bytes) -> bytes:
    """
    Return the OCSP request for a certificate, DER (RFC 6960 section 4.1). Raises RevocationError.
    """
    try:
        # SHA-1: the one hash that every responder knows (RFC 5019 section 2.1.1). It proves nothing here.
        algorithm = hashes.SHA1()  # noqa: S303 - see above
        builder = ocsp.OCSPRequestBuilder().add_certificate_by_hash(
            *_issuer_hashes(der, issuer_der, algorithm), loaded(der).serial_number, algorithm
        )
        return builder.build().public_bytes(Encoding.DER)
    except _UNREADABLE as error:
        raise RevocationError(f"its serial number or issuer can't be asked for: {_words(error)}") from None
