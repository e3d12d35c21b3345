"""
Answers: sends a response body to many clients, compressed once and never copied as a whole.

The part that a client has not read stays in the one shared body: its connection holds one piece of it.
"""

import asyncio
import contextlib
import gzip
import re
from collections.abc import Mapping
from functools import partial

from aiohttp import web

from exporter.net.pools import Pool, PoolFullError
from exporter.server.bodies import Bodies

PIECE = 128 * 1024
"""Bytes that are written to a connection before the client has to read."""


READ_TIMEOUT = 30.0
"""Seconds within which a client must read a piece."""


COMPRESSED_FROM = 1024
"""Size in bytes from which a body is compressed."""


KEPT = 64 * 1024 * 1024
"""Bytes of bodies, plain and compressed, that are kept for KEPT_SECONDS and sent to other clients too."""


KEPT_SECONDS = 10.0


_NOT_TAKEN = re.compile(r"q\s*=\s*0(\.0*)?")


class Compression:
    """
    Compresses a body once for all clients.
    """

    def __init__(self) -> None:
        self._bodies = Bodies(KEPT, KEPT_SECONDS)
        self._pool = Pool("gzip", 2, waiting=32)

    async def of(self, body: bytes) -> bytes:
        """
        Return the body in gzip (RFC 1952). Raises PoolFullError when too many others wait for theirs.
        """
        # The lowest level: the text is so repetitive that more effort gains little. Known by its identity:
        # comparing tens of megabytes would cost more than is saved.
        work = partial(gzip.compress, body, 1)
        return await self._bodies.get(id(body), lambda: self._pool.run(work), source=body)


COMPRESSION: web.AppKey[Compression] = web.AppKey("compression", Compression)


async def answer(
    request: web.Request,
    body: bytes,
    content_type: str,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    zipped: bool | None = None,
) -> web.StreamResponse:
    """
    Send the body, compressed if the client accepts it, piece by piece; drop a client that does not read.

    `content_type` is the whole header, with its charset. `zipped` is True when the body is compressed
    already, for a client that accepts it, False when it is not to be; None: it may be compressed here.
    """
    response = web.StreamResponse(status=status, headers=headers)
    response.headers["Content-Type"] = content_type
    response.headers["Vary"] = "Accept-Encoding"
    if zipped:
        response.headers["Content-Encoding"] = "gzip"
    elif (
        zipped is None
        and len(body) > COMPRESSED_FROM
        and takes_gzip(request.headers.get("Accept-Encoding", ""))
    ):
        # When too many others are being compressed, it is sent as it is.
        with contextlib.suppress(PoolFullError):
            body = await request.app[COMPRESSION].of(body)
            response.headers["Content-Encoding"] = "gzip"
    response.content_length = len(body)
    # A client that has gone is no error: the server notices it when it ends the response.
    with contextlib.suppress(ConnectionError):
        await response.prepare(request)
        if request.method != "HEAD":
            await _send(request, response, body)
    return response


async def _send(request: web.Request, response: web.StreamResponse, body: bytes) -> None:
    rest = memoryview(body)
    while rest:
        try:
            async with asyncio.timeout(READ_TIMEOUT):
                await response.write(rest[:PIECE])
        except TimeoutError:
            if request.transport is not None:
                request.transport.abort()
            return
        rest = rest[PIECE:]
        # The connection of a fast client takes every piece at once: others have their turn between two
        # pieces.
        await asyncio.sleep(0)


def takes_gzip(accepted: str) -> bool:
    """
    Return True when an Accept-Encoding header accepts gzip (RFC 9110 section 12.5.3).
    """
    for part in accepted.lower().split(","):
        coding, _, weight = (word.strip() for word in part.partition(";"))
        if coding == "gzip":
            return _NOT_TAKEN.fullmatch(weight) is None
    return False
