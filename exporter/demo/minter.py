"""
Making certificates: for the demo, and for tests that need a certificate of any age and shape.

The clock is never read: every certificate begins and ends when the caller says.
The library refuses to sign some certificates: with SHA-1 or MD5 signatures, RSA keys
under 1024 bits, a year before 1950, an end before the beginning.
"""

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypedDict, Unpack

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

PrivateKey = (
    ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey
)


Moment = datetime | float
"""An aware datetime, or seconds since the Unix epoch."""


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


_CURVES: dict[str, type[ec.EllipticCurve]] = {
    "ecdsa-256": ec.SECP256R1,
    "ecdsa-384": ec.SECP384R1,
    "ecdsa-521": ec.SECP521R1,
}


_HASHES: dict[str, hashes.SHA256 | hashes.SHA384 | hashes.SHA512] = {
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}


_KEY_USAGES = {
    "digitalSignature": "digital_signature",
    "nonRepudiation": "content_commitment",
    "keyEncipherment": "key_encipherment",
    "dataEncipherment": "data_encipherment",
    "keyAgreement": "key_agreement",
    "keyCertSign": "key_cert_sign",
    "cRLSign": "crl_sign",
    "encipherOnly": "encipher_only",
    "decipherOnly": "decipher_only",
}
"""The library's names of key usages, by those of RFC 5280 section 4.2.1.3."""


_CA_USAGE = ("keyCertSign", "cRLSign")


_LEAF_USAGE = ("digitalSignature",)


_RSA_LEAF_USAGE = ("digitalSignature", "keyEncipherment")


class Options(TypedDict, total=False):
    """
    Options of a certificate besides its names and its validity; each has a default.
    """

    key: PrivateKey | str
    """A key, or the type of a new one: `ecdsa-256` (the default), `rsa-2048`, `ed25519`."""
    ca: bool | None
    """Basic constraints; False by default, None leaves the extension out."""
    path_length: int | None
    key_usage: Iterable[str] | None
    """Names as in RFC 5280; None is the usage that suits the key, empty leaves the extension out."""
    extended_key_usage: Iterable[str] | None
    """Dotted object identifiers; None is server authentication for a leaf, empty leaves the extension out."""
    signature_hash: str
    """`sha256` (the default), `sha384`, `sha512`; no effect where the issuer's key is Ed25519 or Ed448."""
    serial: int | None
    """None: a random number."""
    key_identifiers: bool
    """Subject and authority key identifiers; True by default."""
    extensions: Sequence[tuple[x509.ExtensionType, bool]]
    """Further extensions, each with True if it is critical."""


@dataclass(frozen=True, slots=True)
class Minted:
    """
    A certificate with its private key, ready to serve or to issue others.
    """

    certificate: x509.Certificate
    key: PrivateKey
    issuer: "Minted | None" = None
    """The certificate that signed it; None when it is self-signed."""

    @property
    def der(self) -> bytes:
        """
        The certificate in DER.
        """
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def pem(self) -> bytes:
        """
        The certificate in PEM.
        """
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        """
        The private key as PKCS #8 in PEM, not encrypted.
        """
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    @property
    def chain(self) -> tuple["Minted", ...]:
        """
        The chain of a well configured server: this certificate, then its issuers without the root.
        """
        found = [self]
        while (above := found[-1].issuer) is not None and above.issuer is not None:
            found.append(above)
        return tuple(found)

    @property
    def chain_pem(self) -> bytes:
        """
        The chain in PEM, in the order that servers want: this certificate first.
        """
        return b"".join(minted.pem for minted in self.chain)

    def issue(
        self,
        subject: str | x509.Name = "",
        names: Iterable[str | x509.GeneralName] = (),
        *,
        not_before: Moment | None = None,
        not_after: Moment | None = None,
        **options: Unpack[Options],
    ) -> "Minted":
        """
        Issue a new certificate signed by this one. A time that is None is this certificate's own.
        """
        return mint(
            subject,
            names,
            not_before=self.certificate.not_valid_before_utc if not_before is None else not_before,
            not_after=self.certificate.not_valid_after_utc if not_after is None else not_after,
            issuer=self,
            **options,
        )

    def cross_sign(
        self, other: "Minted", *, not_before: Moment | None = None, not_after: Moment | None = None
    ) -> "Minted":
        """
        Issue a CA certificate with the subject and key of the other one, signed by this one.
        """
        return self.issue(
            other.certificate.subject, not_before=not_before, not_after=not_after, ca=True, key=other.key
        )


def root(
    subject: str | x509.Name = "Root", *, not_before: Moment, not_after: Moment, **options: Unpack[Options]
) -> Minted:
    """
    Make a trust anchor: a self-signed CA certificate.
    """
    # Any `ca` in the options wins: a root without basic constraints is a case worth testing.
    usual: Options = {"ca": True}
    return mint(subject, not_before=not_before, not_after=not_after, **(usual | options))


def mint(
    subject: str | x509.Name = "",
    names: Iterable[str | x509.GeneralName] = (),
    *,
    not_before: Moment,
    not_after: Moment,
    issuer: Minted | None = None,
    key: PrivateKey | str = "ecdsa-256",
    ca: bool | None = False,
    path_length: int | None = None,
    key_usage: Iterable[str] | None = None,
    extended_key_usage: Iterable[str] | None = None,
    signature_hash: str = "sha256",
    serial: int | None = None,
    key_identifiers: bool = True,
    extensions: Sequence[tuple[x509.ExtensionType, bool]] = (),
) -> Minted:
    """
    Make a certificate signed by the issuer; self-signed when that is None. `Options` has the other arguments.

    A string as subject is a common name; an empty one is a subject without attributes. `names` are DNS names
    and IP addresses of the subject alternative name, which is never critical.
    """
    key = new_key(key) if isinstance(key, str) else key
    signer = key if issuer is None else issuer.key
    subject = subject_name(subject)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number() if serial is None else serial)
        .not_valid_before(_time(not_before))
        .not_valid_after(_time(not_after))
    )
    if ca is not None:
        builder = builder.add_extension(x509.BasicConstraints(ca, path_length), critical=True)
    general_names = [_general_name(name) for name in names]
    if general_names:
        builder = builder.add_extension(x509.SubjectAlternativeName(general_names), critical=False)
    if key_usage is None:
        key_usage = _usual_key_usage(key, bool(ca))
    if key_usage := frozenset(key_usage):
        builder = builder.add_extension(_key_usage(key_usage), critical=True)
    if extended_key_usage is None:
        extended_key_usage = () if ca else (ExtendedKeyUsageOID.SERVER_AUTH.dotted_string,)
    if purposes := [x509.ObjectIdentifier(purpose) for purpose in extended_key_usage]:
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
    if key_identifiers:
        builder = builder.add_extension(
            x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
        ).add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    # Ed25519 and Ed448 hash by themselves (RFC 8410).
    hashed = isinstance(signer, (ec.EllipticCurvePrivateKey, rsa.RSAPrivateKey))
    return Minted(builder.sign(signer, _HASHES[signature_hash] if hashed else None), key, issuer)


def new_key(kind: str = "ecdsa-256") -> PrivateKey:
    """
    Make a private key of a type named as in `Certificate.key`: `ecdsa-384`, `rsa-4096`, `ed25519`, `ed448`.

    Raises ValueError for an unknown type. An elliptic key takes microseconds, `rsa-4096` about a second.
    """
    if kind in _CURVES:
        return ec.generate_private_key(_CURVES[kind]())
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    if kind == "ed448":
        return ed448.Ed448PrivateKey.generate()
    family, _, bits = kind.partition("-")
    if family != "rsa" or not bits.isdecimal():
        raise ValueError(f"no kind of key: {kind!r}; use rsa-BITS, ed25519, ed448 or {', '.join(_CURVES)}")
    # 65537 is the public exponent that all clients accept.
    return rsa.generate_private_key(65537, int(bits))


def subject_name(subject: str | x509.Name) -> x509.Name:
    """
    Return the subject as a name; a string is a common name of 1 to 64 characters (RFC 5280 appendix A).

    An empty string is a name without attributes.
    """
    if isinstance(subject, x509.Name):
        return subject
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)] if subject else [])


def _general_name(name: str | x509.GeneralName) -> x509.GeneralName:
    """
    Return an entry of the subject alternative name: an IP address where the text is one, else a DNS name.
    """
    if isinstance(name, x509.GeneralName):
        return name
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _time(moment: Moment) -> datetime:
    """
    Return the moment as a datetime. Certificates have whole seconds: the library cuts off a fraction.
    """
    if isinstance(moment, datetime):
        return moment
    # Not `fromtimestamp`: that has the platform's limits for years before 1970.
    return _EPOCH + timedelta(seconds=moment)


def _usual_key_usage(key: PrivateKey, ca: bool) -> tuple[str, ...]:
    """
    Return the default key usage for this key. Only RSA keys can encipher a session key (RFC 3279).
    """
    if ca:
        return _CA_USAGE
    return _RSA_LEAF_USAGE if isinstance(key, rsa.RSAPrivateKey) else _LEAF_USAGE


def _key_usage(usages: frozenset[str]) -> x509.KeyUsage:
    """
    Return the key usage extension with exactly these usages. Raises ValueError for an unknown name.
    """
    if unknown := usages - set(_KEY_USAGES):
        raise ValueError(f"no key usage of RFC 5280: {', '.join(sorted(unknown))}")
    return x509.KeyUsage(**{name: usage in usages for usage, name in _KEY_USAGES.items()})
