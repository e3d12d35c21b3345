"""
Demo endpoints on the loopback address: one is healthy, each of the others has another fault.

Nothing leaves the host, no privilege is needed, every certificate is made at the start.
"""

import asyncio
import contextlib
import socket
import ssl
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from exporter.demo.minter import Minted, root
from exporter.model.policies import DAY
from exporter.model.targets import Target
from exporter.model.urls import parse_url

LOOPBACK = "127.0.0.1"


_READ_SIZE = 1 << 16


_YEAR = 365 * DAY


_LIFETIME = 90 * DAY


_CONNECTION_TIMEOUT = 30.0
"""Seconds that a connection may stay open, also at the silent endpoint."""


_TARGET_TIMEOUT = 2.0
"""Seconds that a probe may take: enough over loopback, and the silent endpoint delays little."""


Answer = Callable[[socket.socket], Awaitable[None]]
"""Serves one accepted connection of an endpoint, which is closed afterwards."""


@dataclass(frozen=True, slots=True)
class Demo:
    """
    Running demo endpoints. They listen until `close` or until the event loop ends.
    """

    targets: tuple[Target, ...]
    ca_file: str
    """PEM file with the root of all targets but `untrusted`."""
    _resources: contextlib.AsyncExitStack = field(repr=False)

    async def close(self) -> None:
        """
        Stop listening and close all connections. A second call has no effect.
        """
        await self._resources.aclose()


async def start(now: float, directory: str) -> Demo:
    """
    Start the demo endpoints, with certificates of various ages at `now` (seconds since the epoch).

    The root is written to `directory`. Raises OSError when the directory can't be written or the loopback
    address can't be bound.
    """
    ca = root("Demo Root", not_before=now - 5 * _YEAR, not_after=now + 10 * _YEAR)
    ca_file = Path(directory) / "demo-root.pem"
    ca_file.write_bytes(ca.pem)
    answers = {name: _handshake(context) for name, context in _contexts(now, ca).items()}
    answers["silent"] = _silence
    async with contextlib.AsyncExitStack() as resources:
        ports = {name: _listen(answer, resources) for name, answer in answers.items()}
        ports["refused"] = _refuse(resources)
        targets = tuple(_target(name, port, str(ca_file)) for name, port in ports.items())
        return Demo(targets, str(ca_file), resources.pop_all())


def _target(name: str, port: int, ca_file: str) -> Target:
    return Target(
        parse_url(f"tls://{LOOPBACK}:{port}"),
        name=name,
        labels=(("team", "demo"),),
        timeout=_TARGET_TIMEOUT,
        server_name=_host(name),
        ca_file=ca_file,
    )


def _host(name: str) -> str:
    # Nobody owns a name below `example` (RFC 2606).
    return f"{name}.demo.example"


def _contexts(now: float, ca: Minted) -> dict[str, ssl.SSLContext]:
    """
    Return the TLS contexts of the endpoints that speak TLS, by the name of the target.
    """
    intermediate = _intermediate("Demo Intermediate", now, ca)
    unknown_ca = root("Somebody's Own Root", not_before=now - _YEAR, not_after=now + 9 * _YEAR)

    def leaf(name: str, left: float = 75 * DAY, issuer: Minted = intermediate) -> Minted:
        return issuer.issue(
            _host(name), [_host(name)], not_before=now + left - _LIFETIME, not_after=now + left
        )

    chains = {
        "healthy": leaf("healthy").chain,
        # Under the automatic policy: renewal due with 30 days left, warning with 25.5, critical with 7.
        "renewal-late": leaf("renewal-late", 20 * DAY).chain,
        "two-days-left": leaf("two-days-left", 2 * DAY).chain,
        "expired": leaf("expired", -3 * DAY).chain,
        "not-yet-valid": leaf("not-yet-valid", _LIFETIME + DAY).chain,
        "wrong-name": leaf("another-name").chain,
        "untrusted": leaf("untrusted", issuer=_intermediate("Their Intermediate", now, unknown_ca)).chain,
        "missing-intermediate": leaf("missing-intermediate").chain[:1],
        "client-certificate": leaf("client-certificate").chain,
    }
    contexts = {name: _context(chain) for name, chain in chains.items()}
    _demand_client_certificate(contexts["client-certificate"], ca)
    return contexts


def _intermediate(name: str, now: float, ca: Minted) -> Minted:
    return ca.issue(name, ca=True, path_length=0, not_before=now - _YEAR, not_after=now + 4 * _YEAR)


def _context(chain: tuple[Minted, ...]) -> ssl.SSLContext:
    """
    Return a TLS context for a server that presents this chain.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # `ssl` takes a key only from a file: one that others can't read, and that is gone at once.
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"".join(minted.pem for minted in chain) + chain[0].key_pem)
        file.flush()
        context.load_cert_chain(file.name)
    return context


def _demand_client_certificate(context: ssl.SSLContext, ca: Minted) -> None:
    """
    Make the context require a client certificate of this CA.
    """
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=ca.pem.decode("ascii"))


def _listen(answer: Answer, resources: contextlib.AsyncExitStack) -> int:
    """
    Listen on a free port, serve each connection with `answer`, and return the port.

    Closing `resources` stops the listener and its connections.
    """
    # Not `asyncio.start_server`: when that is closed it can lose a connection that it is just accepting.
    loop = asyncio.get_running_loop()
    listener = resources.enter_context(socket.create_server((LOOPBACK, 0)))
    listener.setblocking(False)
    connections: set[asyncio.Task[None]] = set()

    def accept() -> None:
        try:
            connection, _ = listener.accept()
        except OSError:
            # The client has given up in between.
            return
        connection.setblocking(False)
        task = loop.create_task(_serve(answer, connection))
        connections.add(task)
        task.add_done_callback(connections.discard)
        # Here, since a task that is cancelled before its first step runs none of its own code.
        task.add_done_callback(lambda _: connection.close())

    async def close() -> None:
        loop.remove_reader(listener)
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    loop.add_reader(listener, accept)
    resources.push_async_callback(close)
    port: int = listener.getsockname()[1]
    return port


def _refuse(resources: contextlib.AsyncExitStack) -> int:
    """
    Return a port that refuses connections. It is bound, so that no other process can listen on it.
    """
    holder = resources.enter_context(socket.socket())
    holder.bind((LOOPBACK, 0))
    port: int = holder.getsockname()[1]
    return port


async def _serve(answer: Answer, connection: socket.socket) -> None:
    """
    Serve one connection. A client that breaks it off or takes too long is not an error.
    """
    with contextlib.suppress(OSError):
        async with asyncio.timeout(_CONNECTION_TIMEOUT):
            await answer(connection)


def _handshake(context: ssl.SSLContext) -> Answer:
    """
    Return an answer that makes a TLS handshake and closes it (close_notify, RFC 8446 section 6.1).
    """

    # In memory, not with asyncio's own TLS, which can't drop an unfinished handshake at once.
    async def answer(connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, outgoing, server_side=True)

        async def finish(step: Callable[[], object]) -> None:
            while True:
                try:
                    step()
                except ssl.SSLWantReadError:
                    pass
                else:
                    return
                finally:
                    # Also when the step failed: then this is the alert that tells the client why.
                    await loop.sock_sendall(connection, outgoing.read())
                if data := await loop.sock_recv(connection, _READ_SIZE):
                    incoming.write(data)
                else:
                    incoming.write_eof()

        await finish(tls.do_handshake)
        await finish(tls.unwrap)

    return answer


async def _silence(connection: socket.socket) -> None:
    """
    Read until the client closes the connection, and send nothing.
    """
    while await asyncio.get_running_loop().sock_recv(connection, _READ_SIZE):
        pass
