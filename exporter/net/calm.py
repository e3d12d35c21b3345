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


SLICE = 0.005
"""Seconds for which a thread works after it has waited for so long."""


REST = 0.1
"""Seconds that it waits for the scrape to be over, at most, before each slice of its work."""


class Calm:
    """
    Work that must not wait: how much of it is under way, and waiting until none is.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[threading.Event, float], object] = threading.Event.wait,
    ) -> None:
        """
        `clock` and `wait` are for threads.
        """
        self.patience = GIVE_WAY
        self._clock, self._wait = clock, wait
        self._under_way = 0
        self._over = asyncio.Event()
        self._over.set()
        self._quiet = threading.Event()
        """The same for threads."""

    @contextlib.contextmanager
    def disturbed(self) -> Iterator[None]:
        """
        Count as under way.
        """
        self._under_way += 1
        self._over.clear()
        self._quiet.clear()
        try:
            yield
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._over.set()
                self._quiet.set()

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

        While anything must not wait, it has a twentieth of the time: a scrape may last for a minute, and the
        next one follow at once. Others may wait for this work, a reload for one.
        """
        until = 0.0
        for one in items:
            if self._under_way and self._clock() >= until:
                self._wait(self._quiet, REST)
                until = self._clock() + SLICE
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
