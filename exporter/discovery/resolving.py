"""
Names that sources find: whether this host's resolver knows an address of them.
"""

import asyncio
from collections.abc import Iterable
from socket import AF_UNSPEC

from exporter.model.errors import ProbeError
from exporter.model.reasons import Reason
from exporter.net.network import Network
from exporter.net.resolver import RESOLVE_TIMEOUT

AT_ONCE = 16
"""Names that are looked up at a time."""


async def addressed(names: Iterable[str], network: Network, until: float = float("inf")) -> dict[str, bool]:
    """
    Return by name whether it has an address. Missing are those for which no name server had an answer, and
    those that were not looked up until `until`, in seconds of the loop's clock.
    """
    known: dict[str, bool] = {}
    waiting = iter(names)

    async def look_up() -> None:
        for name in waiting:
            # Ten thousand names take both processors for seconds, where each is looked up in a long file.
            await network.calm.wait()
            if network.loop.time() >= until:
                return
            try:
                await network.resolver.resolve(name, AF_UNSPEC, RESOLVE_TIMEOUT)
                known[name] = True
            except ProbeError as error:
                if error.reason is Reason.DNS_NOT_FOUND:
                    known[name] = False

    await asyncio.gather(*(look_up() for _ in range(AT_ONCE)))
    return known
