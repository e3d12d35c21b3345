"""
Bounds: what one API server may cost, in time and in memory.

A server that sends without end takes no turns from the other targets.
"""

import asyncio
from collections.abc import Callable, Collection
from time import perf_counter
from typing import NamedTuple, TypeVar

from exporter.model.errors import ProbeError
from exporter.model.reasons import Reason
from exporter.net.pools import Pool
from exporter.probes.kubernetes.objects import Key, Stored

T = TypeVar("T")


PAGE = 250
"""Objects in a page of a list; fewer once a page was too large."""


PAGE_LIMIT = 8 * 1024 * 1024
"""Bytes of a page, and of one event of a watch. The server accepts no object of more than 3 MB.

JSON that is made to fill memory takes thirty times as much of it.
"""


PAGES_LIMIT = 1000
"""Pages of one list, besides one for each object: a server may send some that hold nothing that was asked
for."""


ERROR_LIMIT = 65536
"""Bytes of an error response that are read."""


OBJECT_LIMIT = 100_000
"""Objects of one list."""


ENDPOINT_LIMIT = 20_000
"""Keys with items in all objects of one API server: as many as files of a pattern. Each is an endpoint, which
every scrape judges and writes."""


BYTES_LIMIT = 128 * 1024 * 1024
"""Bytes of what is kept of all objects of one API server, as `Stored.size` counts them."""


GROWTH = 250
"""Objects, or hosts and keys in them, that a watch may add before all are listed again. It may add as many as
the list had, if that is more.

They are there if the list has them. A server that invents them adds no more than these.
"""


REST = 2.0
"""Seconds of rest for each second that reading took."""


CREDIT = 10.0
"""Seconds for which lists are read without a rest: enough for the first ones of a large cluster."""


_READING = Pool("kubernetes", 2)


class Share:
    """
    The share of this process's time that reading from one API server takes, for however many watches.
    """

    def __init__(self, credit: float = 0.0) -> None:
        """
        `credit` is the number of seconds of reading that need no rest. It comes back with time.
        """
        self._credit = REST * credit
        self._rested = float("-inf")
        """Loop time at which the rest for all that was read is over."""

    async def read(self, work: Callable[[], T]) -> T:
        """
        Return the result of reading in a thread, after the rest for what was read before.
        """
        loop = asyncio.get_running_loop()
        await asyncio.sleep(self._rested - loop.time())
        taken = 0.0

        def timed() -> T:
            nonlocal taken
            # Not the time for which it waited for a thread: another server may have a slow keystore.
            begun = perf_counter()
            try:
                return work()
            finally:
                taken = perf_counter() - begun

        try:
            return await _READING.run(timed)
        finally:
            self._rested = max(self._rested, loop.time() - self._credit) + REST * taken


class Weight(NamedTuple):
    """
    The size of the objects that are kept of a list.
    """

    bytes: int
    keys: int
    """Keys with items."""


class Held:
    """
    The objects of one list, and what they weigh.
    """

    def __init__(self) -> None:
        self.objects: dict[Key, Stored] = {}
        self.bytes = 0
        self._endpoints = 0
        self._named = 0
        self._most = 0
        """What may be named before it is listed again."""

    def put(self, key: Key, stored: Stored) -> None:
        """
        Keep an object in place of its earlier state.
        """
        self._weigh(self.objects.get(key), -1)
        self.objects[key] = stored
        self._weigh(stored, 1)

    def drop(self, key: Key) -> None:
        """
        Forget an object, if it is there.
        """
        self._weigh(self.objects.pop(key, None), -1)

    def _weigh(self, stored: Stored | None, times: int) -> None:
        if stored is not None:
            self.bytes += times * stored.size
            self._endpoints += times * len(stored.outcomes)
            self._named += times * stored.named

    def listed(self) -> None:
        """
        Note that these are the objects of a whole list.
        """
        self._most = self._named + max(GROWTH, self._named)

    @property
    def grew(self) -> bool:
        """
        True when a watch added so many that they are better listed again.
        """
        return self._named > self._most

    @property
    def weight(self) -> Weight:
        """
        The part of the API server's share that this takes.
        """
        return Weight(self.bytes, self._endpoints)

    def refuse_too_much(self, others: Collection[Weight]) -> None:
        """
        Raise ProbeError when this is more than is kept. `others` are the server's other lists.
        """
        remedy = "name namespaces, or use a selector"
        if len(self.objects) > OBJECT_LIMIT:
            words = f"there are more than {OBJECT_LIMIT:,} objects: {remedy}"
        elif self._endpoints + sum(one.keys for one in others) > ENDPOINT_LIMIT:
            words = f"more than {ENDPOINT_LIMIT:,} keys hold something that expires: {remedy}"
        elif self.bytes + sum(one.bytes for one in others) > BYTES_LIMIT:
            words = f"what is kept of this API server takes more than {BYTES_LIMIT:,} bytes: {remedy}"
        else:
            return
        raise ProbeError(Reason.FILE_TOO_LARGE, words)
