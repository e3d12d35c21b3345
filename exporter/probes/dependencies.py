"""
The objects that probes and look-ups share for the life of the process.

What only some kinds of targets need is built, and its code imported, when it is first wanted.
"""

import asyncio
import time
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

from exporter.net.network import Network
from exporter.pki.authorities import Authorities

if TYPE_CHECKING:
    from exporter.probes.domains.registries import Registries
    from exporter.probes.files.cache import Files
    from exporter.probes.kubernetes.selection import Kubernetes


class Dependencies(Network):
    """
    The network, with the caches of probes and look-ups. A function that needs only the network takes a
    Network.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        `clock` and `monotonic` are those of `Network`.
        """
        super().__init__(loop, clock, monotonic)
        self.authorities = Authorities(self.named_files.content, self.named_files.system)

    @cached_property
    def files(self) -> "Files":
        """
        The files that were read.
        """
        from exporter.probes.files.cache import Files

        return Files(self.loop, self.clock)

    @cached_property
    def kubernetes(self) -> "Kubernetes":
        """
        The objects of clusters.
        """
        from exporter.probes.kubernetes.selection import Kubernetes

        return Kubernetes(self)

    @cached_property
    def registries(self) -> "Registries":
        """
        The registries of domains.
        """
        from exporter.probes.domains.registries import Registries

        return Registries(self)

    def close(self) -> None:
        """
        Close everything that is open.
        """
        for name in ("files", "kubernetes", "registries"):
            if name in vars(self):
                getattr(self, name).close()
        super().close()
