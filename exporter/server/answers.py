"""
Answers: sends a body that many may be sent at the same time, compressed once and never copied as a whole.

What a client does not read stays in the one body that all share: its connection holds a piece of it.
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
"""Bytes that a connection is given before the client has to read."""


READ_TIMEOUT = 30.0
"""Seconds in which a client has to read a piece."""


COMPRESSED_FROM = 1024
"""Bytes of a body that are worth compressing."""


KEPT = 64 * 1024 * 1024
"""Bytes of bodies, plain and compressed, that are kept for KEPT_SECONDS: others are sent the same."""


KEPT_SECONDS = 10.0


_NOT_TAKEN = re.compile(r"q\s*=\s*0(\.0*)?")


class Compression:
    """
    Compresses a body once for all who are sent it.
    """

    def __init__(self) -> None:
        self._bodies = Bodies(KEPT, KEPT_SECONDS)
        self._pool = Pool("gzip", 2, waiting=32)

    async def of(self, body: bytes) -> bytes:
        """
        The body in gzip (RFC 1952). Raises PoolFullError when too many others wait for theirs.
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
    Send the body, compressed for who takes it, piece by piece; give up on a client that does not read.

    `content_type` is the whole header, with its charset. `zipped` says whether the body is compressed
    already, for a client that takes it; None: it is not, and may be here.
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
        # When too many others are compressed, it goes as it is.
        with contextlib.suppress(PoolFullError):
            body = await request.app[COMPRESSION].of(body)
            response.headers["Content-Encoding"] = "gzip"
    response.content_length = len(body)
    # Who has gone is no error of ours: the server sees the same when it ends the answer.
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
        # A fast client's connection takes all there is: others have their turn between two pieces.
        await asyncio.sleep(0)


def takes_gzip(accepted: str) -> bool:
    """
    True when an Accept-Encoding header takes gzip (RFC 9110 section 12.5.3).
    """
    for part in accepted.lower().split(","):
        coding, _, weight = (word.strip() for word in part.partition(";"))
        if coding == "gzip":
            return _NOT_TAKEN.fullmatch(weight) is None
    return False
