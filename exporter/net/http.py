"""
Downloads: one HTTP request for a look-up, with limits of time and size.

Proxies of the environment (`HTTPS_PROXY`, `NO_PROXY`) are used; `~/.netrc` is not, since strangers say where
to go. What they say is followed only to where they may send us: see `Gate`.
"""

import asyncio
import base64
import errno
import ipaddress
import socket
import ssl
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from exporter import __version__
from exporter.model.destinations import Range, host_range, is_this_host, range_of, refusal
from exporter.model.errors import ProbeError
from exporter.model.foreign_text import clean, credentials, holds
from exporter.model.reasons import Reason
from exporter.model.urls import IPAddress, parse_ip
from exporter.net.background import LookupFailedError
from exporter.net.resolver import RESOLVE_TIMEOUT, Resolver, has_route

TIMEOUT = 20.0
"""Seconds that a download may take. Nobody waits for it: it goes on in the background."""


REDIRECTS = 3
"""How often a server may send us elsewhere."""


REDIRECTING = frozenset({301, 302, 303, 307, 308})
"""Statuses of an answer that says where to go (RFC 9110 section 15.4)."""


KEEPING = frozenset({307, 308})
"""Those after which the same request is made again; after the others it is a GET."""


_CHUNK = 65536


URL_LIMIT = 300
"""Characters of a URL in a message."""


WORDS_LIMIT = 300
"""Characters of what a server, or the library, says in a message."""


class RefusedRedirectError(ValueError):
    """
    A redirect that is not followed. The message says why, for a person.
    """


class ForbiddenAddressError(ValueError):
    """
    A place that a stranger may not send us to. The message says why, for a person.
    """


class Names(AbstractResolver):
    """
    Looks names up for the HTTP library, in the threads and within the limits of all other look-ups.

    Its own way is asyncio's executor: a silent name server would hold that up, and with it the process's end.
    """

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """
        The addresses of a name, in the system's order of preference. Raises ProbeError.
        """
        found = await self._resolver.resolve(host, family, RESOLVE_TIMEOUT)
        return [
            ResolveResult(
                hostname=host,
                host=str(address),
                port=port,
                family=socket.AF_INET if address.version == 4 else socket.AF_INET6,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
            for address in [one for one in found if has_route(one)] or found
        ]

    async def close(self) -> None:
        """
        Nothing is open: the resolver is the process's.
        """


Judge = Callable[[IPAddress], str]
"""Why an address must not be connected to, in words; empty when it may be."""


class Gate:
    """
    Judges each address that the requests of one download connect to, after the name was resolved.

    What is judged is what is connected to, so no name server can say one thing now and another later. Through
    a proxy, which resolves names itself, only URLs with an address in them, and `localhost`, can be judged.
    """

    def __init__(self, judge: Judge | None = None, own: Collection[Range] | None = None) -> None:
        """
        `judge` is for the first place; None: the operator named it, so it may be anywhere. Where redirects
        may lead depends on where the stranger is himself: `own`; None: where the first request led.
        """
        self._judge = judge
        self._own = own
        self._reached: set[Range] = set()
        self._by_proxy = False
        self._refused = ""

    def session(self, resolver: Resolver) -> aiohttp.ClientSession:
        """
        A new session for these requests, to be closed by who asked for it.
        """
        return aiohttp.ClientSession(
            headers={"User-Agent": f"expiry-exporter/{__version__}"},
            connector=aiohttp.TCPConnector(socket_factory=self._socket, resolver=Names(resolver)),
        )

    def expect(self, url: str, *, by_proxy: bool) -> None:
        """
        Say where the next request goes. Raises ForbiddenAddressError when it is known that it may not.
        """
        self._by_proxy = by_proxy
        self._refused = ""
        if not by_proxy:
            return
        host = (urlsplit(url).hostname or "").partition("%")[0]
        address = ipaddress.IPv4Address("127.0.0.1") if is_this_host(host) else parse_ip(host)
        if self._judge is not None and address is not None and (why := self._judge(address)):
            raise ForbiddenAddressError(f"{shown(url)} leads to {why}")
        self._reached.add(host_range(host))

    def redirected(self) -> None:
        """
        From now on a stranger says where to go.
        """
        own = frozenset(self._reached if self._own is None else self._own)
        self._judge = lambda address: refusal(address, own)

    def refused(self, url: str) -> str:
        """
        Why the last request was not made, for a person; empty when that was for another reason.
        """
        return f"{shown(url)} leads to {self._refused}" if self._refused else ""

    def _socket(self, address: aiohttp.AddrInfoType) -> socket.socket:
        """
        The socket for this one address. Raises OSError when it must not be connected to.
        """
        family, kind, protocol, _, place = address
        if not self._by_proxy:
            ip = ipaddress.ip_address(str(place[0]))
            why = self._judge(ip) if self._judge is not None else ""
            if why:
                self._refused = why
                raise OSError(errno.EACCES, f"it leads to {why}")
            self._reached.add(range_of(ip))
        return socket.socket(family, kind, protocol)


@dataclass(frozen=True, slots=True)
class WebProxy:
    """
    A proxy for requests by HTTP. `repr()` has no secret in it.
    """

    url: str
    """Without the credentials."""
    authorization: str | None = field(default=None, repr=False)
    """The value of the header that proves who we are; None when it wants none."""
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """What it is told in confidence."""

    def options(self, url: str) -> dict[str, Any]:
        """
        The arguments of a request of the URL that lead it through this proxy.
        """
        options: dict[str, Any] = {"proxy": self.url}
        if self.authorization is not None:
            # To a proxy that is not asked to connect through, it is a header of the request itself.
            key = "proxy_headers" if url.startswith("https:") else "headers"
            options[key] = {"Proxy-Authorization": self.authorization}
        return options


def web_proxy(url: str, user_and_password: str | None) -> WebProxy:
    """
    A proxy by its URL, and the `user:password` that it wants (RFC 7617).
    """
    if user_and_password is None:
        return WebProxy(url)
    encoded = base64.b64encode(user_and_password.encode()).decode("ascii")
    return WebProxy(url, f"Basic {encoded}", credentials(user_and_password))


def environment_proxy(url: str) -> WebProxy | None:
    """
    The proxy that the environment names for a URL (`http_proxy`, `https_proxy`, `no_proxy`); None for none.
    """
    parts = urlsplit(url)
    named = getproxies().get(parts.scheme)
    if not named or proxy_bypass(parts.netloc.rpartition("@")[2]):
        return None
    proxy = urlsplit(named if "://" in named else f"http://{named}")
    # aiohttp speaks to proxies without TLS only, and says so of SOCKS.
    if proxy.scheme == "https" or not proxy.hostname:
        return None
    place = f"{proxy.scheme}://{proxy.netloc.rpartition('@')[2]}"
    if proxy.username is None:
        return web_proxy(place, None)
    return web_proxy(place, f"{unquote(proxy.username)}:{unquote(proxy.password or '')}")


@dataclass(frozen=True, slots=True)
class Downloaded:
    """
    What a server answered.
    """

    status: int
    body: bytes
    retry_after: str | None
    """The header of that name as it was sent; None when there was none."""
    headers: Mapping[str, str]
    """All headers; names in any case."""


async def download(
    resolver: Resolver,
    url: str,
    limit: int,
    *,
    timeout: float = TIMEOUT,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    trust: ssl.SSLContext | None = None,
    own: Collection[Range] | None = None,
) -> Downloaded:
    """
    The answer to a GET of this URL, or to a POST of the body, whatever its status. Raises LookupFailedError.

    An answer of more than `limit` bytes is a failure, found before more than that was kept. `trust` says by
    which authorities the server is verified; None: by the system's. Redirects are followed, but none from
    HTTPS to HTTP. `own`: a stranger says this URL, who is found at addresses of these ranges, and it leads
    nowhere else but to public ones; None: the operator, or IANA, says it, and only redirects are judged.
    """
    gate = Gate(None if own is None else lambda address: refusal(address, own), own)
    secrets: tuple[str, ...] = ()
    at = url
    try:
        async with (
            asyncio.timeout(timeout),
            # One for each request: they are few, and a kept one would have to be closed in time.
            gate.session(resolver) as session,
        ):
            for _ in range(REDIRECTS + 1):
                proxy = environment_proxy(at)
                options = proxy.options(at) if proxy is not None else {}
                secrets = proxy.secrets if proxy is not None else ()
                gate.expect(at, by_proxy=proxy is not None)
                async with session.request(
                    "GET" if body is None else "POST",
                    at,
                    data=body,
                    allow_redirects=False,
                    ssl=True if trust is None else trust,
                    **{**options, "headers": {**(headers or {}), **options.get("headers", {})}},
                ) as answer:
                    if answer.status not in REDIRECTING:
                        content = await _read(answer, limit)
                        retry_after = answer.headers.get("Retry-After")
                        return Downloaded(answer.status, content, retry_after, answer.headers)
                    at = destination(at, answer.headers.get("Location", ""), secrets)
                    gate.redirected()
                    if answer.status not in KEEPING:
                        # RFC 9110 section 15.4.4: what is there is to be got, as every client does.
                        body = None
    except RefusedRedirectError as error:
        raise LookupFailedError(Reason.HTTP_FAILED, str(error)) from None
    except ProbeError as error:
        raise LookupFailedError(error.reason, f"{shown(at)}: {error.detail}") from None
    except ForbiddenAddressError as error:
        raise LookupFailedError(Reason.HTTP_FAILED, not_followed(str(error), redirected=at != url)) from None
    except TimeoutError:
        raise LookupFailedError(Reason.TIMEOUT, f"{shown(url)} did not answer in {timeout:g} s") from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        if why := gate.refused(at):
            raise LookupFailedError(Reason.HTTP_FAILED, not_followed(why, redirected=at != url)) from None
        words = f"{shown(url)} can't be got: {error_words(error, secrets)}"
        raise LookupFailedError(Reason.HTTP_FAILED, words) from None
    words = f"{shown(url)} was reached over more than {REDIRECTS} redirects"
    raise LookupFailedError(Reason.HTTP_FAILED, words)


def not_followed(why: str, *, redirected: bool) -> str:
    """
    The sentence for a place that a stranger may not send us to, and what to do about it.
    """
    begin = "a redirect is not followed" if redirected else "it is not asked"
    return f"{begin}: {why}, and who says so is not found there himself"


def error_words(error: Exception, secrets: tuple[str, ...] = ()) -> str:
    """
    The library's words for an error, which may repeat what the server said.
    """
    if isinstance(error, aiohttp.ClientResponseError):
        # Its own words have the URL with its query in them.
        return clean(f"{error.status} {error.message}", WORDS_LIMIT, secrets)
    return clean(str(error), WORDS_LIMIT, secrets) or type(error).__name__


def destination(url: str, location: str, secrets: tuple[str, ...] = ()) -> str:
    """
    Where a redirect from this URL leads. Raises RefusedRedirectError when it is not to be followed.

    What came by HTTPS must not go on without it: then anybody on the way could say what is answered. Nor is
    one followed that repeats the secrets that the server, or the proxy, was told: they would go further.
    """
    try:
        to = urljoin(url, location)
        scheme, has_host = urlsplit(to).scheme, bool(urlsplit(to).hostname)
    except ValueError:
        scheme, has_host = "", False
    if scheme == "http" and has_host and urlsplit(url).scheme == "https":
        where = shown(to, secrets)
        why = f"it leads from HTTPS to plain HTTP, {where}, where anybody could change what is answered"
    elif not location or scheme not in {"http", "https"} or not has_host:
        why = "it leads to no web page"
    elif holds(to, secrets):
        why = "it repeats the credentials of the proxy"
    else:
        return to
    raise RefusedRedirectError(f"{shown(url)} answers with a redirect, which is not followed: {why}")


def shown(url: str, secrets: tuple[str, ...] = ()) -> str:
    """
    A URL for messages: bounded, and without its query and user, which may be secrets of whoever made it.
    """
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return "something that is no URL"
    return clean(f"{parts.scheme}://{host}{parts.path}{'?...' if parts.query else ''}", URL_LIMIT, secrets)


async def _read(answer: aiohttp.ClientResponse, limit: int) -> bytes:
    """
    The body, as long as it is within the limit. Raises LookupFailedError.
    """
    content = bytearray()
    async for chunk in answer.content.iter_chunked(_CHUNK):
        content += chunk
        if len(content) > limit:
            raise LookupFailedError(
                Reason.FILE_TOO_LARGE, f"what {shown(str(answer.url))} answers has more than {limit:,} bytes"
            )
    return bytes(content)
