"""
The handshake of TLS inside of QUIC (RFC 9001), with the optional library aioquic.
"""

import contextlib
import logging
import socket
import ssl
from dataclasses import replace
from typing import Any

from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection, QuicReceiveContext
from aioquic.quic.events import ConnectionTerminated, HandshakeCompleted
from aioquic.tls import AlertDescription, Certificate

from exporter.model.errors import ProbeError
from exporter.model.reasons import Reason
from exporter.model.targets import Target
from exporter.net.connection import Connection, EndlessError, connect_error
from exporter.net.network import Network
from exporter.probes.base import Trace
from exporter.probes.tls import handshake
from exporter.probes.tls.dialogue import words
from exporter.probes.tls.dtls import DATAGRAMS_LIMIT

# What it says of a server is the reason of a failed probe, and no line of its own.
logging.getLogger("quic").disabled = True

PROTOCOLS = {"h3": ["h3"], "quic": ["h3", "doq", "hq-interop", "mqtt", "smb"]}
"""The protocols offered (ALPN): a server refuses when it supports none of them (RFC 9001 section 8.1)."""


_CRYPTO_ERROR = 0x100
"""The lowest code for an alert of TLS (RFC 9000 section 20.1)."""


BYTES_LIMIT = 512 * 1024
"""Bytes that are read from a server: the largest list of certificates five times. The library may spend two
milliseconds on a thousand of them."""


_DATAGRAM = 4096
"""Bytes that are read of one datagram. Larger ones need an agreement of both sides on the path (RFC 9000
section 14.2), and the library blocks all other work while it parses one."""


PIECES_LIMIT = 128
"""Pieces of the handshake that wait for what is missing between them. The library looks through all of them
for each further one. The largest list of certificates comes in a hundred datagrams."""


class _Conversation(QuicConnection):
    """
    One connection, which keeps the presented certificates: the library refuses those that it can't parse.
    """

    presented: tuple[bytes, ...] = ()
    """DER, leaf first; empty before they were received."""

    def _initialize(self, peer_cid: bytes) -> None:
        # aioquic has no public way to see them; pyproject.toml keeps its version within what the tests have
        # tried. It calls this again where a server wants another version, or asks for a proof of the address.
        super()._initialize(peer_cid)
        take = self.tls._set_peer_certificate  # noqa: SLF001

        def keep(message: Certificate) -> None:
            self.presented = tuple(der for der, _ in message.certificates)
            take(message)

        self.tls._set_peer_certificate = keep  # type: ignore[method-assign,assignment]  # noqa: SLF001

    def _handle_crypto_frame(self, context: QuicReceiveContext, frame_type: int, buf: Any) -> None:
        super()._handle_crypto_frame(context, frame_type, buf)
        waiting = self._crypto_streams[context.epoch].receiver._ranges  # noqa: SLF001 - as above
        if len(waiting) > PIECES_LIMIT:
            raise EndlessError(f"more than {PIECES_LIMIT} pieces with holes between them")


async def see(
    target: Target, address: str, network: Network, trace: Trace, deadline: float
) -> handshake.Seen:
    """
    Perform one handshake, and return the certificates presented. Raises ProbeError.
    """
    trace.phase = "handshake"
    trace.note("QUIC handshake with %s port %s, server name %s", address, target.url.port, target.sni)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    connection = Connection(
        network.readiness, socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK), deadline
    )
    quic = _Conversation(
        configuration=QuicConfiguration(
            alpn_protocols=PROTOCOLS[target.url.scheme],
            server_name=target.sni,
            verify_mode=ssl.CERT_NONE,
        )
    )
    try:
        connection.socket.connect((address, target.url.port))
        seen = await _show(quic, connection, (address, target.url.port), target, trace, deadline)
        # After a close frame, the server need not wait for us.
        quic.close()
        _send(quic, connection, trace.clock())
    except OSError as error:
        raise connect_error(error, address, target.url.port) from None
    except EndlessError as error:
        why = f"the server does not end the QUIC handshake: it sent {error}"
        raise ProbeError(Reason.HANDSHAKE_ENDLESS, why) from None
    finally:
        connection.close()
    if seen is None:
        raise ProbeError(Reason.NO_CERTIFICATE, "the server showed no certificate")
    trace.note("handshake done: %s", seen.tls.cipher)
    return seen


async def _show(
    quic: _Conversation,
    connection: Connection,
    address: tuple[str, int],
    target: Target,
    trace: Trace,
    deadline: float,
) -> handshake.Seen | None:
    """
    Return what the handshake showed, whether or not the library can parse it. Raises ProbeError and OSError.
    """
    try:
        await _shake_hands(quic, connection, address, trace, deadline)
    except ProbeError as error:
        seen = await _seen(quic, target) if error.reason is Reason.BAD_CERTIFICATE else None
        if seen is None:
            raise
        return handshake.Seen(replace(seen.chain, refused=error.detail), seen.tls)
    return await _seen(quic, target)


async def _shake_hands(
    quic: _Conversation, connection: Connection, address: tuple[str, int], trace: Trace, deadline: float
) -> None:
    """
    Send and receive until the handshake is complete. Raises ProbeError, EndlessError and OSError.
    """
    came = 0
    connection.allow(BYTES_LIMIT)
    quic.connect(address, trace.clock())
    while True:
        _send(quic, connection, trace.clock())
        while (event := quic.next_event()) is not None:
            if isinstance(event, HandshakeCompleted):
                return
            if isinstance(event, ConnectionTerminated):
                raise _refused(event)
        timer = quic.get_timer()
        connection.deadline = deadline if timer is None else min(deadline, timer)
        try:
            datagram = await connection.receive(_DATAGRAM)
        except TimeoutError:
            if trace.clock() >= deadline:
                raise _silent(heard=came > 0) from None
            quic.handle_timer(trace.clock())
            continue
        came += 1
        if came > DATAGRAMS_LIMIT:
            raise EndlessError(f"more than {DATAGRAMS_LIMIT} datagrams")
        quic.receive_datagram(datagram, address, trace.clock())


def _send(quic: _Conversation, connection: Connection, now: float) -> None:
    for data, _ in quic.datagrams_to_send(now):
        # A full queue loses a datagram, as the network may: it is sent again.
        with contextlib.suppress(BlockingIOError):
            connection.socket.send(data)


def _silent(*, heard: bool) -> ProbeError:
    if heard:
        return ProbeError(Reason.HANDSHAKE_TIMEOUT, "the server did not finish the QUIC handshake in time")
    return ProbeError(
        Reason.CONNECT_TIMEOUT,
        "no answer by UDP: a firewall drops the packets, the host is down, or nothing speaks QUIC there",
    )


def _refused(event: ConnectionTerminated) -> ProbeError:
    """
    Return the ProbeError for a connection that ended before the handshake was complete.
    """
    what = words(event.reason_phrase) or "no reason given"
    if event.error_code < _CRYPTO_ERROR:
        return ProbeError(
            Reason.HANDSHAKE_REFUSED, f"the QUIC connection ended with error {event.error_code:#x}: {what}"
        )
    try:
        alert = AlertDescription(event.error_code - _CRYPTO_ERROR).name
    except ValueError:
        alert = str(event.error_code - _CRYPTO_ERROR)
    reason = Reason.BAD_CERTIFICATE if alert == "bad_certificate" else Reason.HANDSHAKE_REFUSED
    return ProbeError(reason, f"the TLS handshake in QUIC failed with the alert {alert}: {what}")


async def _seen(quic: _Conversation, target: Target) -> handshake.Seen | None:
    """
    Return what the handshake showed; None when there was no certificate.
    """
    # aioquic has no public name for these; pyproject.toml keeps its version within what the tests have tried.
    inner = quic.tls
    presented = quic.presented
    schedule = inner.key_schedule
    if not presented or schedule is None:
        return None
    requested = inner._certificate_request is not None  # noqa: SLF001
    return await handshake.seen_in_turns(
        presented, "TLSv1.3", f"TLS_{schedule.cipher_suite.name}", target.sni, requested, None
    )
