"""
Comparison of TLSA records with a presented chain (RFC 6698, RFC 7671). Pure.
"""

import hashlib
from collections.abc import Sequence

from exporter.model.observation import Certificate
from exporter.net.dns_records import Tlsa
from exporter.pki.fields import encoded_key

AUTHORITY_USAGES = frozenset({0, 2})
"""PKIX-TA and DANE-TA: the record names an authority."""


SERVER_USAGES = frozenset({1, 3})
"""PKIX-EE and DANE-EE: the record names the server's own certificate or key."""


def tlsa_mismatch(records: Sequence[Tlsa], chain: Sequence[Certificate]) -> str | None:
    """
    Return the records in words when none matches this chain; None when one does, or it can't be known.

    One record that matches is enough. An authority that is not presented may be the root in a client's store.
    """
    usable = [
        one
        for one in records
        if one.usage in AUTHORITY_USAGES | SERVER_USAGES
        and one.selector in {0, 1}
        and one.matching in {0, 1, 2}
    ]
    for one in usable:
        candidates = chain[:1] if one.usage in SERVER_USAGES else chain[1:]
        if any(_matches(one, certificate) for certificate in candidates):
            return None
    # Where the record alone makes a trust anchor, by its digest, it must be presented (RFC 7671 section 5.2).
    if not usable or any(one.usage == 0 or (one.usage == 2 and one.matching == 0) for one in usable):
        return None
    return ", ".join(
        sorted({f"{one.usage} {one.selector} {one.matching} {one.data.hex()[:16]}..." for one in usable})[:3]
    )


def _matches(record: Tlsa, certificate: Certificate) -> bool:
    """
    Return True when the record matches this certificate or its key.
    """
    if record.selector == 1 and record.matching == 1:
        return record.data.hex() == certificate.public_key_sha256
    content = certificate.der if record.selector == 0 else encoded_key(certificate.der)
    hashes = {0: lambda: content, 1: lambda: hashlib.sha256(content).digest()}
    return record.data == hashes.get(record.matching, lambda: hashlib.sha512(content).digest())()
