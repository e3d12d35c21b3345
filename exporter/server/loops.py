"""
Two event loops: the service's, which probes, and the port's, which answers, in a thread of its own.

In a sweep hundreds of connections are ready at once, and a loop comes to a new request only after all of
them. Python lets a thread that waits have its turn much sooner.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

P = ParamSpec("P")


T = TypeVar("T")


class HasLoop(Protocol):
    """
    An object that lives in one event loop.
    """

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """
        That loop.
        """


L = TypeVar("L", bound=HasLoop)


async def within(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T]) -> T:
    """
    Return the result of work that is done in this loop, whichever one waits for it. Raises its exception.

    Who stops waiting cancels the work.
    """
    if asyncio.get_running_loop() is loop:
        return await work
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, loop))


def from_any_loop(
    method: Callable[Concatenate[L, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[L, P], Coroutine[Any, Any, T]]:
    """
    Return a method that may be awaited in any loop, and is done in the loop of its object.
    """

    @wraps(method)
    async def called(self: L, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await within(self.loop, method(self, *args, **kwargs))

    return called


class LoopThread:
    """
    A thread with an event loop.
    """

    def __init__(self, name: str) -> None:
        """
        Start it.
        """
        self._begun = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._live()), name=name, daemon=True)
        self._thread.start()
        self._begun.wait()

    async def _live(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._over = asyncio.Event()
        self._begun.set()
        await self._over.wait()

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """
        Return the result of work that is done in this thread. Raises its exception.
        """
        return await within(self.loop, work)

    async def close(self) -> None:
        """
        Cancel what it still does, and wait for its end.

        The loop that waits runs on meanwhile: what is cancelled may need it for its last steps.
        """
        self.loop.call_soon_threadsafe(self._over.set)
        await asyncio.get_running_loop().run_in_executor(None, self._thread.join)


class Pulse:
    """
    The sign of life of an event loop, as seen from another one.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._loop, self._monotonic = loop, monotonic
        self._asked: float | None = None
        """When it was asked for a sign of life that it has not given; None: it owes none."""

    def silence(self) -> float:
        """
        Return the seconds for which the loop owes a sign of life, and ask for the next one.
        """
        now = self._monotonic()
        # It may answer at any moment.
        asked = self._asked
        if asked is None:
            self._asked = asked = now
            self._loop.call_soon_threadsafe(self._answer)
        return now - asked

    def _answer(self) -> None:
        self._asked = None
