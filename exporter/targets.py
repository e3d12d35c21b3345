"""
Targets: what the user configured, as values. Pure; the YAML around them is read in `config`.
"""

import ipaddress
import re
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

import idna

from exporter.policies import AUTOMATIC, Policy

DEFAULT_PORTS: dict[str, int | None] = {"https": 443, "tls": None}
"""Schemes that can be probed, with the port each has when the URL names none (None: it must name one)."""

ADDRESS_LIMIT = 16
"""How many addresses of one name are probed at most."""

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

_BRACKETS = re.compile(r"\[[^\[\]]+\](:[0-9]*)?")
_HOST_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")


class TargetError(ValueError):
    """
    A URL that can't be a target. The message says what is wrong and what would be right.
    """


@dataclass(frozen=True, slots=True)
class Url:
    """
    A target's URL in its parts.
    """

    text: str
    """As the user wrote it, stripped."""
    scheme: str
    host: str
    """Lower-case A-labels, or an IP address without brackets."""
    port: int
    ip: IPAddress | None
    """The host as an address; None when it is a name."""

    @property
    def authority(self) -> str:
        """
        `host:port`, the host in brackets when it is an IPv6 address.
        """
        return join_host_port(self.host, self.port)


@dataclass(frozen=True, slots=True)
class Target:
    """
    One configured target. Two targets never share a name.
    """

    url: Url
    name: str
    policy: Policy = AUTOMATIC
    labels: tuple[tuple[str, str], ...] = ()
    """The user's labels, sorted by name; exported on `expiry_target_info` only."""
    timeout: float = 5.0
    """Seconds that one look at one endpoint may take, after the name was resolved."""
    server_name: str | None = None
    """Name to send as SNI and to verify instead of the URL's host; None: the host."""
    ca_file: str | None = None
    """PEM file of trust anchors to judge by; None: the system's trust store."""
    client_certificate_file: str | None = None
    client_key_file: str | None = None
    """None: the key is in the certificate's file."""
    client_key_password: str | None = field(default=None, repr=False)
    address_family: Literal["any", "ipv4", "ipv6"] = "any"
    addresses: Literal["all", "first"] = "all"
    keys: Literal["any", "both"] = "any"
    """`both`: ask the server for its RSA and for its ECDSA certificate."""

    @property
    def expected_name(self) -> str:
        """
        The name or address that the server's certificate must be good for.
        """
        return self.server_name or self.url.host

    @property
    def sni(self) -> str | None:
        """
        The name sent as SNI (RFC 6066 section 3: never an IP address); None when there is none.
        """
        name = self.server_name or self.url.host
        return None if parse_ip(name) is not None else name


def parse_url(text: str) -> Url:
    """
    The parts of a target's URL. Raises TargetError with a message for the person who wrote it.
    """
    text = text.strip()
    # First, because every other message shows the text, and this one may hold a password.
    if "@" in text:
        raise TargetError("a target's URL must not contain a user name or a password, so no '@'")
    # urlsplit would drop tabs and line ends without a word.
    if not text.isprintable() or " " in text:
        raise TargetError(f"{text!r} is not a URL: it has a space or an unprintable character in it")
    scheme, separator, _ = text.partition("://")
    scheme = scheme.lower()
    known = ", ".join(f"{name}://" for name in sorted(DEFAULT_PORTS))
    if not separator:
        raise TargetError(f"{text!r} has no scheme: write https://{text}, or one of {known}")
    if scheme not in DEFAULT_PORTS:
        raise TargetError(f"scheme {scheme!r} is not known: use one of {known}")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise TargetError(f"{text!r} is not a URL: {error}") from None
    if not parts.hostname:
        raise TargetError(f"{text!r} names no host")
    if parts.path not in {"", "/"} or parts.query or parts.fragment:
        raise TargetError(
            f"{scheme}:// takes a host and a port only: remove what follows {parts.netloc!r} in the URL"
        )
    port = DEFAULT_PORTS[scheme] if port is None else port
    if port is None:
        raise TargetError(f"{text!r} names no port: write {text.rstrip(':/')}:PORT")
    if port == 0:
        raise TargetError("port 0 can't be connected to: ports are 1 to 65535")
    # RFC 6874 section 2: in a URL the '%' before an address's zone is written %25.
    host = normal_host(parts.hostname.replace("%25", "%", 1))
    if "[" in parts.netloc and not (":" in host and _BRACKETS.fullmatch(parts.netloc)):
        raise TargetError(f"{text!r} is not a URL: only an IPv6 address stands in brackets")
    return Url(text, scheme, host, port, parse_ip(host))


def normal_host(host: str) -> str:
    """
    A host name as lower-case A-labels without a final dot (RFC 5891), or an IP address in its usual form.

    Raises TargetError when it is neither.
    """
    name = host.removesuffix(".")
    try:
        if not name.isascii():
            name = idna.encode(name, uts46=True).decode("ascii")
    except idna.IDNAError as error:
        raise TargetError(f"{host!r} is not an internationalised domain name: {error}") from None
    ip = parse_ip(name)
    if ip is not None:
        return str(ip)
    if len(name) > 253 or not all(_HOST_LABEL.fullmatch(label) for label in name.split(".")):
        raise TargetError(f"{host!r} is not a host name")
    # No top-level domain is a number (RFC 3696 section 2), but a resolver may read 10.1 as 10.0.0.1.
    if name.rpartition(".")[2].isdigit():
        raise TargetError(f"{host!r} is neither a host name nor a complete IPv4 address")
    return name.lower()


def parse_ip(host: str) -> IPAddress | None:
    """
    The host as an IP address, or None when it is not one.
    """
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def join_host_port(host: str, port: int) -> str:
    """
    `host:port`, with brackets around an IPv6 address (RFC 3986 section 3.2.2).
    """
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
