"""
Certificates from bytes: DER and PEM in, `Certificate` out. Pure.

Bytes come from untrusted servers, so every certificate whose dates can be read gives its facts.
`cryptography` parses all of them; where it refuses a part, the certificate is encoded again as strict DER
(`ber`), then without that part (`_mended`), and parsed again. Its dates are parsed here, since OpenSSL, Go
and Java accept more forms than `cryptography`. Signatures are not verified here.

Every module that loads a certificate does it here, so that all see the same ones.
"""

import base64
import binascii
import re
import warnings
from hashlib import sha256
from ipaddress import IPv4Address, IPv6Address
from typing import Any, Literal
from weakref import WeakValueDictionary

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.x509.oid import NameOID

from exporter.model.caches import Cache, remembered, size
from exporter.model.foreign_text import printable
from exporter.model.observation import Certificate
from exporter.pki import oddities
from exporter.pki.ber import SEQUENCE, as_der, bounds, elements
from exporter.pki.fields import encoded_names, fields_of
from exporter.pki.mended import _SUBJECT_ALTERNATIVE_NAME, NAME_LIMIT, _mended, only_with
from exporter.pki.times import read_time

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


_EXTENDED_KEY_USAGE = bytes.fromhex("0603551d25")


_USED_EXTENSIONS = (
    _SUBJECT_ALTERNATIVE_NAME,
    bytes.fromhex("0603551d0f"),  # key usage
    bytes.fromhex("0603551d13"),  # basic constraints
    _EXTENDED_KEY_USAGE,
)
"""Encoded object identifiers of the extensions that `Certificate` reports."""


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


# At the start of a line (of any system), or right after the END line of a file that lacks its last line feed.
_PEM_BEGIN = re.compile(
    rb"(?:^[ \t]*|(?<=\r)[ \t]*|(?<=-----))-----BEGIN (X509 |TRUSTED )?CERTIFICATE-----", re.MULTILINE
)


_PEM_END = re.compile(rb"-----END (?:X509 |TRUSTED )?CERTIFICATE-----")


_SERVER_USES = frozenset({bytes.fromhex("06082b06010505070301"), bytes.fromhex("0604551d2500")})
"""Encoded object identifiers of server authentication and of any use (RFC 5280 section 4.2.1.12)."""


_REJECTED_USES = 0xA0


_issuers: Cache[tuple[str, str, bool]] = Cache("parsed")


# Countries of three letters and serial numbers that are not positive make `cryptography` warn. They are the
# issuer's matter, not that of whoever runs this. Once for all: to change the filters, which are the whole
# process's, and to restore them took a fifteenth of the time of each certificate.
warnings.filterwarnings("ignore", category=UserWarning, module=r"exporter\.pki\.(certificates|mended)\Z")


_remembered: WeakValueDictionary[bytes, Certificate] = WeakValueDictionary()


class CertificateError(ValueError):
    """
    Bytes that are no certificate, or one whose dates can't be read. The message says why, for a person.
    """


def certificate(der: bytes) -> Certificate:
    """
    Return the facts of one certificate (DER). Raises CertificateError, and nothing else, for any bytes.

    The same bytes give the same object as long as it is in use elsewhere.
    """
    known = _remembered.get(der)
    if known is None:
        known = _remembered[der] = parse_der(der)
    return known


def parse_pem(data: bytes) -> tuple[Certificate | CertificateError, ...]:
    """
    Return every CERTIFICATE block of a PEM file (RFC 7468) in order; empty when there is none.

    A block that can't be read is an error value in its place and hides no other. Text around the blocks, and
    blocks of other types, are skipped. So is a TRUSTED CERTIFICATE, OpenSSL's own form, that is not trusted
    for servers.
    """
    begins = list(_PEM_BEGIN.finditer(data))
    ends = [*(begin.start() for begin in begins[1:]), len(data)]
    # Without a block there is an end, but no begin.
    return tuple(
        _parse_block(data[begin.end() : end], begin[1]) for begin, end in zip(begins, ends, strict=False)
    )


def parse_der(der: bytes) -> Certificate:
    """
    Return the facts of one certificate. Raises CertificateError, and nothing else, for any bytes.

    A part that can't be read is unknown, as documented at `Certificate`. An extension that can't be read
    counts as absent, but an extended key usage as one that allows nothing; of two extensions of a kind the
    first counts, and a name that can't be read at all is empty.
    """
    loaded, readable, plain = _loaded(der)
    try:
        serial = format(loaded.serial_number, "x")
        parts = elements(plain)
        encoded = fields_of(parts)
        begin, end = elements(encoded[4])
        not_before, odd_begin = read_time(begin, "begin")
        not_after, odd_end = read_time(end, "end")
    except UNREADABLE as error:
        raise CertificateError(f"the certificate cannot be read: {error}") from None
    subject, is_read = _name(loaded, readable, encoded[5], "subject")
    issuer, organization, issuer_is_read = _issuer(
        loaded, readable, encoded[3], is_mended=readable is not der
    )
    key_algorithm, key_bits = _key(loaded)
    extensions, odd_extensions = _extensions(loaded, readable)
    found = [
        odd_begin,
        odd_end,
        oddities.of_version(encoded),
        odd_extensions,
        oddities.of_algorithms(parts, encoded),
    ]
    if serial.startswith("-"):
        found.append("its serial number is negative (Go refuses that)")
    if readable != der:
        found += oddities.of_encoding(der, plain)
    odd = "; ".join(filter(None, found))
    if not (odd or (readable == der and is_read and issuer_is_read)):
        odd = oddities.of_openssl(der)
    alternative = extensions.get(x509.SubjectAlternativeName)
    constraints = extensions.get(x509.BasicConstraints)
    key_usage = extensions.get(x509.KeyUsage)
    purposes = extensions.get(x509.ExtendedKeyUsage)
    dns_names: tuple[str, ...] = ()
    if alternative is not None:
        dns_names = tuple(map(printable, alternative.get_values_for_type(x509.DNSName)))
    common_name = _last(subject, NameOID.COMMON_NAME)
    if dns_names[:1] == (common_name,):
        # Nearly always: then it is kept once.
        common_name = dns_names[0]
    return Certificate(
        fingerprint_sha256=sha256(der).hexdigest(),
        der=der,
        subject=printable(subject.rfc4514_string()),
        issuer=issuer,
        issuer_organization=organization,
        common_name=common_name,
        serial=serial,
        not_before=not_before,
        not_after=not_after,
        key_algorithm=key_algorithm,
        key_bits=key_bits,
        signature_hash=_signature_hash(loaded),
        dns_names=dns_names,
        ip_addresses=_ip_addresses(alternative) if alternative is not None else (),
        is_ca=constraints is not None and constraints.ca,
        key_usage=None if key_usage is None else _key_usage(key_usage),
        extended_key_usage=(
            None if purposes is None else _shared(frozenset(oid.dotted_string for oid in purposes))
        ),
        public_key_sha256=sha256(encoded[6]).hexdigest(),
        irregular=odd,
    )


def load(der: bytes) -> x509.Certificate:
    """
    Return the certificate of `cryptography`, its names readable. Raises CertificateError.

    Its dates and the encoding of its names may differ from the bytes, so signatures over it and hashes of its
    names are computed from the bytes: see `fields`.
    """
    loaded, readable, _ = _loaded(der)
    try:
        if max(map(len, encoded_names(readable))) <= NAME_LIMIT:
            _ = loaded.subject, loaded.issuer
            return loaded
    except UNREADABLE:
        pass
    try:
        return x509.load_der_x509_certificate(_mended(readable, _ALL))
    except UNREADABLE as error:
        raise CertificateError(f"the certificate cannot be read: {error}") from None


def _parse_block(block: bytes, label: bytes | None) -> Certificate | CertificateError:
    """
    Return the certificate in the text after a BEGIN line, or the error. The label is `TRUSTED` for a TRUSTED
    CERTIFICATE.
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
    Return the certificate of a TRUSTED CERTIFICATE block. Raises CertificateError.

    After it come the purposes for which its owner trusts or rejects it (X509_CERT_AUX, openssl-x509(1)
    `-addtrust`, `-addreject`), which count here as for clients with OpenSSL. Its alias does not matter.
    """
    try:
        _, _, end = bounds(der, 0)
        parts = elements(der[end:]) if der[end:] else []
        uses = [(part[0], elements(part)) for part in parts if part[0] in {SEQUENCE, _REJECTED_USES}]
    except ValueError as error:
        raise CertificateError(f"what stands behind the certificate cannot be read: {error}") from None
    for kind, named in uses:
        # Of those it is trusted for, servers must be one; of the rejected ones they must not.
        if _SERVER_USES.isdisjoint(named) == (kind == SEQUENCE):
            raise CertificateError(
                "the block says that it is not trusted for servers (`openssl x509 -addtrust`, `-addreject`)"
            )
    return certificate(der[:end])


def _loaded(der: bytes) -> tuple[x509.Certificate, bytes, bytes]:
    """
    Return the parsed certificate, the encoding that could be parsed, and the certificate in DER.

    The latter two are the same bytes unless the certificate was mended. Raises CertificateError.
    """
    try:
        return x509.load_der_x509_certificate(der), der, der
    except UNREADABLE as error:
        reason = error
    try:
        plain = as_der(der)
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


def _name(
    loaded: x509.Certificate, der: bytes, encoded: bytes, whose: Literal["subject", "issuer"]
) -> tuple[x509.Name, bool]:
    """
    Return the name of the subject or the issuer, and True when the library could read it as it is.

    The name is empty when it can't be read at all. One that is too long is not read (see `mended_name`).
    """
    is_long = len(encoded) > NAME_LIMIT
    try:
        if not is_long:
            return getattr(loaded, whose), True
    except UNREADABLE:
        pass
    try:
        return getattr(x509.load_der_x509_certificate(_mended(der, _NONE)), whose), is_long
    except UNREADABLE:
        return x509.Name([]), False


def _issuer(
    loaded: x509.Certificate, der: bytes, encoded: bytes, *, is_mended: bool
) -> tuple[str, str, bool]:
    """
    Return the issuer's name and organization, as in `Certificate`, and True when the library is known to read
    the name as it is, which a mended certificate does not show. Cached, since there are few issuers.
    """
    known = _issuers.get(encoded)
    if known is not None:
        return known
    name, is_read = _name(loaded, der, encoded, "issuer")
    text = printable(name.rfc4514_string())
    known = (text, _last(name, NameOID.ORGANIZATION_NAME) or text, is_read and not is_mended)
    _issuers.put(encoded, known, size(encoded, known))
    return known


def _last(name: x509.Name, oid: x509.ObjectIdentifier) -> str:
    """
    Return the most specific attribute of that type, which is encoded last; empty when there is none.
    """
    found = name.get_attributes_for_oid(oid)
    value = found[-1].value if found else ""
    return printable(value if isinstance(value, str) else value.decode("utf-8", "replace"))


def _key(loaded: x509.Certificate) -> tuple[str, int | None]:
    """
    Return algorithm and size in bits of the public key, as in `Certificate`.
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
    Return name of the hash in the signature algorithm, as in `Certificate`.
    """
    try:
        algorithm = loaded.signature_hash_algorithm
    except UNREADABLE:
        return _OLD_SIGNATURE_HASHES.get(loaded.signature_algorithm_oid.dotted_string, "unknown")
    return "none" if algorithm is None else algorithm.name


def _extensions(loaded: x509.Certificate, der: bytes) -> tuple[dict[type[x509.ExtensionType], Any], str]:
    """
    Return the first extension of each type that can be read, and the reason why strict clients refuse all of
    them.
    """
    found: dict[type[x509.ExtensionType], Any] = {}
    odd = ""
    try:
        for extension in loaded.extensions:
            value = extension.value
            found.setdefault(type(value), value)
        return found, ""  # noqa: TRY300 -- reading them is what may raise
    except x509.DuplicateExtension as error:
        # RFC 5280 section 4.2. OpenSSL refuses such only of those that it knows.
        odd = f"the extension {error.oid.dotted_string} is in it twice"
    except UNREADABLE:
        found.clear()
    # One that cannot be read spoils all others, so each is read from a certificate of its own.
    for oid in _USED_EXTENSIONS:
        try:
            for extension in only_with(der, oid).extensions:
                found.setdefault(type(extension.value), extension.value)
        except UNREADABLE:
            if oid == _EXTENDED_KEY_USAGE:
                # It is there, so it limits the use: OpenSSL and others allow none when it is empty.
                found[x509.ExtendedKeyUsage] = ()
    return found, odd


def _ip_addresses(alternative: x509.SubjectAlternativeName) -> tuple[str, ...]:
    """
    Return the IP addresses among the names. A network, which the library parses from eight bytes, is none.
    """
    values = alternative.get_values_for_type(x509.IPAddress)
    return tuple(str(value) for value in values if isinstance(value, (IPv4Address, IPv6Address)))


def _key_usage(usage: x509.KeyUsage) -> frozenset[str]:
    """
    Return names of the uses that are set (RFC 5280 section 4.2.1.3).
    """
    names = {name for attribute, name in _KEY_USAGES if getattr(usage, attribute)}
    # The last two mean nothing without key agreement, and the library raises when asked.
    if usage.key_agreement and usage.encipher_only:
        names.add("encipherOnly")
    if usage.key_agreement and usage.decipher_only:
        names.add("decipherOnly")
    return _shared(frozenset(names))


@remembered("parsed")
def _shared(words: frozenset[str]) -> frozenset[str]:
    """
    Return one shared object for equal sets of words: thousands of certificates have the same few.
    """
    return words
