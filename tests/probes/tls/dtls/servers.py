"""
Servers of DTLS on loopback: two real ones with a library each, OpenSSL and GnuTLS, and fakes that misbehave.

Each is a context manager that gives the port.
"""

import contextlib
import itertools
import os
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from exporter.demo.minter import Minted
from exporter.model.hosts import join_host_port
from exporter.probes.tls.dtls import DATAGRAMS_LIMIT
from tests.support.certificates import write_pair
from tests.support.processes import ProcessError, Running, free_port, running
from tests.support.servers import LOOPBACK, Chain

_ATTEMPTS = 3

Argv = Sequence[str | Path]


def bound(port: int) -> Callable[[], bool]:
    """
    A readiness check: something has this port of UDP (proc(5): addresses and ports in hexadecimal).
    """

    def ready() -> bool:
        lines = Path("/proc/net/udp").read_text("ascii") + Path("/proc/net/udp6").read_text("ascii")
        return f":{port:04X} " in lines

    return ready


@contextlib.contextmanager
def serving(command: Callable[[int], Argv], above: int = 0) -> Iterator[tuple[int, Running]]:
    """
    The port and the process of a server that has this port of UDP, or the one so far above it.
    """
    with contextlib.ExitStack() as stack:
        for attempt in range(1, _ATTEMPTS + 1):
            port = free_port()
            try:
                process = stack.enter_context(running(command(port), ready=bound(port + above)))
                break
            except ProcessError:
                # Another process may have taken it in between.
                if attempt == _ATTEMPTS:
                    raise
        yield port + above, process


@contextlib.contextmanager
def openssl(
    directory: Path,
    chain: Chain,
    *options: str,
    version: str = "-dtls",
    client_ca: Minted | None = None,
    host: str = LOOPBACK,
) -> Iterator[tuple[int, Running]]:
    """
    An `openssl s_server` for DTLS, which asks for a cookie first; with options as in openssl-s_server(1).
    """
    certificate, key = write_pair(directory, "dtls", chain)
    above, _ = write_pair(directory, "dtls-above", chain[1:])
    arguments: list[str | Path] = ["-cert", certificate, "-key", key, "-cert_chain", above, *options]
    if client_ca is not None:
        trusted = directory / "client-ca.pem"
        trusted.write_bytes(client_ca.pem)
        arguments += ["-Verify", "5", "-verify_return_error", "-CAfile", trusted]
    # For DTLS it has no way not to read standard input, and ends with it: this one has no end.
    endless = directory / "endless"
    if not endless.exists():
        os.mkfifo(endless)

    def command(port: int) -> Argv:
        shell: Argv = ["sh", "-c", 'exec openssl s_server "$@" 0<>"$0"', endless]
        return [*shell, version, "-accept", join_host_port(host, port), *arguments]

    with serving(command) as found:
        yield found


@contextlib.contextmanager
def libcoap(directory: Path, chain: Chain) -> Iterator[int]:
    """
    The CoAP server of libcoap with GnuTLS, for CoAP over DTLS (RFC 7252 section 9).
    """
    certificate, key = write_pair(directory, "coap", chain)

    def command(port: int) -> Argv:
        # -n: it does not ask for a client certificate.
        return ["coap-server-gnutls", "-A", LOOPBACK, "-p", str(port), "-c", certificate, "-j", key, "-n"]

    # The port itself is for CoAP without DTLS.
    with serving(command, above=1) as (port, _):
        yield port


Answer = Callable[[socket.socket, bytes, tuple[str, int]], None]
"""What to do with a datagram from there."""


@contextlib.contextmanager
def answering(answer: Answer) -> Iterator[int]:
    """
    The port of a fake that answers each datagram so.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((LOOPBACK, 0))
        stop = threading.Event()

        def run() -> None:
            while True:
                datagram, client = server.recvfrom(65_535)
                if stop.is_set():
                    return
                # The client may be gone.
                with contextlib.suppress(OSError):
                    answer(server, datagram, client)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield int(server.getsockname()[1])
        finally:
            stop.set()
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as waker:
                waker.sendto(b"", server.getsockname())
            thread.join()


Pass = Callable[[int, bytes, bool], Sequence[bytes]]
"""
What arrives of a datagram: given its number, from 0 for each direction, and whether the server sent it.
"""


@contextlib.contextmanager
def way(port: int, passes: Pass) -> Iterator[int]:
    """
    The port of a way to the server at `port`, for one client, on which that happens to each datagram.
    """
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as near,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far,
    ):
        near.bind((LOOPBACK, 0))
        far.bind((LOOPBACK, 0))
        far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        clients: list[tuple[str, int]] = []
        stop = threading.Event()

        def there() -> None:
            for number in itertools.count():
                datagram, client = near.recvfrom(65_535)
                if stop.is_set():
                    return
                clients[:] = [client]
                for arrives in passes(number, datagram, False):
                    far.sendto(arrives, (LOOPBACK, port))

        def back() -> None:
            for number in itertools.count():
                datagram = far.recv(65_535)
                if stop.is_set():
                    return
                for arrives in passes(number, datagram, True):
                    near.sendto(arrives, clients[0])

        threads = [threading.Thread(target=there), threading.Thread(target=back)]
        for thread in threads:
            thread.start()
        try:
            yield int(near.getsockname()[1])
        finally:
            stop.set()
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as waker:
                for end in (near, far):
                    waker.sendto(b"", end.getsockname())
            for thread in threads:
                thread.join()


def flood(datagram: bytes) -> AbstractContextManager[int]:
    """
    A server that sends these for as long as it can, once it was spoken to.
    """
    begun = threading.Event()

    def answer(server: socket.socket, _: bytes, client: tuple[str, int]) -> None:
        if begun.is_set():
            return
        begun.set()
        for _number in range(30 * DATAGRAMS_LIMIT):
            server.sendto(datagram, client)

    return answering(answer)
