"""
The parts of a certificate as they are encoded (RFC 5280 section 4.1). Pure.

Signatures and hashes are made over them, and extensions are read that no library tells whole.
"""

from exporter.pki.ber import INTEGER, content, elements

# Tags of RFC 5280 sections 4.1 and 4.2.1.6.
TBS_VERSION = 0xA0


TBS_EXTENSIONS = 0xA3


DNS_NAME = 0x82


VERSION_3 = bytes((TBS_VERSION, 3, INTEGER, 1, 2))


def tbs_fields(der: bytes) -> list[bytes]:
    """
    Return the encoded fields of a TBSCertificate (RFC 5280 section 4.1), version first. Raises ValueError.
    """
    return fields_of(elements(der))


def fields_of(parts: list[bytes]) -> list[bytes]:
    """
    Return the fields, as `tbs_fields` does, by the parts of a certificate: the TBSCertificate is the first.

    Raises ValueError.
    """
    fields = elements(parts[0]) if parts else []
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


def extension(der: bytes, oid: bytes) -> bytes | None:
    """
    The first extension of a certificate in DER with that encoded object identifier. Raises ValueError.
    """
    for field in tbs_fields(der)[7:]:
        for found in elements(content(field)) if field[0] == TBS_EXTENSIONS else ():
            if elements(found)[:1] == [oid]:
                return found
    return None
