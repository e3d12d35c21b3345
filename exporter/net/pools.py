"""
Pools: threads for slow work, beside the event loop.

Each kind of work has a pool of its own, so that work which hangs (a mount, a resolver) delays only its own
kind. Asyncio's own executor is not used: the whole process shares it, and the process can't end before its
threads do. The threads here are daemons, which end with the process in any case.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class PoolFullError(Exception):
    """
    The queue of a pool is full, and more work is refused.
    """


class Job(Generic[T]):
    """
    One piece of work, and the future of its result.
    """

    __slots__ = ("future", "left", "loop", "made", "raised", "under_way", "work")

    def __init__(self, work: Callable[[], T]) -> None:
        self.work = work
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[T] = self.loop.create_future()
        """The result or the exception of the work. Work that has not begun is dropped once this is
        cancelled."""
        self.under_way = False
        self.left = False
        """True when its thread was left behind."""
        self.made: Any = None
        self.raised: BaseException | None = None

    def do(self) -> None:
        """
        Do the work, in a thread, unless its future is cancelled.
        """
        if not self.future.done():
            try:
                self.made = self.work()
            except BaseException as error:  # noqa: BLE001 - raised where it is waited for
                self.raised = error

    def deliver(self) -> None:
        """
        Set the result of the future, in the event loop.
        """
        if self.future.done():
            return
        if self.raised is None:
            self.future.set_result(self.made)
        else:
            self.future.set_exception(self.raised)
            self.future.exception()  # the caller may have stopped waiting


class Pool:
    """
    A few threads for one kind of work, started when there is work for them.
    """

    def __init__(self, name: str, threads: int, waiting: int | None = None) -> None:
        """
        `waiting` is the number of jobs that may wait for a thread; None: any number.
        """
        self._name = name
        self._limit = threads
        self._waiting = waiting
        self._jobs: deque[Job[Any]] = deque()
        self._done: dict[asyncio.AbstractEventLoop, list[Job[Any]]] = {}
        self._threads = 0
        self._idle = 0
        self._closed = False
        self._changed = threading.Condition()

    async def run(self, work: Callable[[], T]) -> T:
        """
        Return the result of the work, or raise its exception. Raises PoolFullError when the queue is full.

        Cancelling the wait does not stop work that has begun: its thread is busy until it ends.
        """
        return await self.begin(work).future

    def begin(self, work: Callable[[], T]) -> Job[T]:
        """
        Begin the work in the next free thread. Raises PoolFullError when the queue is full.
        """
        job = Job(work)
        with self._changed:
            if self._idle > len(self._jobs):
                self._changed.notify()
            elif self._threads < self._limit:
                self._start()
            elif self._waiting is not None and len(self._jobs) >= self._waiting:
                raise PoolFullError(f"too much waits in the pool {self._name!r}")
            self._jobs.append(job)
        return job

    def leave(self, job: Job[Any]) -> bool:
        """
        Leave the thread of this job behind: it ends when the job does, and another takes its place.

        Returns False when the job is not under way.
        """
        with self._changed:
            if not job.under_way or job.left:
                return False
            job.left = True
            self._threads -= 1
            if self._idle < len(self._jobs):
                self._start()
        return True

    def close(self) -> None:
        """
        Begin no more work, and let each thread end with its present job.
        """
        with self._changed:
            self._closed = True
            self._jobs.clear()
            self._changed.notify_all()

    def _start(self) -> None:
        self._threads += 1
        threading.Thread(target=self._work, name=self._name, daemon=True).start()

    def _work(self) -> None:
        while (job := self._next()) is not None:
            job.do()
            self._over(job)
            if job.left:
                return
            del job  # its result may be large, and the next job may come much later

    def _next(self) -> Job[Any] | None:
        """
        Return the next job; None when the pool is closed.
        """
        with self._changed:
            self._idle += 1
            while not self._jobs and not self._closed:
                self._changed.wait()
            self._idle -= 1
            if self._closed:
                return None
            job = self._jobs.popleft()
            job.under_way = True
            return job

    def _over(self, job: Job[Any]) -> None:
        with self._changed:
            job.under_way = False
            done = self._done.setdefault(job.loop, [])
            done.append(job)
            told = len(done) > 1
        if not told:
            try:
                job.loop.call_soon_threadsafe(self._deliver, job.loop)
            except RuntimeError:
                self._done.pop(job.loop)  # the loop is closed: no caller waits any more

    def _deliver(self, loop: asyncio.AbstractEventLoop) -> None:
        with self._changed:
            done = self._done.pop(loop)
        for job in done:
            job.deliver()
