"""
The handshake of DTLS (RFC 6347): TLS in datagrams, which may be lost, come twice, or come from nobody.
"""

import contextlib
import socket
from collections.abc import Iterator

from OpenSSL import SSL

from exporter import tls
from exporter.network import Connection, Network, ProbeError, Trace, connect_error
from exporter.observation import Reason
from exporter.targets import Target

PAYLOAD = 1232
"""Bytes of a datagram that every way takes: IPv6's least of 1280 (RFC 8200 section 5), less its headers."""

DATAGRAMS_LIMIT = 2000
"""Datagrams that are taken from a server. The largest list of certificates comes in a tenth of that."""

_HEADER = 13
"""Bytes before the content of each record (RFC 6347 section 4.1)."""

_MAJOR = 0xFE
"""The first byte of each version of DTLS: 1 is written as 254."""

_DATAGRAM = 65_535

_BUFFER = 1 << 19
"""Bytes that wait to be read at most. A large list of certificates comes at once, and all of it again if one
datagram was lost; the system counts more for each than is in it."""


async def see(
    target: Target,
    address: str,
    network: Network,
    trace: Trace,
    keys: tls.Keys,
    client: tls.ClientCertificate | None,
    deadline: float,
    *,
    wide: bool,
    lenient: bool = False,
) -> tls.Seen:
    """
    One handshake. Raises HandshakeError and ProbeError.
    """
    port, sni = target.url.port, target.sni
    trace.phase = "handshake"
    trace.note("DTLS handshake with %s port %s, server name %s", address, port, sni or "not sent")
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with contextlib.closing(socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
            sock.connect((address, port))
            connection = Connection(network.readiness, sock, deadline)
            context = tls.context(keys, client, wide=wide, lenient=lenient, datagrams=True)
            with contextlib.closing(Session(connection, context, sni, trace, lenient=lenient)) as session:
                seen = await session.handshake()
    except OSError as error:
        raise connect_error(error, address, port) from None
    trace.note("handshake done: %s, %s", seen.tls.protocol, seen.tls.cipher)
    return seen


class Session(tls.Session):
    """
    One DTLS conversation over a connected UDP socket.

    The library reads and writes memory. Were it given the socket, it would stay in there for as long as
    datagrams come that it drops.
    """

    def __init__(
        self,
        connection: Connection,
        tls_context: SSL.Context,
        server_name: str | None,
        trace: Trace,
        *,
        lenient: bool = False,
    ) -> None:
        super().__init__(connection, tls_context, server_name, trace, in_memory=True, lenient=lenient)
        self._deadline = connection.deadline
        self._came = 0
        self._understood = 0
        """Datagrams, and those of them that begin with a record of DTLS."""
        self._tls.set_ciphertext_mtu(PAYLOAD)

    def close(self) -> None:
        """
        Say goodbye, so that the server need not wait for us, and forget the conversation.
        """
        with contextlib.suppress(SSL.Error):
            self._tls.shutdown()
        # One that refused the datagrams before will refuse these.
        with contextlib.suppress(OSError):
            self._flush()
        super().close()

    async def _wait_readable(self) -> None:
        """
        Returns when the library was given a datagram. Until then what it wrote is sent, and sent again.

        Raises ProbeError when no handshake will come of it, and OSError.
        """
        self._flush()
        while True:
            timer = self._tls.DTLSv1_get_timeout()
            soon = self._deadline if timer is None else self._trace.clock() + timer
            self._connection.deadline = min(self._deadline, soon)
            try:
                await self._connection.wait_readable()
            except TimeoutError:
                if self._trace.clock() >= self._deadline or not self._sent_again():
                    raise self._unfinished() from None
            else:
                if self._take():
                    return

    def _sent_again(self) -> bool:
        """
        False when the library gave up, which it does after twelve timers: seven minutes.
        """
        try:
            self._tls.DTLSv1_handle_timeout()
        except SSL.Error:
            return False
        self._flush()
        return True

    def _take(self) -> bool:
        """
        True when the library was given a datagram. Raises ProbeError when too many came.
        """
        try:
            datagram = self._connection.socket.recv(_DATAGRAM)
        except BlockingIOError:
            return False  # its checksum was wrong
        self._came += 1
        if self._came > DATAGRAMS_LIMIT:
            raise self._endless()
        # What is no record is dropped without a word (RFC 6347 section 4.1.2.7): anybody may have sent it.
        if not is_record(datagram):
            return False
        self._understood += 1
        self._tls.bio_write(datagram)
        return True

    def _flush(self) -> None:
        written = b""
        with contextlib.suppress(SSL.WantReadError):
            while True:
                written += self._tls.bio_read(_DATAGRAM)
        for record in records(written):
            # A full queue loses a datagram, as the network may: it is sent again.
            with contextlib.suppress(BlockingIOError):
                self._connection.socket.send(record)

    def _unfinished(self) -> ProbeError:
        if self._understood:
            return ProbeError(
                Reason.HANDSHAKE_TIMEOUT, "the server did not finish the DTLS handshake in time"
            )
        if self._came:
            return ProbeError(Reason.NOT_TLS, "what answers at this port does not speak DTLS")
        return ProbeError(
            Reason.CONNECT_TIMEOUT,
            "no answer by UDP: a firewall drops the packets, the host is down, or nothing speaks DTLS there",
        )

    def _endless(self) -> ProbeError:
        words = f"it sent more than {DATAGRAMS_LIMIT} datagrams"
        if self._understood:
            return ProbeError(
                Reason.HANDSHAKE_REFUSED, f"the server does not end the DTLS handshake: {words}"
            )
        return ProbeError(Reason.NOT_TLS, f"what answers at this port does not speak DTLS: {words}")


def is_record(datagram: bytes) -> bool:
    """
    True when this begins as a record of DTLS does: a type of TLS, then a version of DTLS.
    """
    return len(datagram) > _HEADER and 20 <= datagram[0] <= 23 and datagram[1] == _MAJOR


def records(flight: bytes) -> Iterator[bytes]:
    """
    The records that the library wrote one behind the other, each of which is a datagram.
    """
    while flight:
        end = _HEADER + int.from_bytes(flight[_HEADER - 2 : _HEADER], "big")
        yield flight[:end]
        flight = flight[end:]
