"""
OCSP responses and revocation lists of every shape, right and wrong.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

from exporter.demo.minter import Minted
from tests.support.certificates import DAY, NOW

MUST_STAPLE = (x509.TLSFeature([x509.TLSFeatureType.status_request]), False)
"""The extension of a certificate that demands a staple (RFC 7633)."""

GOOD, REVOKED, UNKNOWN = ocsp.OCSPCertStatus.GOOD, ocsp.OCSPCertStatus.REVOKED, ocsp.OCSPCertStatus.UNKNOWN


def issuer_of(minted: Minted) -> Minted:
    """
    Who signed it, which must be another.
    """
    assert minted.issuer is not None
    return minted.issuer


def response(
    leaf: Minted,
    *,
    status: ocsp.OCSPCertStatus = GOOD,
    this_update: float = NOW - DAY,
    next_update: float | None = NOW + 6 * DAY,
    reason: x509.ReasonFlags | None = None,
    signer: Minted | None = None,
    with_signer: bool = False,
    algorithm: hashes.HashAlgorithm | None = None,
) -> bytes:
    """
    An OCSP response about this certificate, DER. None is the issuer for `signer`, SHA-1 for `algorithm`.
    """
    issuer = issuer_of(leaf)
    signer = signer or issuer
    builder = (
        ocsp.OCSPResponseBuilder()
        .add_response(
            leaf.certificate,
            issuer.certificate,
            algorithm or hashes.SHA1(),
            status,
            _time(this_update),
            None if next_update is None else _time(next_update),
            _time(this_update - DAY) if status is REVOKED else None,
            reason,
        )
        .responder_id(ocsp.OCSPResponderEncoding.HASH, signer.certificate)
    )
    if with_signer:
        builder = builder.certificates([signer.certificate])
    hashed = (
        hashes.SHA256() if isinstance(signer.key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) else None
    )
    return builder.sign(signer.key, hashed).public_bytes(Encoding.DER)


def responder(
    ca: Minted,
    *,
    use: str = ExtendedKeyUsageOID.OCSP_SIGNING.dotted_string,
    not_after: float = NOW + 36_500 * DAY,
) -> Minted:
    """
    A certificate with which the CA lets somebody else sign responses, unless the use says otherwise.

    It begins in 1970 and lasts a century, as the library lets responses be made at no other time than now.
    """
    return ca.issue("Responder", not_before=0.0, not_after=not_after, extended_key_usage=[use])


def revocation_list(
    ca: Minted,
    revoked: Mapping[int, x509.ReasonFlags | None] | None = None,
    *,
    this_update: float = NOW - DAY,
    next_update: float | None = NOW + 6 * DAY,
    extensions: Sequence[tuple[x509.ExtensionType, bool]] = (),
    signer: Minted | None = None,
) -> bytes:
    """
    A revocation list of the CA with these serial numbers, DER. None: it signs it itself.
    """
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(ca.certificate.subject)
        .last_update(_time(this_update))
        # The library demands one; `without_end` takes it out again.
        .next_update(_time(this_update + 7 * DAY if next_update is None else next_update))
    )
    for serial, reason in (revoked or {}).items():
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(_time(this_update))
        if reason is not None:
            entry = entry.add_extension(x509.CRLReason(reason), critical=False)
        builder = builder.add_revoked_certificate(entry.build())
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    key = (signer or ca).key
    hashed = hashes.SHA256() if isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) else None
    return builder.sign(key, hashed).public_bytes(Encoding.DER)


def place(
    *urls: str,
    user: bool = False,
    ca: bool = False,
    attribute: bool = False,
    indirect: bool = False,
    reasons: frozenset[x509.ReasonFlags] | None = None,
) -> tuple[x509.IssuingDistributionPoint, bool]:
    """
    The extension that says what a list is about (RFC 5280 section 5.2.5).
    """
    names = [x509.UniformResourceIdentifier(url) for url in urls]
    return (
        x509.IssuingDistributionPoint(names or None, None, user, ca, reasons, indirect, attribute),
        True,
    )


def lists_at(*urls: str) -> tuple[x509.CRLDistributionPoints, bool]:
    """
    The extension by which a certificate says where its revocation list is.
    """
    names = [x509.UniformResourceIdentifier(url) for url in urls]
    return x509.CRLDistributionPoints([x509.DistributionPoint(names, None, None, None)]), False


def responders_at(*urls: str) -> tuple[x509.AuthorityInformationAccess, bool]:
    """
    The extension by which a certificate says where its OCSP responders are.
    """
    return (
        x509.AuthorityInformationAccess(
            [
                x509.AccessDescription(
                    AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier(url)
                )
                for url in urls
            ]
        ),
        False,
    )


def _time(moment: float) -> datetime:
    return datetime.fromtimestamp(moment, UTC)
