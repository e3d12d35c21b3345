"""
Calm: what can wait gives way to what must not.

A scrape has a deadline. What discovery does in the background, tries of places that may speak TLS and
look-ups of names, takes from the same event loop and processors, and has time.
"""

import asyncio
import contextlib
from collections.abc import Iterator

GIVE_WAY = 1.0
"""Seconds that a piece of work waits for a scrape to be over, at most: one may follow another."""


class Calm:
    """
    Whether anything that must not wait is under way.
    """

    def __init__(self) -> None:
        self.patience = GIVE_WAY
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

    async def wait(self) -> None:
        """
        Wait until nothing is, but for `patience` seconds at most.
        """
        if not self._over.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.patience):
                    await self._over.wait()
