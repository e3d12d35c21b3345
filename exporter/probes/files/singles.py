"""
Single files: thousands of targets with one file each share a few threads.

To hand one file to a thread, and its outcome back, costs many times what it costs to see that the file did
not change. So a thread that was woken goes on with the files of other targets, until none waits.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic, process_time

from exporter.model.errors import Outcome
from exporter.net.file_threads import THREADS, FileThreads, Progress
from exporter.net.pools import Job

TICK = 0.012
"""Seconds for which files wait before more threads read them.

Linux counts what a thread uses on another processor in steps, of 4 ms as a rule: within a step it seems idle.
"""


IDLE = 0.5
"""Share of one processor that this process uses while it waits for a file system: then more threads help."""


Timed = tuple[Outcome, float]
"""The outcome of a file, and the seconds that it took."""


@dataclass(slots=True, eq=False)
class _Wanted:
    """
    A file that a caller waits for.
    """

    path: str
    read: Callable[[Progress], Timed]
    future: "asyncio.Future[Timed | None]"
    reader: "_Reader | None" = None
    """Who reads it; None before its turn."""


@dataclass(slots=True, eq=False)
class _Reader:
    """
    A thread that reads one waiting file after the other.
    """

    progress: Progress = field(default_factory=Progress)
    at: _Wanted | None = None
    """The file that it reads now."""
    made: deque[tuple[_Wanted, Timed | None]] = field(default_factory=deque)
    """What it has read, for the event loop to tell."""
    job: Job[None] | None = None


class Singles:
    """
    The files that wait for a thread, in the order in which they were asked for.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, threads: FileThreads) -> None:
        self._loop = loop
        self._threads = threads
        self._waiting: deque[_Wanted] = deque()
        self._readers: set[asyncio.Task[None]] = set()
        self._woken = False
        self._tick: asyncio.TimerHandle | None = None
        """The next look at the files that still wait; None when none does."""
        self._looked = 0.0, 0.0
        """Monotonic time of the last look, and the CPU seconds of this process by then."""

    async def read(self, path: str, read: Callable[[Progress], Timed]) -> Timed | None:
        """
        Return the result of `read` in a thread; None when the file system of the path does not answer.
        """
        wanted = _Wanted(path, read, self._loop.create_future())
        self._waiting.append(wanted)
        if not self._woken and (self._tick is None or not self._readers):
            # All that are asked for in this turn of the event loop share the threads.
            self._woken = True
            self._loop.call_soon(self._wake)
        try:
            return await wanted.future
        finally:
            reader = wanted.reader
            # No caller waited long enough to know whether it hangs: not accessed again until it answers.
            if not wanted.future.done() or wanted.future.cancelled():
                self._leave(wanted, reader)

    def _leave(self, wanted: _Wanted, reader: _Reader | None) -> None:
        if reader is None or reader.at is not wanted or not reader.progress.asking or reader.job is None:
            return
        self._threads.leave(reader.job, reader.progress)

    def _wake(self) -> None:
        """
        Begin a thread for the files that wait, if there is none.
        """
        self._woken = False
        if self._waiting and not self._readers:
            self._begin(1)
        if self._waiting and self._tick is None:
            self._tick = self._loop.call_later(TICK, self._look_again, monotonic(), process_time())

    def _look_again(self, then: float, spent: float) -> None:
        """
        Begin as many threads again if files wait for a slow file system, which answers several at a time.

        `then` is the monotonic time of the last look, `spent` the CPU seconds of this process by then. If it
        worked all the time since, more threads would only keep each other from it.
        """
        self._tick = None
        if process_time() - spent < IDLE * (monotonic() - then):
            self._begin(min(len(self._readers), THREADS - len(self._readers)))
        self._wake()

    def _begin(self, more: int) -> None:
        for _ in range(more):
            task = self._loop.create_task(self._serve(_Reader()))
            self._readers.add(task)
            task.add_done_callback(self._over)

    def _over(self, task: "asyncio.Task[None]") -> None:
        self._readers.discard(task)
        if not task.cancelled():
            self._wake()

    async def _serve(self, reader: _Reader) -> None:
        """
        Read waiting files in a thread until none is left, or one hangs.
        """

        def tell() -> None:
            while reader.made:
                wanted, outcome = reader.made.popleft()
                if not wanted.future.done():
                    wanted.future.set_result(outcome)

        reader.job = self._threads.begin(lambda: self._read_all(reader))
        ended = await self._threads.ends(reader.job, reader.progress, tell)
        tell()
        if ended:
            reader.job.future.result()
        elif reader.at is not None and not reader.at.future.done():
            reader.at.future.set_result(None)

    def _read_all(self, reader: _Reader) -> None:
        while not reader.progress.unwanted:
            try:
                wanted = self._waiting.popleft()
            except IndexError:
                return
            if wanted.future.cancelled():
                continue
            wanted.reader = reader
            reader.at = wanted
            # Checked in its turn: what it stands behind may hang by now.
            made = wanted.read(reader.progress) if self._threads.may_ask(wanted.path) else None
            reader.made.append((wanted, made))
