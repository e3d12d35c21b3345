"""
Who is connected to our port: slow, silent and many clients, over real sockets.
"""

import asyncio
import contextlib
import gc
import gzip
import logging
import os
import resource
import socket
import ssl
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.request import urlopen

import pytest
from aiohttp import web

from exporter.server import answers
from exporter.server.answers import (
    COMPRESSION,
    PIECE,
    SENDING,
    WAITING,
    Compression,
    Sending,
    answer,
    takes_gzip,
)
from exporter.server.clients import Client, Clients, Patience, network_of
from tests.probes.tls.wire.probing import tls_server
from tests.support.certificates import DAY, NOW, authority

HEAD = b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n"
SHORT = Patience(request=0.3, idle=0.3, read=0.3)
LONG = Patience(request=60, idle=60, read=60)


Connected = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(slots=True)
class Server:
    """
    A server that runs, and the test's own clients of it.
    """

    port: int
    connected: list[asyncio.StreamWriter] = field(default_factory=list)

    async def connect(self, sent: bytes = b"", address: str = "127.0.0.1") -> Connected:
        """
        A client from this address that has sent this.
        """
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, local_addr=(address, 0))
        self.connected.append(writer)
        writer.write(sent)
        return reader, writer

    async def healthy(self, address: str = "127.0.0.1") -> bool:
        """
        True when a new client from this address is answered.
        """
        reader, _ = await self.connect(HEAD + b"Connection: close\r\n\r\n", address)
        async with asyncio.timeout(10):
            return b"200 OK" in await reader.read()


@contextlib.asynccontextmanager
async def serving(
    clients: Clients,
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]] | None = None,
    tls: ssl.SSLContext | None = None,
    sending: Sending | None = None,
) -> AsyncIterator[Server]:
    """
    A server for these clients, which answers `ok`, or what the handler does.
    """

    async def ok(_: web.Request) -> web.StreamResponse:
        return web.Response(text="ok")

    app = web.Application(middlewares=[clients.note])
    app[COMPRESSION] = Compression()
    app[SENDING] = sending or Sending()
    app.router.add_get("/{path:.*}", handler or ok)
    app.router.add_post("/{path:.*}", handler or ok)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, lingering_time=0.2)
    await runner.setup()
    assert runner.server is not None
    listener = await clients.listen(runner.server, ("127.0.0.1", 0), lambda: tls)
    watching = asyncio.get_running_loop().create_task(clients.watch())
    server = Server(listener.sockets[0].getsockname()[1])
    try:
        yield server
    finally:
        await clients.stop_listening(listener)
        watching.cancel()
        for writer in server.connected:
            writer.transport.abort()
        await runner.cleanup()
        await until(lambda: len(clients) == 0)


async def gone(client: Connected) -> bool:
    """
    True once the server has closed this client's connection; False when it does not in ten seconds.
    """
    try:
        async with asyncio.timeout(10):
            while await client[0].read(65536):
                pass
    except TimeoutError:
        return False
    except ConnectionError:
        pass
    return True


async def until(condition: Callable[[], bool]) -> None:
    """
    Return as soon as the condition is true.
    """
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - what the system does has no event
            await asyncio.sleep(0.005)


@pytest.mark.parametrize(
    "sent",
    [b"", HEAD, HEAD + b"\r\n", HEAD + b"\r\n" + HEAD, b"POST / HTTP/1.1\r\nContent-Length: 99\r\n\r\nx"],
    ids=["nothing", "half a head", "one request", "one and a half", "half a body"],
)
async def test_a_client_that_stops_sending_is_let_go(sent: bytes) -> None:
    """
    Wherever it stops.
    """
    async with serving(clients := Clients(10, SHORT)) as server:
        assert await gone(await server.connect(sent))
        await until(lambda: len(clients) == 0)


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01\x01\x00\x01"], ids=["nothing", "half a greeting"])
async def test_a_client_that_stops_in_its_tls_handshake_is_let_go(sent: bytes) -> None:
    """
    In the time that a request has.
    """
    leaf = authority().issue("localhost", ["localhost"], not_before=NOW - DAY, not_after=NOW + DAY)
    async with serving(clients := Clients(10, SHORT), tls=tls_server([leaf])) as server:
        client = await server.connect(sent)
        await until(lambda: len(clients) == 1)
        assert await gone(client)
        await until(lambda: len(clients) == 0)


@pytest.mark.parametrize("encrypted", [False, True])
async def test_a_client_that_left_is_freed_at_once(encrypted: bool) -> None:
    """
    Without the garbage collector, which would have much to look through after a flood of them.
    """
    tls, left = None, list[weakref.ref[asyncio.Transport]]()
    if encrypted:
        leaf = authority().issue("localhost", ["localhost"], not_before=NOW - DAY, not_after=NOW + DAY)
        tls = tls_server([leaf])

    async def handler(_: web.Request) -> web.StreamResponse:
        for one in clients:
            assert one._first is not None
            left.append(weakref.ref(one._first))
        return web.Response(text="ok")

    def ask(port: int) -> None:
        url = f"http{'s' if encrypted else ''}://127.0.0.1:{port}/"
        with urlopen(url, context=ssl._create_unverified_context() if encrypted else None) as answer:
            answer.read()

    async with serving(clients := Clients(10, LONG), handler, tls) as server:
        gc.disable()
        try:
            for _ in range(3):
                await asyncio.to_thread(ask, server.port)
                await until(lambda: len(clients) == 0)
            assert len(left) == 3
            await until(lambda: not any(one() for one in left))
        finally:
            gc.enable()


@pytest.mark.parametrize("encrypted", [False, True])
async def test_the_end_drops_whoever_is_connected(encrypted: bool) -> None:
    """
    In its handshake or in a request, between two of them, and who comes in this moment.
    """
    leaf = authority().issue("localhost", ["localhost"], not_before=NOW - DAY, not_after=NOW + DAY)
    tls = tls_server([leaf]) if encrypted else None
    async with serving(clients := Clients(10, LONG), tls=tls) as server:
        said = (b"", b"", b"") if encrypted else (b"", HEAD, HEAD + b"\r\n")
        connected = [await server.connect(one) for one in said]
        await until(lambda: len(clients) == 3)
        connected.append(await server.connect())
        await clients.end()
        assert len(clients) == 0
        assert all([await gone(one) for one in connected])


@pytest.mark.parametrize("turns", range(5))
async def test_who_comes_as_it_stops_listening_is_not_left_open(turns: int) -> None:
    """
    However far the event loop is with them.
    """
    clients = Clients(10, LONG)
    listening = await clients.listen(asyncio.Protocol, ("127.0.0.1", 0))
    with socket.create_connection(listening.sockets[0].getsockname(), timeout=10) as client:
        for _ in range(turns):
            await asyncio.sleep(0)
        await clients.stop_listening(listening)
        await clients.end()
        with contextlib.suppress(ConnectionError):
            assert client.recv(1) == b""


async def test_a_request_waits_since_its_first_byte() -> None:
    """
    However late the process comes to the rest, on a new connection and on one that was answered before.
    """
    waited: list[float] = []
    clients = Clients(10, LONG)

    async def handler(request: web.Request) -> web.StreamResponse:
        waited.append(clients.waited(request))
        return web.Response(text="ok")

    async with serving(clients, handler) as server:
        reader, writer = await server.connect(HEAD)
        for _ in range(2):
            await until(lambda: any(one.asking for one in clients))
            for one in clients:
                one.since -= 1000.0
            writer.write(b"\r\n")
            await reader.readuntil(b"ok")
            writer.write(HEAD)
    assert [round(one, -3) for one in waited] == [1000.0, 1000.0]


async def test_a_client_that_trickles_its_head_is_let_go() -> None:
    """
    The time is for all of the head, not from byte to byte.
    """
    async with serving(Clients(10, SHORT)) as server:
        client = await server.connect(HEAD + b"X-Long: ")

        async def trickle() -> None:
            while not client[1].is_closing():
                client[1].write(b"x")
                await asyncio.sleep(0.02)

        trickling = asyncio.create_task(trickle())
        assert await gone(client)
        trickling.cancel()


@pytest.mark.parametrize(
    "sent",
    [b"GET /" + b"x" * 100_000, HEAD + b"X: " + b"x" * 100_000, HEAD + b"X: x\r\n" * 10_000],
    ids=["a long line", "a long header", "many headers"],
)
async def test_a_request_that_is_too_large_is_refused(sent: bytes) -> None:
    """
    Before it has ended, and whoever waits.
    """
    async with serving(clients := Clients(10, LONG)) as server:
        reader, _ = await server.connect(sent)
        async with asyncio.timeout(10):
            assert b" 400 " in await reader.readline()
        await until(lambda: len(clients) == 0)


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /probe?target=https://me:secret@a HTTP/1.1\n\n",
        HEAD + b"Authorization: Basic c2VjcmV0\x01\r\n\r\n",
        HEAD + b"X: " + b"secret" * 2000 + b"\r\n\r\n",
        HEAD + b"Transfer-Encoding: secret\r\n\r\n",
        b"POST /-/healthy HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nsecret\r\n",
        bytes(range(256)),
    ],
)
async def test_a_request_that_is_not_http_is_no_news(sent: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """
    Any scanner sends such. What is in it, a password it may be, is in no log.
    """
    caplog.set_level(logging.DEBUG)
    async with serving(Clients(8, LONG)) as server:
        reader, _ = await server.connect(sent)
        async with asyncio.timeout(10):
            assert b" 400 Bad Request\r\n" in await reader.read()
    assert all(one.levelno == logging.DEBUG for one in caplog.records)
    assert "a client's request is not HTTP" in caplog.text
    assert "secret" not in caplog.text
    assert "c2VjcmV0" not in caplog.text


async def test_a_client_that_asks_now_and_then_is_kept() -> None:
    """
    The time of one request, and of an answer, is no pause between two.
    """

    async def slow(_: web.Request) -> web.StreamResponse:
        await asyncio.sleep(1.2)
        return web.Response(text="ok")

    async with serving(Clients(10, Patience(request=1, idle=60, read=1)), slow) as server:
        reader, writer = await server.connect()
        for _ in range(2):
            writer.write(HEAD + b"\r\n")
            assert b"200 OK" in await reader.readuntil(b"\r\n\r\nok")
            await asyncio.sleep(1.2)


def test_a_client_that_does_not_read_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    And what it does not read is no copy of its own: the connection holds a piece.
    """
    monkeypatch.setattr(answers, "READ_TIMEOUT", 0.5)
    body = b"x" * 16_000_000
    buffered: dict[Client, int] = {}
    really = Client.pause_writing

    def noted(client: Client) -> None:
        buffered[client] = max(buffered.get(client, 0), client.buffered)
        really(client)

    monkeypatch.setattr(Client, "pause_writing", noted)

    async def large(request: web.Request) -> web.StreamResponse:
        return await answer(request, body, "text/plain")

    async def test() -> None:
        loop = asyncio.get_running_loop()
        with contextlib.ExitStack() as stack:
            async with serving(clients := Clients(100, LONG), large) as server:
                for _ in range(40):
                    silent = stack.enter_context(socket.socket())
                    # What the system takes for it must not be the whole body.
                    silent.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                    silent.setblocking(False)
                    await loop.sock_connect(silent, ("127.0.0.1", server.port))
                    await loop.sock_sendall(silent, HEAD + b"\r\n")
                await until(lambda: len(buffered) == 40 and len(clients) == 0)

    asyncio.run(test())
    assert 0 < max(buffered.values()) <= 2 * PIECE


@pytest.mark.parametrize("accepted", ["gzip", "identity"])
def test_an_answer_in_pieces_is_whole(accepted: str) -> None:
    """
    Compressed or not, for GET and, without a body, for HEAD.
    """
    body = os.urandom(5 * PIECE + 17)

    async def large(request: web.Request) -> web.StreamResponse:
        return await answer(request, body, "text/plain; charset=utf-8", headers={"X-One": "1"})

    async def test() -> None:
        import aiohttp

        async with serving(Clients(10, LONG), large) as server, aiohttp.ClientSession() as session:
            url = f"http://127.0.0.1:{server.port}/"
            async with session.get(url, headers={"Accept-Encoding": accepted}) as got:
                assert await got.read() == body
                assert got.headers.get("Content-Encoding") == ("gzip" if accepted == "gzip" else None)
                assert got.headers["Content-Type"] == "text/plain; charset=utf-8"
                assert got.headers["X-One"] == "1"
                length = got.headers["Content-Length"]
            async with session.head(url, headers={"Accept-Encoding": accepted}) as got:
                assert await got.read() == b""
                assert got.headers["Content-Length"] == length

    asyncio.run(test())


async def test_a_body_is_compressed_once_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    For those who ask at the same time, and for who comes after them.
    """
    made: list[int] = []
    really = gzip.compress

    def counted(data: bytes, level: int) -> bytes:
        made.append(len(data))
        return really(data, level)

    monkeypatch.setattr(gzip, "compress", counted)
    body = b"metric 1\n" * 200_000
    compression = Compression()
    compressed = await asyncio.gather(*(compression.of(body) for _ in range(50)))
    assert len({id(one) for one in compressed}) == 1
    assert await compression.of(body) is compressed[0]
    assert made == [len(body)]


@pytest.mark.parametrize(("waited", "left"), [(3 * WAITING, 3), (WAITING / 20, 10)])
async def test_clients_that_do_not_read_hold_few_bodies(waited: float, left: int) -> None:
    """
    Each has a body of its own, as one scrape after the other makes them: those that read nothing for longest
    are let go. Not those that had no time to.
    """
    # More than the buffers of the system hold.
    size, now = 64 * PIECE, 0.0
    sending = Sending(3 * size, lambda: now)
    asked: list[asyncio.Transport | None] = []

    async def show(request: web.Request) -> web.StreamResponse:
        asked.append(request.transport)
        return await answer(request, os.urandom(size), "text/plain")

    async with serving(Clients(50, LONG), show, sending=sending) as server:
        held: list[Connected] = []
        for _ in range(10):
            connection = socket.create_connection(("127.0.0.1", server.port))
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            reader, writer = await asyncio.open_connection(sock=connection)
            server.connected.append(writer)
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            writer.write(HEAD + b"\r\n")
            held.append((reader, writer))
            await until(lambda: len(asked) == len(held))
            # The buffers of the system are full.
            await until(lambda: all(one.get_write_buffer_size() for one in sending._clients))
            assert len(sending._clients) == min(left, len(held))
            now += waited
        assert [one is not None and one.is_closing() for one in asked] == [True] * (10 - left) + [
            False
        ] * left


@pytest.mark.parametrize(
    ("header", "takes"),
    [
        ("", False),
        ("gzip", True),
        ("deflate, GZIP;q=0.5", True),
        ("gzip;q=0", False),
        ("gzip; q=0.00", False),
        ("x-gzipped", False),
        ("br;q=1, gzip;q=0.001", True),
    ],
)
def test_who_takes_gzip_says_so(header: str, takes: bool) -> None:
    """
    As RFC 9110 has it.
    """
    assert takes_gzip(header) is takes


def test_a_full_port_lets_the_longest_idle_client_go() -> None:
    """
    Not the one that has just been answered, nor the one that is being answered.
    """
    release = asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        if request.path == "/wait":
            await release.wait()
        return web.Response(text="ok")

    async def test() -> None:
        async with serving(clients := Clients(4, LONG), handler) as server:
            waiting = await server.connect(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
            await until(lambda: any(one.requests for one in clients))
            silent, half, fresh = [await server.connect(sent) for sent in (b"", HEAD, b"")]
            await until(lambda: len(clients) == 4)
            fresh[1].write(HEAD + b"\r\n")
            await fresh[0].readuntil(b"ok")
            assert await server.healthy()
            assert await gone(silent)
            # The place of the health check is free again: two new ones are one too many.
            for _ in range(2):
                await server.connect()
            assert await gone(half)
            fresh[1].write(HEAD + b"\r\n")
            assert b"200 OK" in await fresh[0].readuntil(b"ok")
            release.set()
            assert b"200 OK" in await waiting[0].readuntil(b"ok")

    asyncio.run(test())


def test_one_address_can_not_hold_all_places() -> None:
    """
    Not even with requests that go on: one of its own goes for each new client, whoever is idle beside it.
    """

    async def handler(request: web.Request) -> web.StreamResponse:
        if request.path == "/wait":
            await asyncio.Event().wait()
        return web.Response(text="ok")

    async def test() -> None:
        async with serving(clients := Clients(8, LONG), handler) as server:
            idle = await server.connect(address="127.0.0.2")
            await until(lambda: len(clients) == 1)
            for _ in range(7):
                await server.connect(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
            await until(lambda: sum(one.requests for one in clients) == 7)
            for _ in range(3):
                assert await server.healthy("127.0.0.3")
            for _ in range(20):
                await server.connect(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
            assert await server.healthy("127.0.0.3")
            idle[1].write(HEAD + b"\r\n")
            assert b"200 OK" in await idle[0].readuntil(b"ok")

    asyncio.run(test())


@pytest.mark.parametrize(
    ("peer", "network"),
    [
        (("192.0.2.7", 4711), "192.0.2.7"),
        (("2001:db8:1:2:3:4:5:6", 4711, 0, 0), "2001:db8:1:2::/64"),
        (("fe80::1%eth0", 4711, 0, 2), "fe80::/64"),
        (("::ffff:192.0.2.7", 4711, 0, 0), "192.0.2.7"),
        ("/run/socket", ""),
        (None, ""),
    ],
)
def test_an_address_is_what_one_client_has(peer: object, network: str) -> None:
    """
    A host with IPv6 has more addresses than anybody can count.
    """
    assert network_of(peer) == network


def highest_descriptor() -> int:
    """
    The highest number of what this process has open, the listing of it included.
    """
    return max(int(one.name) for one in Path("/proc/self/fd").iterdir())


async def test_running_out_of_descriptors_is_a_line_not_a_traceback(caplog: pytest.LogCaptureFixture) -> None:
    """
    Whatever took them.
    """
    async with serving(Clients(100, LONG)) as server:
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)
        with contextlib.ExitStack() as stack:
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            open_now = highest_descriptor()
            stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, limit)
            fillers = [stack.enter_context(socket.socket()) for _ in range(open_now)]
            assert fillers
            top = highest_descriptor()
            resource.setrlimit(resource.RLIMIT_NOFILE, (top, limit[1]))
            with contextlib.suppress(BlockingIOError):
                waiting.connect(("127.0.0.1", server.port))
            await until(lambda: "ulimit -n" in caplog.text)
        assert await server.healthy()
        # Python tries again once for each failure: a listener must not be closed before.
        scheduled = asyncio.get_running_loop()._scheduled  # type: ignore[attr-defined] # has no public name
        await until(lambda: "_start_serving" not in repr(scheduled))
    assert "Traceback" not in caplog.text
