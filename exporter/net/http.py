"""
Downloads: one HTTP request, its redirects followed, with limits of time and size, and reasons for failures.

`~/.netrc` is not used, since strangers say where to go. What they say is followed only to where they may send
us: see `Gate`.
"""

import asyncio
import errno
import ipaddress
import socket
import ssl
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from exporter import __version__
from exporter.model.destinations import Range, host_range, is_this_host, range_of, refusal
from exporter.model.errors import ProbeError
from exporter.model.foreign_text import clean, holds
from exporter.model.reasons import Reason
from exporter.model.urls import IPAddress, parse_ip
from exporter.net.connection import connect_error
from exporter.net.resolver import RESOLVE_TIMEOUT, Resolver, has_route
from exporter.net.web_proxies import WebProxy, environment_proxy

TIMEOUT = 20.0
"""Seconds that a download may take. Nobody waits for it: it goes on in the background."""


REDIRECTS = 3
"""How often a server may send us elsewhere."""


REDIRECTING = frozenset({301, 302, 303, 307, 308})
"""Statuses of an answer that says where to go (RFC 9110 section 15.4)."""


KEEPING = frozenset({307, 308})
"""Those after which the same request is made again; after the others it is a GET."""


ERROR_LIMIT = 65536
"""Bytes that are kept of an answer whose status is not 200: it says what is wrong, in its first lines."""


_CHUNK = 65536


URL_LIMIT = 300
"""Characters of a URL in a message."""


WORDS_LIMIT = 300
"""Characters of what a server, or the library, says in a message."""


class TooLargeError(Exception):
    """
    An answer has more bytes than the limit.
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

    def expect(self, url: str, *, by_proxy: bool) -> None:
        """
        Say where the next request goes. Raises OSError when it is known that it may not.
        """
        self._by_proxy = by_proxy
        self._refused = ""
        if not by_proxy:
            return
        host = (urlsplit(url).hostname or "").partition("%")[0]
        address = ipaddress.IPv4Address("127.0.0.1") if is_this_host(host) else parse_ip(host)
        if address is not None:
            self._pass(address)
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

    def open(self, address: aiohttp.AddrInfoType) -> socket.socket:
        """
        A socket for this one address. Raises OSError when it must not be connected to.
        """
        family, kind, protocol, _, place = address
        if not self._by_proxy:
            ip = ipaddress.ip_address(str(place[0]))
            self._pass(ip)
            self._reached.add(range_of(ip))
        return socket.socket(family, kind, protocol)

    def _pass(self, address: IPAddress) -> None:
        if self._judge is not None and (why := self._judge(address)):
            self._refused = why
            raise OSError(errno.EACCES, f"it leads to {why}")


@dataclass(frozen=True, slots=True)
class Downloaded:
    """
    The answer of a server.
    """

    status: int
    body: bytes
    retry_after: str | None
    """The header of that name as it was sent; None when there was none."""
    headers: Mapping[str, str]
    """All headers; names in any case."""
    url: str = ""
    """Where redirects led."""
    showed: bool = False
    """True when the server could ask for our certificate."""


def client(
    resolver: Resolver,
    make_socket: aiohttp.SocketFactoryType,
    headers: Mapping[str, str] | None = None,
    timeout: aiohttp.ClientTimeout | None = None,
) -> aiohttp.ClientSession:
    """
    A session of the HTTP library, to be closed by who asked for it. Without a `timeout` it waits for ever.
    """
    return aiohttp.ClientSession(
        headers={"User-Agent": f"expiry-exporter/{__version__}", **(headers or {})},
        connector=aiohttp.TCPConnector(socket_factory=make_socket, resolver=Names(resolver)),
        timeout=timeout or aiohttp.ClientTimeout(),
    )


async def download(
    resolver: Resolver,
    url: str,
    limit: int,
    *,
    timeout: float | None = TIMEOUT,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    trust: ssl.SSLContext | None = None,
    identity: ssl.SSLContext | None = None,
    authorities: str = "the system's trust store",
    proxy: WebProxy | None = None,
    own: Collection[Range] | None = None,
    forbids: Judge | None = None,
    note: Callable[..., None] = lambda *_: None,
) -> Downloaded:
    """
    The answer to a GET of this URL, or to a POST of the body, whatever its status. Raises ProbeError.

    An answer of more than `limit` bytes is a failure, found before more than that was kept; one whose status
    is not 200 is cut at ERROR_LIMIT. `timeout` is in seconds. Redirects are followed, but none from HTTPS to
    HTTP.

    `trust` says by which authorities servers are verified, None: by the system's; `authorities` is where a
    private one is configured, for messages. `identity` trusts the same, and shows our certificate: to the
    server of the URL, not where a redirect leads. `proxy` None: that of the environment.

    `own`: a stranger says this URL, who is found at addresses of these ranges, and it leads nowhere else but
    to public ones; None: the operator, or IANA, says it. Then `forbids` judges where it leads, if it is not
    None. `note` takes each step, as a format and its values.
    """
    gate = Gate(forbids if own is None else lambda address: refusal(address, own), own)
    at, way, showed = url, proxy, False
    try:
        # A session for each: downloads are few, and a kept connection would hide that new ones fail.
        async with asyncio.timeout(timeout), client(resolver, gate.open) as session:
            for _ in range(REDIRECTS + 1):
                note("%s %s", "GET" if body is None else "POST", shown(at))
                way = environment_proxy(at) if proxy is None else proxy
                showed = identity is not None and _origin(at) == _origin(url)
                gate.expect(at, by_proxy=way is not None)
                options = _options(at, way)
                async with session.request(
                    "GET" if body is None else "POST",
                    at,
                    data=body,
                    allow_redirects=False,
                    ssl=(identity if showed else trust) or True,
                    **{**options, "headers": {**(headers or {}), **options.get("headers", {})}},
                ) as answer:
                    if answer.status not in REDIRECTING:
                        content = await _content(answer, limit)
                        retry_after = answer.headers.get("Retry-After")
                        return Downloaded(answer.status, content, retry_after, answer.headers, at, showed)
                    at = destination(at, answer.headers.get("Location", ""), _secrets(way))
                    gate.redirected()
                    if answer.status not in KEEPING:
                        # RFC 9110 section 15.4.4: what is there is to be got, as every client does.
                        body = None
    except ProbeError:
        raise
    except (aiohttp.ClientError, OSError, ValueError) as error:
        if why := gate.refused(at):
            reason = Reason.HTTP_FAILED if at != url or forbids is None else Reason.ADDRESS_NOT_ALLOWED
            words = why if reason is Reason.ADDRESS_NOT_ALLOWED else not_followed(why, redirected=at != url)
            raise ProbeError(reason, words) from None
        if type(error) is TimeoutError and timeout is not None:
            raise ProbeError(Reason.TIMEOUT, f"{shown(url)} did not answer in {timeout:g} s") from None
        raise failed(error, shown(at), _secrets(way), authorities, showed=showed) from None
    raise ProbeError(Reason.HTTP_FAILED, f"{shown(url)} leads over more than {REDIRECTS} redirects")


def _origin(url: str) -> tuple[str, str | None, int | None]:
    """
    Scheme, host and port of a URL (RFC 6454).
    """
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)


def _options(url: str, proxy: WebProxy | None) -> dict[str, Any]:
    """
    The arguments of a request that lead it through a proxy. Raises ProbeError for one that can't be used.
    """
    if proxy is not None and not proxy.url.startswith("http:"):
        raise ProbeError(
            Reason.PROXY_FAILED, "what is on the web is got through HTTP proxies, not through SOCKS"
        )
    return proxy.options(url) if proxy is not None else {}


def _secrets(proxy: WebProxy | None) -> tuple[str, ...]:
    return proxy.secrets if proxy is not None else ()


def failed(
    error: Exception,
    who: str,
    secrets: tuple[str, ...] | None,
    authorities: str,
    *,
    showed: bool,
) -> ProbeError:
    """
    The reason for a request without an answer: the one table of the HTTP library's errors.

    `who` was asked, and `authorities` is where a private CA is configured. `secrets` is what was told in
    confidence; None: nothing that was received is repeated, since it may be secret itself. `showed`: the
    server could ask for our certificate.
    """
    alert = _alert(error)
    if alert and (showed or "certificate" in alert):
        return certificate_wanted(who, alert, showed=showed)
    match error:
        case aiohttp.ClientConnectorCertificateError():
            words = f"the certificate of {who} is not trusted ({error.certificate_error})"
            return ProbeError(Reason.HTTP_FAILED, f"{words}; a private CA goes in {authorities}")
        case aiohttp.ClientHttpProxyError():
            return ProbeError(Reason.PROXY_FAILED, f"the proxy to {who} answered with status {error.status}")
        case aiohttp.ClientProxyConnectionError():
            return ProbeError(Reason.PROXY_FAILED, f"the proxy to {who} can't be reached: {error.os_error}")
        case aiohttp.ClientSSLError():
            why = getattr(error.os_error, "reason", None) or type(error.os_error).__name__
            return ProbeError(Reason.HANDSHAKE_REFUSED, f"the TLS handshake with {who} failed: {why}")
        case aiohttp.ClientConnectorError():
            return connect_error(error.os_error, error.host, error.port or 0)
        case aiohttp.ConnectionTimeoutError():
            return ProbeError(Reason.CONNECT_TIMEOUT, f"{who} did not answer the connection")
        case TimeoutError():
            return ProbeError(Reason.TIMEOUT, f"{who} did not answer in time")
        case aiohttp.ServerDisconnectedError() | aiohttp.ClientPayloadError():
            words = f"{who} closed the connection before its answer was whole"
            return ProbeError(Reason.CONNECTION_CLOSED, words)
        case OSError():
            why = error.strerror or type(error).__name__
            return ProbeError(Reason.CONNECTION_RESET, f"the connection to {who} broke: {why}")
    words = type(error).__name__ if secrets is None else error_words(error, secrets)
    return ProbeError(Reason.HTTP_FAILED, f"{who} can't be got: {words}")


def certificate_wanted(who: str, words: str, *, showed: bool) -> ProbeError:
    """
    The reason for a server that wants a client certificate, and does not get one that it takes.
    """
    if showed:
        return ProbeError(Reason.CLIENT_CERTIFICATE_REFUSED, f"{who} refused our client certificate: {words}")
    return ProbeError(
        Reason.CLIENT_CERTIFICATE_REQUIRED, f"{who} demands a client certificate and gets none: {words}"
    )


_OF_CERTIFICATES = ("certificate", "unknown ca", "access denied", "decrypt error")
"""OpenSSL's words in alerts that are about a client certificate (RFC 8446 section 6.2)."""


def _alert(error: Exception) -> str:
    """
    The words of the alert with which a server ends the handshake over our certificate, or over having none;
    empty when it sent no such alert.
    """
    found: BaseException | None = error
    # The library's own errors are SSLErrors too, without a reason.
    while found is not None and not isinstance(getattr(found, "reason", None), str):
        found = getattr(found, "os_error", None) or found.__cause__
    words = str(getattr(found, "reason", "")).replace("_", " ").lower()
    return words if "alert" in words and any(about in words for about in _OF_CERTIFICATES) else ""


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
    Where a redirect from this URL leads. Raises ProbeError when it is not to be followed.

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
    words = f"{shown(url)} answers with a redirect, which is not followed: {why}"
    raise ProbeError(Reason.HTTP_FAILED, words)


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


async def _content(answer: aiohttp.ClientResponse, limit: int) -> bytes:
    """
    The body of an answer; of one that says what is wrong, the begin. Raises ProbeError.
    """
    if answer.status != 200:
        return await read_body(answer, min(limit, ERROR_LIMIT), cut=True)
    try:
        return await read_body(answer, limit)
    except TooLargeError:
        words = f"what {shown(str(answer.url))} answers has more than {limit:,} bytes"
        raise ProbeError(Reason.FILE_TOO_LARGE, words) from None


async def read_body(answer: aiohttp.ClientResponse, limit: int, *, cut: bool = False) -> bytes:
    """
    The body of an answer, or the begin if it may be `cut`. Else more than `limit` bytes are a TooLargeError.
    """
    content = bytearray()
    async for chunk in answer.content.iter_chunked(_CHUNK):
        content += chunk
        if len(content) > limit:
            if cut:
                return bytes(content[:limit])
            raise TooLargeError
    return bytes(content)
