"""
Addresses of the names that nobody watches, looked up in the background, a few at a time.

No client gets to a name without an address. While that is not known, it counts as one that has an address.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping
from functools import partial
from socket import AF_UNSPEC

from exporter.model.errors import ProbeError
from exporter.model.reasons import Reason
from exporter.net.background import Answer, spread
from exporter.net.network import Network
from exporter.net.resolver import RESOLVE_TIMEOUT

ROUND = 60.0
"""Seconds between two rounds. One looks up what is due: most have nothing to do."""


AGAIN = 6 * 3600.0
"""Seconds between two look-ups of a name."""


SOON = 900.0
"""Seconds until the next look-up of a name after one that failed."""


AT_ONCE = 8
"""Names that are looked up at a time."""


LONGEST = 300.0
"""Seconds after which a round looks up nothing more. The next one goes on."""


class NameAddresses:
    """
    Names that have an address, and names that have none, learned in rounds in the background.
    """

    def __init__(self, network: Network) -> None:
        self.known: Mapping[str, bool] = {}
        """By name, whether it has an address; a new object when something changed."""
        self._network = network
        self._due: dict[str, float] = {}
        """By name, when it is to be looked up again, by the monotonic clock."""

    def want(self, names: Callable[[], Collection[str]]) -> None:
        """
        Begin a round in the background if one is due. `names` gives those that are wanted: what is known of
        others is forgotten.
        """
        what = "addresses of the names that nobody watches"
        self._network.lookups.hear(("addresses of names",), partial(self._round, names), what)

    async def _round(self, names: Callable[[], Collection[str]]) -> Answer:
        wanted = names()
        clock = self._network.monotonic
        end = clock() + LONGEST
        now = clock()
        self._due = {name: self._due[name] for name in wanted if name in self._due}
        known = {name: self.known[name] for name in wanted if name in self.known}
        due = iter([name for name in wanted if self._due.get(name, now) <= now])

        async def look_up() -> None:
            for name in due:
                if clock() >= end:
                    return
                pause = AGAIN
                try:
                    await self._network.resolver.resolve(name, AF_UNSPEC, RESOLVE_TIMEOUT)
                    known[name] = True
                except ProbeError as error:
                    if error.reason is Reason.DNS_NOT_FOUND:
                        known[name] = False
                    else:
                        # What was known of it stands: a name server that is silent says nothing.
                        pause = SOON
                self._due[name] = clock() + pause * spread(name)

        await asyncio.gather(*(look_up() for _ in range(AT_ONCE)))
        if known != self.known:
            self.known = known
        return Answer(None, ROUND)
