"""
Certificates encoded again, without the parts that `cryptography` can't parse. Pure.
"""

import re
from functools import lru_cache
from hashlib import sha256

from cryptography import x509

from exporter.pki.ber import (
    BMP_STRING,
    OCTET_STRING,
    SEQUENCE,
    SET,
    UNIVERSAL_STRING,
    UTF8_STRING,
    as_der,
    content,
    elements,
    encode,
)
from exporter.pki.fields import DNS_NAME, TBS_EXTENSIONS, VERSION_3, tbs_fields
from exporter.pki.times import SOME_TIME

NAME_LIMIT = 16 * 1024
"""Bytes of an encoded name that is read; authorities issue for some hundred. A certificate of a hundred
kilobytes has room for 8,000 parts of a name, and each takes some ten microseconds."""


_COMMON_NAME = bytes.fromhex("0603550403")


_IP_ADDRESS = 0x87


_UNKNOWN_KEY = bytes.fromhex("3009300406026900030100")  # object identifier 2.25.0, no bits


_ENCODINGS = {UTF8_STRING: "utf-8", BMP_STRING: "utf-16-be", UNIVERSAL_STRING: "utf-32-be"}


_SUBJECT_ALTERNATIVE_NAME = bytes.fromhex("0603551d11")


def _mended(
    der: bytes,
    extensions: tuple[bytes, ...] | None,
    *,
    bare_signature: bool = False,
    unknown_key: bool = False,
) -> bytes:
    """
    Return a certificate, given in DER, encoded again: as version 3, names as UTF-8, with the first extension
    of each type in `extensions`, and with arbitrary dates.

    `extensions` are encoded object identifiers; None keeps the content of all extensions. `bare_signature`
    leaves out the parameters of the signature algorithm; `unknown_key` replaces the key by one of an
    algorithm that does not exist. The signature no longer matches, and is not verified. Raises ValueError for
    bytes that are no certificate.
    """
    _, algorithm, signature = elements(der)
    _, serial, _, issuer, _, subject, key, *optional = tbs_fields(der)
    validity = encode(SEQUENCE, [SOME_TIME, SOME_TIME])
    if bare_signature:
        algorithm = bare(algorithm)
    if unknown_key:
        key = _UNKNOWN_KEY
    tbs = [VERSION_3, serial, algorithm, mended_name(issuer), validity, mended_name(subject), key]
    present = next((field for field in optional if field[0] == TBS_EXTENSIONS), None)
    if present is not None and extensions is None:
        each = (encode(SEQUENCE, _with_known_type(elements(one))) for one in elements(content(present)))
        tbs.append(encode(TBS_EXTENSIONS, [encode(SEQUENCE, each)]))
    elif present is not None:
        kept = [found for oid in extensions or () if (found := _mended_extension(present, oid)) is not None]
        if kept:
            tbs.append(encode(TBS_EXTENSIONS, [encode(SEQUENCE, kept)]))
    return encode(SEQUENCE, [encode(SEQUENCE, tbs), algorithm, signature])


def only_with(der: bytes, oid: bytes) -> x509.Certificate:
    """
    Return the certificate without any extension but this one (an encoded object identifier).

    Where one can't be read, the library reads none. Raises ValueError, or what the library raises.
    """
    return x509.load_der_x509_certificate(_mended(der, (oid,)))


def bare(algorithm: bytes) -> bytes:
    """
    Return the algorithm without parameters: some issuers add forbidden ones. Raises ValueError.
    """
    return encode(SEQUENCE, _with_known_type(elements(algorithm)[:1]))


def _with_known_type(parts: list[bytes]) -> list[bytes]:
    """
    Return the parts, of which the first is an object identifier: that of nothing in place of one that the
    library does not read.
    """
    return [one if at or _OIDS.fullmatch(one) else _NO_OID for at, one in enumerate(parts)]


# At most 63 bytes, in which no number takes more than 128 bits: seven in each byte, two in the first of 19.
_OIDS = re.compile(
    rb"\x06[\x01-\x3f](?:(?:[\x81-\xff][\x80-\xff]{0,16}|[\x81-\x83][\x80-\xff]{17})?[\x00-\x7f])+"
)


_NO_OID = bytes.fromhex("06026900")  # 2.25.0


# A certificate has two, and is encoded again for each part of it that can't be read.
@lru_cache(maxsize=2)
def mended_name(name: bytes) -> bytes:
    """
    Return the name with every value as readable UTF-8, invalid bytes as U+FFFD. Raises ValueError.

    Duplicates in a part are left out, and so are empty parts. A name of more than NAME_LIMIT bytes is
    replaced by a common name with its length and half of its SHA-256 hash.
    """
    if len(name) > NAME_LIMIT:
        # Of at most 64 characters, as in RFC 5280 appendix A.
        text = f"a name of {len(name)} bytes ({sha256(name).hexdigest()[:32]})"
        attribute = encode(SEQUENCE, [_COMMON_NAME, encode(UTF8_STRING, [text.encode()])])
        return encode(SEQUENCE, [encode(SET, [attribute])])
    parts = [{_mended_attribute(attribute) for attribute in elements(part)} for part in elements(name)]
    return encode(SEQUENCE, [encode(SET, sorted(part)) for part in parts if part])


def _mended_attribute(attribute: bytes) -> bytes:
    """
    Return the type and value of a part of a name, the value as readable UTF-8. Raises ValueError.
    """
    oid, value = elements(attribute)  # any other number is a ValueError, too
    # Strings of the other tags are ASCII, or Latin-1 by custom.
    text = content(value).decode(_ENCODINGS.get(value[0], "latin-1"), "replace")
    return encode(SEQUENCE, _with_known_type([oid, encode(UTF8_STRING, [text.encode()])]))


def _mended_extension(present: bytes, oid: bytes) -> bytes | None:
    """
    Return the first of the extensions with that encoded object identifier; None when there is none.

    A subject alternative name keeps only the names that can be read, and the content of the others is encoded
    again as DER. Raises ValueError.
    """
    extension = next((one for one in elements(content(present)) if elements(one)[:1] == [oid]), None)
    if extension is None:
        return None
    value = content(elements(extension)[-1])
    if oid == _SUBJECT_ALTERNATIVE_NAME:
        inside = encode(SEQUENCE, [name for name in elements(value) if _usable_name(name)])
    else:
        inside = as_der(value)
    return encode(SEQUENCE, [oid, encode(OCTET_STRING, [inside])])


def _usable_name(name: bytes) -> bool:
    """
    Return True for a DNS name in ASCII and for an address of either kind. Raises ValueError.
    """
    inside = content(name)
    return inside.isascii() if name[0] == DNS_NAME else name[0] == _IP_ADDRESS and len(inside) in {4, 16}
