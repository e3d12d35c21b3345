"""
Keystores of Bouncy Castle, BKS and UBER: recognised and reported, not parsed. Pure.

UBER is encrypted as a whole (Twofish).
"""

from exporter.formats.parsed import Findings, Format, ParseContext, Parsed

_HEADS = {version.to_bytes(4) + (20).to_bytes(4) for version in (0, 1, 2)}
"""Version of the format and length of the salt; behind these come the salt and a count of rounds."""


def recognises(data: bytes) -> bool:
    """
    Return True when the bytes begin with the version, a salt, and a count of rounds below 65,536.
    """
    return data[:8] in _HEADS and data[28:30] == b"\0\0" and len(data) >= 53


def read(data: bytes, given: ParseContext) -> Parsed:
    """
    Return no items, and a problem that names the keystore's type and how to convert it.
    """
    # BKS is readable from here on: the type of the first entry (1 to 4) and its alias with a length of two
    # bytes, or the end (0) and a hash of 20 bytes.
    is_plain = (data[33] == 0 and 1 <= data[32] <= 4) or (data[32] == 0 and len(data) == 53)
    kind = f"BKS version {data[3]}" if is_plain else "UBER"
    findings = Findings(given.budget)
    findings.unsupported(
        f"this is a keystore of Bouncy Castle ({kind}), which is not supported: "
        "keytool -importkeystore makes a PKCS12 of it, which is"
    )
    return findings.parsed()


FORMAT = Format("Bouncy Castle keystore", recognises, read)
