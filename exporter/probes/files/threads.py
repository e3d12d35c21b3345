"""
Threads in which files are read.

A file system may hang (a network mount), and with it the thread that reads from it, for good. Such a thread
is left behind, and another one goes on with the rest. Threads do not keep the process from ending.
"""

import asyncio
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

THREADS = 8
"""Threads that work at the same time, without those that are left behind."""


PATIENCE = 0.5
"""Seconds that a file system may take to give one file before others go on without it."""


@dataclass(slots=True)
class Progress:
    """
    What a thread is doing, for those who wait for it.
    """

    path: str = ""
    """What it asks a file system for."""
    since: float = field(default_factory=time.monotonic)
    """When it began to, by the monotonic clock."""
    patience: float = PATIENCE
    """Seconds that the answer may take."""
    asking: bool = False
    """False while it computes: that ends by itself."""
    unwanted: bool = False
    """True when nobody waits for the rest of the work."""

    def ask(self, path: str, patience: float = PATIENCE) -> None:
        """
        Note that a file system is asked for this from now on.
        """
        self.path, self.since, self.patience, self.asking = path, time.monotonic(), patience, True

    def answered(self) -> None:
        """
        Note that it answered.
        """
        self.asking = False

    @property
    def hangs(self) -> bool:
        """
        True when an answer takes too long to let others wait for it.
        """
        return self.asking and time.monotonic() - self.since > self.patience


@dataclass(slots=True)
class Job:
    """
    Work for a thread.
    """

    work: Callable[[], Any]
    future: "asyncio.Future[Any]"
    """What it gives, or raises."""
    ended: bool = False
    left: bool = False
    """True when its thread was left behind."""


class Threads:
    """
    Daemon threads, begun as they are needed.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """
        What the threads give is handed over in this loop.
        """
        self._loop = loop
        self._jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._count = 0
        self._idle = 0
        self._done: list[tuple[Job, Any]] = []

    def begin(self, work: Callable[[], Any]) -> Job:
        """
        Have the work done by the next thread that is free.
        """
        job = Job(work, self._loop.create_future())
        if self._idle == 0 and self._count < THREADS:
            self._count += 1
            threading.Thread(target=self._serve, name="files", daemon=True).start()
        else:
            self._idle = max(0, self._idle - 1)
        self._jobs.put(job)
        return job

    def leave(self, job: Job) -> bool:
        """
        Leave the thread of this job behind: it ends when the job does. False when that has ended by now.
        """
        with self._lock:
            if job.ended:
                return False
            job.left = True
        self._count -= 1
        return True

    def _serve(self) -> None:
        while True:
            job = self._jobs.get()
            try:
                made = job.work()
            except Exception as error:  # noqa: BLE001 - raised where it is waited for
                made = error
            with self._lock:
                first = not self._done
                self._done.append((job, made))
                job.ended = True
            try:
                if first:  # else the loop is told already
                    self._loop.call_soon_threadsafe(self._deliver)
            except RuntimeError:
                return  # the loop is closed: nobody waits any more
            if job.left:
                return

    def _deliver(self) -> None:
        with self._lock:
            done, self._done = self._done, []
        for job, made in done:
            self._idle += not job.left
            if isinstance(made, Exception):
                job.future.set_exception(made)
                job.future.exception()  # those who asked may have stopped waiting
            else:
                job.future.set_result(made)
