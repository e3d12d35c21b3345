"""
Revocation: OCSP responses (RFC 6960) and revocation lists (RFC 5280 section 5), parsed and judged. Pure.

Only data signed by the issuer counts. Unreadable or mismatched data raises RevocationError: that means
neither "revoked" nor "good".
"""

import warnings
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from heapq import merge
from itertools import islice
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import AsymmetricPadding
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import AuthorityInformationAccessOID, CRLEntryExtensionOID

from exporter.model.caches import remembered
from exporter.model.foreign_text import bounded, clean
from exporter.model.observation import Certificate, FoundFault
from exporter.model.reasons import Fault
from exporter.pki.ber import SEQUENCE
from exporter.pki.certificates import load
from exporter.pki.fields import signed_part
from exporter.pki.mended import only_with
from exporter.pki.revocation_data import list_in_pem, load_list

# What `cryptography` raises for what it can't read, and for signatures that do not fit.
_UNREADABLE = (
    ValueError,
    TypeError,
    KeyError,
    UnsupportedAlgorithm,
    InvalidSignature,
    x509.DuplicateExtension,
    x509.ExtensionNotFound,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)


SERIAL_LIMIT = 64
"""Bytes of a serial number on a list: the longest one sets the width of all rows. RFC 5280 section 4.1.2.2
permits 20."""


LARGEST_DSA = 3072
"""Bits of the largest DSA key that signatures are verified with: FIPS 186-4 has no larger one, and with the
10,000 that OpenSSL takes each costs ten milliseconds."""


URL_LIMIT = 2048
"""Characters of a URL in a certificate that is requested."""


_TLS_FEATURE = bytes.fromhex("06082b06010505070118")
"""The object identifier of the TLS feature extension, DER (RFC 7633 section 4.2.3)."""


_REASONS = ("", *(flag.value for flag in x509.ReasonFlags))
"""Reasons for a revocation (RFC 5280 section 5.3.1); empty where the issuer gives none."""


_WORDS = 200
"""Characters of the library's error messages that are kept."""


_Kind = TypeVar("_Kind", bound=x509.ExtensionType)


class RevocationError(ValueError):
    """
    A response or list that gives no status for a certificate. The message says why, for a person.
    """


@dataclass(frozen=True, slots=True)
class Pointers:
    """
    The places where a certificate's revocation can be looked up. Only http: RFC 5280 section 8 warns of
    https.
    """

    crl_urls: tuple[str, ...]
    """URLs of the revocation list; each has the same list."""
    ocsp_urls: tuple[str, ...]
    crl_elsewhere: str = ""
    """A place of the list that is not requested, in words; empty when there is none."""
    ocsp_elsewhere: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class RevocationList:
    """
    A revocation list, in a compact form: some have hundreds of thousands of entries. Each is equal to itself
    only.
    """

    this_update: float
    next_update: float | None
    """None when missing, although RFC 5280 demands it."""
    certificates: str
    """The certificates it covers: `any`, `user` or `ca`."""
    width: int
    """Bytes of a row: the serial number, then the number of the reason."""
    rows: bytes
    """Sorted."""

    def __len__(self) -> int:
        return len(self.rows) // self.width

    def reason(self, certificate: Certificate) -> str | None:
        """
        Return the reason for the certificate's revocation, empty where the list gives none; None when it is
        not on the list.
        """
        if self.certificates not in {"any", "ca" if certificate.is_ca else "user"}:
            return None
        try:
            serial = int(certificate.serial, 16).to_bytes(self.width - 1, signed=True)
        except OverflowError:
            return None  # longer than any on the list
        width = self.width
        found = bisect_left(
            range(len(self)), serial, key=lambda at: self.rows[at * width : at * width + width - 1]
        )
        row = self.rows[found * width : (found + 1) * width]
        return _REASONS[row[-1]] if row[:-1] == serial and row else None


@remembered("extensions")
def pointers(der: bytes) -> Pointers:
    """
    Return the places where the certificate's revocation can be looked up.
    """
    points = extension(der, x509.CRLDistributionPoints) or ()
    access = extension(der, x509.AuthorityInformationAccess) or ()
    lists = [name for point in points for name in point.full_name or () if point.crl_issuer is None]
    others = [name for point in points for name in point.full_name or ()]
    responders = [
        one.access_location for one in access if one.access_method == AuthorityInformationAccessOID.OCSP
    ]
    return Pointers(
        tuple(_urls(lists)),
        tuple(_urls(responders)),
        _elsewhere(others) or ("a name that is no URL" if points else ""),
        _elsewhere(responders),
    )


@remembered("signatures")
def issued(der: bytes, issuer_der: bytes) -> bool:
    """
    Return True when the issuer's key signed the certificate, which names the issuer.
    """
    try:
        one, issuer = loaded(der), loaded(issuer_der)
        if one.issuer != issuer.subject:
            return False
        key, padded = issuer.public_key(), one.signature_algorithm_parameters
        _verify(key, one.signature, signed_part(der), one.signature_hash_algorithm, padded)
    except _UNREADABLE:
        return False
    return True


def revoked(source: str, reason: str, what: str = "the certificate") -> FoundFault:
    """
    Return the fault that a certificate is revoked, with `source` as the authority for it.
    """
    why = f" (reason: {reason})" if reason else ""
    return FoundFault(Fault.REVOKED, f"{source} says that {what} is revoked{why}.")


def _verify(
    key: CertificatePublicKeyTypes,
    signature: bytes,
    signed: bytes,
    algorithm: hashes.HashAlgorithm | None,
    parameters: object,
) -> None:
    """
    Raise one of `_UNREADABLE` when the signature does not match the key. `parameters` are an RSA padding.
    """
    match key, algorithm:
        case rsa.RSAPublicKey(), hashes.HashAlgorithm() if isinstance(parameters, AsymmetricPadding):
            key.verify(signature, signed, parameters, algorithm)
        case ec.EllipticCurvePublicKey(), hashes.HashAlgorithm():
            key.verify(signature, signed, ec.ECDSA(algorithm))
        case dsa.DSAPublicKey(), hashes.HashAlgorithm() if key.key_size <= LARGEST_DSA:
            key.verify(signature, signed, algorithm)
        # Ed25519, Ed448, ML-DSA: their algorithms name no hash.
        case _, None if (verify := getattr(key, "verify", None)) is not None:
            verify(signature, signed)
        case _:
            raise UnsupportedAlgorithm("the kind of key is not known")


SORTED_AT_ONCE = 10_000
"""Serial numbers that are sorted in one go: some milliseconds."""


def read_list(data: bytes, issuer: x509.Certificate, url: str) -> RevocationList:
    """
    Return a revocation list, DER or PEM, of this issuer, as fetched from the URL. Raises RevocationError
    only.

    Takes a second or two for 20 MB, so it may be called on another thread, unlike the rest of this module.
    """
    try:
        return _read_list(data, issuer, url)
    except RevocationError:
        raise
    except _UNREADABLE as error:
        raise RevocationError(f"it is no revocation list that can be read: {_words(error)}") from None


def _read_list(data: bytes, issuer: x509.Certificate, url: str) -> RevocationList:
    # Before a list in PEM may be text, as `openssl crl -text` writes it.
    read = load_list(data if data[:1] == bytes((SEQUENCE,)) else list_in_pem(data))
    found = read.loaded
    if found.issuer != issuer.subject:
        raise RevocationError("it is the list of another issuer")
    certificates = _scope(found, url)
    padded = found.signature_algorithm_parameters
    try:
        _verify(issuer.public_key(), found.signature, read.signed, found.signature_hash_algorithm, padded)
    except _UNREADABLE:
        raise RevocationError("its signature is not that of the issuer") from None
    entries = list(_entries(found))
    # Serial numbers must not be negative, and are all the same (OpenSSL takes such certificates).
    width = max(serial.bit_length() // 8 + 1 for serial, _ in entries) + 1 if entries else 1
    rows = (serial.to_bytes(width - 1, signed=True) + bytes((reason,)) for serial, reason in entries)
    return RevocationList(
        read.this_update,
        read.next_update,
        certificates,
        width,
        b"".join(_in_order(rows)),
    )


def _in_order(rows: Iterator[bytes]) -> Iterator[bytes]:
    """
    Yield the rows in their order. To sort a million at once would keep the interpreter from all others.
    """
    parts: list[list[bytes]] = []
    while part := list(islice(rows, SORTED_AT_ONCE)):
        part.sort()
        parts.append(part)
    return merge(*parts)


def _entries(found: x509.CertificateRevocationList) -> Iterator[tuple[int, int]]:
    """
    Yield the serial number of each entry, and the number of its reason.
    """
    for entry in found:
        serial = entry.serial_number
        if serial.bit_length() > 8 * SERIAL_LIMIT:
            continue  # no certificate has such a one (RFC 5280 section 4.1.2.2)
        try:
            extensions = entry.extensions
            if not len(extensions):
                # As most of a list: an exception for each takes as long as all else.
                yield serial, 0
                continue
            extension = extensions.get_extension_for_oid(CRLEntryExtensionOID.CRL_REASON).value
        except _UNREADABLE:
            yield serial, 0
            continue
        assert isinstance(extension, x509.CRLReason)
        yield serial, _REASONS.index(extension.reason.value)


def _scope(found: x509.CertificateRevocationList, url: str) -> str:
    """
    Return the certificates that the list covers: `any`, `user` or `ca`. Raises RevocationError for other
    lists.

    The list of another distribution point does not cover these certificates (RFC 5280 section 6.3.3 (b)).
    """
    for extension in found.extensions:
        if isinstance(extension.value, x509.IssuingDistributionPoint):
            continue
        if extension.critical:
            raise RevocationError(f"it has a condition that is not known here: {extension.oid.dotted_string}")
    try:
        point = found.extensions.get_extension_for_class(x509.IssuingDistributionPoint).value
    except x509.ExtensionNotFound:
        return "any"
    if point.indirect_crl or point.only_contains_attribute_certs or point.only_some_reasons:
        raise RevocationError("it is a list for other issuers, other things, or some reasons only")
    names = list(_urls(point.full_name or ()))
    if names and url not in names:
        raise RevocationError(f"it is the list of another place: {names[0]}")
    if point.only_contains_ca_certs:
        return "ca"
    return "user" if point.only_contains_user_certs else "any"


# Measured: with its extensions read, such an object takes five times its encoding.
@remembered("parsed", lambda _, der: 1000 + 6 * len(der))
def loaded(der: bytes) -> x509.Certificate:
    """
    Return the certificate parsed by the library, cached: see `load`. Raises ValueError.
    """
    return load(der)


def extension(der: bytes, kind: type[_Kind]) -> _Kind | None:
    """
    Return the extension of a certificate, or None when there is none that can be read.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return loaded(der).extensions.get_extension_for_class(kind).value
        except x509.ExtensionNotFound:
            return None
        except _UNREADABLE:
            pass
        try:
            return only_with(der, _ENCODED[kind]).extensions.get_extension_for_class(kind).value
        except _UNREADABLE:
            return None


_ENCODED: dict[type[x509.ExtensionType], bytes] = {
    x509.CRLDistributionPoints: bytes.fromhex("0603551d1f"),
    x509.AuthorityInformationAccess: bytes.fromhex("06082b06010505070101"),
    x509.AuthorityKeyIdentifier: bytes.fromhex("0603551d23"),
    x509.TLSFeature: _TLS_FEATURE,
}
"""The object identifiers of the extensions that are read here, DER."""


def _urls(names: Iterable[x509.GeneralName]) -> Iterator[str]:
    """
    Yield the http URLs among the names.
    """
    for name in names:
        if isinstance(name, x509.UniformResourceIdentifier) and len(name.value) <= URL_LIMIT:
            scheme = name.value.partition("://")[0]
            if scheme.lower() == "http" and name.value.isprintable():
                yield name.value


def _elsewhere(names: Iterable[x509.GeneralName]) -> str:
    """
    Return the first of the names in words; empty when there is none.
    """
    for name in names:
        if isinstance(name, x509.UniformResourceIdentifier):
            return bounded(name.value, _WORDS)
        return "a name that is no URL"
    return ""


def _words(error: Exception) -> str:
    """
    Return the library's message for an error, cut to `_WORDS` characters.
    """
    return clean(str(error), _WORDS) or type(error).__name__
