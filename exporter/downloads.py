"""
Downloads: one HTTP request for a look-up, with limits of time and size.

Proxies of the environment (`HTTPS_PROXY`, `NO_PROXY`) are used.
"""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp

from exporter import __version__
from exporter.lookups import LookupFailedError
from exporter.observation import Reason

TIMEOUT = 20.0
"""Seconds that a download may take. Nobody waits for it: it goes on in the background."""

REDIRECTS = 3
"""How often a server may send us elsewhere."""

_CHUNK = 65536


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
    url: str,
    limit: int,
    *,
    timeout: float = TIMEOUT,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    trust: ssl.SSLContext | None = None,
) -> Downloaded:
    """
    The answer to a GET of this URL, or to a POST of the body, whatever its status. Raises LookupFailedError.

    An answer of more than `limit` bytes is a failure, found before more than that was kept. `trust` says by
    which authorities the server is verified; None: by the system's.
    """
    try:
        async with (
            # One for each request: they are few, and a kept one would have to be closed in time.
            aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=timeout),
                headers={"User-Agent": f"expiry-exporter/{__version__}"},
                trust_env=True,
            ) as session,
            session.request(
                "GET" if body is None else "POST",
                url,
                data=body,
                headers=headers,
                max_redirects=REDIRECTS,
                ssl=True if trust is None else trust,
            ) as answer,
        ):
            content = await _read(answer, limit)
            return Downloaded(answer.status, content, answer.headers.get("Retry-After"), answer.headers)
    except TimeoutError:
        raise LookupFailedError(Reason.TIMEOUT, f"{url} did not answer in {timeout:g} s") from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        words = str(error) or type(error).__name__
        raise LookupFailedError(Reason.HTTP_FAILED, f"{url} can't be got: {words}") from None


async def _read(answer: aiohttp.ClientResponse, limit: int) -> bytes:
    """
    The body, as long as it is within the limit. Raises LookupFailedError.
    """
    content = bytearray()
    async for chunk in answer.content.iter_chunked(_CHUNK):
        content += chunk
        if len(content) > limit:
            raise LookupFailedError(
                Reason.FILE_TOO_LARGE, f"what {answer.url} answers has more than {limit:,} bytes"
            )
    return bytes(content)
