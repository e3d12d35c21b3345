"""
Calm: what can wait gives way to what must not.

A scrape has a deadline. What discovery does in the background, tries of places that may speak TLS and
look-ups of names, takes from the same event loop and processors, and has time.
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


GIVE_WAY = 1.0
"""Seconds that a piece of work waits for a scrape to be over, at most: one may follow another."""


STEP = 0.005
"""Seconds between two looks of a thread whether the scrape is over."""


class Calm:
    """
    Work that must not wait: how much of it is under way, and waiting until none is.
    """

    def __init__(self, sleep: Callable[[float], None] = time.sleep) -> None:
        """
        `sleep` is for threads.
        """
        self.patience = GIVE_WAY
        self._sleep = sleep
        self._under_way = 0
        self._over = asyncio.Event()
        self._over.set()

    @contextlib.contextmanager
    def disturbed(self) -> Iterator[None]:
        """
        Count as under way.
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

    def gently(self, items: Iterable[T]) -> Iterator[T]:
        """
        Yield these items in a thread, for work of which each takes less than a millisecond.

        Between them it waits while anything must not wait, but for `patience` seconds in all.
        """
        left = self.patience
        for one in items:
            while self._under_way and left > 0:
                self._sleep(STEP)
                left -= STEP
            yield one


class Rests:
    """
    Rests of a thread that computes for long.

    The event loop gives up the interpreter with each system call, and has to wait for it each time while
    such a thread wants it too: beside a thousand sockets these waits are most of the time.
    """

    def __init__(
        self,
        work: float,
        share: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """
        Begin to work. A rest follows after `work` seconds or more, and takes `share` times as long as those.
        """
        self._work, self._share = work, share
        self._clock, self._sleep = clock, sleep
        self._since = clock()

    def take(self) -> None:
        """
        Rest when it is time for it; never in the main thread, whose work is what others give way to.
        """
        worked = self._clock() - self._since
        if worked < self._work or threading.current_thread() is threading.main_thread():
            return
        self._sleep(self._share * worked)
        self._since = self._clock()
