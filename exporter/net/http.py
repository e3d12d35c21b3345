"""
Downloads: one HTTP request with redirects, limits of time and size, and reasons for failures.

`~/.netrc` is not used, since URLs may come from others. Redirects are followed only to permitted addresses:
see `Gate`.
"""

import asyncio
import errno
import ipaddress
import re
import socket
import ssl
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urljoin, urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.http_exceptions import ContentEncodingError

from exporter import __version__
from exporter.model.destinations import Range, host_range, is_this_host, range_of, refusal
from exporter.model.errors import ProbeError
from exporter.model.foreign_text import clean, holds, of_authorization
from exporter.model.hosts import IPAddress, parse_ip
from exporter.model.reasons import Reason
from exporter.net.connection import connect_error
from exporter.net.http_sockets import HttpSocket, Meter
from exporter.net.resolver import RESOLVE_TIMEOUT, Resolver, has_route
from exporter.net.tls_contexts import system_trust
from exporter.net.web_proxies import WebProxy, environment_proxy

TIMEOUT = 20.0
"""Seconds that a download may take. It runs in the background, so no caller waits for it."""


REDIRECTS = 3
"""Redirects that are followed at most."""


REDIRECTING = frozenset({301, 302, 303, 307, 308})
"""The status codes of redirects (RFC 9110 section 15.4)."""


KEEPING = frozenset({307, 308})
"""The redirects after which the same request is repeated; after the others it becomes a GET."""


ERROR_LIMIT = 65536
"""Bytes that are kept of an answer whose status is not 200: its first lines give the reason."""


_CHUNK = 65536


URL_LIMIT = 300
"""Characters of a URL in a message."""


WORDS_LIMIT = 300
"""Characters of the server's or the library's words in a message."""


class TooLargeError(Exception):
    """
    An answer has more bytes than the limit.
    """


class Names(AbstractResolver):
    """
    A resolver for the HTTP library that uses the threads and limits of all other look-ups.

    The library's default is asyncio's executor: a silent name server would hold that up, and with it the
    process's end.
    """

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """
        Return the addresses of a name, in the system's order of preference. Raises ProbeError.
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
        Do nothing: the resolver belongs to the process.
        """


Judge = Callable[[IPAddress], str]
"""Returns the reason why an address must not be connected to, in words; empty when it is permitted."""


class Gate:
    """
    The check of each address that the requests of one download connect to, after name resolution.

    The address that is checked is the one that is connected to, so no name server can change it in between.
    Through a proxy, which resolves names itself, only URLs with an address in them, and `localhost`, can be
    checked.
    """

    def __init__(self, judge: Judge | None = None, own: Collection[Range] | None = None) -> None:
        """
        `judge` checks the first address; None: the operator named it, so any is permitted. `own` are the
        ranges of the server that named the URL, which limit where redirects may lead; None: those of the
        first request.
        """
        self._judge = judge
        self._own = own
        self._reached: set[Range] = set()
        self._by_proxy = False
        self._refused = ""
        self.meter = Meter()

    def expect(self, url: str, *, by_proxy: bool) -> None:
        """
        Set the URL of the next request. Raises OSError when it is known not to be permitted.
        """
        self._by_proxy = by_proxy
        self._refused = ""
        self.meter.begin(secure=url.startswith("https:"))
        if not by_proxy:
            return
        host = (urlsplit(url).hostname or "").partition("%")[0]
        address = ipaddress.IPv4Address("127.0.0.1") if is_this_host(host) else parse_ip(host)
        if address is not None:
            self._pass(address)
        self._reached.add(host_range(host))

    def redirected(self) -> None:
        """
        Note that from now on a server, not the operator, names the URL.
        """
        own = frozenset(self._reached if self._own is None else self._own)
        self._judge = lambda address: refusal(address, own)

    def refused(self, url: str) -> str:
        """
        Return the reason why the last request was not permitted, for a person; empty when it failed for
        another reason.
        """
        return f"{shown(url)} leads to {self._refused}" if self._refused else ""

    def open(self, address: aiohttp.AddrInfoType) -> socket.socket:
        """
        Return a socket for this one address. Raises OSError when it must not be connected to.
        """
        family, kind, protocol, _, place = address
        if not self._by_proxy:
            ip = ipaddress.ip_address(str(place[0]))
            self._pass(ip)
            self._reached.add(range_of(ip))
        made = HttpSocket(family, kind, protocol)
        made.meter = self.meter
        self.meter.opened = True
        return made

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
    """The Retry-After header as it was sent; None when there was none."""
    headers: Mapping[str, str]
    """All headers; their names are case-insensitive."""
    url: str = ""
    """The URL after redirects."""
    showed: bool = False
    """True when the server could ask for our certificate."""


def client(
    resolver: Resolver,
    make_socket: aiohttp.SocketFactoryType,
    headers: Mapping[str, str] | None = None,
    timeout: aiohttp.ClientTimeout | None = None,
) -> aiohttp.ClientSession:
    """
    Return a session of the HTTP library, which the caller closes. Without a `timeout` it waits without limit.
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
    timeout: float = TIMEOUT,
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
    Return the answer to a GET of this URL, or to a POST of the body, whatever its status. Raises ProbeError.

    An answer of more than `limit` bytes is a failure, found before more than that was kept; one whose status
    is not 200 is cut at ERROR_LIMIT. `timeout` is in seconds. Redirects are followed, but none from HTTPS to
    HTTP. `Authorization` among the `headers` is for the server of the URL, not for the target of a redirect.

    `trust` has the trust anchors that verify servers, None: the system's; `authorities` says where a private
    CA is configured, for messages. `identity` has the same trust anchors and our client certificate: it is
    for the server of the URL, not for the target of a redirect. `proxy` None: that of the environment.

    `own`: the URL comes from a server at addresses of these ranges, and may lead only there and to public
    addresses; None: it comes from the operator, or from IANA. Then `forbids`, if it is not None, checks where
    it leads. `note` takes each step, as a format and its values.
    """
    gate = Gate(forbids if own is None else lambda address: refusal(address, own), own)
    at, way, showed = url, proxy, False
    try:
        # A session for each: downloads are few, and a kept connection would hide that new ones fail.
        async with asyncio.timeout(timeout), client(resolver, gate.open) as session:
            for _ in range(REDIRECTS + 1):
                note("%s %s", "GET" if body is None else "POST", shown(at))
                way = environment_proxy(at) if proxy is None else proxy
                same = _origin(at) == _origin(url)
                said = {key: one for key, one in (headers or {}).items() if same or key != "Authorization"}
                showed = identity is not None and same
                gate.expect(at, by_proxy=way is not None)
                options = _options(at, way)
                tls = (identity if showed else trust) or await system_trust(at)
                async with session.request(
                    "GET" if body is None else "POST",
                    at,
                    data=body,
                    allow_redirects=False,
                    ssl=tls,
                    **{**options, "headers": {**said, **options.get("headers", {})}},
                ) as answer:
                    gate.meter.content = partial(getattr, answer.content, "total_bytes")
                    if answer.status not in REDIRECTING:
                        content = await _content(answer, limit)
                        retry_after = answer.headers.get("Retry-After")
                        return Downloaded(answer.status, content, retry_after, answer.headers, at, showed)
                    at = destination(at, answer.headers.get("Location", ""), _secrets(way, headers))
                    gate.redirected()
                    if answer.status not in KEEPING:
                        # RFC 9110 section 15.4.4: the new URL is fetched with GET, as every client does.
                        body = None
    except ProbeError:
        raise
    except (aiohttp.ClientError, OSError, ValueError) as error:
        if why := gate.refused(at):
            reason = Reason.HTTP_FAILED if at != url or forbids is None else Reason.ADDRESS_NOT_ALLOWED
            words = why if reason is Reason.ADDRESS_NOT_ALLOWED else not_followed(why, redirected=at != url)
            raise ProbeError(reason, words) from None
        if gate.meter.exceeded:
            words = "sends without end, and next to no content: it was left"
            raise ProbeError(Reason.HTTP_FAILED, f"{shown(at)} {words}") from None
        if type(error) is TimeoutError:
            raise _too_late(shown(at), timeout, gate.meter, way) from None
        raise failed(error, shown(at), _secrets(way, headers), authorities, showed=showed) from None
    raise ProbeError(Reason.HTTP_FAILED, f"{shown(url)} leads over more than {REDIRECTS} redirects")


def _too_late(who: str, timeout: float, meter: Meter, proxy: WebProxy | None) -> ProbeError:
    """
    Return the ProbeError for a request that was not answered in time, with the step that took too long.
    """
    seconds = f"in {timeout:.3g} s"
    # After a redirect the connection may be the one that is open.
    if not meter.opened and not meter.sent:
        return ProbeError(Reason.DNS_TIMEOUT, f"the address of {who} was not found {seconds}")
    if not meter.sent and proxy is not None:
        return ProbeError(Reason.PROXY_FAILED, f"the proxy to {who} did not answer the connection {seconds}")
    if not meter.sent:
        return ProbeError(Reason.CONNECT_TIMEOUT, f"{who} did not answer the connection {seconds}")
    if not meter.received:
        return ProbeError(Reason.HTTP_FAILED, f"{who} took the connection and did not answer {seconds}")
    came = f"{meter.received:,} bytes came"
    return ProbeError(Reason.HTTP_FAILED, f"{who} did not end its answer {seconds}: {came}")


def _origin(url: str) -> tuple[str, str | None, int | None]:
    """
    Return scheme, host and port of a URL (RFC 6454).
    """
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)


def _options(url: str, proxy: WebProxy | None) -> dict[str, Any]:
    """
    Return the arguments of a request that lead it through a proxy. Raises ProbeError for a proxy that can't
    be used.
    """
    if proxy is not None and not proxy.url.startswith("http:"):
        raise ProbeError(
            Reason.PROXY_FAILED, "what is on the web is got through HTTP proxies, not through SOCKS"
        )
    return proxy.options(url) if proxy is not None else {}


def _secrets(proxy: WebProxy | None, headers: Mapping[str, str] | None) -> tuple[str, ...]:
    sent = of_authorization((headers or {}).get("Authorization", ""))
    return (*sent, *(proxy.secrets if proxy is not None else ()))


def failed(
    error: Exception,
    who: str,
    secrets: tuple[str, ...] | None,
    authorities: str,
    *,
    showed: bool,
) -> ProbeError:
    """
    Return the ProbeError for a request without an answer: the one table of the HTTP library's errors.

    `who` is the server, and `authorities` says where a private CA is configured. `secrets` were sent to the
    server, and are removed from the message; None: nothing that was received is repeated, since it may be
    secret itself. `showed`: the server could request our client certificate.
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
        case aiohttp.ClientPayloadError() if isinstance(error.__cause__, ContentEncodingError):
            return ProbeError(Reason.HTTP_FAILED, f"what {who} answers can't be unpacked")
        case aiohttp.ClientResponseError() if "content-encoding" in error.message:
            words = f"what {who} answers can't be unpacked: it is packed in a way that was not asked for"
            return ProbeError(Reason.HTTP_FAILED, words)
        case aiohttp.ClientResponseError():
            # Its status, 400, is the library's own: no server said so.
            why = "" if secrets is None else clean(_OF_BYTES.split(error.message)[0], WORDS_LIMIT, secrets)
            words = f"what {who} answers is no proper HTTP{why and f': {why}'}"
            return ProbeError(Reason.HTTP_FAILED, words)
        case aiohttp.ServerDisconnectedError() | aiohttp.ClientPayloadError():
            words = f"{who} closed the connection before its answer was whole"
            return ProbeError(Reason.CONNECTION_CLOSED, words)
        case OSError():
            why = error.strerror or type(error).__name__
            return ProbeError(Reason.CONNECTION_RESET, f"the connection to {who} broke: {why}")
    # The library's words may repeat the server's.
    words = "" if secrets is None else clean(str(error), WORDS_LIMIT, secrets)
    return ProbeError(Reason.HTTP_FAILED, f"{who} can't be got: {words or type(error).__name__}")


_OF_BYTES = re.compile(r":?\s*\n|: (?:b['\"]|bytearray)")
"""What stands in a message of the library before the bytes that it complains about. They are not repeated: a
caller of `/probe` must not learn what services say that speak no HTTP."""


def certificate_wanted(who: str, words: str, *, showed: bool) -> ProbeError:
    """
    Return the ProbeError for a server that wants a client certificate, and gets none that it accepts.
    """
    if showed:
        return ProbeError(Reason.CLIENT_CERTIFICATE_REFUSED, f"{who} refused our client certificate: {words}")
    return ProbeError(
        Reason.CLIENT_CERTIFICATE_REQUIRED, f"{who} demands a client certificate and gets none: {words}"
    )


_OF_CERTIFICATES = ("certificate", "unknown ca", "access denied", "decrypt error")
"""OpenSSL's words in alerts about a client certificate (RFC 8446 section 6.2)."""


def _alert(error: Exception) -> str:
    """
    Return the words of the alert with which a server rejects our certificate, or the lack of one; empty when
    it sent no such alert.
    """
    found: BaseException | None = error
    # The library's own errors are SSLErrors too, without a reason.
    while found is not None and not isinstance(getattr(found, "reason", None), str):
        found = getattr(found, "os_error", None) or found.__cause__
    words = str(getattr(found, "reason", "")).replace("_", " ").lower()
    return words if "alert" in words and any(about in words for about in _OF_CERTIFICATES) else ""


def not_followed(why: str, *, redirected: bool) -> str:
    """
    Return the sentence for an address that a URL from others may not lead to, with the remedy.
    """
    begin = "a redirect is not followed" if redirected else "it is not asked"
    return f"{begin}: {why}, and who says so is not found there himself"


def destination(url: str, location: str, secrets: tuple[str, ...] = ()) -> str:
    """
    Return the URL that a redirect from this URL leads to. Raises ProbeError when it must not be followed.

    A redirect from HTTPS to HTTP is not followed: then an attacker on the way could change the answer. Nor is
    one that repeats the secrets sent to the server or the proxy: they would be passed on.
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
        why = "it repeats the credentials that were sent"
    else:
        return to
    words = f"{shown(url)} answers with a redirect, which is not followed: {why}"
    raise ProbeError(Reason.HTTP_FAILED, words)


def shown(url: str, secrets: tuple[str, ...] = ()) -> str:
    """
    Return a URL for messages: bounded, and without its query and user, which may be secrets.
    """
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return "something that is no URL"
    return clean(f"{parts.scheme}://{host}{parts.path}{'?...' if parts.query else ''}", URL_LIMIT, secrets)


async def _content(answer: aiohttp.ClientResponse, limit: int) -> bytes:
    """
    Return the body of an answer; of one that is an error, the beginning. Raises ProbeError.
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
    Return the body of an answer, or its beginning if it may be `cut`. Raises TooLargeError for more than
    `limit` bytes.
    """
    content = bytearray()
    async for chunk in answer.content.iter_chunked(_CHUNK):
        content += chunk
        if len(content) > limit:
            if cut:
                return bytes(content[:limit])
            raise TooLargeError
    return bytes(content)
