"""
Calm: what can wait gives way to what must not.

A scrape has a deadline. Tries of places that may speak TLS, in the background, take from the same event loop,
and have time.
"""

import asyncio
import contextlib
from collections.abc import Iterator


class Calm:
    """
    Whether anything that must not wait is under way.
    """

    def __init__(self) -> None:
        self._under_way = 0
        self._over = asyncio.Event()
        self._over.set()

    @contextlib.contextmanager
    def disturbed(self) -> Iterator[None]:
        """
        Be under way.
        """
        self._under_way += 1
        self._over.clear()
        try:
            yield
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._over.set()

    async def wait(self, patience: float) -> None:
        """
        Wait until nothing is, but for so many seconds at most.
        """
        if not self._over.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    await self._over.wait()
