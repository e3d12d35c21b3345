"""
Schemes of target URLs: the prober of each, its usual port, and the form of the URL behind it.
"""

from dataclasses import dataclass
from enum import Enum

from exporter.model.probers import (
    DNS,
    DOMAIN,
    DTLS,
    FILE,
    HTTP_DOCUMENT,
    HTTPS_DOCUMENT,
    KUBERNETES,
    QUIC,
    WIRE,
    Prober,
)


class Form(Enum):
    """
    The form of a URL, by its scheme.
    """

    HOST = "scheme://host:port"
    WEB = "scheme://host:port/path?query"
    NAME = "scheme:name"
    PATH = "scheme:///path"
    RESOURCE = "scheme://path"
    """A path that does not begin at the root: names between slashes."""


@dataclass(frozen=True, slots=True)
class Scheme:
    """
    One scheme: the prober of its targets, and the rules for the URL behind it.
    """

    prober: Prober
    default_port: int | None = None
    """The port when the URL names none; None: it must name one."""
    form: Form = Form.HOST
    alpn: str = ""
    """
    The protocol that a handshake offers (RFC 7301); empty: none.

    Where one port serves several protocols, it decides who answers, with which certificate. It is left out of
    protocols whose servers do the same without it.
    """
    dialogue: bool = False
    """TLS begins after a dialogue, in which some servers keep strangers waiting on purpose."""


SCHEMES: dict[str, Scheme] = {
    "https": Scheme(WIRE, 443),
    "tls": Scheme(WIRE),
    "dtls": Scheme(DTLS),
    "smtp": Scheme(WIRE, 25, dialogue=True),
    "submission": Scheme(WIRE, 587, dialogue=True),
    "smtps": Scheme(WIRE, 465),
    "lmtp": Scheme(WIRE, 24, dialogue=True),
    "imap": Scheme(WIRE, 143, dialogue=True),
    "imaps": Scheme(WIRE, 993),
    "pop3": Scheme(WIRE, 110, dialogue=True),
    "pop3s": Scheme(WIRE, 995),
    "sieve": Scheme(WIRE, 4190, dialogue=True),
    "ftp": Scheme(WIRE, 21, dialogue=True),
    "ftps": Scheme(WIRE, 990),
    "ldap": Scheme(WIRE, 389, dialogue=True),
    "ldaps": Scheme(WIRE, 636),
    "xmpp": Scheme(WIRE, 5222, dialogue=True),
    # XEP-0368 section 3: a server may share port 443 with a web server.
    "xmpps": Scheme(WIRE, 5223, alpn="xmpp-client"),
    "xmpp-server": Scheme(WIRE, 5269, dialogue=True),
    "xmpps-server": Scheme(WIRE, 5270, alpn="xmpp-server"),
    "postgres": Scheme(WIRE, 5432, dialogue=True),
    "mysql": Scheme(WIRE, 3306, dialogue=True),
    "mssql": Scheme(WIRE, 1433, dialogue=True),
    # TDS 8, which drivers call `Encrypt=strict`.
    "mssqls": Scheme(WIRE, 1433, alpn="tds/8.0"),
    "rediss": Scheme(WIRE, 6379),
    "mongodb": Scheme(WIRE, 27017),
    "amqps": Scheme(WIRE, 5671),
    "nntp": Scheme(WIRE, 119, dialogue=True),
    "nntps": Scheme(WIRE, 563),
    "irc": Scheme(WIRE, 6667, dialogue=True),
    "ircs": Scheme(WIRE, 6697),
    "rdp": Scheme(WIRE, 3389, dialogue=True),
    # Servers with DNS over HTTPS on the same port tell the two apart by it; zone transfers need it (RFC 9103
    # section 7.1).
    "dot": Scheme(WIRE, 853, alpn="dot"),
    "quic": Scheme(QUIC, 443),
    "h3": Scheme(QUIC, 443),
    "domain": Scheme(DOMAIN, form=Form.NAME),
    "dns": Scheme(DNS, form=Form.NAME),
    "file": Scheme(FILE, form=Form.PATH),
    "pem+https": Scheme(HTTPS_DOCUMENT, 443, form=Form.WEB),
    "pem+http": Scheme(HTTP_DOCUMENT, 80, form=Form.WEB),
    "jwks+https": Scheme(HTTPS_DOCUMENT, 443, form=Form.WEB),
    "kubernetes": Scheme(KUBERNETES, form=Form.RESOURCE),
}
"""Schemes that can be probed."""


ALL_SCHEMES = "`expiry-exporter check --help` lists every scheme"
"""Where a person finds every scheme, for messages: they are too many for one."""
