"""
Why strict clients refuse the encoding of a certificate that others read. Pure.
"""

from OpenSSL import crypto

from exporter.pki.ber import INTEGER, as_der, bounds
from exporter.pki.fields import TBS_EXTENSIONS, TBS_VERSION, VERSION_3

_VERSIONS = (b"", *(bytes((TBS_VERSION, 3, INTEGER, 1, number)) for number in range(3)))


def of_encoding(der: bytes, plain: bytes) -> list[str]:
    """
    Return the reasons why strict clients refuse the encoding of a mended certificate. `plain` is the same in
    DER.

    The order of the parts of a name is none: OpenSSL, GnuTLS, Go and Java ignore it.
    """
    _, _, end = bounds(der, 0)
    found = []
    if end < len(der):
        found.append(f"{len(der) - end} bytes follow it")
    if plain != der[:end] and as_der(der, ordered=False) != der[:end]:
        found.append("it is not DER (lengths, numbers or strings are in a form that DER forbids)")
    return found


def of_openssl(der: bytes) -> str:
    """
    Return the reason why OpenSSL can't read a certificate (a name that is no text); empty when it can.
    """
    try:
        crypto.load_certificate(crypto.FILETYPE_ASN1, der)
    except crypto.Error as error:
        words = [why for *_, why in error.args[0]]
        return f"OpenSSL can't read it ({', '.join(words[:1])})"
    return ""


def of_version(fields: list[bytes]) -> str:
    """
    Return the reason why strict clients (GnuTLS, Java, browsers) refuse the version of a certificate; empty
    when they do not.
    """
    has_extensions = any(field[0] == TBS_EXTENSIONS for field in fields[7:])
    if fields[0] == VERSION_3 or (fields[0] in _VERSIONS and not has_extensions):
        return ""
    return "its version is not 3, and the rest of it is"


def of_algorithms(parts: list[bytes], fields: list[bytes]) -> str:
    """
    Return the reason why clients refuse a certificate that names two algorithms for its one signature (RFC
    5280 section 4.1.1.2); empty when it does not. `parts` and `fields` are those of `fields_of`.
    """
    if fields[2] == parts[1]:
        return ""
    return "it names one algorithm for its signature, and another beside it"
