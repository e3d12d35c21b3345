"""
Documents on web servers: `pem+https://`, `pem+http://` and `jwks+https://`.

They are got at each scrape and read like files: what they are is told by their content, whichever scheme they
have. The certificate of the web server itself is another target (`https://`).
"""

import asyncio
import ssl
from email.utils import parsedate_to_datetime
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from exporter.formats.outcome import outcome_of
from exporter.formats.parsed import ParseContext
from exporter.model.errors import LeftOutError, ProbeError
from exporter.model.observation import Facts
from exporter.model.reasons import Reason
from exporter.model.targets import Target
from exporter.net.connection import connect_error
from exporter.net.http import (
    REDIRECTING,
    REDIRECTS,
    ForbiddenAddressError,
    Gate,
    RefusedRedirectError,
    WebProxy,
    destination,
    environment_proxy,
    error_words,
    not_followed,
    shown,
    web_proxy,
)
from exporter.net.network import Network, Trace
from exporter.pki.client_certificate import load_client_certificate
from exporter.pki.regular_files import expect_regular
from exporter.probes.base import Endpoint, Endpoints
from exporter.probes.dependencies import Dependencies

SIZE_LIMIT = 16 * 1024 * 1024
"""Bytes that a document may have."""


_CHUNK = 65536


_PAGE = 8192
"""Bytes of a page that says what is wrong."""


async def endpoints(target: Target, _network: Network) -> Endpoints:
    """
    The one document. Which of the server's addresses answers is not asked.
    """
    return Endpoints((Endpoint(target.url.authority),))


async def look(target: Target, _endpoint: Endpoint, dependencies: Dependencies, trace: Trace) -> Facts:
    """
    The facts in the document. Raises ProbeError or TimeoutError.
    """
    url = f"{target.url.scheme.partition('+')[2]}://{target.url.authority}{target.url.path}"
    trace.phase = "getting the document"
    async with asyncio.timeout(target.patience):
        data, modified = await _get(url, target, trace)
        trace.note("%s bytes", len(data))
        trace.phase = "reading the document"
        parsed = await dependencies.files.parse(data, ParseContext(target.password, modified))
    found = outcome_of(target.url.authority, parsed)
    if isinstance(found, LeftOutError):
        raise ProbeError(Reason.NOTHING_EXPIRES, str(found))
    if isinstance(found, ProbeError):
        raise found
    return found


async def _get(url: str, target: Target, trace: Trace) -> tuple[bytes, float | None]:
    """
    The document, and when it was last modified, None when the server does not say. Raises ProbeError.
    """
    first = url
    gate = Gate(target.forbids)
    # One for each look: a kept connection would hide that new ones fail.
    async with gate.session() as session:
        for _ in range(REDIRECTS + 1):
            trace.note("GET %s", shown(url))
            # Where a redirect leads, nobody was told to show our certificate.
            shows = target.client_certificate_file is not None and _origin(url) == _origin(first)
            proxy = _proxy(url, target)
            try:
                gate.expect(url, by_proxy=proxy is not None)
                options = _options(url, target, proxy, shows=shows)
                async with session.get(url, allow_redirects=False, **options) as answer:
                    if answer.status in REDIRECTING:
                        secrets = proxy.secrets if proxy is not None else ()
                        url = destination(url, answer.headers.get("Location", ""), secrets)
                        gate.redirected()
                        continue
                    if answer.status != 200:
                        raise await _refused(url, answer, shows=shows)
                    return await _content(answer), _modified(answer.headers.get("Last-Modified"))
            except RefusedRedirectError as error:
                raise ProbeError(Reason.HTTP_FAILED, str(error)) from None
            except ForbiddenAddressError as error:
                raise _forbidden(str(error), redirected=url != first) from None
            except aiohttp.ClientError as error:
                if why := gate.refused(url):
                    raise _forbidden(why, redirected=url != first) from None
                raise _failed(url, error, proxy, shows=shows) from None
    raise ProbeError(Reason.HTTP_FAILED, f"{shown(first)} leads over more than {REDIRECTS} redirects")


def _origin(url: str) -> tuple[str, str | None, int | None]:
    """
    Scheme, host and port of a URL (RFC 6454).
    """
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)


def _forbidden(why: str, *, redirected: bool) -> ProbeError:
    """
    The reason for a place that was not connected to: where a redirect led, or what `/probe` asked for.
    """
    if redirected:
        return ProbeError(Reason.HTTP_FAILED, not_followed(why, redirected=True))
    return ProbeError(Reason.ADDRESS_NOT_ALLOWED, why)


def _proxy(url: str, target: Target) -> WebProxy | None:
    """
    The target's proxy, else that of the environment; None for none. Raises ProbeError.
    """
    proxy = target.proxy
    found = environment_proxy(url) if proxy is None else web_proxy(str(proxy), proxy.credentials)
    if found is not None and not found.url.startswith("http:"):
        raise ProbeError(Reason.PROXY_FAILED, "documents are got through HTTP proxies, not through SOCKS")
    return found


def _options(url: str, target: Target, proxy: WebProxy | None, *, shows: bool) -> dict[str, Any]:
    """
    How a request is made: what is trusted and shown, and through which proxy. Raises ProbeError.
    """
    options = proxy.options(url) if proxy is not None else {}
    if target.url.scheme.endswith("https"):
        options["ssl"] = _tls(target, shows=shows)
    return options


def _tls(target: Target, *, shows: bool) -> ssl.SSLContext:
    """
    What is trusted, and what is shown to a server that asks. Raises ProbeError.
    """
    certificate, key = (target.client_certificate_file, target.client_key_file) if shows else (None, None)
    if certificate is not None:
        # It says in good words what is wrong with the files; the library below does not.
        load_client_certificate(certificate, key, target.client_key_password)
    try:
        if target.ca_file is not None:
            # The library would wait for a pipe, and all of this process with it.
            expect_regular(target.ca_file)
        changed = tuple(
            Path(file).stat().st_mtime_ns for file in (target.ca_file, certificate, key) if file is not None
        )
        return _context(
            target.ca_file, certificate, key, target.client_key_password if shows else None, changed
        )
    except (OSError, ssl.SSLError) as error:
        raise ProbeError(Reason.HTTP_FAILED, f"ca_file can't be used: {error}") from None


@lru_cache(maxsize=32)
def _context(
    ca_file: str | None,
    certificate: str | None,
    key: str | None,
    password: str | None,
    _changed: tuple[int, ...],
) -> ssl.SSLContext:
    """
    Settings for TLS. Remembered until a file changes: to read the system's store takes a while.
    """
    context = ssl.create_default_context(cafile=ca_file)
    if certificate is not None:
        try:
            # With no pass phrase given, OpenSSL would ask for one on the terminal.
            context.load_cert_chain(certificate, key, password=password or "")
        except (OSError, ssl.SSLError) as error:
            words = (
                f"{certificate} and its key can't be used: {getattr(error, 'reason', None) or 'unreadable'}"
            )
            raise ProbeError(Reason.CLIENT_CERTIFICATE_UNUSABLE, words) from None
    return context


async def _content(answer: aiohttp.ClientResponse) -> bytes:
    """
    The body, as long as it is within the limit. Raises ProbeError.
    """
    content = bytearray()
    async for chunk in answer.content.iter_chunked(_CHUNK):
        content += chunk
        if len(content) > SIZE_LIMIT:
            raise ProbeError(
                Reason.FILE_TOO_LARGE,
                f"what {shown(str(answer.url))} answers has more than {SIZE_LIMIT:,} bytes",
            )
    return bytes(content)


def _modified(text: str | None) -> float | None:
    """
    Seconds since the epoch of a Last-Modified header; None when there is none that can be read.
    """
    try:
        return parsedate_to_datetime(text).timestamp() if text else None
    except (ValueError, OverflowError):
        return None


async def _refused(url: str, answer: aiohttp.ClientResponse, *, shows: bool) -> ProbeError:
    """
    The reason for a status that is not 200. `shows`: we have a certificate to show.
    """
    status = answer.status
    if status in {400, 495, 496} and url.startswith("https"):
        # nginx finishes the handshake, and says so on the page: the statuses are its own, or the usual 400.
        page = await answer.content.read(_PAGE)
        if status != 400 or b"SSL certificate" in page:
            return _certificate_wanted(url, f"it answered with HTTP status {status}", shows=shows)
    reasons = {401: Reason.ACCESS_DENIED, 403: Reason.ACCESS_DENIED, 429: Reason.RATE_LIMITED}
    words = f"{shown(url)} answered with HTTP status {status}"
    return ProbeError(reasons.get(status, Reason.HTTP_FAILED), words)


def _certificate_wanted(url: str, words: str, *, shows: bool) -> ProbeError:
    """
    The reason for a server that wants a client certificate, and does not get one that it takes.
    """
    if shows:
        return ProbeError(
            Reason.CLIENT_CERTIFICATE_REFUSED, f"{shown(url)} refused our client certificate: {words}"
        )
    return ProbeError(
        Reason.CLIENT_CERTIFICATE_REQUIRED,
        f"{shown(url)} demands a client certificate and gets none: {words}",
    )


def _failed(url: str, error: aiohttp.ClientError, proxy: WebProxy | None, *, shows: bool) -> ProbeError:
    """
    The reason for a request without an answer.
    """
    where = shown(url)
    alert = _alert(error)
    if alert and (shows or "certificate" in alert):
        return _certificate_wanted(url, alert, shows=shows)
    match error:
        case aiohttp.ClientConnectorCertificateError():
            words = f"the server's certificate is not trusted ({error.certificate_error})"
            return ProbeError(Reason.HTTP_FAILED, f"{where}: {words}; a private CA goes in ca_file")
        case aiohttp.ClientConnectorDNSError():
            return ProbeError(Reason.DNS_FAILED, f"the name in {where} can't be looked up: {error.os_error}")
        case aiohttp.ClientHttpProxyError():
            return ProbeError(Reason.PROXY_FAILED, f"{where}: the proxy answered with status {error.status}")
        case aiohttp.ClientProxyConnectionError():
            return ProbeError(Reason.PROXY_FAILED, f"{where}: the proxy can't be reached: {error.os_error}")
        case aiohttp.ClientSSLError():
            return ProbeError(Reason.HANDSHAKE_REFUSED, f"{where}: the TLS handshake failed: {error}")
        case aiohttp.ClientConnectorError():
            return connect_error(error.os_error, error.host, error.port or 0)
        case aiohttp.ServerTimeoutError():
            return ProbeError(Reason.TIMEOUT, f"{where} did not answer in time")
    secrets = proxy.secrets if proxy is not None else ()
    return ProbeError(Reason.HTTP_FAILED, f"{where} can't be got: {error_words(error, secrets)}")


_OF_CERTIFICATES = ("certificate", "unknown ca", "access denied", "decrypt error")
"""OpenSSL's words in alerts that are about a client certificate (RFC 8446 section 6.2)."""


def _alert(error: aiohttp.ClientError) -> str:
    """
    What the server says of our certificate, or of having none, as it ends the handshake; empty: nothing.
    """
    found: BaseException | None = error
    # The library's own errors are SSLErrors too, without a reason.
    while found is not None and not isinstance(getattr(found, "reason", None), str):
        found = getattr(found, "os_error", None) or found.__cause__
    words = str(getattr(found, "reason", "")).replace("_", " ").lower()
    return words if "alert" in words and any(about in words for about in _OF_CERTIFICATES) else ""
