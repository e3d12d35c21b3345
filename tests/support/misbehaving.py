"""
Servers that do what no TLS server should: they hang, talk nonsense, or hang up.
"""

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator

HANDSHAKE_FAILURE = 40
UNRECOGNIZED_NAME = 112
"""Alerts of RFC 8446 section 6."""

Answer = Callable[[socket.socket, threading.Event], None]
"""What to do with a connection, until the event is set or the client is gone."""


@contextlib.contextmanager
def serving(answer: Answer, host: str = "127.0.0.1") -> Iterator[int]:
    """
    The port on which every connection is answered so, each in a thread of its own.
    """
    stop = threading.Event()
    threads: list[threading.Thread] = []
    connections: list[socket.socket] = []

    def serve(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            answer(connection, stop)

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                # The listener was shut down.
                return
            connections.append(connection)
            threads.append(threading.Thread(target=serve, args=(connection,)))
            threads[-1].start()

    with socket.create_server(
        (host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=1024
    ) as listener:
        acceptor = threading.Thread(target=accept)
        acceptor.start()
        try:
            yield int(listener.getsockname()[1])
        finally:
            stop.set()
            listener.shutdown(socket.SHUT_RDWR)
            acceptor.join()
            for connection in connections:
                # One that is closed already has nothing to shut down.
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join()


@contextlib.contextmanager
def refusing(host: str = "127.0.0.1") -> Iterator[int]:
    """
    A port that refuses connections, and that nobody else can get meanwhile.
    """
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as holder:
        holder.bind((host, 0))
        yield int(holder.getsockname()[1])


@contextlib.contextmanager
def unanswering(host: str = "127.0.0.1") -> Iterator[int]:
    """
    A port that does not answer a connection attempt at all, as behind a firewall that drops packets.
    """
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind((host, 0))
        listener.listen(0)
        # Linux drops attempts while the queue of connections to accept is full; nobody accepts these.
        for _ in range(2):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield int(listener.getsockname()[1])


def hang(connection: socket.socket, _stop: threading.Event) -> None:
    """
    Say nothing, until the client is gone.
    """
    while connection.recv(1 << 16):
        pass


def close(connection: socket.socket, stop: threading.Event) -> None:
    """
    Close without a word.
    """
    connection.shutdown(socket.SHUT_WR)
    # What the client sends has to be read: data that nobody read turns the close into a reset.
    hang(connection, stop)


def reset(connection: socket.socket, _stop: threading.Event) -> None:
    """
    Break the connection (RST).
    """
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def saying(data: bytes, *, first: bool = False) -> Answer:
    """
    An answer: these bytes, then silence. They come after the client's first words unless `first`.
    """

    def answer(connection: socket.socket, stop: threading.Event) -> None:
        if not first:
            connection.recv(1 << 16)
        connection.sendall(data)
        hang(connection, stop)

    return answer


def answering(*answers: bytes) -> Answer:
    """
    An answer: one of these for each thing the client says, then silence.
    """

    def answer(connection: socket.socket, stop: threading.Event) -> None:
        for data in answers:
            connection.recv(1 << 16)
            connection.sendall(data)
        hang(connection, stop)

    return answer


def saying_goodbye(data: bytes) -> Answer:
    """
    An answer: these bytes after the client's first words, then the end of the connection.
    """

    def answer(connection: socket.socket, stop: threading.Event) -> None:
        connection.recv(1 << 16)
        connection.sendall(data)
        close(connection, stop)

    return answer


def dripping(data: bytes, interval: float = 1.0) -> Answer:
    """
    An answer: one byte at a time, `interval` seconds apart, over and over.
    """

    def answer(connection: socket.socket, stop: threading.Event) -> None:
        while True:
            for byte in data:
                connection.send(bytes([byte]))
                if stop.wait(interval):
                    return

    return answer


def flooding(data: bytes, begin: bytes = b"", *, first: bool = False) -> Answer:
    """
    An answer: `begin`, then `data` over and over, as fast as the client takes it.
    """

    def answer(connection: socket.socket, stop: threading.Event) -> None:
        if not first:
            connection.recv(1 << 16)
        connection.sendall(begin)
        lot = data * max(1, (1 << 16) // len(data))
        while not stop.is_set():
            connection.sendall(lot)

    return answer


def alert(description: int = HANDSHAKE_FAILURE) -> Answer:
    """
    An answer: a fatal alert (RFC 8446 section 6).
    """
    return saying_goodbye(bytes([21, 3, 3, 0, 2, 2, description]))


plain_http = saying_goodbye(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno\n")
"""A web server without TLS, as on port 80."""

garbage = saying_goodbye(bytes(range(255, 0, -1)) * 8)
"""Bytes that are no protocol at all."""

half_hello = saying(bytes([22, 3, 3, 0, 122, 2, 0, 0, 118, 3, 3]) + bytes(20))
"""The beginning of a ServerHello (RFC 8446 section 4.1.3) and never its end."""

banner = saying(b"220 mail.example ESMTP ready\r\n", first=True)
"""A mail server that speaks first and wants STARTTLS."""

slow_hello = dripping(bytes([22, 3, 3, 0, 122, 2, 0, 0, 118, 3, 3]) + bytes(116))
"""A ServerHello at one byte a second: the connection is never idle and never gets anywhere."""
