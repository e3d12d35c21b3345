"""
Name constraints of CAs (RFC 5280 section 4.2.1.10), as far as OpenSSL does not check them. Pure.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from exporter.model.observation import Certificate
from exporter.pki.ber import as_der, content, elements
from exporter.pki.fields import DNS_NAME, encoded_names, extension

COMPARISONS_LIMIT = 250_000
"""Comparisons of a name with a constraint that the check of one chain may take. Go gives up there, too."""


_EXCLUDED_SUBTREES = 0xA1


_NAME_CONSTRAINTS = bytes.fromhex("0603551d1e")


_ALTERNATIVE_NAMES = bytes.fromhex("0603551d11")


@dataclass(frozen=True, slots=True)
class NameConstraints:
    """
    The names for which a CA may issue (RFC 5280 section 4.2.1.10), as far as OpenSSL does not check them.
    """

    is_empty: bool
    """True when it neither permits nor excludes anything, which must not be."""
    excluded: tuple[str, ...]
    """DNS names in lower case. They and all below them are excluded, with a leading dot only those below."""


def name_constraints(der: bytes) -> NameConstraints | None:
    """
    The name constraints of a certificate; None when it has none that can be read.
    """
    if _NAME_CONSTRAINTS not in der:
        return None
    try:
        found = extension(as_der(der), _NAME_CONSTRAINTS)
        if found is None:
            return None
        trees = {part[0]: elements(part) for part in elements(content(elements(found)[-1]))}
        bases = [elements(tree)[0] for tree in trees.get(_EXCLUDED_SUBTREES, ())]
    except (ValueError, IndexError):
        return None
    names = (content(base).decode("ascii", "replace").lower() for base in bases if base[0] == DNS_NAME)
    return NameConstraints(not any(trees.values()), tuple(names))


def covered(leaf: Certificate, excluded: Sequence[str]) -> tuple[str, str] | None:
    """
    Return a wildcard of the leaf and the excluded name that it covers; None when there is none.

    A wildcard stands for one label (RFC 9525 section 6.3), so it covers the names directly below its domain.
    """
    below: dict[str, str] = {}
    for other in excluded:
        head, dot, tail = other.partition(".")
        if head:
            below.setdefault(dot + tail, other)
    for name in leaf.dns_names:
        if name.startswith("*.") and (forbidden := below.get(name[1:].lower())) is not None:
            return name, forbidden
    return None


def comparisons(certificates: Iterable[Certificate]) -> int:
    """
    Return how often names are compared with constraints at most, when these certificates are one chain.
    """
    chain = [it.der for it in certificates]
    constrained = [der for der in chain if _NAME_CONSTRAINTS in der]
    names = sum(map(_count_names, chain)) if constrained else 0
    return names * sum(map(_count_constraints, constrained))


def _count_names(der: bytes) -> int:
    try:
        _, subject = encoded_names(der)
        return len(elements(subject)) + len(_inside(der, _ALTERNATIVE_NAMES))
    except (ValueError, IndexError):
        return len(der) // _LEAST


def _count_constraints(der: bytes) -> int:
    try:
        return sum(len(elements(trees)) for trees in _inside(der, _NAME_CONSTRAINTS))
    except (ValueError, IndexError):
        return len(der) // _LEAST


_LEAST = 4
"""Bytes that a name takes at least. Where names can't be counted, there may be as many as fit in."""


def _inside(der: bytes, oid: bytes) -> list[bytes]:
    """
    Return the encodings inside an extension; none when there is no such extension. Raises ValueError.
    """
    found = extension(der, oid)
    return [] if found is None else elements(content(elements(found)[-1]))
