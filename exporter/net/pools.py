"""
Pools: work that takes its time is done in threads, beside the event loop.

Each kind of work has a pool of its own, so that what hangs (a mount, a resolver) holds up nothing but its
like. Never asyncio's own executor: all of the process shares that one, and the process can't end before
its threads do. The threads here are daemons, which end with the process whatever they wait for.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class PoolFullError(Exception):
    """
    So much work waits already that more of it is refused.
    """


class _Job(Generic[T]):
    """
    One piece of work, and who waits for what it gives.
    """

    __slots__ = ("future", "loop", "work")

    def __init__(self, work: Callable[[], T]) -> None:
        self.work = work
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[T] = self.loop.create_future()

    def do(self) -> None:
        """
        Do the work, in a thread, and have the loop deliver what it gave.
        """
        # One that waits no more has left: what he asked for is not done any more.
        if self.future.done():
            return
        made: T | None = None
        raised: BaseException | None = None
        try:
            made = self.work()
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            raised = error
        try:
            self.loop.call_soon_threadsafe(self._deliver, made, raised)
        except RuntimeError:
            return  # the loop is closed: nobody waits any more

    def _deliver(self, made: Any, raised: BaseException | None) -> None:
        if self.future.done():
            return
        if raised is None:
            self.future.set_result(made)
        else:
            self.future.set_exception(raised)


class Pool:
    """
    A few threads for one kind of work. They are started when there is work for them.
    """

    def __init__(self, name: str, threads: int, waiting: int | None = None) -> None:
        """
        `waiting` is how many pieces of work may wait for a thread; None: any number.
        """
        self._name = name
        self._limit = threads
        self._waiting = waiting
        self._jobs: deque[_Job[Any]] = deque()
        self._threads = 0
        self._idle = 0
        self._changed = threading.Condition()

    async def run(self, work: Callable[[], T]) -> T:
        """
        What the work gives, or raises. Raises PoolFullError when too much waits.

        Who stops waiting does not stop work that has begun: its thread is busy until it ends.
        """
        job = _Job(work)
        with self._changed:
            if self._idle > len(self._jobs):
                self._changed.notify()
            elif self._threads < self._limit:
                self._threads += 1
                threading.Thread(target=self._work, name=f"{self._name}-{self._threads}", daemon=True).start()
            elif self._waiting is not None and len(self._jobs) >= self._waiting:
                raise PoolFullError(f"too much waits in the pool {self._name!r}")
            self._jobs.append(job)
        return await job.future

    def _work(self) -> None:
        while True:
            with self._changed:
                self._idle += 1
                while not self._jobs:
                    self._changed.wait()
                self._idle -= 1
                job = self._jobs.popleft()
            job.do()
            del job  # what it made may be large, and the next work may be far away
