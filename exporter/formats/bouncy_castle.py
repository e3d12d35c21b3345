"""
Keystores of Bouncy Castle, by name: BKS and UBER. Pure.

They are told apart from damage, and not read: UBER is encrypted as a whole (Twofish).
"""

from exporter.formats.parsed import Findings, Format, ParseContext, Parsed

_HEADS = {version.to_bytes(4) + (20).to_bytes(4) for version in (0, 1, 2)}
"""Version of the format and length of the salt; behind these come the salt and a count of rounds."""


def recognises(data: bytes) -> bool:
    """
    True when the bytes begin with the version, a salt, and a count of rounds below 65,536.
    """
    return data[:8] in _HEADS and data[28:30] == b"\0\0" and len(data) > 32


def read(_data: bytes, given: ParseContext) -> Parsed:
    """
    What it is, and what to do.
    """
    findings = Findings(given.budget)
    findings.unsupported(
        "this is a keystore of Bouncy Castle (BKS or UBER), which is not supported: "
        "keytool -importkeystore makes a PKCS12 of it, which is"
    )
    return findings.parsed()


FORMAT = Format("Bouncy Castle keystore", recognises, read)
