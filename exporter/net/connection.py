"""
One TCP connection whose every wait has a deadline.
"""

import asyncio
import contextlib
import errno
import os
import select
import socket

from exporter.model.errors import NoDescriptorError, ProbeError
from exporter.model.reasons import Reason

CONNECT_TIMEOUT = 3.5
"""Seconds a TCP connection may take: the first packet and two more, sent after one and three seconds."""


PEEKED = 16_384
"""Bytes that `peek` reads at most."""


BITE = 32
"""Ready sockets that are resumed before a process handles other work: some ten milliseconds of handshakes."""


TICK = 0.05
"""Seconds between two checks for waits that are past their deadline."""


class EndlessError(Exception):
    """
    The other end sent more bytes than the phase of the protocol allows. The message says how many.
    """


class Readiness:
    """
    Waits until sockets can be read or written.

    One epoll object beside the loop's own: the loop's selectors keep Python
    objects for each registration, which costs as much as a sixth of a whole TLS
    handshake. Registrations are one-shot and end with the socket.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._epoll = select.epoll()
        self._waiting: dict[int, tuple[asyncio.Future[None], float]] = {}
        self._timer: asyncio.TimerHandle | None = None
        loop.add_reader(self._epoll.fileno(), self._dispatch)

    def close(self) -> None:
        """
        Close the epoll object.
        """
        if self._timer is not None:
            self._timer.cancel()
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()

    def wait(self, fd: int, events: int, deadline: float, *, registered: bool) -> asyncio.Future[None]:
        """
        Return a future that is done when one of the events came, or raises TimeoutError at the deadline (loop
        time).

        `registered`: the socket is in the epoll object already.
        """
        future = self._loop.create_future()
        if deadline <= self._loop.time():
            # Not left to the timer: bytes that come in step with it would be there at each of its checks.
            future.set_exception(TimeoutError())
            return future
        if self._epoll.closed:
            # The process ends, and cancels soon whoever still waits.
            return future
        self._waiting[fd] = (future, deadline)
        if registered:
            self._epoll.modify(fd, events | select.EPOLLONESHOT)
        else:
            self._epoll.register(fd, events | select.EPOLLONESHOT)
        if self._timer is None:
            self._timer = self._loop.call_later(TICK, self._expire)
        return future

    def _dispatch(self) -> None:
        # Other ready sockets stay ready, and follow after the other work of the event loop.
        for fd, _ in self._epoll.poll(0, BITE):
            future, _ = self._waiting.pop(fd)
            if not future.done():
                future.set_result(None)

    def _expire(self) -> None:
        now = self._loop.time()
        for fd, (future, deadline) in list(self._waiting.items()):
            if future.done():
                del self._waiting[fd]
            elif deadline <= now:
                del self._waiting[fd]
                future.set_exception(TimeoutError())
        self._timer = self._loop.call_later(TICK, self._expire) if self._waiting else None


class Connection:
    """
    One non-blocking TCP connection. Every wait ends at the deadline, and every phase has a limit of received
    bytes.
    """

    __slots__ = ("_allowed", "_left", "_readiness", "_registered", "deadline", "socket")

    def __init__(self, readiness: Readiness, sock: socket.socket, deadline: float) -> None:
        self._readiness = readiness
        self._registered = False
        self._allowed = self._left = 0
        self.socket = sock
        self.deadline = deadline

    def allow(self, limit: int) -> None:
        """
        Begin a phase in which at most `limit` bytes are received.
        """
        self._allowed = self._left = limit

    def wait_readable(self) -> asyncio.Future[None]:
        """
        Return a future that is done when there are bytes, or the end of the connection, to read. TimeoutError
        at the deadline.
        """
        return self._wait(select.EPOLLIN)

    def wait_writable(self) -> asyncio.Future[None]:
        """
        Return a future that is done when bytes can be written, or when the connection is made or refused.
        TimeoutError at the deadline.
        """
        return self._wait(select.EPOLLOUT)

    def _wait(self, events: int) -> asyncio.Future[None]:
        registered, self._registered = self._registered, True
        return self._readiness.wait(self.socket.fileno(), events, self.deadline, registered=registered)

    async def send(self, data: bytes) -> None:
        """
        Send all bytes. Raises OSError, or TimeoutError at the deadline.
        """
        while data:
            try:
                data = data[self.socket.send(data) :]
            except BlockingIOError:
                await self.wait_writable()

    def send_at_once(self, data: bytes) -> None:
        """
        Send as many bytes as possible without waiting. A peer that reads no more is no error.
        """
        with contextlib.suppress(OSError):
            self.socket.send(data)

    async def receive(self, limit: int) -> bytes:
        """
        Return the next bytes received, at most `limit`; empty at the end of the connection.

        Always yields to other connections first, even when bytes are there: a peer that always sends must not
        keep the others waiting. Raises OSError, TimeoutError at the deadline, or EndlessError.
        """
        while True:
            await self.wait_readable()
            try:
                data = self.socket.recv(limit)
            except BlockingIOError:
                continue  # a datagram whose checksum was wrong
            self._left -= len(data)
            if self._left < 0:
                raise EndlessError(f"more than {self._allowed // 1024} kB")
            return data

    async def exchange(self, data: bytes, limit: int) -> bytes:
        """
        Send all bytes, and return the next ones received, as `send` and `receive` do.
        """
        await self.send(data)
        return await self.receive(limit)

    def peek(self) -> bytes | None:
        """
        Return bytes that can be read now, and leave them in the socket; empty at the end of the connection,
        None when there are none yet.
        """
        try:
            return self.socket.recv(PEEKED, socket.MSG_PEEK)
        except BlockingIOError:
            return None

    def close(self) -> None:
        """
        Close the socket.
        """
        self.socket.close()


def _is_connected(sock: socket.socket) -> bool:
    """
    Return True when the connection is made already, as with a server on this host: then there is no need to
    wait.
    """
    try:
        sock.getpeername()
    except OSError:
        return False
    return True


UNREACHABLE = {
    errno.ENETUNREACH,
    errno.EHOSTUNREACH,
    errno.ENETDOWN,
    errno.EHOSTDOWN,
    errno.EADDRNOTAVAIL,
    errno.EAFNOSUPPORT,
    errno.EACCES,
    errno.EPERM,
}


async def connect(readiness: Readiness, address: str, port: int, deadline: float) -> Connection:
    """
    Return a TCP connection to the address. Raises ProbeError when there is none by the deadline (loop time).
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    except OSError as error:
        raise connect_error(error, address, port) from None
    connection = Connection(readiness, sock, deadline)
    try:
        code = sock.connect_ex((address, port))
        if code == errno.EINPROGRESS:
            code = 0
            if not _is_connected(sock):
                await connection.wait_writable()
                code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    except TimeoutError:
        sock.close()
        raise ProbeError(
            Reason.CONNECT_TIMEOUT,
            f"{address} port {port} did not answer: a firewall drops the packets, or the host is down",
        ) from None
    except BaseException:
        sock.close()
        raise
    if code:
        sock.close()
        raise connect_error(OSError(code, os.strerror(code)), address, port)
    return connection


def connect_error(error: OSError, address: str, port: int) -> ProbeError:
    """
    Return the ProbeError for a failed TCP connection.
    """
    where = f"{address} port {port}"
    if error.errno == errno.ECONNREFUSED:
        return ProbeError(Reason.CONNECTION_REFUSED, f"{where} refused the connection: nothing listens there")
    if error.errno in UNREACHABLE:
        return ProbeError(
            Reason.NETWORK_UNREACHABLE, f"{where} can't be reached from this host: {error.strerror}"
        )
    if error.errno == errno.ETIMEDOUT:
        return ProbeError(Reason.CONNECT_TIMEOUT, f"{where} did not answer the TCP connection")
    if error.errno in {errno.EMFILE, errno.ENFILE}:
        return NoDescriptorError(
            Reason.INTERNAL_ERROR,
            "this process may open no more files: raise its limit (ulimit -n) or lower --sweep.concurrency",
        )
    return ProbeError(Reason.CONNECTION_RESET, f"the connection to {where} failed: {error.strerror}")
