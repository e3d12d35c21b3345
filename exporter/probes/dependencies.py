"""
The objects that probes and look-ups share for the life of the process, built once at its start.
"""

import asyncio
import time
from collections.abc import Callable

from exporter.net.network import Network
from exporter.pki.authorities import Authorities
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
        self.authorities = Authorities(self.named_files.content)
        self.files = Files(loop, clock)
        self.kubernetes = Kubernetes(self)
        self.registries = Registries(self)

    def close(self) -> None:
        """
        Close everything that is open.
        """
        self.files.close()
        self.kubernetes.close()
        self.registries.close()
        super().close()
