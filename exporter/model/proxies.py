"""
Proxies on the way to a target, and their URLs.
"""

from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

from exporter.model.hosts import IPAddress, TargetError, join_host_port, normal_host, parse_ip


@dataclass(frozen=True, slots=True)
class Proxy:
    """
    A proxy on the way to a target. `str()` has no secret in it.
    """

    scheme: Literal["http", "socks5"]
    host: str
    port: int
    credentials: str | None = field(default=None, repr=False)
    """`user:password`; None when it wants none."""

    @property
    def ip(self) -> IPAddress | None:
        """
        The host as an address; None when it is a name.
        """
        return parse_ip(self.host)

    def __str__(self) -> str:
        """
        The URL of the proxy as a configuration has it.
        """
        return f"{self.scheme}://{join_host_port(self.host, self.port)}"


PROXY_PORTS: dict[str, int] = {"http": 3128, "socks5": 1080}
"""Schemes of proxies, with the port when the URL names none."""


def parse_proxy(text: str) -> Proxy:
    """
    Parse the URL of a proxy, without credentials. Raises TargetError with a message that does not repeat the
    URL.
    """
    form = "write http://HOST:PORT or socks5://HOST:PORT"
    if "@" in text:
        raise TargetError(
            "a proxy's URL must not contain a user or a password: use credentials_file or credentials_env"
        )
    try:
        parts = urlsplit(text.strip())
        port = parts.port
    except ValueError:
        raise TargetError(f"this is not a URL: {form}") from None
    if parts.scheme not in PROXY_PORTS or not parts.hostname:
        raise TargetError(f"a proxy is reached by HTTP (CONNECT) or SOCKS5: {form}")
    if parts.path not in {"", "/"} or parts.query or parts.fragment or port == 0:
        raise TargetError(f"a proxy's URL has a host and a port only: {form}")
    scheme: Literal["http", "socks5"] = "http" if parts.scheme == "http" else "socks5"
    return Proxy(scheme, normal_host(parts.hostname), port or PROXY_PORTS[scheme])
