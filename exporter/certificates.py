"""
Certificates and revocation lists out of bytes: DER and PEM in, `Certificate` out. Pure.

Bytes come from servers nobody has checked, so every certificate whose dates can be
read gives its facts. `cryptography` reads all of them; where it refuses a part, the
certificate is encoded once more as DER wants it (`_as_der`), then without that part
(`_mended`), and read again. Dates are read here, since OpenSSL, Go and Java read more of
them than it does. Nothing here judges: a signature is never looked at.

All that loads a certificate or a revocation list does it here, so that all read the same ones.
"""

import base64
import binascii
import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from ipaddress import IPv4Address, IPv6Address
from threading import Lock
from typing import Any
from weakref import WeakValueDictionary

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.x509 import ocsp
from cryptography.x509.oid import NameOID

from exporter.observation import Certificate

# What `cryptography` raises for a part that it cannot read.
UNREADABLE = (
    ValueError,
    TypeError,
    KeyError,  # a name in a type of string that is none: version 46
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)

# Tags of X.690 section 8 and of RFC 5280 section 4.1 and 4.2.1.6.
_BOOLEAN = 0x01
_INTEGER = 0x02
_OCTET_STRING = 0x04
_UTF8_STRING = 0x0C
_UTC_TIME = 0x17
_GENERALIZED_TIME = 0x18
_UNIVERSAL_STRING = 0x1C
_BMP_STRING = 0x1E
_SEQUENCE = 0x30
_SET = 0x31
_CONSTRUCTED = 0x20
_TBS_VERSION = 0xA0
_TBS_EXTENSIONS = 0xA3
_DNS_NAME = 0x82
_IP_ADDRESS = 0x87
_EXCLUDED_SUBTREES = 0xA1

_STRINGS = frozenset({_OCTET_STRING, _UTF8_STRING, *range(0x12, 0x1F)})
"""Tags of strings and times, which BER may encode in several parts (X.690 section 8.21)."""

_DEPTH_LIMIT = 16
"""How deep the encodings of a certificate are nested at most; eight are usual."""

_COUNT_LIMIT = 10_000
"""Encodings that are written once more of one certificate; usual are some hundred."""

_VERSION_3 = bytes((_TBS_VERSION, 3, _INTEGER, 1, 2))
_VERSIONS = (b"", bytes((_TBS_VERSION, 3, _INTEGER, 1, 1)), _VERSION_3)
_RESPONDER_NAME = 0xA1
_NO_RESPONDER = bytes.fromhex("a2160414") + bytes(20)  # by key, and by none
_VERSION_2 = bytes((_INTEGER, 1, 1))
_SOME_TIME = bytes((_UTC_TIME, 13)) + b"500101000000Z"
_UNKNOWN_KEY = bytes.fromhex("3009300406026900030100")  # object identifier 2.25.0, no bits
_ENCODINGS = {_UTF8_STRING: "utf-8", _BMP_STRING: "utf-16-be", _UNIVERSAL_STRING: "utf-32-be"}

_SUBJECT_ALTERNATIVE_NAME = bytes.fromhex("0603551d11")
_NAME_CONSTRAINTS = bytes.fromhex("0603551d1e")
_EXTENDED_KEY_USAGE = bytes.fromhex("0603551d25")
_USED_EXTENSIONS = (
    _SUBJECT_ALTERNATIVE_NAME,
    bytes.fromhex("0603551d0f"),  # key usage
    bytes.fromhex("0603551d13"),  # basic constraints
    _EXTENDED_KEY_USAGE,
)
"""Encoded object identifiers of the extensions that `Certificate` tells of."""

_ALL = None
_NONE: tuple[bytes, ...] = ()

_KEY_USAGES = (
    ("digital_signature", "digitalSignature"),
    ("content_commitment", "nonRepudiation"),
    ("key_encipherment", "keyEncipherment"),
    ("data_encipherment", "dataEncipherment"),
    ("key_agreement", "keyAgreement"),
    ("key_cert_sign", "keyCertSign"),
    ("crl_sign", "cRLSign"),
)

# Hashes of signature algorithms that `cryptography` no longer knows (RFC 3279 section 2.2, OIW).
_OLD_SIGNATURE_HASHES = {
    "1.2.840.113549.1.1.2": "md2",
    "1.2.840.113549.1.1.3": "md4",
    "1.3.14.3.2.2": "md4",
    "1.3.14.3.2.3": "md5",
    "1.3.14.3.2.4": "md4",
    "1.3.14.3.2.15": "sha1",
    "1.3.14.3.2.27": "sha1",
    "1.3.14.3.2.29": "sha1",
}

# Times as RFC 5280 section 4.1.2.5 wants them, then as OpenSSL, Go, Java and devices read and write them.
# Seconds, a fraction and the offset from UTC may be there or not.
_STRICT_TIMES = {
    _UTC_TIME: re.compile(rb"\d{12}Z"),
    _GENERALIZED_TIME: re.compile(rb"\d{14}Z"),
}
_REST_OF_TIME = rb"(\d\d)(\d\d)(\d\d)(?:(\d\d)(?:(\d\d)(?:[.,]\d+)?)?)?(?:Z|([+-]\d\d)(\d\d)?)?"
_TIMES = {
    _UTC_TIME: re.compile(rb"(\d\d)" + _REST_OF_TIME),
    _GENERALIZED_TIME: re.compile(rb"(\d{4})" + _REST_OF_TIME),
}
_CALENDAR = 400
"""Years after which the calendar repeats itself."""
_CALENDAR_SECONDS = 146_097 * 86_400

# At the start of a line (of any system), or right after the END line of a file that lacks its last line feed.
_PEM_BEGIN = re.compile(
    rb"(?:^[ \t]*|(?<=\r)[ \t]*|(?<=-----))-----BEGIN (X509 |TRUSTED )?CERTIFICATE-----", re.MULTILINE
)
_PEM_END = re.compile(rb"-----END (?:X509 |TRUSTED )?CERTIFICATE-----")
_PEM_LIST = re.compile(rb"-----BEGIN X509 CRL-----([^-]*)-----END X509 CRL-----")

_SERVER_USES = frozenset({bytes.fromhex("06082b06010505070301"), bytes.fromhex("0604551d2500")})
"""Encoded object identifiers of server authentication and of any use (RFC 5280 section 4.2.1.12)."""
_REJECTED_USES = 0xA0

ISSUERS_REMEMBERED = 1000
"""Names of issuers that are kept as text."""

_issuers: dict[bytes, tuple[str, str]] = {}
_one_at_a_time = Lock()
_remembered: WeakValueDictionary[bytes, Certificate] = WeakValueDictionary()


class CertificateError(ValueError):
    """
    Bytes that are no certificate, or one whose dates cannot be read. The message says why, for a person.
    """


@dataclass(frozen=True, slots=True)
class SignedList:
    """
    A revocation list: what `cryptography` can tell of it, and what is read from the bytes themselves.
    """

    loaded: x509.CertificateRevocationList
    """Issuer, extensions and entries. Its dates and what it is signed over may be others; see below."""
    this_update: float
    next_update: float | None
    signed: bytes
    """What the signature is made over."""
    irregular: str
    """As in `Certificate`."""


@dataclass(frozen=True, slots=True)
class SignedResponse:
    """
    An OCSP response: what `cryptography` can tell of it, and what is read from the bytes themselves.
    """

    loaded: ocsp.OCSPResponse
    """Status and answers. Who responded, certificates and what it is signed over may be others; see below."""
    signed: bytes
    """What the signature is made over; empty when the responder refused to answer."""
    certificates: tuple[bytes, ...]
    """The certificates in it, DER."""


@dataclass(frozen=True, slots=True)
class NameConstraints:
    """
    For which names a CA may issue (RFC 5280 section 4.2.1.10), as far as OpenSSL does not judge it.
    """

    is_empty: bool
    """True when it neither permits nor excludes anything, which must not be."""
    excluded: tuple[str, ...]
    """DNS names in lower case. They and all below them are excluded, with a leading dot only those below."""


def certificate(der: bytes) -> Certificate:
    """
    The same as `parse_der`; the same bytes give the same object for as long as somebody holds it.
    """
    known = _remembered.get(der)
    if known is None:
        known = _remembered[der] = parse_der(der)
    return known


def parse_pem(data: bytes) -> tuple[Certificate | CertificateError, ...]:
    """
    Every CERTIFICATE block of a PEM file (RFC 7468) in order; empty when there is none.

    A block that cannot be read is an error value in its place and hides no other. Text
    around the blocks, and blocks of other things, are passed over. So it is with a TRUSTED
    CERTIFICATE, OpenSSL's own form, that says that it is not trusted for servers.
    """
    begins = list(_PEM_BEGIN.finditer(data))
    ends = [*(begin.start() for begin in begins[1:]), len(data)]
    # Without a block there is an end, but no begin.
    return tuple(
        _parse_block(data[begin.end() : end], begin[1]) for begin, end in zip(begins, ends, strict=False)
    )


def parse_der(der: bytes) -> Certificate:
    """
    The facts of one certificate. Raises CertificateError, and nothing else, for any bytes.

    A part that cannot be read is as `Certificate` says for unknown. An extension that cannot
    be read counts as absent, but an extended key usage as one that allows nothing; of two extensions
    of a kind the first counts, and a name that cannot be read at all is empty.
    """
    # Countries of three letters and serial numbers that are not positive make `cryptography` warn.
    # They are the issuer's matter, not that of whoever runs this. Filters are the whole process's:
    # two threads that set them at a time would leave them as they were inside.
    with _one_at_a_time, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return _facts(der)


def load(der: bytes) -> x509.Certificate:
    """
    The certificate as `cryptography` has it, its names readable. Raises CertificateError.

    Its dates and the encoding of its names may be others than in the bytes, so signatures over it and
    hashes of its names are made of the bytes: see `signed_part` and `encoded_names`.
    """
    with _one_at_a_time, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        loaded, readable, _ = _loaded(der)
        try:
            _ = loaded.subject, loaded.issuer
            return loaded  # noqa: TRY300 -- reading them is what may raise
        except UNREADABLE:
            pass
        try:
            return x509.load_der_x509_certificate(_mended(readable, _ALL))
        except UNREADABLE as error:
            raise CertificateError(f"the certificate cannot be read: {error}") from None


def load_list(der: bytes) -> SignedList:
    """
    A revocation list (RFC 5280 section 5.1). Raises CertificateError.
    """
    try:
        return _load_list(der)
    except UNREADABLE as error:
        raise CertificateError(str(error) or type(error).__name__) from None


def load_response(der: bytes) -> SignedResponse:
    """
    An OCSP response (RFC 6960 section 4.2.1). Raises CertificateError.
    """
    try:
        return _load_response(der)
    except UNREADABLE as error:
        raise CertificateError(str(error) or type(error).__name__) from None


def signed_part(der: bytes) -> bytes:
    """
    What the signature of a certificate is made over, as it is encoded. Raises ValueError.
    """
    signed, *_ = _elements(der)
    return signed


def encoded_names(der: bytes) -> tuple[bytes, bytes]:
    """
    The issuer and the subject of a certificate as they are encoded. Raises ValueError.
    """
    fields = _tbs_fields(der)
    return fields[3], fields[5]


def encoded_key(der: bytes) -> bytes:
    """
    The SubjectPublicKeyInfo of a certificate as it is encoded. Raises ValueError.
    """
    return _tbs_fields(der)[6]


def public_key_bits(der: bytes) -> bytes:
    """
    The public key of a certificate without its algorithm, of which hashes are made. Raises ValueError.
    """
    _, bits, *_ = _elements(encoded_key(der))
    # The first byte of a BIT STRING says how many bits of the last one do not count.
    return _content(bits)[1:]


def list_in_pem(data: bytes) -> bytes:
    """
    The first revocation list of a PEM file, DER. Raises CertificateError.
    """
    found = _PEM_LIST.search(data)
    if found is None:
        raise CertificateError("there is no X509 CRL block in it")
    try:
        return base64.b64decode(b"".join(found[1].split()), validate=True)
    except binascii.Error as error:
        raise CertificateError(f"the PEM block is not base64: {error}") from None


def name_constraints(der: bytes) -> NameConstraints | None:
    """
    The name constraints of a certificate; None when it has none that can be read.
    """
    if _NAME_CONSTRAINTS not in der:
        return None
    try:
        extension = _extension(_as_der(der), _NAME_CONSTRAINTS)
        if extension is None:
            return None
        trees = {part[0]: _elements(part) for part in _elements(_content(_elements(extension)[-1]))}
        bases = [_elements(tree)[0] for tree in trees.get(_EXCLUDED_SUBTREES, ())]
    except (ValueError, IndexError):
        return None
    names = (_content(base).decode("ascii", "replace").lower() for base in bases if base[0] == _DNS_NAME)
    return NameConstraints(not any(trees.values()), tuple(names))


def _load_list(der: bytes) -> SignedList:
    """
    A revocation list. Raises one of UNREADABLE.
    """
    signed, *_ = _elements(der)
    times = _list_fields(signed)[3]
    if not times:
        raise ValueError("it does not say when it was made")
    moments = [_moment(it, what) for it, what in zip(times, ("begin", "next update"), strict=False)]
    return SignedList(
        _loaded_list(der),
        moments[0][0],
        moments[1][0] if moments[1:] else None,
        signed,
        "; ".join(odd for _, odd in moments if odd),
    )


def _load_response(der: bytes) -> SignedResponse:
    """
    An OCSP response. Raises one of UNREADABLE.
    """
    status, *rest = _elements(der)
    if not rest:
        return SignedResponse(ocsp.load_der_ocsp_response(der), b"", ())
    kind, octets = _elements(_content(rest[0]))
    signed, algorithm, signature, *found = _elements(_content(octets))
    certificates = tuple(_elements(_content(found[0]))) if found else ()
    try:
        loaded = ocsp.load_der_ocsp_response(der)
    except UNREADABLE:
        # What is odd is the name of the responder, or a certificate, which is read by itself.
        tbs = [_NO_RESPONDER if it[0] == _RESPONDER_NAME else it for it in _elements(signed)]
        basic = _encode(_SEQUENCE, [_encode(_SEQUENCE, tbs), algorithm, signature])
        inner = _encode(_SEQUENCE, [kind, _encode(_OCTET_STRING, [basic])])
        loaded = ocsp.load_der_ocsp_response(_encode(_SEQUENCE, [status, _encode(rest[0][0], [inner])]))
    return SignedResponse(loaded, signed, certificates)


def _loaded_list(der: bytes) -> x509.CertificateRevocationList:
    """
    The list as the library sees it, its issuer readable. Raises one of UNREADABLE.
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
    The list encoded again: with a version that exists, the issuer's name as UTF-8, and any dates.

    With `entries` so are the dates of the entries. Raises ValueError.
    """
    signed, algorithm, signature = _elements(der)
    version, _, issuer, times, rest = _list_fields(signed)
    if entries:
        algorithm = _bare(algorithm)
        rest = [_mended_entries(it) if it[0] == _SEQUENCE else it for it in rest]
    tbs = [
        _VERSION_2 if version else b"",
        algorithm,
        _mended_name(issuer),
        *([_SOME_TIME] * len(times)),
        *rest,
    ]
    return _encode(_SEQUENCE, [_encode(_SEQUENCE, tbs), algorithm, signature])


def _mended_entries(entries: bytes) -> bytes:
    """
    The entries of a list, each as if of the same date. Raises ValueError.
    """
    parts = (_elements(entry) for entry in _elements(entries))
    return _encode(_SEQUENCE, [_encode(_SEQUENCE, [it[0], _SOME_TIME, *it[2:]]) for it in parts])


def _list_fields(signed: bytes) -> tuple[bytes, bytes, bytes, list[bytes], list[bytes]]:
    """
    Version (empty when there is none), algorithm, issuer, the one or two dates, and the rest of a
    TBSCertList (RFC 5280 section 5.1.2). Raises ValueError.
    """
    fields = _elements(signed)
    version = fields.pop(0) if fields and fields[0][0] == _INTEGER else b""
    algorithm, issuer, *rest = fields
    count = next((at for at, it in enumerate(rest) if it[0] not in _TIMES), len(rest))
    return version, algorithm, issuer, rest[:count], rest[count:]


def _parse_block(block: bytes, label: bytes | None) -> Certificate | CertificateError:
    """
    The certificate in what follows a BEGIN line, or the error that it gives. The label is `TRUSTED` for one.
    """
    end = _PEM_END.search(block)
    if end is None:
        return CertificateError("the PEM block has no END line: the file is cut off or damaged")
    # Lines with a colon are headers of the older format (RFC 1421 section 4.4).
    lines = (line for line in block[: end.start()].splitlines() if b":" not in line)
    try:
        der = base64.b64decode(b"".join(b"".join(lines).split()), validate=True)
        return certificate(der) if label != b"TRUSTED " else _trusted(der)
    except binascii.Error as error:
        return CertificateError(f"the PEM block is not base64: {error}")
    except CertificateError as error:
        return error


def _trusted(der: bytes) -> Certificate:
    """
    The certificate of a TRUSTED CERTIFICATE block. Raises CertificateError.

    Behind it stands what its owner trusts it for and what not (X509_CERT_AUX, openssl-x509(1) `-addtrust`,
    `-addreject`), which counts for clients of servers as it does for OpenSSL's. Its alias does not matter.
    """
    try:
        _, _, end = _bounds(der, 0)
        parts = _elements(der[end:]) if der[end:] else []
    except ValueError as error:
        raise CertificateError(f"what stands behind the certificate cannot be read: {error}") from None
    for part in parts:
        if part[0] not in {_SEQUENCE, _REJECTED_USES}:
            continue
        if _SERVER_USES.isdisjoint(_elements(part)) == (part[0] == _SEQUENCE):
            raise CertificateError(
                "the block says that it is not trusted for servers (`openssl x509 -addtrust`, `-addreject`)"
            )
    return certificate(der[:end])


def _facts(der: bytes) -> Certificate:
    """
    The facts of one certificate. Raises CertificateError.
    """
    loaded, readable, plain = _loaded(der)
    try:
        serial = format(loaded.serial_number, "x")
        encoded = _tbs_fields(plain)
        begin, end = _elements(encoded[4])
        not_before, odd_begin = _moment(begin, "begin")
        not_after, odd_end = _moment(end, "end")
    except UNREADABLE as error:
        raise CertificateError(f"the certificate cannot be read: {error}") from None
    oddities = [odd_begin, odd_end]
    if readable is not der:
        oddities += _oddities(der, plain, encoded)
    subject = _subject(loaded, readable)
    issuer, organization = _issuer(loaded, readable, encoded[3])
    key_algorithm, key_bits = _key(loaded)
    extensions = _extensions(loaded, readable)
    alternative = extensions.get(x509.SubjectAlternativeName)
    constraints = extensions.get(x509.BasicConstraints)
    key_usage = extensions.get(x509.KeyUsage)
    purposes = extensions.get(x509.ExtendedKeyUsage)
    return Certificate(
        fingerprint_sha256=sha256(der).hexdigest(),
        der=der,
        subject=subject.rfc4514_string(),
        issuer=issuer,
        issuer_organization=organization,
        common_name=_last(subject, NameOID.COMMON_NAME),
        serial=serial,
        not_before=not_before,
        not_after=not_after,
        key_algorithm=key_algorithm,
        key_bits=key_bits,
        signature_hash=_signature_hash(loaded),
        dns_names=tuple(alternative.get_values_for_type(x509.DNSName)) if alternative else (),
        ip_addresses=_ip_addresses(alternative) if alternative else (),
        is_ca=constraints is not None and constraints.ca,
        key_usage=None if key_usage is None else _key_usage(key_usage),
        extended_key_usage=(
            None if purposes is None else _shared(frozenset(oid.dotted_string for oid in purposes))
        ),
        public_key_sha256=sha256(encoded[6]).hexdigest(),
        irregular="; ".join(odd for odd in oddities if odd),
    )


def _loaded(der: bytes) -> tuple[x509.Certificate, bytes, bytes]:
    """
    The certificate as the library sees it, the encoding that it could read, and the certificate in DER.

    The same bytes where nothing had to be mended. Raises CertificateError.
    """
    try:
        return x509.load_der_x509_certificate(der), der, der
    except UNREADABLE as error:
        reason = error
    try:
        plain = _as_der(der)
    except ValueError:
        raise CertificateError(f"the bytes are not a certificate: {reason}") from None
    if plain != der:
        try:
            return x509.load_der_x509_certificate(plain), plain, plain
        except UNREADABLE:
            pass
    for level in range(4):
        try:
            mended = _mended(
                plain, _NONE if level == 3 else _ALL, bare_signature=level >= 1, unknown_key=level >= 2
            )
            return x509.load_der_x509_certificate(mended), mended, plain
        except UNREADABLE:
            continue
    raise CertificateError(f"the bytes are not a certificate: {reason}")


def _oddities(der: bytes, plain: bytes, fields: list[bytes]) -> list[str]:
    """
    What strict clients refuse in a certificate that was mended, besides its dates: see `Certificate`.
    """
    _, _, end = _bounds(der, 0)
    found = []
    if end < len(der):
        found.append(f"{len(der) - end} bytes follow it")
    if plain != der[:end]:
        found.append(
            "it is not DER (the parts of a name are out of order, or lengths, numbers or strings are in a "
            "form that DER forbids)"
        )
    has_extensions = any(field[0] == _TBS_EXTENSIONS for field in fields[7:])
    if fields[0] not in _VERSIONS or (has_extensions and fields[0] != _VERSION_3):
        found.append("its version is not 3, and the rest of it is")
    return found


def _moment(time: bytes, what: str) -> tuple[float, str]:
    """
    Seconds since the epoch of a UTCTime or GeneralizedTime, and why strict clients refuse it, in words.

    What stands behind a whole second is left out, and a time of no zone is taken for UTC. Raises ValueError.
    """
    tag, content = time[0], _content(time)
    if tag not in _TIMES:
        raise ValueError(f"its {what} is no date")
    shown = content[:30].decode("ascii", "replace")
    found = _TIMES[tag].fullmatch(content)
    if found is None:
        raise ValueError(f"its {what} {shown!r} is no date")
    year, month, day, hour, minute, second, hours, minutes = (int(part or 0) for part in found.groups())
    if tag == _UTC_TIME:
        year += 2000 if year < 50 else 1900
    # The calendar of the library begins with the year 1.
    shift = _CALENDAR if year == 0 else 0
    try:
        whole = datetime(year + shift, month, day, hour, minute, second, tzinfo=UTC).timestamp()
    except ValueError as error:
        raise ValueError(f"its {what} {shown!r} is no date: {error}") from None
    offset = hours * 3600 + (-minutes if found[7] and found[7].startswith(b"-") else minutes) * 60
    moment = whole - offset - (_CALENDAR_SECONDS if shift else 0)
    if _STRICT_TIMES[tag].fullmatch(content) is None:
        form = "YYMMDDhhmmssZ" if tag == _UTC_TIME else "YYYYMMDDhhmmssZ"
        return moment, f"its {what} {shown} is not of the form {form}"
    return moment, f"its {what} is in the year 0" if shift else ""


def _subject(loaded: x509.Certificate, der: bytes) -> x509.Name:
    """
    Whom the certificate is about.
    """
    try:
        return loaded.subject
    except UNREADABLE:
        pass
    try:
        return x509.load_der_x509_certificate(_mended(der, _NONE)).subject
    except UNREADABLE:
        return x509.Name([])


def _issuer(loaded: x509.Certificate, der: bytes, encoded: bytes) -> tuple[str, str]:
    """
    Who issued it, as in `Certificate`: the name, and the organization. Remembered, since few issue many.
    """
    known = _issuers.get(encoded)
    if known is not None:
        return known
    try:
        name = loaded.issuer
    except UNREADABLE:
        try:
            name = x509.load_der_x509_certificate(_mended(der, _NONE)).issuer
        except UNREADABLE:
            name = x509.Name([])
    text = name.rfc4514_string()
    if len(_issuers) >= ISSUERS_REMEMBERED:
        _issuers.clear()
    known = _issuers[encoded] = (text, _last(name, NameOID.ORGANIZATION_NAME) or text)
    return known


def _last(name: x509.Name, oid: x509.ObjectIdentifier) -> str:
    """
    The most specific part of that kind, which is the one encoded last; empty when there is none.
    """
    found = name.get_attributes_for_oid(oid)
    value = found[-1].value if found else ""
    return value if isinstance(value, str) else value.decode("utf-8", "replace")


def _key(loaded: x509.Certificate) -> tuple[str, int | None]:
    """
    Algorithm and size of the public key, as in `Certificate`.
    """
    try:
        key = loaded.public_key()
    except UNREADABLE:
        return "unknown", None
    match key:
        case rsa.RSAPublicKey():
            return "rsa", key.key_size
        case ec.EllipticCurvePublicKey():
            return "ecdsa", key.curve.key_size
        case ed25519.Ed25519PublicKey():
            return "ed25519", 256
        case ed448.Ed448PublicKey():
            return "ed448", 456
        case dsa.DSAPublicKey():
            return "dsa", key.key_size
        case _:
            return "unknown", None


def _signature_hash(loaded: x509.Certificate) -> str:
    """
    Name of the hash in the signature algorithm, as in `Certificate`.
    """
    try:
        algorithm = loaded.signature_hash_algorithm
    except UNREADABLE:
        return _OLD_SIGNATURE_HASHES.get(loaded.signature_algorithm_oid.dotted_string, "unknown")
    return "none" if algorithm is None else algorithm.name


def _extensions(loaded: x509.Certificate, der: bytes) -> dict[type[x509.ExtensionType], Any]:
    """
    The first of each kind of the extensions that can be read.
    """
    found: dict[type[x509.ExtensionType], Any] = {}
    try:
        for extension in loaded.extensions:
            found.setdefault(type(extension.value), extension.value)
        return found  # noqa: TRY300 -- reading them is what may raise
    except UNREADABLE:
        found.clear()
    # One that cannot be read spoils all others, so each is read from a certificate of its own.
    for oid in _USED_EXTENSIONS:
        try:
            for extension in x509.load_der_x509_certificate(_mended(der, (oid,))).extensions:
                found.setdefault(type(extension.value), extension.value)
        except UNREADABLE:
            if oid == _EXTENDED_KEY_USAGE:
                # It is there, so it limits the use: OpenSSL and others allow none when it is empty.
                found[x509.ExtendedKeyUsage] = ()
    return found


def _ip_addresses(alternative: x509.SubjectAlternativeName) -> tuple[str, ...]:
    """
    The addresses among the names. A network, which the library reads from eight bytes, is none.
    """
    values = alternative.get_values_for_type(x509.IPAddress)
    return tuple(str(value) for value in values if isinstance(value, (IPv4Address, IPv6Address)))


def _key_usage(usage: x509.KeyUsage) -> frozenset[str]:
    """
    Names of the uses that are set (RFC 5280 section 4.2.1.3).
    """
    names = {name for attribute, name in _KEY_USAGES if getattr(usage, attribute)}
    # The last two mean nothing without key agreement, and the library raises when asked.
    if usage.key_agreement and usage.encipher_only:
        names.add("encipherOnly")
    if usage.key_agreement and usage.decipher_only:
        names.add("decipherOnly")
    return _shared(frozenset(names))


@lru_cache(maxsize=256)
def _shared(words: frozenset[str]) -> frozenset[str]:
    """
    The same words as one object: thousands of certificates say the same few things.
    """
    return words


def _mended(
    der: bytes,
    extensions: tuple[bytes, ...] | None,
    *,
    bare_signature: bool = False,
    unknown_key: bool = False,
) -> bytes:
    """
    The certificate encoded again: as version 3, names as UTF-8, with the first extension of each kind named,
    and with any dates. It is given in DER.

    `extensions` are encoded object identifiers; None keeps all extensions as they are. A bare signature
    is one whose algorithm has no parameters; an unknown key is of an algorithm that nobody has.
    The signature no longer fits, and nobody looks at it. Raises ValueError for what is no certificate.
    """
    _, algorithm, signature = _elements(der)
    _, serial, _, issuer, _, subject, key, *optional = _tbs_fields(der)
    validity = _encode(_SEQUENCE, [_SOME_TIME, _SOME_TIME])
    if bare_signature:
        algorithm = _bare(algorithm)
    if unknown_key:
        key = _UNKNOWN_KEY
    tbs = [_VERSION_3, serial, algorithm, _mended_name(issuer), validity, _mended_name(subject), key]
    present = next((field for field in optional if field[0] == _TBS_EXTENSIONS), None)
    if present is not None and extensions is None:
        tbs.append(present)
    elif present is not None:
        kept = [found for oid in extensions or () if (found := _mended_extension(present, oid)) is not None]
        if kept:
            tbs.append(_encode(_TBS_EXTENSIONS, [_encode(_SEQUENCE, kept)]))
    return _encode(_SEQUENCE, [_encode(_SEQUENCE, tbs), algorithm, signature])


def _bare(algorithm: bytes) -> bytes:
    """
    The algorithm without parameters: some issuers give it such as it must not have. Raises ValueError.
    """
    return _encode(_SEQUENCE, _elements(algorithm)[:1])


def _tbs_fields(der: bytes) -> list[bytes]:
    """
    The encoded fields of a TBSCertificate (RFC 5280 section 4.1), version first. Raises ValueError.
    """
    outer = _elements(der)
    fields = _elements(outer[0]) if outer else []
    if fields and fields[0][0] != _TBS_VERSION:
        fields.insert(0, b"")  # version 1 is not encoded
    if len(fields) < 7:
        raise ValueError("it has too few fields")
    return fields


def _mended_name(name: bytes) -> bytes:
    """
    The name with every value as readable UTF-8, bytes of no character as U+FFFD. Raises ValueError.
    """
    parts = [[_mended_attribute(attribute) for attribute in _elements(part)] for part in _elements(name)]
    return _encode(_SEQUENCE, [_encode(_SET, sorted(part)) for part in parts])


def _mended_attribute(attribute: bytes) -> bytes:
    """
    The type and value of a part of a name, the value as readable UTF-8. Raises ValueError.
    """
    oid, value = _elements(attribute)  # any other number is a ValueError, too
    # Strings of the other tags are ASCII, or Latin-1 by custom.
    text = _content(value).decode(_ENCODINGS.get(value[0], "latin-1"), "replace")
    return _encode(_SEQUENCE, [oid, _encode(_UTF8_STRING, [text.encode()])])


def _mended_extension(present: bytes, oid: bytes) -> bytes | None:
    """
    The first of the extensions with that encoded object identifier; None when there is none.

    A subject alternative name keeps only the names that can be read, and what is inside of the others is
    encoded again as DER. Raises ValueError.
    """
    extension = next((one for one in _elements(_content(present)) if _elements(one)[:1] == [oid]), None)
    if extension is None:
        return None
    value = _content(_elements(extension)[-1])
    if oid == _SUBJECT_ALTERNATIVE_NAME:
        inside = _encode(_SEQUENCE, [name for name in _elements(value) if _usable_name(name)])
    else:
        inside = _as_der(value)
    return _encode(_SEQUENCE, [oid, _encode(_OCTET_STRING, [inside])])


def _extension(der: bytes, oid: bytes) -> bytes | None:
    """
    The first extension of a certificate in DER with that encoded object identifier. Raises ValueError.
    """
    for field in _tbs_fields(der)[7:]:
        for extension in _elements(_content(field)) if field[0] == _TBS_EXTENSIONS else ():
            if _elements(extension)[:1] == [oid]:
                return extension
    return None


def _usable_name(name: bytes) -> bool:
    """
    True for a DNS name in ASCII and for an address of either kind. Raises ValueError.
    """
    content = _content(name)
    return content.isascii() if name[0] == _DNS_NAME else name[0] == _IP_ADDRESS and len(content) in {4, 16}


def _as_der(ber: bytes) -> bytes:
    """
    The first encoding in BER once more, in DER as far as certificates need it (X.690 sections 10 and 11).

    Lengths are definite and short, strings are in one part, sets in order, numbers short, and true is 0xFF.
    Raises ValueError.
    """
    return _Again(ber).encoding(0, len(ber), _DEPTH_LIMIT)[0]


class _Again:
    """
    Writes an encoding once more.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._left = _COUNT_LIMIT

    def encoding(self, position: int, limit: int, depth: int) -> tuple[bytes, int]:
        """
        The encoding at that position in DER, and where the next one begins. Raises ValueError.
        """
        self._left -= 1
        if not self._left or not depth:
            raise ValueError("it has too many parts, or parts that are nested too deep")
        data = self._data
        tag = data[position] if position < limit else 0
        start, end = _header(data, position, limit)
        if not tag & _CONSTRUCTED:
            if end is None:
                raise ValueError("an encoding has a length that nothing ends")
            return _encode(tag, [_plain(tag, data[start:end])]), end
        parts = []
        position = start
        while position < end if end is not None else data[position : position + 2] != b"\0\0":
            part, position = self.encoding(position, limit if end is None else end, depth - 1)
            parts.append(part)
        following = position if end is not None else position + 2
        if tag ^ _CONSTRUCTED in _STRINGS:
            return _encode(tag ^ _CONSTRUCTED, [_content(part) for part in parts]), following
        return _encode(tag, sorted(parts) if tag == _SET else parts), following


def _plain(tag: int, content: bytes) -> bytes:
    """
    The content of a primitive encoding as DER has it.
    """
    if tag == _BOOLEAN and any(content):
        return b"\xff"
    if tag == _INTEGER:
        number = int.from_bytes(content, signed=True)
        return number.to_bytes((number + (number < 0)).bit_length() // 8 + 1, signed=True)
    return content


def _content(encoding: bytes) -> bytes:
    """
    What is inside the first encoding. Raises ValueError.
    """
    start, end, _ = _bounds(encoding, 0)
    return encoding[start:end]


def _elements(encoding: bytes) -> list[bytes]:
    """
    The encodings inside a constructed encoding (X.690 section 8.1). Raises ValueError.
    """
    position, end, _ = _bounds(encoding, 0)
    found = []
    while position < end:
        _, _, following = _bounds(encoding, position)
        found.append(encoding[position:following])
        position = following
    return found


def _bounds(data: bytes, position: int) -> tuple[int, int, int]:
    """
    Where the content of the encoding at that position begins and ends, and what follows it begins.

    Raises ValueError.
    """
    start, end = _header(data, position, len(data))
    if end is not None:
        return start, end, end
    # Counted, not nested: who sends this may nest it as deep as he likes.
    open_ones, position = 1, start
    while True:
        if data[position : position + 2] == b"\0\0":
            position += 2
            open_ones -= 1
            if not open_ones:
                return start, position - 2, position
            continue
        inside, after = _header(data, position, len(data))
        open_ones += after is None
        position = inside if after is None else after


def _header(data: bytes, position: int, limit: int) -> tuple[int, int | None]:
    """
    Where the content of the encoding at that position begins, and where it ends. Raises ValueError.

    None stands for the indefinite form, which two zero bytes end (X.690 section 8.1.3.6).
    """
    header = data[position : min(position + 2, limit)]
    if len(header) < 2 or header[0] & 0x1F == 0x1F:
        raise ValueError("an encoding is cut off or has a tag that certificates do not have")
    start, length = position + 2, header[1]
    if length == 0x80 and header[0] & _CONSTRUCTED:
        return start, None
    if length & 0x80:
        size = length & 0x7F
        if not 1 <= size <= 4:
            raise ValueError("an encoding has a length that certificates do not have")
        length = int.from_bytes(data[start : start + size])
        start += size
    if start + length > limit:
        raise ValueError("an encoding is cut off")
    return start, start + length


def _encode(tag: int, parts: Iterable[bytes]) -> bytes:
    """
    The parts inside an encoding of that tag.
    """
    content = b"".join(parts)
    length = len(content)
    if length < 0x80:
        return bytes((tag, length)) + content
    size = length.to_bytes((length.bit_length() + 7) // 8)
    return bytes((tag, 0x80 | len(size))) + size + content
