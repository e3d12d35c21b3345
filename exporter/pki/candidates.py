"""
Presented certificates that may be on a path. What a hostile server shows costs some milliseconds. Pure.
"""

from collections.abc import Sequence
from math import inf

from exporter.model.observation import Certificate
from exporter.pki.path_refusals import NAMESAKES
from exporter.pki.revocation import LARGEST_DSA

CANDIDATES = 20
"""Presented certificates that may be on a path. A server can present hundreds, and each that signed another
is some milliseconds of work. GnuTLS takes chains of 16."""


LARGEST_KEYS = {"rsa": 8192, "dsa": LARGEST_DSA}
"""Bits of the largest keys of CAs that Go and rustls take (none of DSA). With a larger one a verification
takes up to ten milliseconds."""


LARGER_KEYS = 2
"""CAs with larger keys that are followed all the same, besides trust anchors: a private authority may have
one."""


def candidates(leaf: Certificate, presented: Sequence[Certificate]) -> list[Certificate]:
    """
    Return those of the certificates that came with a leaf that may be on its path, nearest first.

    All of them, unless they are more than CANDIDATES: then only those that its issuers' names lead to.
    """
    if len(presented) <= CANDIDATES:
        return list(presented)
    by_subject: dict[str, list[Certificate]] = {}
    for it in presented:
        by_subject.setdefault(it.subject, []).append(it)
    found: dict[Certificate, None] = {}
    reached = [leaf]
    for below in reached:
        # Taken out: of one name, all are found at once.
        named = by_subject.pop(below.issuer, [])[:NAMESAKES]
        found |= dict.fromkeys(named)
        reached += named
    return list(found)[:CANDIDATES]


def is_large(authority: Certificate) -> bool:
    """
    Return True for a key that is larger than most clients take.
    """
    return (authority.key_bits or 0) > LARGEST_KEYS.get(authority.key_algorithm, inf)
