"""
The beginning of a handshake in clear: it shows the certificates of servers that the library can't speak with.

Nothing is agreed on, and nothing is verified. Not for TLS 1.3, which shows certificates in secret.
"""

import os

from OpenSSL import SSL

from exporter.net.connection import Connection, EndlessError
from exporter.probes.base import Trace
from exporter.probes.tls import handshake
from exporter.probes.tls.messages import GOODBYE, Flight, MessageError, client_hello
from exporter.probes.tls.suites import SUITES, Keys, offered


async def see(
    connection: Connection, keys: Keys, server_name: str | None, trace: Trace, read: handshake.Read | None
) -> handshake.Seen:
    """
    Return what a server shows to a client that offers all that there ever was, up to TLS 1.2.

    `read` is that of `handshake.Session`. Raises HandshakeError.
    """
    trace.phase = "handshake"
    connection.allow(handshake.HANDSHAKE_LIMIT)
    flight = Flight()
    try:
        await connection.send(client_hello(server_name, offered(keys), os.urandom(32)))
        while not flight.over:
            data = await connection.receive(handshake.BITE)
            if not data:
                raise SSL.ZeroReturnError
            flight.hear(data)
    except (SSL.Error, OSError, EndlessError, MessageError) as error:
        # What ends it after the certificates does not matter: no more is wanted.
        if not flight.certificates:
            raise handshake.HandshakeError(error, None, answered=flight.hello is not None) from error
    connection.send_at_once(GOODBYE)
    assert flight.hello is not None
    suite = flight.hello.suite
    return await (handshake.seen_in_turns if read is None else read)(
        flight.certificates,
        flight.protocol,
        SUITES.get(suite, f"{suite:#06x}"),
        server_name,
        flight.wants_client_certificate,
        flight.staple,
    )
