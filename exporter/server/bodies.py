"""
Bodies: what requests are answered with, made once for all who ask for the same, and kept for a while.
"""

import asyncio
import time
import zlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable, Iterable
from functools import partial
from typing import TypeVar

from exporter.net.pools import Pool

T = TypeVar("T")


KEPT = 32 * 1024 * 1024
"""Bytes of renderings that are kept for KEPT_SECONDS, for whoever asks for the same."""


KEPT_SECONDS = 10.0


WAITING = 64
"""Different renderings that may wait for their turn. Who asks for one more is told to ask again."""


GZIP = 31
"""zlib's `wbits` for the format of RFC 1952."""


WORKED_AT_ONCE = 0.002
"""Seconds that a rendering works before it rests for as long: Python runs one thread at a time."""


class Bodies:
    """
    Bodies by what they answer, within a budget of bytes.
    """

    def __init__(self, budget: int, seconds: float) -> None:
        """
        `seconds` is how long a body is kept.
        """
        self._budget = budget
        self._seconds = seconds
        self._under_way: dict[Hashable, asyncio.Task[bytes]] = {}
        # With what each was made of.
        self._kept: OrderedDict[Hashable, tuple[bytes, bytes]] = OrderedDict()

    async def get(self, key: Hashable, make: Callable[[], Awaitable[bytes]], source: bytes = b"") -> bytes:
        """
        The body of this key, made if it is not known. Raises what making it raises.

        `source` is what it is made of: it is kept, and counted, as long as the body is.
        """
        if (kept := self._kept.get(key)) is not None:
            return kept[1]
        task = self._under_way.get(key)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._make(key, make, source))
            self._under_way[key] = task
            # Whoever waited for it may be gone.
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return await asyncio.shield(task)

    async def _make(self, key: Hashable, make: Callable[[], Awaitable[bytes]], source: bytes) -> bytes:
        try:
            made = await make()
        finally:
            del self._under_way[key]
        self._kept[key] = source, made
        asyncio.get_running_loop().call_later(self._seconds, self._kept.pop, key, None)
        while sum(len(one) + len(other) for one, other in self._kept.values()) > self._budget:
            self._kept.popitem(last=False)
        return made


class Renderings:
    """
    What takes its time to render: one thing at a time, beside the loop, once for all who ask for it.
    """

    def __init__(self, waiting: int = WAITING) -> None:
        self._bodies = Bodies(KEPT, KEPT_SECONDS)
        # One at a time, for Python runs one thread at a time.
        self._pool = Pool("pages", 1, waiting)

    async def get(self, key: Hashable, parts: Callable[[], Iterable[bytes]]) -> bytes:
        """
        The parts as one. Raises PoolFullError when too much else waits.
        """
        return await self._bodies.get(key, lambda: self._pool.run(lambda: joined(parts())))

    async def run(self, work: Callable[[], T]) -> T:
        """
        What this work gives, in its turn among the renderings. Raises PoolFullError.
        """
        return await self._pool.run(work)


def joined(parts: Iterable[bytes]) -> bytes:
    """
    The parts as one, made beside the event loop without taking more than half of the time from it.
    """
    body = bytearray()
    began = time.perf_counter()
    for part in parts:
        body += part
        worked = time.perf_counter() - began
        if worked > WORKED_AT_ONCE:
            time.sleep(worked)
            began = time.perf_counter()
    return bytes(body)


class Answers:
    """
    What scrapes are answered with: made in a thread of their own, once for all who ask at the same time.
    """

    def __init__(self) -> None:
        # Nothing is kept: the next scrape has another answer.
        self._bodies = Bodies(0, 0.0)
        self._pool = Pool("answers", 1)

    async def get(self, key: Hashable, parts: Callable[[], Iterable[bytes]], *, zipped: bool) -> bytes:
        """
        The parts as one, compressed (gzip) if so wanted. Who asks for the same key meanwhile has the same.

        `parts` is called in the event loop; what it gives is gone through in the thread.
        """
        return await self._bodies.get(key, lambda: self._pool.run(partial(join, parts(), zipped=zipped)))


def join(parts: Iterable[bytes], *, zipped: bool) -> bytes:
    """
    The parts as one, compressed as they come if so wanted: the whole is never held twice.
    """
    if not zipped:
        return b"".join(parts)
    # The lowest level: the text is so repetitive that more effort gains little.
    compressor = zlib.compressobj(1, zlib.DEFLATED, GZIP)
    done = [compressor.compress(part) for part in parts]
    return b"".join((*done, compressor.flush()))
