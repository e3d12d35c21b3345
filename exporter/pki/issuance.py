"""
Issuance: whether one of the CAs that a person expects stands behind a certificate. Pure.
"""

from collections.abc import Collection, Sequence
from functools import lru_cache

from cryptography import x509
from cryptography.x509.oid import NameOID

from exporter.model.caches import remembered
from exporter.model.observation import Certificate
from exporter.model.targets import fingerprint
from exporter.pki.candidates import candidates
from exporter.pki.certificates import load
from exporter.pki.trust import TrustStore, issuers_of

_NAMES = (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME)


def is_issued_by(
    expected: Collection[str], leaf: Certificate, chain: Sequence[Certificate], store: TrustStore | None
) -> bool:
    """
    Return True when one of the `expected` CAs stands behind a leaf.

    Each is a common name or an organization (the whole of it, ignoring case) of the leaf's issuer or of a CA
    above it, or the fingerprint of a CA certificate above it. `chain` has the certificates that came with the
    leaf; a stranger may present any, so only those count of which each signed the one before.
    """
    wanted = {text.strip().casefold() for text in expected}
    # Of thousands in a file, each path is some work: it is not needed where the nearest name is enough.
    if not wanted.isdisjoint(_names_of_issuer(leaf)):
        return True
    # Nor where none that could be on it is expected.
    wanted |= {mark for text in expected if (mark := fingerprint(text)) is not None}
    presented = candidates(leaf, [one for one in dict.fromkeys(chain) if one != leaf])
    if leaf.self_issued:
        presented.append(leaf)
    known = _marks_of_store(store) if store is not None else frozenset()
    if wanted.isdisjoint(known) and all(wanted.isdisjoint(_marks(one)) for one in presented):
        return False
    return any(not wanted.isdisjoint(_marks(one)) for one in issuers_of(leaf, chain, store))


def _names_of_issuer(leaf: Certificate) -> frozenset[str]:
    """
    Return the common names and organizations of the issuer, in one case of letters.
    """
    # A text with escapes may have been made printable, so that it is another name.
    names = issuer_names(leaf.issuer) if "\\" not in leaf.issuer else frozenset()
    return names or frozenset(name.casefold() for name in _names(load(leaf.der).issuer))


@remembered("parsed", apart=(Certificate,))
def _marks(authority: Certificate) -> frozenset[str]:
    """
    Return by what an expected CA is known: its common names and organizations, in one case of letters, and
    its fingerprint.
    """
    names = {name.casefold() for name in _names(load(authority.der).subject)}
    return frozenset({*names, authority.fingerprint_sha256})


@lru_cache(maxsize=8)
def _marks_of_store(store: TrustStore) -> frozenset[str]:
    return frozenset().union(*map(_marks, store.anchors))


def _names(name: x509.Name) -> list[str]:
    """
    Return the common names and organizations in a name.
    """
    values = (found.value for oid in _NAMES for found in name.get_attributes_for_oid(oid))
    return [value for value in values if isinstance(value, str)]


@lru_cache(maxsize=1024)
def issuer_names(issuer: str) -> frozenset[str]:
    """
    Return the common names and organizations in an issuer's RFC 4514 string, in one case of letters.

    None where the string can't be read.
    """
    try:
        return frozenset(name.casefold() for name in _names(x509.Name.from_rfc4514_string(issuer)))
    except ValueError:
        return frozenset()
