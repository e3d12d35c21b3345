"""
Requests to one server, one after the other, whose answers may last for minutes.
"""

import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import aiohttp

from exporter.model.errors import ProbeError
from exporter.model.reasons import Reason
from exporter.net.http import client
from exporter.net.http_sockets import HttpSocket, Meter
from exporter.net.resolver import Resolver

KEEPALIVE = ((socket.TCP_KEEPIDLE, 20), (socket.TCP_KEEPINTVL, 10), (socket.TCP_KEEPCNT, 3))
"""The settings of TCP that detect a lost peer, though it may be silent for long: in seconds, then tries."""


class Session:
    """
    A session with one server over TLS, of whose answers no more is taken than their content needs.
    """

    def __init__(self, who: str, library: aiohttp.ClientSession, meter: Meter) -> None:
        """
        `who` is the server in messages. The sockets of the library's session have this `meter`.
        """
        self._who = who
        self._library = library
        self._meter = meter
        """What the present request sent and received."""

    @asynccontextmanager
    async def get(self, url: str, **options: Any) -> AsyncIterator[aiohttp.ClientResponse]:
        """
        Yield the answer to a GET request. `options` are those of the library.

        Raises the errors of the library, and ProbeError when the server sends more than an answer needs.
        """
        self._meter.begin(secure=True)
        try:
            # A redirect would pass a token on.
            async with self._library.get(url, allow_redirects=False, **options) as answer:
                # What is received from now on is compared with the content of the answer.
                self._meter.content = partial(getattr, answer.content, "total_bytes")
                yield answer
        except (aiohttp.ClientError, OSError):
            if self._meter.exceeded:
                words = f"{self._who} sends without end, and next to no content: it was left"
                raise ProbeError(Reason.HTTP_FAILED, words) from None
            raise


@asynccontextmanager
async def session(
    who: str, resolver: Resolver, headers: Mapping[str, str], timeout: aiohttp.ClientTimeout
) -> AsyncIterator[Session]:
    """
    Yield a session with a server, which is `who` in messages. It is closed at the end.
    """
    meter = Meter()

    def make(address: aiohttp.AddrInfoType) -> socket.socket:
        family, kind, protocol, _, _ = address
        made = HttpSocket(family, kind, protocol)
        made.meter = meter
        made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in KEEPALIVE:
            made.setsockopt(socket.IPPROTO_TCP, option, value)
        return made

    async with client(resolver, make, headers, timeout) as library:
        yield Session(who, library, meter)
