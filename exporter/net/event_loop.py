"""
An event loop that knows for how long it had nothing to do.

The time of a processor does not tell that: a process that gets little of one has much to do all the same.
"""

import asyncio
import selectors
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _Selector(selectors.EpollSelector):
    """
    Adds up the seconds in which it waited.
    """

    waited = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """
        Wait, and note for how long.
        """
        if timeout is not None and timeout <= 0:
            return super().select(timeout)
        began = time.monotonic()
        found = super().select(timeout)
        self.waited += time.monotonic() - began
        return found


class EventLoop(asyncio.SelectorEventLoop):
    """
    The loop of a process that probes.
    """

    def __init__(self) -> None:
        self._waiting = _Selector()
        super().__init__(self._waiting)

    @property
    def rested(self) -> float:
        """
        Seconds in which it had nothing to do.
        """
        return self._waiting.waited


class Rest:
    """
    The rest of an event loop since it was asked for last.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """
        Of a loop of another kind nothing is known: it counts as busy.
        """
        self._loop = loop
        self._before = self._now()

    def share(self) -> float:
        """
        Return the share of the time since the last call, or since this was made, in which there was nothing
        to do.
        """
        (began, before), (now, rested) = self._before, self._now()
        self._before = now, rested
        return (rested - before) / (now - began) if now > began else 0.0

    def _now(self) -> tuple[float, float]:
        rested = self._loop.rested if isinstance(self._loop, EventLoop) else 0.0
        return self._loop.time(), rested


def run(work: Coroutine[Any, Any, T]) -> T:
    """
    Return the result of work that is done in such a loop, as `asyncio.run` does.
    """
    with asyncio.Runner(loop_factory=EventLoop) as runner:
        return runner.run(work)
