"""
Proxies for HTTP requests: a target's own, or those of the environment (`HTTPS_PROXY`, `NO_PROXY`).
"""

import base64
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from exporter.model.foreign_text import credentials


@dataclass(frozen=True, slots=True)
class WebProxy:
    """
    A proxy for HTTP requests. `repr()` has no secret in it.
    """

    url: str
    """The URL without the credentials."""
    authorization: str | None = field(default=None, repr=False)
    """The value of the Proxy-Authorization header; None when the proxy wants none."""
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """The secrets that are sent to the proxy."""

    def options(self, url: str) -> dict[str, Any]:
        """
        Return the arguments of an HTTP request that lead it through this proxy.
        """
        options: dict[str, Any] = {"proxy": self.url}
        if self.authorization is not None:
            # To a proxy that is not asked to connect through, it is a header of the request itself.
            key = "proxy_headers" if url.startswith("https:") else "headers"
            options[key] = {"Proxy-Authorization": self.authorization}
        return options


def web_proxy(url: str, user_and_password: str | None) -> WebProxy:
    """
    Return a proxy by its URL, and the `user:password` that it wants (RFC 7617).
    """
    if user_and_password is None:
        return WebProxy(url)
    encoded = base64.b64encode(user_and_password.encode()).decode("ascii")
    return WebProxy(url, f"Basic {encoded}", credentials(user_and_password))


def environment_proxy(url: str) -> WebProxy | None:
    """
    Return the proxy that the environment names for a URL (`http_proxy`, `https_proxy`, `no_proxy`); None for
    none.
    """
    parts = urlsplit(url)
    named = getproxies().get(parts.scheme)
    if not named or proxy_bypass(parts.netloc.rpartition("@")[2]):
        return None
    proxy = urlsplit(named if "://" in named else f"http://{named}")
    # aiohttp supports only proxies without TLS, and raises an error for SOCKS itself.
    if proxy.scheme == "https" or not proxy.hostname:
        return None
    place = f"{proxy.scheme}://{proxy.netloc.rpartition('@')[2]}"
    if proxy.username is None:
        return web_proxy(place, None)
    return web_proxy(place, f"{unquote(proxy.username)}:{unquote(proxy.password or '')}")
