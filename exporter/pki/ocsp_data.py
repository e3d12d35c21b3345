"""
OCSP responses (RFC 6960 section 4.2.1) from bytes. Pure.

Parsed here, since the library refuses a response as a whole for a date or a reason that is odd: then a
certificate would not count as revoked that is. It parses the signature only.

Every module that loads a response does it here, so that all see the same ones.
"""

from dataclasses import dataclass

from cryptography import x509

from exporter.pki.ber import ENUMERATED, SEQUENCE, content, elements, encode
from exporter.pki.certificates import UNREADABLE, CertificateError
from exporter.pki.times import SOME_TIME, read_time

_STATUSES = {
    0: "",
    1: "malformed_request",
    2: "internal_error",
    3: "try_later",
    5: "sig_required",
    6: "unauthorized",
}
"""RFC 6960 section 4.2.1."""


_REASONS = {
    0: "unspecified",
    1: "keyCompromise",
    2: "cACompromise",
    3: "affiliationChanged",
    4: "superseded",
    5: "cessationOfOperation",
    6: "certificateHold",
    8: "removeFromCRL",
    9: "privilegeWithdrawn",
    10: "aACompromise",
}
"""RFC 5280 section 5.3.1."""


_VERSION = 0xA0


_NEXT_UPDATE = 0xA0


_REASON = 0xA0


_GOOD, _REVOKED, _REVOKED_IN_PARTS, _UNKNOWN = 0x80, 0x81, 0xA1, 0x82
"""Tags of a status (RFC 6960 section 4.2.1)."""


@dataclass(frozen=True, slots=True)
class SignedResponse:
    """
    An OCSP response.
    """

    status: str
    """Why the responder gave no answer, in the words of RFC 6960; empty when it gave one."""
    signed: bytes = b""
    """The signed bytes (ResponseData); empty when the response is an error."""
    signature: x509.CertificateRevocationList | None = None
    """The signature and its algorithm, as those of a list; None when the response is an error."""
    certificates: tuple[bytes, ...] = ()
    """The certificates in it, DER."""
    produced_at: float = 0.0
    answers: tuple[bytes, ...] = ()
    """The answers as they are encoded, each about one certificate: see `about` and `answered`."""


@dataclass(frozen=True, slots=True)
class About:
    """
    The certificate that an answer is about (CertID, RFC 6960 section 4.1.1).
    """

    algorithm: bytes
    """The object identifier of the hash, DER."""
    issuer_hashes: tuple[bytes, bytes]
    """Of the issuer's name and key."""
    serial: int


@dataclass(frozen=True, slots=True)
class OcspAnswer:
    """
    The status of one certificate in an OCSP response.
    """

    this_update: float
    next_update: float | None
    """None: the responder has newer information at any time."""
    known: bool
    """False when the responder does not know the certificate (status `unknown`)."""
    revoked_at: float | None = None
    """None when it is not revoked."""
    reason: str = ""
    """Why it was revoked, as RFC 5280 section 5.3.1 names it; empty where the responder does not say."""


def load_response(der: bytes) -> SignedResponse:
    """
    Return an OCSP response. Raises CertificateError.
    """
    try:
        return _load_response(der)
    except UNREADABLE as error:
        raise CertificateError(str(error) or type(error).__name__) from None


def _load_response(der: bytes) -> SignedResponse:
    status, *rest = _parts(der, 1)
    if status[0] != ENUMERATED:
        raise ValueError("it does not begin with a status")
    number = int.from_bytes(content(status))
    if number not in _STATUSES:
        raise ValueError(f"it has status {number}, which is none")
    if number:
        return SignedResponse(_STATUSES[number])
    if not rest:
        raise ValueError("it says that it is an answer, and has none")
    _, octets, *_ = _parts(content(rest[0]), 2)
    signed, algorithm, signature, *certificates = _parts(content(octets), 3)
    fields = _parts(signed, 3)
    _, produced, answers, *_ = _parts(signed, 4)[1:] if fields[0][0] == _VERSION else fields
    return SignedResponse(
        "",
        signed,
        # The library reads an algorithm with its parameters in certificates and lists only.
        x509.load_der_x509_crl(
            encode(
                SEQUENCE,
                [encode(SEQUENCE, [algorithm, encode(SEQUENCE, []), SOME_TIME]), algorithm, signature],
            )
        ),
        tuple(elements(content(certificates[0]))) if certificates else (),
        read_time(produced, "time of production")[0],
        tuple(elements(answers)),
    )


def about(answer: bytes) -> About:
    """
    Return the certificate that an answer is about. Raises ValueError.
    """
    algorithm, name, key, serial, *_ = _parts(_parts(answer, 1)[0], 4)
    kind, *_ = _parts(algorithm, 1)
    hashes = content(name), content(key)
    return About(kind, hashes, int.from_bytes(content(serial), signed=True))


def answered(answer: bytes) -> OcspAnswer:
    """
    Return the status in an answer (SingleResponse, RFC 6960 section 4.2.1). Raises ValueError.

    Who is revoked is revoked whatever else is odd about it.
    """
    _, status, begin, *rest = _parts(answer, 3)
    this_update, _ = read_time(begin, "begin")
    end = next((content(it) for it in rest if it[0] == _NEXT_UPDATE), None)
    next_update = None if end is None else read_time(end, "next update")[0]
    if status[0] not in {_REVOKED, _REVOKED_IN_PARTS}:
        if status[0] not in {_GOOD, _UNKNOWN}:
            raise ValueError("it has a status that does not exist")
        return OcspAnswer(this_update, next_update, known=status[0] == _GOOD)
    try:
        moment, *why = _parts(status, 1)
        revoked_at, _ = read_time(moment, "time of revocation")
        number = int.from_bytes(content(content(why[0]))) if why and why[0][0] == _REASON else None
    except ValueError:
        revoked_at, number = this_update, None
    reason = "" if number is None else _REASONS.get(number, "")
    return OcspAnswer(this_update, next_update, known=True, revoked_at=revoked_at, reason=reason)


def _parts(encoding: bytes, least: int) -> list[bytes]:
    """
    Return the encodings inside one, which are so many at least. Raises ValueError.
    """
    found = elements(encoding)
    if len(found) < least:
        raise ValueError("it has too few parts")
    return found
