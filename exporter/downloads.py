"""
Downloads: one HTTP request for a look-up, with limits of time and size.

Proxies of the environment (`HTTPS_PROXY`, `NO_PROXY`) are used.
"""

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

import aiohttp

from exporter import __version__
from exporter.lookups import LookupFailedError
from exporter.observation import Reason

TIMEOUT = 20.0
"""Seconds that a download may take. Nobody waits for it: it goes on in the background."""

REDIRECTS = 3
"""How often a server may send us elsewhere."""

REDIRECTING = frozenset({301, 302, 303, 307, 308})
"""Statuses of an answer that says where to go (RFC 9110 section 15.4)."""

KEEPING = frozenset({307, 308})
"""Those after which the same request is made again; after the others it is a GET."""

_CHUNK = 65536


class InsecureRedirectError(ValueError):
    """
    A redirect that is not followed. The message says why, for a person.
    """


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
    which authorities the server is verified; None: by the system's. Redirects are followed, but none from
    HTTPS to HTTP.
    """
    try:
        async with (
            asyncio.timeout(timeout),
            # One for each request: they are few, and a kept one would have to be closed in time.
            aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=timeout),
                headers={"User-Agent": f"expiry-exporter/{__version__}"},
                trust_env=True,
            ) as session,
        ):
            at = url
            for _ in range(REDIRECTS + 1):
                async with session.request(
                    "GET" if body is None else "POST",
                    at,
                    data=body,
                    headers=headers,
                    allow_redirects=False,
                    ssl=True if trust is None else trust,
                ) as answer:
                    if answer.status not in REDIRECTING:
                        content = await _read(answer, limit)
                        retry_after = answer.headers.get("Retry-After")
                        return Downloaded(answer.status, content, retry_after, answer.headers)
                    at = destination(at, answer.headers.get("Location", ""))
                    if answer.status not in KEEPING:
                        # RFC 9110 section 15.4.4: what is there is to be got, as every client does.
                        body = None
    except InsecureRedirectError as error:
        raise LookupFailedError(Reason.HTTP_FAILED, str(error)) from None
    except TimeoutError:
        raise LookupFailedError(Reason.TIMEOUT, f"{url} did not answer in {timeout:g} s") from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        words = str(error) or type(error).__name__
        raise LookupFailedError(Reason.HTTP_FAILED, f"{url} can't be got: {words}") from None
    words = f"{url} was reached over more than {REDIRECTS} redirects"
    raise LookupFailedError(Reason.HTTP_FAILED, words)


def destination(url: str, location: str) -> str:
    """
    Where a redirect from this URL leads. Raises InsecureRedirectError when it is not to be followed.

    What came by HTTPS must not go on without it: then anybody on the way could say what is answered.
    """
    try:
        to = urljoin(url, location)
        scheme, has_host = urlsplit(to).scheme, bool(urlsplit(to).hostname)
    except ValueError:
        scheme, has_host = "", False
    if scheme == "http" and has_host and urlsplit(url).scheme == "https":
        why = f"it leads from HTTPS to plain HTTP, {shown(to)}, where anybody could change what is answered"
    elif not location or scheme not in {"http", "https"} or not has_host:
        why = "it leads to no web page"
    else:
        return to
    raise InsecureRedirectError(f"{shown(url)} answers with a redirect, which is not followed: {why}")


def shown(url: str) -> str:
    """
    A URL for messages: bounded, and without its query and user, which may be secrets of whoever made it.
    """
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return "something that is no URL"
    text = f"{parts.scheme}://{host}{parts.path}{'?...' if parts.query else ''}"[:300]
    return "".join(letter if letter.isprintable() else "?" for letter in text)


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
