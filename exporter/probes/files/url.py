"""
Documents on web servers: `pem+https://`, `pem+http://` and `jwks+https://`.

They are downloaded at each scrape and parsed like files: the format is recognised by the content, whichever
scheme the URL has. The certificate of the web server itself is another target (`https://`).
"""

import asyncio
import ssl
from email.utils import parsedate_to_datetime
from functools import lru_cache, partial

from exporter.formats.outcome import outcome_of
from exporter.formats.parsed import ParseContext
from exporter.model.errors import LeftOutError, ProbeError
from exporter.model.observation import Facts
from exporter.model.reasons import Reason
from exporter.model.targets import Target
from exporter.net.http import Downloaded, certificate_wanted, download, shown
from exporter.net.network import Network
from exporter.net.pools import Pool
from exporter.net.tls_contexts import tls_context
from exporter.net.web_proxies import web_proxy
from exporter.pki.client_certificate import load_client_certificate
from exporter.probes.base import Endpoint, Endpoints, Trace
from exporter.probes.dependencies import Dependencies

SIZE_LIMIT = 16 * 1024 * 1024
"""Bytes of a document."""


async def endpoints(target: Target, _network: Network) -> Endpoints:
    """
    Return the document as the only endpoint, whichever of the server's addresses answers.
    """
    return Endpoints((Endpoint(target.url.authority),))


async def look(target: Target, _endpoint: Endpoint, dependencies: Dependencies, trace: Trace) -> Facts:
    """
    Return the facts in the document. Raises ProbeError or TimeoutError.
    """
    url = f"{target.url.scheme.partition('+')[2]}://{target.url.authority}{target.url.path}"
    trace.phase = "getting the document"
    ends = asyncio.get_running_loop().time() + target.patience
    data, modified = await _get(url, target, dependencies, trace, ends)
    trace.note("%s bytes", len(data))
    trace.phase = "reading the document"
    async with asyncio.timeout_at(ends):
        parsed = await dependencies.files.parse(data, ParseContext(target.password, modified))
    found = outcome_of(target.url.authority, parsed)
    if isinstance(found, LeftOutError):
        raise ProbeError(Reason.NOTHING_EXPIRES, str(found))
    if isinstance(found, ProbeError):
        raise found
    return found


async def _get(
    url: str, target: Target, network: Network, trace: Trace, ends: float
) -> tuple[bytes, float | None]:
    """
    Return the document, and its Last-Modified in seconds since the epoch (None when there is none). Raises
    ProbeError, or TimeoutError when its own part takes until `ends` (loop time).
    """
    is_secure = url.startswith("https:")
    shows = is_secure and target.client_certificate_file is not None
    async with asyncio.timeout_at(ends):
        trust = await _tls(target, network) if is_secure and target.ca_file is not None else None
        identity = await _tls(target, network, shows=True) if shows else None
    got = await download(
        network.resolver,
        url,
        SIZE_LIMIT,
        timeout=ends - asyncio.get_running_loop().time(),
        trust=trust,
        identity=identity,
        authorities="ca_file",
        proxy=web_proxy(str(target.proxy), target.proxy.credentials) if target.proxy is not None else None,
        forbids=target.forbids,
        note=trace.note,
    )
    if got.status != 200:
        raise _refused(got)
    return got.body, _modified(got.headers.get("Last-Modified"))


async def _tls(target: Target, network: Network, *, shows: bool = False) -> ssl.SSLContext:
    """
    Return a context that trusts the target's CAs, and shows its client certificate if `shows`. Raises
    ProbeError.
    """
    read, certificate, password = network.named_files.content, None, None
    if shows and target.client_certificate_file is not None:
        own, key, password = (
            target.client_certificate_file,
            target.client_key_file,
            target.client_key_password,
        )
        # It gives a clear message for a broken file; the library below does not.
        load_client_certificate(own, key, password, read)
        certificate = read(own) if key is None else b"\n".join((read(own), read(key)))
    try:
        authorities = None if target.ca_file is None else read(target.ca_file)
    except ProbeError as error:
        raise ProbeError(Reason.HTTP_FAILED, f"ca_file can't be used: {error}") from None
    try:
        return await _MAKING.run(partial(_context, authorities, certificate, password))
    except OSError as error:
        raise ProbeError(Reason.HTTP_FAILED, f"ca_file can't be used: {error}") from None


_MAKING = Pool("tls", 2)


_context = lru_cache(maxsize=32)(tls_context)
"""The context for these files' contents, cached: loading trust anchors takes long."""


def _modified(text: str | None) -> float | None:
    """
    Return the seconds since the epoch of a Last-Modified header; None when there is none that can be read.
    """
    try:
        return parsedate_to_datetime(text).timestamp() if text else None
    except (ValueError, OverflowError):
        return None


def _refused(got: Downloaded) -> ProbeError:
    """
    Return the ProbeError for a status that is not 200.
    """
    words = f"{shown(got.url)} answered with HTTP status {got.status}"
    # nginx finishes the handshake, and says so on the page: the statuses are its own, or the usual 400.
    its_own = got.status in {495, 496} or (got.status == 400 and b"SSL certificate" in got.body)
    if its_own and got.url.startswith("https"):
        words = f"it answered with HTTP status {got.status}"
        return certificate_wanted(shown(got.url), words, showed=got.showed)
    reasons = {401: Reason.ACCESS_DENIED, 403: Reason.ACCESS_DENIED, 429: Reason.RATE_LIMITED}
    return ProbeError(reasons.get(got.status, Reason.HTTP_FAILED), words)
