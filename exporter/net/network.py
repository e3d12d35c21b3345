"""
The network: name resolution and transport, each step with a deadline.

Everything runs on one long-lived event loop. A deadline is a time of that loop's clock. Errors leave this
module as ProbeError, so that a probe contains only its conversation.
"""

import asyncio
import socket
import time
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

from exporter.model.errors import ProbeError
from exporter.model.reasons import Reason
from exporter.model.targets import Target
from exporter.net.background import Lookups
from exporter.net.calm import Calm
from exporter.net.connection import Readiness
from exporter.net.named_files import NamedFiles
from exporter.net.resolver import RESOLVE_TIMEOUT, Addresses, Resolver, choose, has_route
from exporter.net.time_to_live import time_to_live

if TYPE_CHECKING:
    from exporter.net.dns import Resolution


class Network:
    """
    Sockets, names, clocks and kept answers. One object for the life of the process.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.loop = loop
        self.clock = clock
        """Seconds since the epoch. It may be set at any moment: for times that are shown or kept over a
        restart."""
        self.monotonic = monotonic
        """Seconds of a clock that never goes back. For all that is due some time after something else."""
        self.readiness = Readiness(loop)
        self.resolver = Resolver(loop, learn=time_to_live)
        self.connections = 0
        """Number of conversations that probes began with servers."""
        self.lookups = Lookups(loop, clock, monotonic)
        self.named_files = NamedFiles(loop)
        self.calm = Calm()
        """Scrapes under way, to which work in the background gives way."""

    @cached_property
    def resolution(self) -> "Resolution":
        """
        Queries to name servers. Their library is large, and many never need it.
        """
        from exporter.net.dns import Resolution  # noqa: PLC0415 - see above

        return Resolution(self.loop)

    @property
    def questions(self) -> int:
        """
        Number of queries to name servers so far.
        """
        found: Resolution | None = vars(self).get("resolution")
        return self.resolver.lifetimes_asked + (found.asked if found is not None else 0)

    def close(self) -> None:
        """
        Close the sockets' epoll object, the resolver and the file readers.
        """
        self.lookups.close()
        self.resolver.close()
        self.named_files.close()
        self.readiness.close()

    async def addresses(self, target: Target) -> Addresses:
        """
        Return the addresses of a target's host, sorted so that a limit keeps the same ones. Raises
        ProbeError.
        """
        family = {"any": socket.AF_UNSPEC, "ipv4": socket.AF_INET, "ipv6": socket.AF_INET6}
        found = await self.resolver.resolve(
            target.url.host, family[target.address_family], min(RESOLVE_TIMEOUT, target.patience)
        )
        chosen = choose(found, target.addresses, has_route)
        if target.forbids is not None:
            for address in chosen.probed:
                if why := target.forbids(address):
                    raise ProbeError(Reason.ADDRESS_NOT_ALLOWED, why)
        return chosen
