"""
The network: resolving names and moving bytes, each step with a deadline.

Everything runs on one long-lived event loop. A deadline is a time of that
loop's clock. Errors leave this module as ProbeError, so that a probe reads as
the conversation it has.
"""

import asyncio
import math
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from exporter.model.errors import ProbeError
from exporter.model.reasons import Reason
from exporter.model.targets import Target
from exporter.net.connection import Readiness
from exporter.net.named_files import NamedFiles
from exporter.net.resolver import RESOLVE_TIMEOUT, Addresses, Resolver, choose, has_route


@dataclass(slots=True)
class Trace:
    """
    What one look is doing, for messages, and for a person who asked for each step.
    """

    clock: Callable[[], float]
    phase: str = "start"
    deadline: float = math.inf
    """A time of this clock, when whoever asked for the look stops waiting for it."""
    steps: list[tuple[float, str]] | None = None
    """`(time, words)` of each step; None when nobody asked."""

    def note(self, words: str, *values: object) -> None:
        """
        Remember a step, if anybody asked for steps. The values go where `%s` stands.
        """
        if self.steps is not None:
            self.steps.append((self.clock(), words % values))


class Closable(Protocol):
    """
    What is closed with the network.
    """

    def close(self) -> None:
        """
        Let go of everything.
        """


R = TypeVar("R", bound=Closable)


@dataclass(frozen=True, slots=True)
class Network:
    """
    What a probe needs of the world. One for the life of the process.
    """

    loop: asyncio.AbstractEventLoop
    clock: Callable[[], float] = time.time
    """Seconds since the epoch. It may be set at any moment: for what is shown or kept over a restart."""
    monotonic: Callable[[], float] = time.monotonic
    """Seconds since some moment; it only goes on. For all that is due some time after something else."""
    readiness: Readiness = field(init=False)
    resolver: Resolver = field(init=False)
    files: NamedFiles = field(init=False)
    _resources: dict[type, Closable] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "readiness", Readiness(self.loop))
        object.__setattr__(self, "resolver", Resolver(self.loop))
        object.__setattr__(self, "files", NamedFiles(self.loop))

    def close(self) -> None:
        """
        Stop watching sockets, look up no more names, and close what probes keep.
        """
        for resource in self._resources.values():
            resource.close()
        self.resolver.close()
        self.files.close()
        self.readiness.close()

    def resource(self, kind: type[R], make: Callable[[], R]) -> R:
        """
        The one thing of this kind that probes share for the life of the process, made when first asked for.
        """
        found = self._resources.get(kind)
        if found is None:
            found = self._resources[kind] = make()
        assert isinstance(found, kind)
        return found

    async def addresses(self, target: Target) -> Addresses:
        """
        The addresses of a target's host, sorted so that a limit keeps the same ones. Raises ProbeError.
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
