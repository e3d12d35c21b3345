"""
Answers: sends a response body to many clients, compressed once and never copied as a whole.

The part that a client has not read stays in the one shared body: its connection holds one piece of it.
"""

import asyncio
import contextlib
import gzip
import re
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
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


SENT = 64 * 1024 * 1024
"""Bytes of bodies that clients may hold which do not read."""


WAITING = 1.0
"""Seconds within which a client reads a piece: it is not dropped for the sake of that limit."""


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


class Sending:
    """
    The bodies that are being sent, each counted once however many clients read it.

    Clients that do not read would else hold as many bodies as there are connections: each scrape has its own.
    """

    def __init__(self, budget: int = SENT, clock: Callable[[], float] = time.monotonic) -> None:
        """
        `budget` is the number of bytes from which on clients that do not read are dropped.
        """
        self._budget, self._clock = budget, clock
        self._clients: OrderedDict[asyncio.Transport, tuple[bytes, float]] = OrderedDict()
        """With the body that each is sent and the time of its last piece, the earliest first."""

    def take(self, client: asyncio.Transport, body: bytes) -> None:
        """
        Note that a client begins to read a body, or has read a piece of it.
        """
        if client.is_closing():
            return
        is_new = client not in self._clients
        self._clients[client] = body, self._clock()
        self._clients.move_to_end(client)
        if is_new:
            self._make_room()

    def end(self, client: asyncio.Transport) -> None:
        """
        Note that a client is done, or gone.
        """
        self._clients.pop(client, None)

    def _make_room(self) -> None:
        held = Counter(id(body) for body, _ in self._clients.values())
        bodies = {id(body): len(body) for body, _ in self._clients.values()}
        total, now = sum(bodies.values()), self._clock()
        for client, (body, since) in list(self._clients.items()):
            if total <= self._budget or now - since < WAITING:
                break
            held[id(body)] -= 1
            if not held[id(body)]:
                total -= len(body)
            self.end(client)
            client.abort()


SENDING: web.AppKey[Sending] = web.AppKey("sending", Sending)


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
    sending, client = request.app[SENDING], request.transport
    if client is None:
        return
    rest = memoryview(body)
    try:
        while rest:
            sending.take(client, body)
            async with asyncio.timeout(READ_TIMEOUT):
                await response.write(rest[:PIECE])
            rest = rest[PIECE:]
            # The connection of a fast client takes every piece at once: others have their turn between two
            # pieces.
            await asyncio.sleep(0)
    except TimeoutError:
        client.abort()
    finally:
        sending.end(client)


def takes_gzip(accepted: str) -> bool:
    """
    Return True when an Accept-Encoding header accepts gzip (RFC 9110 section 12.5.3).
    """
    for part in accepted.lower().split(","):
        coding, _, weight = (word.strip() for word in part.partition(";"))
        if coding == "gzip":
            return _NOT_TAKEN.fullmatch(weight) is None
    return False
