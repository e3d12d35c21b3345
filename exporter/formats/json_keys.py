"""
JSON Web Key Sets (RFC 7517): the certificates that keys carry (`x5c`), as in SPIFFE trust bundles. Pure.
"""

import base64
import binascii
import json
from typing import TYPE_CHECKING, Any

from exporter.certificates import CertificateError, certificate
from exporter.formats.parsed import Findings, Format, Given, Parsed

if TYPE_CHECKING:
    from exporter.observation import Certificate

KEY_LIMIT = 5000
"""Keys that are read of one set."""


def recognises(data: bytes) -> bool:
    """
    True for a JSON object with a list of keys, or one key alone.
    """
    return data.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"{" and (b'"keys"' in data or b'"x5c"' in data)


def read(data: bytes, _given: Given) -> Parsed:
    """
    The certificates of each key, under the key's identifier (`kid`), or `key-N` where it has none.
    """
    findings = Findings()
    try:
        document = json.loads(data.decode("utf-8-sig"))
    # RecursionError: nested deeper than Python goes.
    except (ValueError, RecursionError) as error:
        words = str(error) if not isinstance(error, RecursionError) else "it is nested too deep"
        findings.broken(f"this is not JSON: {words}")
        return findings.parsed()
    keys = document.get("keys", [document] if "x5c" in document else None)
    if not isinstance(keys, list):
        findings.broken("the member `keys` is not a list")
        return findings.parsed()
    for number, key in enumerate(keys[:KEY_LIMIT], 1):
        if not isinstance(key, dict):
            findings.broken(f"key {number} is not an object")
            continue
        _read_key(key, number, findings)
    return findings.parsed()


def _read_key(key: dict[str, Any], number: int, findings: Findings) -> None:
    name = key.get("kid")
    name = name if isinstance(name, str) and name else f"key-{number}"
    encoded = key.get("x5c")
    if encoded is None:
        findings.lasting["a key without a certificate"] = None
        return
    chain: list[Certificate] = []
    for position, text in enumerate(encoded if isinstance(encoded, list) else [None], 1):
        try:
            if not isinstance(text, str):
                raise CertificateError("x5c is not a list of texts")  # noqa: TRY301 - told as the others are
            chain.append(certificate(base64.b64decode("".join(text.split()), validate=True)))
        except (CertificateError, binascii.Error, ValueError) as error:
            findings.broken(f"certificate {position} of key {name[:64]!r}: {error}")
            if position == 1:
                # Without its first certificate the rest of the key would pass for something else.
                return
    if chain:
        findings.add_entry(name, chain)


FORMAT = Format("JSON Web Key Set", recognises, read)
