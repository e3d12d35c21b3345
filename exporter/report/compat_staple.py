"""
The metrics of ssl_exporter about a stapled OCSP response (RFC 6960): its one answer, whoever signed it.

Pure.
"""

from exporter.pki.ocsp_data import answered, load_response
from exporter.report.compat_families import (
    SSL_OCSP_BEGIN,
    SSL_OCSP_END,
    SSL_OCSP_PRODUCED,
    SSL_OCSP_REVOKED,
    SSL_OCSP_STATUS,
)
from exporter.report.families import Family


def said_of(staple: bytes | None) -> dict[Family, float | None]:
    """
    Return the value of each family for a stapled response, DER; empty without one, or for one that says
    nothing.
    """
    if not staple:
        return {}
    try:
        response = load_response(staple)
        if not response.answers:
            return {}
        one = answered(response.answers[0])
    except ValueError:
        return {}
    found: dict[Family, float | None] = {
        SSL_OCSP_STATUS: 2.0 if not one.known else float(one.revoked_at is not None),
        SSL_OCSP_PRODUCED: response.produced_at,
        SSL_OCSP_BEGIN: one.this_update,
        SSL_OCSP_END: one.next_update,
        SSL_OCSP_REVOKED: one.revoked_at,
    }
    return {family: value for family, value in found.items() if value is not None}
