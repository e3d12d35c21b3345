"""
Tries of places that may speak TLS: one connection each, at a bounded rate, and so many at a time.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from OpenSSL import SSL

from exporter.model.errors import ProbeError
from exporter.model.hosts import join_host_port
from exporter.model.schemes import SCHEMES, Form
from exporter.model.targets import Target
from exporter.model.urls import Url, parse_url
from exporter.net.network import Network
from exporter.probes.base import Endpoint, Trace
from exporter.probes.tls import handshake, openssl
from exporter.probes.tls.connect import open_connection
from exporter.probes.tls.refusals import tls_words

PATIENCE = 5.0
"""Seconds that one try may take."""


AT_ONCE = 200
"""Tries under way at a time. Of addresses that never answer, each takes 3.5 seconds."""


LIVES = 3
"""Tries, each a day after the one before, that must fail until what spoke TLS is no target any more.

A server that is down for an hour is no reason to watch it no longer.
"""


RUN = 600.0
"""Seconds of tries in one run; the next run goes on. What a run found joins the targets when it ends, and
survives a restart at once."""


_NOT_MEANT = frozenset({"dtls", "quic", "h3", "mssqls", "lmtp"})
"""Schemes that are not what an open TCP port of that number usually speaks."""


_BY_PORT = {
    one.default_port: name
    for name, one in reversed(SCHEMES.items())
    if one.default_port is not None and one.form is Form.HOST and name not in _NOT_MEANT
} | {8883: "tls"}


@dataclass(frozen=True, slots=True)
class Place:
    """
    An address and port at which TLS may be spoken, and the name to ask for.
    """

    address: str
    """IP address."""
    port: int
    name: str = ""
    """Host name for SNI and the URL; empty: the address."""

    @property
    def url(self) -> str:
        """
        The URL of a target there, with the usual scheme of its port. TLS is spoken from the first byte on
        ports that have none.
        """
        scheme = _BY_PORT.get(self.port, "tls")
        host = self.name or (f"[{self.address}]" if ":" in self.address else self.address)
        usual = SCHEMES[scheme].default_port == self.port
        return (
            f"{scheme}://{host}"
            if usual
            else f"{scheme}://{join_host_port(self.name or self.address, self.port)}"
        )


def lives(before: int, *, speaks: bool) -> int:
    """
    Return how many more tries may fail until a place is no target any more; 0: it is none.
    """
    return LIVES if speaks else max(0, before - 1)


async def names_at(network: Network, place: Place) -> Sequence[str] | None:
    """
    Return the names on the certificate of this place, none if it shows none; None where no TLS is spoken.

    A server that refuses us in TLS speaks it.
    """
    if ip_address(place.address).is_unspecified:
        # A zone has it for what shall not be reached. A connection there gets to this host.
        return None
    target = Target(_url(place), place.url, server_name=place.name or None)
    trace = Trace(network.loop.time)
    deadline = trace.clock() + PATIENCE
    try:
        connection = await open_connection(
            target, Endpoint(place.url, place.address), network, trace, deadline
        )
    except (ProbeError, OSError, TimeoutError):
        return None
    session = None
    try:
        context = openssl.context("any", None, alpn=SCHEMES[target.url.scheme].alpn)
        session = handshake.Session(connection, context, target.sni, trace)
        return (await session.handshake()).names
    except handshake.HandshakeError as error:
        if error.seen is not None:
            return error.seen.names
        return () if _is_alert(error.error) else None
    except (ProbeError, OSError, TimeoutError):
        return None
    finally:
        if session is not None:
            session.close()
        connection.close()


def _url(place: Place) -> Url:
    return parse_url(place.url)


def _is_alert(error: Exception) -> bool:
    """
    Return True for an alert: only who speaks TLS sends one (RFC 8446 section 6).
    """
    return isinstance(error, SSL.Error) and "alert" in tls_words(error)


async def tried(
    network: Network,
    places: Iterable[Place],
    rate: float,
    progress: Callable[[int], None] = lambda _: None,
) -> AsyncIterator[tuple[Place, Sequence[str] | None]]:
    """
    Yield each place with what `names_at` says, in the order of the answers. `rate`: new connections a second.
    `progress` gets the number of answers so far.
    """
    loop = network.loop
    answers: asyncio.Queue[tuple[Place, Sequence[str] | None]] = asyncio.Queue()
    under_way: set[asyncio.Task[None]] = set()

    async def one_try(place: Place) -> None:
        answers.put_nowait((place, await names_at(network, place)))

    done = 0
    gap = 1 / rate
    begins = loop.time()
    try:
        await network.calm.wait()
        # A place is taken when its try begins: who stops has taken no other.
        for place in places:
            under_way.add(loop.create_task(one_try(place)))
            while not answers.empty():
                done += 1
                progress(done)
                yield answers.get_nowait()
            await asyncio.sleep(begins + gap - loop.time())
            await network.calm.wait()
            # Who woke up late makes up for one gap at most: no burst after a pause.
            begins = max(begins + gap, loop.time() - gap)
            if len(under_way) >= AT_ONCE:
                _, under_way = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
            under_way = {task for task in under_way if not task.done()}
        if under_way:
            await asyncio.wait(under_way)
        while not answers.empty():
            done += 1
            progress(done)
            yield answers.get_nowait()
    finally:
        for task in under_way:
            task.cancel()
