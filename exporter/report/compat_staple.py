"""
What ssl_exporter says of a stapled OCSP response (RFC 6960): of its one answer, whoever signed it.

Pure.
"""

from cryptography.x509 import ocsp

from exporter.pki.certificates import CertificateError
from exporter.pki.revocation_data import load_response
from exporter.report.compat_families import (
    SSL_OCSP_BEGIN,
    SSL_OCSP_END,
    SSL_OCSP_PRODUCED,
    SSL_OCSP_REVOKED,
    SSL_OCSP_STATUS,
)
from exporter.report.families import Family

_STATUS = {
    ocsp.OCSPCertStatus.GOOD: 0,
    ocsp.OCSPCertStatus.REVOKED: 1,
    ocsp.OCSPCertStatus.UNKNOWN: 2,
}


def said_of(staple: bytes | None) -> dict[Family, float | None]:
    """
    Return the value of each family for a stapled response, DER; empty without one, or for one that says
    nothing.
    """
    if not staple:
        return {}
    try:
        response = load_response(staple).loaded
        if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            return {}
        one = next(iter(response.responses), None)
        if one is None:
            return {}
        times = {
            SSL_OCSP_PRODUCED: response.produced_at_utc,
            SSL_OCSP_BEGIN: one.this_update_utc,
            SSL_OCSP_END: one.next_update_utc,
            SSL_OCSP_REVOKED: one.revocation_time_utc,
        }
        status = float(_STATUS[one.certificate_status])
    except (CertificateError, ValueError, OverflowError):
        return {}
    found: dict[Family, float | None] = {SSL_OCSP_STATUS: status}
    for family, moment in times.items():
        if moment is not None:
            found[family] = moment.timestamp()
    return found
