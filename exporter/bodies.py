"""
Bodies of answers, made beside the event loop, each once for all who ask for it at the same time.
"""

import asyncio
import zlib
from collections.abc import Callable, Hashable, Iterable
from concurrent.futures import ThreadPoolExecutor

GZIP = 31
"""zlib's `wbits` for the format of RFC 1952."""


class Bodies:
    """
    The one thread that makes them: nothing else waits in its queue, and no two take memory at a time.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._thread = ThreadPoolExecutor(1, "bodies")
        self._under_way: dict[Hashable, asyncio.Future[bytes]] = {}

    def close(self) -> None:
        """
        Make no more.
        """
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def get(self, key: Hashable, make: Callable[[], bytes]) -> bytes:
        """
        What `make` gives. Who asks for the same key meanwhile has the same object.
        """
        future = self._under_way.get(key)
        if future is None:
            future = self._under_way[key] = self._loop.run_in_executor(self._thread, make)
            future.add_done_callback(lambda _: self._under_way.pop(key, None))
        # When one who asked goes away, the others still want it.
        return await asyncio.shield(future)


def join(parts: Iterable[bytes], *, zipped: bool) -> bytes:
    """
    The parts as one body, compressed as they come if so wanted: the whole is never held twice.
    """
    if not zipped:
        return b"".join(parts)
    # The lowest level: the text is so repetitive that more effort gains little.
    compressor = zlib.compressobj(1, zlib.DEFLATED, GZIP)
    done = [compressor.compress(part) for part in parts]
    return b"".join((*done, compressor.flush()))
