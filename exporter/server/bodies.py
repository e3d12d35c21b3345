"""
Bodies of responses, made once for all who request the same, and kept for a while.
"""

import asyncio
import io
import zlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable, Iterable
from functools import partial
from typing import TypeVar

from exporter.net.calm import Rests
from exporter.net.pools import Pool

T = TypeVar("T")


KEPT = 32 * 1024 * 1024
"""Bytes of rendered bodies that are kept for KEPT_SECONDS."""


KEPT_SECONDS = 10.0


WAITING = 64
"""Most renderings that may wait for their turn. Further requests are answered with status 503."""


GZIP = 31
"""zlib's `wbits` for the format of RFC 1952."""


WORKED_AT_ONCE = 0.002
"""Seconds of rendering after which it pauses for as long: Python runs one thread at a time."""


class Bodies:
    """
    Bodies by key, within a budget of bytes.
    """

    def __init__(self, budget: int, seconds: float) -> None:
        """
        `seconds` is the time for which a body is kept.
        """
        self._budget = budget
        self._seconds = seconds
        self._under_way: dict[Hashable, asyncio.Task[bytes]] = {}
        # Each with its source.
        self._kept: OrderedDict[Hashable, tuple[bytes, bytes]] = OrderedDict()

    async def get(self, key: Hashable, make: Callable[[], Awaitable[bytes]], source: bytes = b"") -> bytes:
        """
        Return the body of this key, and make it if it is not kept. Raises the exceptions of `make`.

        `source` is what the body is made from: it is kept, and counted, as long as the body is.
        """
        if (kept := self._kept.get(key)) is not None:
            return kept[1]
        task = self._under_way.get(key)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._make(key, make, source))
            self._under_way[key] = task
            # All who waited for it may have gone.
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
    Renderings that take long: one at a time, in a thread, once for all who request the same.
    """

    def __init__(self, waiting: int = WAITING) -> None:
        self._bodies = Bodies(KEPT, KEPT_SECONDS)
        # One at a time, since Python runs one thread at a time.
        self._pool = Pool("pages", 1, waiting)

    async def get(self, key: Hashable, parts: Callable[[], Iterable[bytes]]) -> bytes:
        """
        Return the parts joined. Raises PoolFullError when too many other renderings wait.
        """
        return await self._bodies.get(key, lambda: self._pool.run(lambda: joined(parts())))

    async def run(self, work: Callable[[], T]) -> T:
        """
        Return the result of the work, which waits for its turn. Raises PoolFullError.
        """
        return await self._pool.run(work)


def joined(parts: Iterable[bytes]) -> bytes:
    """
    Join the parts in the present thread, which leaves at least half of the time to the event loop.
    """
    body, rests = bytearray(), Rests(WORKED_AT_ONCE, 1)
    for part in parts:
        body += part
        rests.take()
    return bytes(body)


class Answers:
    """
    Bodies of scrapes, made in a thread of their own, once for all who request the same at the same time.
    """

    def __init__(self) -> None:
        # Nothing is kept: the next scrape has another body.
        self._bodies = Bodies(0, 0.0)
        self._pool = Pool("answers", 1)

    async def get(self, key: Hashable, parts: Callable[[], Iterable[bytes]], *, zipped: bool) -> bytes:
        """
        Return the parts joined, in gzip if `zipped`. Requests with the same key at the same time share the
        result.

        `parts` is called in the event loop; its result is iterated in the thread.
        """
        return await self._bodies.get(key, lambda: self._pool.run(partial(join, parts(), zipped=zipped)))


def join(parts: Iterable[bytes], *, zipped: bool) -> bytes:
    """
    Join the parts, in gzip if `zipped`, compressed one by one: the whole is never held twice.
    """
    if not zipped:
        # Not `b"".join`, which holds all parts until the whole is made.
        body = io.BytesIO()
        body.writelines(parts)
        return body.getvalue()
    # The lowest level: the text is so repetitive that more effort gains little.
    compressor = zlib.compressobj(1, zlib.DEFLATED, GZIP)
    done = [compressor.compress(part) for part in parts]
    return b"".join((*done, compressor.flush()))
