"""
Documents on web servers: `pem+https://`, `pem+http://` and `jwks+https://`.

They are got at each scrape and read like files: what they are is told by their content, whichever scheme they
have. The certificate of the web server itself is another target (`https://`).
"""

import asyncio
import base64
import ssl
from email.utils import parsedate_to_datetime
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import aiohttp

from exporter import __version__
from exporter.files import Files, LeftOutError, outcome_of
from exporter.formats.parsed import Given
from exporter.network import Network, ProbeError, Trace, connect_error
from exporter.observation import Facts, Reason
from exporter.probes.endpoint import Endpoint, Endpoints
from exporter.targets import Target

SIZE_LIMIT = 16 * 1024 * 1024
"""Bytes that a document may have."""

REDIRECTS = 3
"""How often a server may send us elsewhere."""

_CHUNK = 65536


async def endpoints(target: Target, _network: Network) -> Endpoints:
    """
    The one document. Which of the server's addresses answers is not asked.
    """
    return Endpoints((Endpoint(target.url.authority),))


async def look(target: Target, _endpoint: Endpoint, network: Network, trace: Trace) -> Facts:
    """
    What is in the document. Raises ProbeError or TimeoutError.
    """
    url = f"{target.url.scheme.partition('+')[2]}://{target.url.authority}{target.url.path}"
    trace.phase = "getting the document"
    async with asyncio.timeout(target.timeout):
        data, modified = await _get(url, target, trace)
        trace.note("%s bytes", len(data))
        trace.phase = "reading the document"
        files = network.resource(Files, lambda: Files(network.loop, network.clock))
        parsed = await files.parse(data, Given(target.password, modified))
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
    # One for each look: a kept connection would hide that new ones fail.
    async with aiohttp.ClientSession(
        headers={"User-Agent": f"expiry-exporter/{__version__}"}, trust_env=target.proxy is None
    ) as session:
        for _ in range(REDIRECTS + 1):
            trace.note("GET %s", url)
            try:
                async with session.get(url, allow_redirects=False, **_options(target)) as answer:
                    if answer.status in {301, 302, 303, 307, 308}:
                        url = _redirected(url, answer.headers.get("Location", ""))
                        continue
                    if answer.status != 200:
                        raise _refused(url, answer.status)
                    return await _content(answer), _modified(answer.headers.get("Last-Modified"))
            except aiohttp.ClientError as error:
                raise _failed(url, error) from None
    raise ProbeError(Reason.HTTP_FAILED, f"{url} was reached over more than {REDIRECTS} redirects")


def _options(target: Target) -> dict[str, Any]:
    """
    How the request is made: what is trusted, and through which proxy. Raises ProbeError.
    """
    options: dict[str, Any] = {}
    if target.url.scheme.endswith("https"):
        stamp = None
        try:
            if target.ca_file is not None:
                stamp = Path(target.ca_file).stat().st_mtime_ns
            options["ssl"] = _trust(target.ca_file, stamp)
        except (OSError, ssl.SSLError) as error:
            raise ProbeError(Reason.HTTP_FAILED, f"ca_file can't be used: {error}") from None
    if target.proxy is not None:
        if target.proxy.scheme != "http":
            raise ProbeError(Reason.PROXY_FAILED, "documents are got through HTTP proxies, not through SOCKS")
        options["proxy"] = f"{target.proxy.scheme}://{target.proxy.host}:{target.proxy.port}"
        if target.proxy.credentials is not None:
            encoded = base64.b64encode(target.proxy.credentials.encode()).decode("ascii")
            # To a proxy that is not asked to connect through, they are a header of the request itself.
            key = "proxy_headers" if target.url.scheme.endswith("https") else "headers"
            options[key] = {"Proxy-Authorization": f"Basic {encoded}"}
    return options


@lru_cache(maxsize=32)
def _trust(ca_file: str | None, _stamp: int | None) -> ssl.SSLContext:
    """
    What is trusted. Remembered until the file changes: to read the system's store takes a while.
    """
    return ssl.create_default_context(cafile=ca_file)


def _redirected(url: str, location: str) -> str:
    """
    Where a redirect leads. Raises ProbeError when that is no safe place.
    """
    to = urljoin(url, location)
    schemes = {urlsplit(url).scheme, "https"}
    if not location or urlsplit(to).scheme not in schemes:
        raise ProbeError(
            Reason.HTTP_FAILED, f"{url} redirects to {to[:300]!r}, which is not followed: it is not HTTPS"
        )
    return to


async def _content(answer: aiohttp.ClientResponse) -> bytes:
    """
    The body, as long as it is within the limit. Raises ProbeError.
    """
    content = bytearray()
    async for chunk in answer.content.iter_chunked(_CHUNK):
        content += chunk
        if len(content) > SIZE_LIMIT:
            raise ProbeError(
                Reason.FILE_TOO_LARGE, f"what {answer.url} answers has more than {SIZE_LIMIT:,} bytes"
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


def _refused(url: str, status: int) -> ProbeError:
    """
    The reason for a status that is not 200.
    """
    reasons = {401: Reason.ACCESS_DENIED, 403: Reason.ACCESS_DENIED, 429: Reason.RATE_LIMITED}
    return ProbeError(reasons.get(status, Reason.HTTP_FAILED), f"{url} answered with HTTP status {status}")


def _failed(url: str, error: aiohttp.ClientError) -> ProbeError:
    """
    The reason for a request without an answer.
    """
    match error:
        case aiohttp.ClientConnectorCertificateError():
            words = f"the server's certificate is not trusted ({error.certificate_error})"
            return ProbeError(Reason.HTTP_FAILED, f"{url}: {words}; a private CA goes in ca_file")
        case aiohttp.ClientConnectorDNSError():
            return ProbeError(Reason.DNS_FAILED, f"the name in {url} can't be looked up: {error.os_error}")
        case aiohttp.ClientHttpProxyError():
            return ProbeError(Reason.PROXY_FAILED, f"{url}: the proxy answered with status {error.status}")
        case aiohttp.ClientProxyConnectionError():
            return ProbeError(Reason.PROXY_FAILED, f"{url}: the proxy can't be reached: {error.os_error}")
        case aiohttp.ClientSSLError():
            return ProbeError(Reason.HANDSHAKE_REFUSED, f"{url}: the TLS handshake failed: {error}")
        case aiohttp.ClientConnectorError():
            return connect_error(error.os_error, error.host, error.port or 0)
        case aiohttp.ServerTimeoutError():
            return ProbeError(Reason.TIMEOUT, f"{url} did not answer in time")
    return ProbeError(Reason.HTTP_FAILED, f"{url} can't be got: {str(error) or type(error).__name__}")
