"""
TLS inside packets of TDS, as SQL Server wants its handshake.
"""

import asyncio
import socket

from exporter.dialogue import UnexpectedError
from exporter.network import Connection, Network, ProbeError
from exporter.observation import Reason
from exporter.starttls import TDS_DATA_LIMIT, tds_data, tds_packet


class TdsConnection(Connection):
    """
    A connection on which the handshake travels in packets ([MS-TDS] section 3.2.5.2).

    TLS has one end of a pair of sockets. Each time it waits, what it wrote is packed and sent, and what came
    is unpacked for it.
    """

    __slots__ = ("_coming", "_far", "_outer")

    def __init__(self, outer: Connection, network: Network) -> None:
        near, self._far = socket.socketpair()
        near.setblocking(False)
        self._far.setblocking(False)
        super().__init__(network.readiness, near, outer.deadline)
        self._outer = outer
        self._coming = b""
        """What came of a packet that is not complete yet."""

    def wait_readable(self) -> asyncio.Future[None]:
        """
        Done when there is something to read for TLS, or an end; TimeoutError at the deadline.
        """
        return asyncio.ensure_future(self._exchange())

    def wait_writable(self) -> asyncio.Future[None]:
        """
        Done when what TLS wrote was sent.
        """
        return asyncio.ensure_future(self._flush())

    def close(self) -> None:
        """
        Close all sockets.
        """
        super().close()
        self._far.close()
        self._outer.close()

    async def _exchange(self) -> None:
        self._outer.deadline = self.deadline
        await self._flush()
        ready = False
        while not ready:
            try:
                ready = self._take()
            except UnexpectedError as error:
                raise ProbeError(Reason.STARTTLS_UNEXPECTED, f"mssql, TLS handshake: {error}") from None
            except OSError as error:
                words = f"the connection broke during the TLS handshake: {error.strerror}"
                raise ProbeError(Reason.CONNECTION_RESET, words) from None
            if not ready:
                await self._outer.wait_readable()

    async def _flush(self) -> None:
        while True:
            try:
                written = self._far.recv(TDS_DATA_LIMIT)
            except BlockingIOError:
                return
            await self._outer.send(tds_packet(written))

    def _take(self) -> bool:
        """
        True when TLS was given something, or the end.
        """
        came = self._outer.peek()
        if came is None:
            return False
        if not came:
            self._far.shutdown(socket.SHUT_WR)
            return True
        self._outer.socket.recv(len(came))
        data, self._coming = tds_data(self._coming + came)
        if data:
            self._far.send(data)
        return bool(data)
