"""
Clients: connections to the server's port, their time limits, and which one is dropped when it is full.

A client that sends nothing, half a request, or does not read takes a place until its time is over. When all
places are taken, the one that is needed least is dropped, so that scrapes and health checks always get in.
"""

import asyncio
import ipaddress
import logging
import socket
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from exporter.logs import fields

logger = logging.getLogger(__name__)


ACCEPTED_AT_ONCE = 16
"""
Connections that are accepted before the event loop does other work, which may exceed the places for a moment.
"""


TURNS = 8
"""Turns of the event loop without a client after which none can come: nothing listens any more."""


QUEUE = 1024
"""Connections that the system queues until they are accepted."""


@dataclass(frozen=True, slots=True)
class Patience:
    """
    The time limits of a client, in seconds.
    """

    request: float = 10.0
    """For the whole head of a request, from the connection or from its first byte."""
    idle: float = 330.0
    """
    Between two requests. Longer than Prometheus keeps a connection (300 s), so that Prometheus closes it.
    """
    read: float = 30.0
    """For the rest of a response that the server has finished."""


class Client(asyncio.Protocol):
    """
    A connection: passes its events to the server's own protocol, and records its state.
    """

    def __init__(self, clients: "Clients", server: asyncio.Protocol) -> None:
        self._clients = clients
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._first: asyncio.Transport | None = None
        """The first transport: below TLS, where it is spoken."""
        self._early: list[bytes] | None = []
        """What comes before the server's protocol knows of the client, with the end of a TLS handshake; then
        None."""
        self._served = False
        self.asking = False
        """True when it has sent part of a request."""
        self.address = ""
        self.requests = 0
        """Number of requests that are being answered."""
        self.since = self._loop.time()
        """Loop time of its connection, its last response, or the first byte of a later request."""
        self.stalled: float | None = None
        """Loop time at which it stopped reading; None while it reads."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """
        Record the connection.
        """
        assert isinstance(transport, asyncio.Transport)
        self.begin_handshake(transport)
        if not self._clients.accepts(transport):
            self.drop()
        early, self._early = self._early or (), None
        self._server.connection_made(transport)
        for data in early:
            self.data_received(data)

    def begin_handshake(self, transport: asyncio.Transport) -> None:
        """
        Record the connection, or the one below its TLS, which takes a place before the server knows of it.
        """
        if self._transport is not None:
            self._clients.remove(self._transport)
        self._transport = transport
        self._first = self._first or transport
        self.address = network_of(transport.get_extra_info("peername"))
        self._clients.add(transport, self)

    def data_received(self, data: bytes) -> None:
        """
        Record the beginning of a request.
        """
        if self._early is not None:
            self._early.append(data)
            return
        if not self.requests and not self.asking:
            self.asking, self.since = True, self._loop.time()
        self._server.data_received(data)

    def eof_received(self) -> bool | None:
        """
        Pass on that the client sends no more.
        """
        return self._server.eof_received() if self._early is None else None

    def pause_writing(self) -> None:
        """
        Record that the client reads more slowly than it is answered.
        """
        self.stalled = self._loop.time()
        self._server.pause_writing()

    def resume_writing(self) -> None:
        """
        Record that the client has read.
        """
        self.stalled = None
        self._server.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """
        Forget the connection.
        """
        if self._transport is not None:
            self._clients.remove(self._transport)
        if self._early is None:
            self._server.connection_lost(exc)
        if self._first is not None:
            _free(self._first)

    def begin(self) -> None:
        """
        Record that a request is being answered.
        """
        self.requests += 1
        self.asking = False

    def end(self) -> None:
        """
        Record that a request was answered.
        """
        self.requests -= 1
        self._served, self.since = True, self._loop.time()

    def overdue(self, patience: Patience, now: float) -> bool:
        """
        Return True when its time is over at `now` (loop time). Responses under way have limits of their own.
        """
        if self.requests:
            return False
        if self.buffered:
            limit = patience.read
        else:
            limit = patience.idle if self._served and not self.asking else patience.request
        return now - self.since >= limit

    @property
    def buffered(self) -> int:
        """
        Bytes in this process that wait for the client to read.
        """
        return self._transport.get_write_buffer_size() if self._transport is not None else 0

    def drop(self) -> None:
        """
        Close the connection now, and discard what was not sent.
        """
        if self._transport is not None:
            self._transport.abort()


def _free(transport: asyncio.Transport) -> None:
    """
    Let a transport that is closed be freed. Those of asyncio keep methods of their own, and so themselves.

    Only the garbage collector would free them, which stops everything for as long as it looks through all
    that there is.
    """
    kept = vars(transport)
    for name in [name for name, value in kept.items() if getattr(value, "__self__", None) is transport]:
        del kept[name]


class Greeting(asyncio.Protocol):
    """
    A connection before its TLS handshake.
    """

    def __init__(self, clients: "Clients", client: Client, context: ssl.SSLContext) -> None:
        self._clients = clients
        self._client = client
        self._context = context

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """
        Begin the handshake.
        """
        assert isinstance(transport, asyncio.Transport)
        self._clients.greet(self._client, transport, self._context)


class Clients:
    """
    All connected clients.
    """

    def __init__(
        self,
        places: int,
        patience: Patience = Patience(),
        accepts: Callable[[asyncio.BaseTransport], bool] = lambda _: True,
    ) -> None:
        """
        `accepts` returns False for a connection, after its TLS handshake, that is to be closed at once.
        """
        self._places = places
        self.patience = patience
        self.accepts = accepts
        self._connected: dict[asyncio.BaseTransport, Client] = {}
        """The one that is connected longest comes first."""
        self._came = asyncio.Event()
        """Set while a client is connected, or one was since the last check."""
        self._greeted: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        """
        Return the number of connected clients.
        """
        return len(self._connected)

    def __iter__(self) -> Iterator[Client]:
        """
        Yield the connected clients.
        """
        return iter(self._connected.values())

    async def listen(
        self,
        server: Callable[[], asyncio.Protocol],
        where: tuple[str | None, int] | socket.socket,
        context: Callable[[], ssl.SSLContext | None] = lambda: None,
    ) -> asyncio.Server:
        """
        Listen for clients of this server, which makes a protocol for each. Raises OSError.

        `where` is a host (None: all addresses) and port, or a socket that listens already. `context` is asked
        at each connection for its TLS; None: it has none.
        """
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(_explain)
        logging.getLogger("aiohttp.server").addFilter(_no_news)

        def client() -> asyncio.Protocol:
            made, tls = self._client(server), context()
            return made if tls is None else Greeting(self, made, tls)

        # The backlog is also how many are accepted before anything else has its turn.
        if isinstance(where, socket.socket):
            listening = await loop.create_server(client, sock=where, backlog=ACCEPTED_AT_ONCE)
        else:
            listening = await loop.create_server(client, *where, backlog=ACCEPTED_AT_ONCE)
        for one in listening.sockets:
            with one.dup() as same:
                same.listen(QUEUE)
        return listening

    async def stop_listening(self, listening: asyncio.Server) -> None:
        """
        Accept no more clients.
        """
        loop = asyncio.get_running_loop()
        for one in listening.sockets:
            loop.remove_reader(one)
        # Who was accepted in this turn has a protocol in the next one. Were the listener closed first, Python
        # would leave that connection open, and not say so.
        await asyncio.sleep(0)
        listening.close()

    def greet(self, client: Client, transport: asyncio.Transport, context: ssl.SSLContext) -> None:
        """
        Begin the TLS handshake with a client.
        """
        client.begin_handshake(transport)
        task = asyncio.get_running_loop().create_task(self._handshake(client, transport, context))
        self._greeted.add(task)
        task.add_done_callback(self._greeted.discard)

    async def _handshake(self, client: Client, transport: asyncio.Transport, context: ssl.SSLContext) -> None:
        loop = asyncio.get_running_loop()
        try:
            encrypted = await loop.start_tls(
                transport, client, context, server_side=True, ssl_handshake_timeout=self.patience.request
            )
        except (OSError, asyncio.CancelledError) as error:
            # Any scanner does this: it is no news, and not worth a line each time.
            logger.debug(
                "a client's TLS handshake failed", extra=fields(address=client.address, cause=str(error))
            )
            transport.abort()
            self.remove(transport)
            return
        if encrypted is None or encrypted.is_closing():
            self.remove(transport)
            return
        client.connection_made(encrypted)

    async def watch(self) -> None:
        """
        Drop clients whose time is over, for as long as the process lives. It rests while there are none.
        """
        while True:
            if not self._connected:
                self._came.clear()
            await self._came.wait()
            await asyncio.sleep(min(1.0, self.patience.request / 4))
            now = asyncio.get_running_loop().time()
            for client in [one for one in self._connected.values() if one.overdue(self.patience, now)]:
                logger.debug("a client took too long", extra=fields(address=client.address))
                client.drop()

    async def end(self) -> None:
        """
        Drop all clients, and return when none is left. Nothing may listen any more.
        """
        quiet = 0
        # A client comes two turns after it was accepted, and goes at most three after it was dropped.
        while quiet < TURNS:
            for client in list(self._connected.values()):
                client.drop()
            quiet = 0 if self._connected else quiet + 1
            await asyncio.sleep(0)

    @web.middleware
    async def note(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """
        Record for each request which client is being answered.
        """
        transport = request.transport
        client = self._connected.get(transport) if transport is not None else None
        if client is None:
            return await handler(request)
        client.begin()
        try:
            return await handler(request)
        finally:
            client.end()

    def waited(self, request: web.Request) -> float:
        """
        Return the seconds since the first byte of a request: its client waits already while the process is
        busy.
        """
        client = self._connected.get(request.transport) if request.transport is not None else None
        return asyncio.get_running_loop().time() - client.since if client is not None else 0.0

    def add(self, transport: asyncio.BaseTransport, client: Client) -> None:
        """
        Record a new client.
        """
        self._connected[transport] = client
        self._came.set()

    def remove(self, transport: asyncio.BaseTransport) -> None:
        """
        Forget a client.
        """
        self._connected.pop(transport, None)

    def _client(self, server: Callable[[], asyncio.Protocol]) -> Client:
        while len(self._connected) >= self._places:
            transport, client = self._least_needed()
            self.remove(transport)
            client.drop()
            logger.warning(
                "all places for clients were taken: one was let go for a new one",
                extra=fields(places=self._places, address=client.address),
            )
        return Client(self, server())

    def _least_needed(self) -> tuple[asyncio.BaseTransport, Client]:
        """
        Return the client to drop: the longest idle one, else the longest not reading, else the newest.

        When one address has more than half of the places, it is one of that address.
        """
        address, most = Counter(one.address for one in self._connected.values()).most_common(1)[0]
        crowd = [
            (transport, one)
            for transport, one in self._connected.items()
            if most <= self._places / 2 or one.address == address
        ]
        idle = [pair for pair in crowd if not pair[1].requests]
        if idle:
            return min(idle, key=lambda pair: pair[1].since)
        unread = [
            (one.stalled, position) for position, (_, one) in enumerate(crowd) if one.stalled is not None
        ]
        return crowd[min(unread)[1]] if unread else crowd[-1]


def _no_news(record: logging.LogRecord) -> bool:
    """
    Return True for a record that is to be written: not that a request is no HTTP, which any scanner's is.

    At level debug it is, without the request, in which there may be a password.
    """
    error = record.exc_info[1] if record.exc_info else None
    if not isinstance(error, HttpProcessingError):
        return True
    address = record.getMessage().rpartition(" ")[2]
    logger.debug("a client's request is not HTTP", extra=fields(address=address, cause=type(error).__name__))
    return False


def _explain(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """
    Log an exception outside of tasks. Having no descriptor left for a client is no bug.
    """
    error = context.get("exception")
    if isinstance(error, OSError) and "accept()" in context.get("message", ""):
        logger.error(
            "clients can't be accepted: the process may open no more files, raise `ulimit -n`",
            extra=fields(cause=error.strerror),
        )
    else:
        loop.default_exception_handler(context)


def network_of(peer: Any) -> str:
    """
    Return the key for a client's address: of IPv6 the first 64 bits, since one host may use all of the
    others.
    """
    try:
        address = ipaddress.ip_address(peer[0].partition("%")[0])
    except (TypeError, ValueError, IndexError, AttributeError):
        return ""
    if address.version == 4:
        return str(address)
    mapped = address.ipv4_mapped
    return str(mapped) if mapped is not None else str(ipaddress.ip_network((address, 64), strict=False))
