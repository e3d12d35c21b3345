"""
The handshake of DTLS (RFC 6347): TLS in datagrams, which may be lost, duplicated, or forged.
"""

import contextlib
import socket
from collections.abc import Iterator
from functools import partial

from OpenSSL import SSL

from exporter.model.errors import ProbeError
from exporter.model.observation import Facts
from exporter.model.reasons import Reason
from exporter.model.targets import Target
from exporter.net.connection import Connection, EndlessError, connect_error
from exporter.net.network import Network
from exporter.pki.client_certificate import ClientCertificate
from exporter.probes.base import Endpoint, Trace
from exporter.probes.tls import handshake, openssl, wire
from exporter.probes.tls.connect import expect_no_proxy
from exporter.probes.tls.openssl import Offer
from exporter.probes.tls.suites import Keys

PAYLOAD = 1232
"""Bytes of a datagram that fit every path: IPv6's minimum MTU of 1280 (RFC 8200 section 5), less its
headers."""


DATAGRAMS_LIMIT = 2000
"""Datagrams that are read from a server. The largest list of certificates comes in a tenth of that."""


BYTES_LIMIT = 1024 * 1024
"""Bytes that are read from a server: the largest list of certificates ten times."""


_HEADER = 13
"""Bytes before the content of each record (RFC 6347 section 4.1)."""


_MAJOR = 0xFE
"""The major version of DTLS: 1, encoded as 254."""


_DATAGRAM = 65_535


_BUFFER = 1 << 19
"""Bytes of the receive buffer. A large list of certificates comes at once, and all of it again if one
datagram was lost; the system counts more for each than is in it."""


async def see(
    target: Target,
    address: str,
    network: Network,
    trace: Trace,
    keys: Keys,
    client: ClientCertificate | None,
    deadline: float,
    *,
    offer: Offer,
    lenient: bool = False,
) -> handshake.Seen:
    """
    Perform one handshake, and return the certificates presented. Raises HandshakeError and ProbeError.
    """
    port, sni = target.url.port, target.sni
    if offer == "clear":
        raise ProbeError(Reason.HANDSHAKE_REFUSED, "a handshake of DTLS is not begun in clear")
    trace.phase = "handshake"
    trace.note("DTLS handshake with %s port %s, server name %s", address, port, sni or "not sent")
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with contextlib.closing(socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
            sock.connect((address, port))
            connection = Connection(network.readiness, sock, deadline)
            context = openssl.context(keys, client, offer=offer, lenient=lenient, datagrams=True)
            with contextlib.closing(Session(connection, context, sni, trace, lenient=lenient)) as session:
                return await session.handshake()
    except OSError as error:
        raise connect_error(error, address, port) from None
    except handshake.HandshakeError as error:
        if isinstance(error.error, OSError):
            raise connect_error(error.error, address, port) from None
        if isinstance(error.error, SSL.SysCallError) and error.seen is None:
            # Datagrams have no end, which is what the library means.
            words = "the DTLS handshake was given up: what the server sends can't be put together"
            raise ProbeError(Reason.HANDSHAKE_REFUSED, words) from None
        raise


class Session(handshake.Session):
    """
    One DTLS conversation over a connected UDP socket.
    """

    _limit = BYTES_LIMIT

    def __init__(
        self,
        connection: Connection,
        tls_context: SSL.Context,
        server_name: str | None,
        trace: Trace,
        *,
        lenient: bool = False,
    ) -> None:
        super().__init__(connection, tls_context, server_name, trace, lenient=lenient)
        self._deadline = connection.deadline
        self._came = 0
        self._understood = 0
        """The number of datagrams, and of those that begin with a DTLS record."""
        self._tls.set_ciphertext_mtu(PAYLOAD)

    async def _more(self) -> None:
        """
        Send the library's output, with retransmissions, until a datagram was received.

        Raises ProbeError when the handshake can't succeed, EndlessError and OSError.
        """
        self._part()
        while True:
            timer = self._tls.DTLSv1_get_timeout()
            soon = self._deadline if timer is None else self._trace.clock() + timer
            self._connection.deadline = min(self._deadline, soon)
            try:
                # An empty datagram does not end the connection.
                datagram = await self._connection.receive(_DATAGRAM)
            except EndlessError as error:
                raise self._endless(error) from None
            except TimeoutError:
                if self._trace.clock() >= self._deadline or not self._sent_again():
                    raise self._unfinished() from None
            else:
                if self._took(datagram):
                    return

    def _sent_again(self) -> bool:
        """
        Return False when the library gave up, which it does after twelve timers: seven minutes.
        """
        openssl.clear_errors()
        try:
            self._tls.DTLSv1_handle_timeout()
        except SSL.Error:
            return False
        self._part()
        return True

    def _took(self, datagram: bytes) -> bool:
        """
        Return True when the library took the datagram. Raises ProbeError or EndlessError when too many came.
        """
        self._came += 1
        if self._came > DATAGRAMS_LIMIT:
            raise self._endless(EndlessError(f"more than {DATAGRAMS_LIMIT} datagrams"))
        # What is no record is dropped without a word (RFC 6347 section 4.1.2.7): anybody may have sent it.
        if not is_record(datagram):
            return False
        self._understood += 1
        self._tls.hear(datagram)
        return True

    def _endless(self, error: EndlessError) -> EndlessError | ProbeError:
        if self._understood:
            return error
        words = f"what answers at this port does not speak DTLS: it sent {error}"
        return ProbeError(Reason.NOT_TLS, words)

    def _part(self) -> None:
        # A full queue loses a datagram, as the network may: it is sent again.
        for record in records(self._tls.written()):
            self._connection.send_at_once(record)

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


def is_record(datagram: bytes) -> bool:
    """
    Return True when a datagram begins like a DTLS record: a content type of TLS, then a version of DTLS.
    """
    return len(datagram) > _HEADER and 20 <= datagram[0] <= 23 and datagram[1] == _MAJOR


def records(flight: bytes) -> Iterator[bytes]:
    """
    Yield the records in the library's output, each of which becomes a datagram.
    """
    while flight:
        end = _HEADER + int.from_bytes(flight[_HEADER - 2 : _HEADER], "big")
        yield flight[:end]
        flight = flight[end:]


async def look(target: Target, endpoint: Endpoint, network: Network, trace: Trace) -> Facts:
    """
    Return the facts that the server presents in DTLS. Raises ProbeError.
    """
    expect_no_proxy(target, "DTLS")
    converse = partial(see, target, endpoint.address, network, trace)
    return await wire.look_by(converse, target, network, trace)
