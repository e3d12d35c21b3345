"""
Probers: each kind of probe, with the keys that its targets may have. `probes.PROBERS` has the code of each.
"""

from dataclasses import dataclass
from typing import Literal

Setting = Literal[
    "server_name",
    "ca_file",
    "client_certificate",
    "password_file",
    "password_env",
    "address_family",
    "addresses",
    "keys",
    "proxy",
    "proxy_protocol",
    "crl",
    "ocsp",
    "renewal_information",
    "dns_checks",
    "dns_servers",
    "kubernetes",
]
"""Keys of a target that not every prober uses. The others are for all."""


@dataclass(frozen=True, slots=True)
class Prober:
    """
    One kind of probe: its name, and the keys that its targets may have.
    """

    name: str
    """The `prober` label of `expiry_target_info`."""
    settings: frozenset[Setting]
    is_public: bool
    """
    True when it sees only what anybody can see: then `/probe` permits it without an entry in `probe.allow`.
    """


_TLS: frozenset[Setting] = frozenset(
    {
        *("server_name", "ca_file", "client_certificate", "address_family", "addresses", "keys"),
        # With QUIC and DTLS each probe fails and says so.
        "proxy",
        *("crl", "ocsp", "renewal_information", "dns_checks", "dns_servers"),
    }
)


_STORED: frozenset[Setting] = frozenset({"password_file", "password_env", "renewal_information"})


_NAMES: frozenset[Setting] = frozenset({"address_family", "dns_servers"})


WIRE = Prober("wire", _TLS | {"proxy_protocol"}, is_public=True)
DTLS = Prober("dtls", _TLS, is_public=True)
QUIC = Prober("quic", _TLS - {"keys"}, is_public=True)
DOMAIN = Prober("domain", _NAMES, is_public=True)
DNS = Prober("dns", _NAMES, is_public=True)
FILE = Prober("file", _STORED, is_public=False)
HTTP_DOCUMENT = Prober("url", _STORED | {"proxy"}, is_public=False)
HTTPS_DOCUMENT = Prober("url", HTTP_DOCUMENT.settings | {"ca_file", "client_certificate"}, is_public=False)
KUBERNETES = Prober("kubernetes", _STORED | {"kubernetes"}, is_public=False)
