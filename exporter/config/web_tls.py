"""
The TLS of the port, as a web configuration describes it.
"""

import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

ClientAuth = Literal[
    "NoClientCert",
    "RequestClientCert",
    "RequireAnyClientCert",
    "RequireClientCert",
    "VerifyClientCertIfGiven",
    "RequireAndVerifyClientCert",
]
"""If a client's certificate is asked for, needed and verified. `RequireClientCert` is the old name of
`RequireAnyClientCert`."""


ANY = ("RequireAnyClientCert", "RequireClientCert")


UNVERIFIED = ("RequestClientCert", *ANY)


VERIFIED: Mapping[str, ssl.VerifyMode] = MappingProxyType(
    {"VerifyClientCertIfGiven": ssl.CERT_OPTIONAL, "RequireAndVerifyClientCert": ssl.CERT_REQUIRED}
)


@dataclass(frozen=True, slots=True)
class TlsChoice:
    """
    The certificate, key and settings that a context is made from.
    """

    certificate: bytes
    """The certificate, with those above it, in PEM."""
    key: bytes
    authorities: bytes | None
    """CAs of clients' certificates, in PEM; None: those of the system."""
    client_auth: ClientAuth
    versions: tuple[ssl.TLSVersion, ssl.TLSVersion]
    """The lowest and the highest."""
    ciphers: str
    """Cipher suites up to TLS 1.2, as OpenSSL writes a list; empty: its own."""
    prefers_server: bool
    """True where the order of the suites is the server's."""
    curves: Sequence[str]
    """OpenSSL's names, in the order in which they are preferred; empty: its own."""


class TlsError(Exception):
    """
    No context can be made. The message says of what, and why.
    """
