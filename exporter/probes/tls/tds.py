"""
TLS inside packets of TDS, as SQL Server requires for its handshake.
"""

from exporter.model.errors import ProbeError
from exporter.model.reasons import Reason
from exporter.net.connection import Connection
from exporter.probes.tls.dialogue import UnexpectedError
from exporter.probes.tls.tds_packets import TDS_DATA_LIMIT, tds_data, tds_packet


class TdsConnection(Connection):
    """
    A connection on which the handshake travels in packets ([MS-TDS] section 3.2.5.2).
    """

    __slots__ = ("_coming",)

    def __init__(self, outer: Connection) -> None:
        """
        Wrap `outer`, which must not be used any more.
        """
        super().__init__(outer._readiness, outer.socket, outer.deadline)  # noqa: SLF001 - of its own kind
        self._registered = outer._registered  # noqa: SLF001
        self._coming = b""
        """The received part of a packet that is not complete yet."""

    async def send(self, data: bytes) -> None:
        """
        Send all bytes, packed. Raises OSError, or TimeoutError at the deadline.
        """
        for begin in range(0, len(data), TDS_DATA_LIMIT):
            await super().send(tds_packet(data[begin : begin + TDS_DATA_LIMIT]))

    def send_at_once(self, data: bytes) -> None:
        """
        Send nothing: the end of a conversation has no packets.
        """

    async def receive(self, limit: int) -> bytes:
        """
        Return the data of the next packets; empty at the end of the connection.

        Raises ProbeError for bytes that are no packets, OSError, or TimeoutError at the deadline.
        """
        while came := await super().receive(limit):
            try:
                data, self._coming = tds_data(self._coming + came)
            except UnexpectedError as error:
                raise ProbeError(Reason.STARTTLS_UNEXPECTED, f"mssql, TLS handshake: {error}") from None
            if data:
                return data
        return b""
