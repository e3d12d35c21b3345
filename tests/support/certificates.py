"""
What tests need around the minter: files, keys that are slow to make, and certificates that it can't sign.
"""

import base64
import functools
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509 import ocsp
from cryptography.x509.oid import NameOID

from exporter.demo.minter import Minted, PrivateKey, new_key, root

NOW = 1_800_000_000.0
"""The time at which tests take place: 2027-01-15 08:00 UTC."""
DAY = 86400.0

# AlgorithmIdentifier (RFC 3279 section 2.2), DER, of what no library signs certificates with any more.
_SIGNATURES: dict[str, tuple[hashes.HashAlgorithm, bytes, bytes]] = {
    # Name of the hash: the hash, then the algorithm with RSA and with ECDSA.
    "sha1": (
        hashes.SHA1(),
        bytes.fromhex("300d06092a864886f70d0101050500"),
        bytes.fromhex("300906072a8648ce3d0401"),
    ),
    "md5": (hashes.MD5(), bytes.fromhex("300d06092a864886f70d0101040500"), b""),
}


@functools.cache
def shared_key(kind: str) -> PrivateKey:
    """
    A key of this kind, made once in each test process: for RSA, whose keys take up to a second.
    """
    return new_key(kind)


def authority(name: str = "Test", *, key: str = "ecdsa-256") -> Minted:
    """
    An intermediate CA with a root above it (`.issuer`), both valid for years around NOW.
    """
    years = 365 * DAY
    above = root(f"{name} Root", not_before=NOW - 5 * years, not_after=NOW + 10 * years)
    return above.issue(
        f"{name} Intermediate",
        not_before=NOW - years,
        not_after=NOW + 4 * years,
        ca=True,
        path_length=0,
        key=shared_key(key) if key.startswith("rsa") else key,
    )


def write_pair(directory: Path, name: str, chain: Sequence[Minted]) -> tuple[Path, Path]:
    """
    The files `NAME.pem` (the whole chain) and `NAME.key` (the key of its first certificate).
    """
    certificate, key = directory / f"{name}.pem", directory / f"{name}.key"
    certificate.write_bytes(b"".join(minted.pem for minted in chain))
    key.write_bytes(chain[0].key_pem)
    key.chmod(0o600)
    return certificate, key


def odd_subject(common_name: str) -> x509.Name:
    """
    A subject whose common name is too short or too long for RFC 5280: empty, or thousands of characters.
    """
    with warnings.catch_warnings():
        # The library warns about a length that is what the test is about.
        warnings.simplefilter("ignore", UserWarning)
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name, _validate=False)])


def staple(leaf: Minted, *, this_update: float, next_update: float, revoked_at: float | None = None) -> bytes:
    """
    An OCSP response about this certificate, signed by its issuer, DER.
    """
    assert leaf.issuer is not None
    signer = leaf.issuer
    assert isinstance(signer.key, (ec.EllipticCurvePrivateKey, rsa.RSAPrivateKey))
    good = revoked_at is None
    builder = (
        ocsp.OCSPResponseBuilder()
        .add_response(
            leaf.certificate,
            signer.certificate,
            # RFC 6960 clients identify a certificate by SHA-1 hashes of its issuer.
            hashes.SHA1(),
            ocsp.OCSPCertStatus.GOOD if good else ocsp.OCSPCertStatus.REVOKED,
            datetime.fromtimestamp(this_update, UTC),
            datetime.fromtimestamp(next_update, UTC),
            None if revoked_at is None else datetime.fromtimestamp(revoked_at, UTC),
            None,
        )
        .responder_id(ocsp.OCSPResponderEncoding.HASH, signer.certificate)
    )
    return builder.sign(signer.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def forge(
    minted: Minted,
    *,
    signature_hash: str | None = None,
    not_before: datetime | None = None,
    not_after: datetime | None = None,
) -> Minted:
    """
    The same certificate with a SHA-1 or MD5 signature, or with times that the library refuses.

    The signature is right where `signature_hash` is given, else it is the old one, which no longer fits.
    """
    old = minted.certificate
    parts = children(old.tbs_certificate_bytes)
    # TBSCertificate (RFC 5280 section 4.1): version, serial, signature, issuer, validity, ...
    if not_before is not None or not_after is not None:
        times = (not_before or old.not_valid_before_utc, not_after or old.not_valid_after_utc)
        parts[4] = tlv(0x30, b"".join(_der_time(time) for time in times))
    outer = children(minted.der)
    algorithm, signature = outer[1:]
    if signature_hash is not None:
        signer = (minted.issuer or minted).key
        digest, with_rsa, with_ecdsa = _SIGNATURES[signature_hash]
        parts[2] = algorithm = with_rsa if isinstance(signer, rsa.RSAPrivateKey) else with_ecdsa
        body = tlv(0x30, b"".join(parts))
        if isinstance(signer, rsa.RSAPrivateKey):
            signed = signer.sign(body, padding.PKCS1v15(), digest)
        else:
            assert isinstance(signer, ec.EllipticCurvePrivateKey)
            signed = signer.sign(body, ec.ECDSA(digest))
        signature = tlv(0x03, b"\0" + signed)
    der = tlv(0x30, tlv(0x30, b"".join(parts)) + algorithm + signature)
    return Minted(x509.load_der_x509_certificate(der), minted.key, minted.issuer)


SERIAL, ALGORITHM, ISSUER, VALIDITY, SUBJECT, PUBLIC_KEY, EXTENSIONS = range(1, 8)
"""Places of the fields of a TBSCertificate (RFC 5280 section 4.1); the version has place 0."""


@dataclass(frozen=True, slots=True)
class Remade(Minted):
    """
    A certificate that the library can't make, with its key. `certificate` is the one that it was made of.
    """

    encoded: bytes = b""

    @property
    def der(self) -> bytes:
        """
        The certificate, DER or what was made of it.
        """
        return self.encoded

    @property
    def pem(self) -> bytes:
        """
        The same, PEM.
        """
        return pem("CERTIFICATE", self.encoded)


def remade(minted: Minted, fields: Mapping[int, bytes]) -> Remade:
    """
    The certificate with other fields, by place, signed anew by its issuer's ECDSA key, as it is encoded.
    """
    parts = parts_of(minted)
    body = tlv(0x30, b"".join(fields.get(place, part) for place, part in enumerate(parts)))
    return Remade(minted.certificate, minted.key, minted.issuer, signed(body, minted.issuer or minted))


def parts_of(minted: Minted) -> list[bytes]:
    """
    The fields of a TBSCertificate, each with its tag and length.
    """
    return children(minted.certificate.tbs_certificate_bytes)


def signed(body: bytes, signer: Minted) -> bytes:
    """
    A SIGNED structure (RFC 5280 sections 4.1 and 5.1) with this body, by an ECDSA key with SHA-256.
    """
    assert isinstance(signer.key, ec.EllipticCurvePrivateKey)
    signature = signer.key.sign(body, ec.ECDSA(hashes.SHA256()))
    return tlv(0x30, body + ECDSA_WITH_SHA256 + tlv(0x03, b"\0" + signature))


ECDSA_WITH_SHA256 = bytes.fromhex("300a06082a8648ce3d040302")


def validity(begin: bytes, end: bytes) -> bytes:
    """
    The dates of a certificate, each an encoding of its own.
    """
    return tlv(0x30, begin + end)


def utc_time(text: str) -> bytes:
    """
    A UTCTime of these characters.
    """
    return tlv(0x17, text.encode("ascii"))


def generalized_time(text: str) -> bytes:
    """
    A GeneralizedTime of these characters.
    """
    return tlv(0x18, text.encode("ascii"))


def name_of(*parts: Sequence[tuple[str, int, bytes]]) -> bytes:
    """
    A name of parts (RDN) in this order: each of attributes in this order, of type (DER), tag and value.
    """
    return tlv(
        0x30,
        b"".join(
            tlv(0x31, b"".join(tlv(0x30, bytes.fromhex(oid) + tlv(tag, value)) for oid, tag, value in part))
            for part in parts
        ),
    )


def extensions_of(minted: Minted, *more: bytes, without: str = "") -> bytes:
    """
    The extensions of a certificate and others, as its field. One may be left out, by its type (DER).
    """
    present = children(children(parts_of(minted)[EXTENSIONS])[0])
    kept = [it for it in present if not without or bytes.fromhex(without) not in it]
    return tlv(0xA3, tlv(0x30, b"".join([*kept, *more])))


def extension(oid: str, value: bytes) -> bytes:
    """
    An extension of this type (DER) that is not critical.
    """
    return tlv(0x30, bytes.fromhex(oid) + tlv(0x04, value))


def long_length(encoding: bytes) -> bytes:
    """
    The encoding with its length in three bytes more than DER allows.
    """
    content, _ = _split(encoding)
    return encoding[:1] + b"\x84" + len(content).to_bytes(4) + content


def no_length(encoding: bytes) -> bytes:
    """
    The encoding with a length that is known at its end only (X.690 section 8.1.3.6).
    """
    content, _ = _split(encoding)
    return encoding[:1] + b"\x80" + content + b"\0\0"


def pem(label: str, data: bytes) -> bytes:
    """
    A PEM block.
    """
    body = base64.encodebytes(data)
    return b"-----BEGIN %s-----\n%s-----END %s-----\n" % (label.encode(), body, label.encode())


def _der_time(time: datetime) -> bytes:
    """
    UTCTime for the years 1950 to 2049, else GeneralizedTime (RFC 5280 section 4.1.2.5).
    """
    if 1950 <= time.year < 2050:
        return tlv(0x17, time.strftime("%y%m%d%H%M%SZ").encode("ascii"))
    return tlv(0x18, f"{time.year:04}{time:%m%d%H%M%SZ}".encode("ascii"))


def tlv(tag: int, content: bytes) -> bytes:
    """
    An encoding: tag, length and content.
    """
    length = len(content)
    if length < 0x80:
        return bytes([tag, length]) + content
    octets = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(octets)]) + octets + content


def children(sequence: bytes) -> list[bytes]:
    """
    The values inside a sequence, each with its tag and length.
    """
    content, _ = _split(sequence)
    found = []
    while content:
        _, rest = _split(content)
        found.append(content[: len(content) - len(rest)])
        content = rest
    return found


def _split(der: bytes) -> tuple[bytes, bytes]:
    """
    The content of the first value, and what follows that value.
    """
    start, length = 2, der[1]
    if length & 0x80:
        start += length & 0x7F
        length = int.from_bytes(der[2:start], "big")
    return der[start : start + length], der[start + length :]
