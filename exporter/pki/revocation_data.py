"""
Revocation lists from bytes: parsed by `cryptography`, and here where it can't. Pure.

As with certificates, where it refuses a part (the name of an issuer, a date), they are encoded again without
that part and parsed again. The signed bytes are always taken from the original.

Every module that loads a revocation list does it here, so that all see the same ones.
"""

import base64
import binascii
from dataclasses import dataclass

from cryptography import x509

from exporter.pki.ber import INTEGER, SEQUENCE, bounds, elements, encode
from exporter.pki.certificates import UNREADABLE, CertificateError
from exporter.pki.mended import bare, mended_name
from exporter.pki.times import SOME_TIME, TIMES, read_time

_VERSION_2 = bytes((INTEGER, 1, 1))


_PEM_BEGIN, _PEM_END = b"-----BEGIN X509 CRL-----", b"-----END X509 CRL-----"


@dataclass(frozen=True, slots=True)
class SignedList:
    """
    A revocation list, as parsed by `cryptography` and with the parts taken from the bytes.
    """

    loaded: x509.CertificateRevocationList
    """Issuer, extensions and entries. Its dates and its signed bytes may differ from the original; see
    below."""
    this_update: float
    next_update: float | None
    signed: bytes
    """The signed bytes (TBSCertList)."""
    irregular: str
    """The reason why strict clients refuse it, as in `Certificate`; empty when they do not."""


def load_list(der: bytes) -> SignedList:
    """
    Return a revocation list (RFC 5280 section 5.1). Raises CertificateError.
    """
    try:
        return _load_list(der)
    except UNREADABLE as error:
        raise CertificateError(str(error) or type(error).__name__) from None


def list_in_pem(data: bytes) -> bytes:
    """
    Return the first revocation list of a PEM file, DER. Raises CertificateError.
    """
    # Without regular expressions: no other thread runs while one is matched against 20 MB.
    block, ended, _ = data.partition(_PEM_BEGIN)[2].partition(_PEM_END)
    if not ended:
        raise CertificateError("there is no X509 CRL block in it")
    try:
        return base64.b64decode(b"".join(block.split()), validate=True)
    except binascii.Error as error:
        raise CertificateError(f"the PEM block is not base64: {error}") from None


def _load_list(der: bytes) -> SignedList:
    """
    Return a revocation list. Raises one of UNREADABLE.
    """
    signed, *_ = elements(der)
    times = _list_fields(signed)[3]
    if not times:
        raise ValueError("it does not say when it was made")
    moments = [read_time(it, what) for it, what in zip(times, ("begin", "next update"), strict=False)]
    return SignedList(
        _loaded_list(der),
        moments[0][0],
        moments[1][0] if moments[1:] else None,
        signed,
        "; ".join(odd for _, odd in moments if odd),
    )


def _loaded_list(der: bytes) -> x509.CertificateRevocationList:
    """
    Return the list as parsed by the library, its issuer readable. Raises one of UNREADABLE.
    """
    reason: Exception | None = None
    # What is odd is the issuer's name, most often. A list may have a million entries.
    for again in (bytes, _mended_list, _mended_list_and_entries):
        try:
            loaded = x509.load_der_x509_crl(again(der))
            _ = loaded.issuer
            return loaded  # noqa: TRY300 -- reading it is what may raise
        except UNREADABLE as error:
            reason = reason or error
    assert reason is not None
    raise reason


def _mended_list_and_entries(der: bytes) -> bytes:
    return _mended_list(der, entries=True)


def _mended_list(der: bytes, *, entries: bool = False) -> bytes:
    """
    Return the list encoded again: with a version that exists, the issuer's name as UTF-8, and arbitrary
    dates.

    With `entries` the dates of the entries are replaced too. Raises ValueError.
    """
    signed, algorithm, signature = elements(der)
    version, _, issuer, times, rest = _list_fields(signed)
    if entries:
        algorithm = bare(algorithm)
        rest = [_mended_entries(it) if it[0] == SEQUENCE else it for it in rest]
    tbs = [
        _VERSION_2 if version else b"",
        algorithm,
        mended_name(issuer),
        *([SOME_TIME] * len(times)),
        *rest,
    ]
    return encode(SEQUENCE, [encode(SEQUENCE, tbs), algorithm, signature])


def _mended_entries(entries: bytes) -> bytes:
    """
    Return the entries of a list, all with the same date. Raises ValueError.
    """
    # One after the other: a list of 20 MB may have millions.
    position, end, _ = bounds(entries, 0)
    found = bytearray()
    while position < end:
        _, _, following = bounds(entries, position)
        serial, _, *rest = elements(entries[position:following])
        found += encode(SEQUENCE, [serial, SOME_TIME, *rest])
        position = following
    return encode(SEQUENCE, [bytes(found)])


def _list_fields(signed: bytes) -> tuple[bytes, bytes, bytes, list[bytes], list[bytes]]:
    """
    Return version (empty when there is none), algorithm, issuer, the one or two dates, and the rest of a
    TBSCertList (RFC 5280 section 5.1.2). Raises ValueError.
    """
    fields = elements(signed)
    version = fields.pop(0) if fields and fields[0][0] == INTEGER else b""
    algorithm, issuer, *rest = fields
    count = next((at for at, it in enumerate(rest) if it[0] not in TIMES), len(rest))
    return version, algorithm, issuer, rest[:count], rest[count:]
