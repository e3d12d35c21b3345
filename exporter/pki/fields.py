"""
The parts of a certificate as they are encoded (RFC 5280 section 4.1). Pure.

Signatures and hashes are made over them, and name constraints are read that no library tells whole.
"""

from dataclasses import dataclass

from exporter.pki.ber import INTEGER, as_der, content, elements

# Tags of RFC 5280 sections 4.1 and 4.2.1.6.
TBS_VERSION = 0xA0


TBS_EXTENSIONS = 0xA3


DNS_NAME = 0x82


VERSION_3 = bytes((TBS_VERSION, 3, INTEGER, 1, 2))


_EXCLUDED_SUBTREES = 0xA1


_NAME_CONSTRAINTS = bytes.fromhex("0603551d1e")


@dataclass(frozen=True, slots=True)
class NameConstraints:
    """
    The names for which a CA may issue (RFC 5280 section 4.2.1.10), as far as OpenSSL does not check them.
    """

    is_empty: bool
    """True when it neither permits nor excludes anything, which must not be."""
    excluded: tuple[str, ...]
    """DNS names in lower case. They and all below them are excluded, with a leading dot only those below."""


def tbs_fields(der: bytes) -> list[bytes]:
    """
    Return the encoded fields of a TBSCertificate (RFC 5280 section 4.1), version first. Raises ValueError.
    """
    outer = elements(der)
    fields = elements(outer[0]) if outer else []
    if fields and fields[0][0] != TBS_VERSION:
        fields.insert(0, b"")  # version 1 is not encoded
    if len(fields) < 7:
        raise ValueError("it has too few fields")
    return fields


def signed_part(der: bytes) -> bytes:
    """
    Return the encoded TBSCertificate, over which the signature is made. Raises ValueError.
    """
    signed, *_ = elements(der)
    return signed


def signature_algorithm(der: bytes) -> bytes:
    """
    Return the algorithm of the signature as it is encoded beside it. Raises ValueError.
    """
    parts = elements(der)
    if len(parts) < 2:
        raise ValueError("it has too few parts")
    return parts[1]


def encoded_names(der: bytes) -> tuple[bytes, bytes]:
    """
    The issuer and the subject of a certificate as they are encoded. Raises ValueError.
    """
    fields = tbs_fields(der)
    return fields[3], fields[5]


def encoded_key(der: bytes) -> bytes:
    """
    The SubjectPublicKeyInfo of a certificate as it is encoded. Raises ValueError.
    """
    return tbs_fields(der)[6]


def public_key_bits(der: bytes) -> bytes:
    """
    The public key of a certificate without its algorithm, of which hashes are made. Raises ValueError.
    """
    _, bits, *_ = elements(encoded_key(der))
    # The first byte of a BIT STRING says how many bits of the last one do not count.
    return content(bits)[1:]


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


def extension(der: bytes, oid: bytes) -> bytes | None:
    """
    The first extension of a certificate in DER with that encoded object identifier. Raises ValueError.
    """
    for field in tbs_fields(der)[7:]:
        for found in elements(content(field)) if field[0] == TBS_EXTENSIONS else ():
            if elements(found)[:1] == [oid]:
                return found
    return None
