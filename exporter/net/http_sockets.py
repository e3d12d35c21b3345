"""
The sockets of HTTP requests: they give the HTTP library in bites what came, and no more than an answer needs.

The library reads on while bytes come that are no content: interim responses (RFC 9110 section 15.2), chunks
of one byte, extensions of chunks. Each costs more to read than to send, and nothing else gets its turn
meanwhile.
"""

import errno
import socket
from collections.abc import Callable
from typing import Any

BITE, LARGE_BITE = 4096, 16 * 1024
"""Bytes that are read at a time, at most, while content is less than half of what came, and afterwards. Of
the cheapest ones the library reads a thousand in a millisecond or two."""


FRAMING_LIMIT = 64 * 1024
"""Bytes that are taken without any content, beside as many as there is content: heads and chunk sizes. The
library takes no head that is much larger."""


TLS_LIMIT = 192 * 1024
"""Bytes that may be needed besides where TLS is spoken: the list of certificates and tickets."""


Content = Callable[[], int]
"""Returns how many bytes of content came."""


class Meter:
    """
    The bytes that one request sent and received, over all connections that were made for it.
    """

    def __init__(self) -> None:
        self.begin(secure=False)

    def begin(self, *, secure: bool) -> None:
        """
        Begin to count for the next request; `secure`: over TLS.
        """
        self.received = 0
        """Bytes that came."""
        self.sent = False
        """True when a connection was made, and something was sent."""
        self.opened = False
        """True when the address was known, and a connection was tried."""
        self.exceeded = False
        """True when the server sent more than an answer needs, and was left."""
        self._most = FRAMING_LIMIT + (TLS_LIMIT if secure else 0)
        self.content: Content = lambda: 0

    @property
    def bite(self) -> int:
        """
        Bytes to read next, at most.
        """
        return BITE if 2 * self.content() < self.received else LARGE_BITE

    def count(self, received: int) -> None:
        """
        Count bytes that came. Raises OSError when they are too many.
        """
        self.received += received
        if self.received > self._most + 2 * self.content():
            self.exceeded = True
            raise OSError(errno.EMSGSIZE, "it sends without end, and next to no content")


class HttpSocket(socket.socket):
    """
    A socket that is read in bites, and counted by its meter if it has one.
    """

    meter: Meter | None = None

    @property
    def _bite(self) -> int:
        return LARGE_BITE if self.meter is None else self.meter.bite

    def recv(self, size: int, *more: Any) -> bytes:
        """
        Return the next bytes. Raises OSError.
        """
        data = super().recv(min(size, self._bite), *more)
        if self.meter is not None:
            self.meter.count(len(data))
        return data

    def recv_into(self, room: Any, size: int = 0, *more: Any) -> int:
        """
        Put the next bytes there, and return how many. Raises OSError.
        """
        got = super().recv_into(room, min(size or len(room), self._bite), *more)
        if self.meter is not None:
            self.meter.count(got)
        return got

    def send(self, data: Any, *more: Any) -> int:
        """
        Send bytes, and return how many were taken. Raises OSError.
        """
        if self.meter is not None:
            self.meter.sent = True
        return super().send(data, *more)
