"""
Threads that read files, and a register of the file systems that hang.

A file system may hang (a network mount), and with it the thread that reads from it, for good. Such a thread
is left behind, another one continues with the rest, and the file system is not accessed again until it
answers.
"""

import asyncio
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from exporter.model.errors import ProbeError
from exporter.model.foreign_text import printable
from exporter.model.reasons import Reason
from exporter.net.pools import Job, Pool

T = TypeVar("T")


THREADS = 8
"""Threads that work at the same time, without those that are left behind."""


PATIENCE = 0.5
"""Seconds that a file system may take to answer for one file before others are read without it."""


HUNG_TOGETHER = 4
"""Paths of one mount that may hang before the others on it are not accessed either."""


HUNG_LIMIT = 64
"""Paths that may hang, each with a thread, before no file is read any more."""


MOUNTS = "/proc/self/mountinfo"


_OCTAL = re.compile(rb"\\([0-7]{3})")


@dataclass(slots=True)
class Progress:
    """
    The present step of the work in a thread, for its waiting callers.
    """

    path: str = ""
    """The path that is accessed."""
    since: float = field(default_factory=time.monotonic)
    """When the access began, by the monotonic clock."""
    patience: float = PATIENCE
    """Seconds that the answer may take."""
    asking: bool = False
    """True during an access; False while the thread computes, which always ends."""
    unwanted: bool = False
    """True when no caller waits for the rest of the work."""

    def ask(self, path: str, patience: float = PATIENCE) -> None:
        """
        Note that the access to this path begins now. It may take `patience` seconds.
        """
        self.path, self.since, self.patience, self.asking = path, time.monotonic(), patience, True

    def answered(self) -> None:
        """
        Note that the access has ended.
        """
        self.asking = False

    @property
    def hangs(self) -> bool:
        """
        True when the access takes longer than its patience.
        """
        return self.asking and time.monotonic() - self.since > self.patience


@dataclass(frozen=True, slots=True)
class Hung:
    """
    A path whose file system has not answered yet.
    """

    path: str
    since: float
    """When the access began, by the monotonic clock."""
    job: Job[Any]
    group: str
    """The mount or directory that probably hangs with it."""

    def failure(self, path: str, now: float) -> ProbeError:
        """
        Return the failure of a file that is not waited for any longer: this path, or one that probably hangs
        with it.
        """
        words = f"the file system did not answer for {printable(self.path)} in {now - self.since:,.0f} s"
        if path != self.path:
            words += f", and {printable(path)} stands behind it"
        return ProbeError(Reason.TIMEOUT, f"{words}: see whether a network mount hangs (stat, findmnt)")


class FileThreads:
    """
    A pool of threads for files.
    """

    def __init__(self, name: str) -> None:
        self._pool = Pool(name, THREADS)
        self.hung: dict[str, Hung] = {}
        """By path. An entry is removed when its file system answers."""

    def close(self) -> None:
        """
        Begin no more work. Running work ends on its own, or with the process.
        """
        self._pool.close()

    def begin(self, work: Callable[[], T]) -> Job[T]:
        """
        Begin the work in the next free thread.
        """
        return self._pool.begin(work)

    async def ends(
        self, job: Job[Any], progress: Progress, meanwhile: Callable[[], None] = lambda: None
    ) -> bool:
        """
        Wait for a job, and return True when it has ended; False when a path hangs.

        Such a path is noted, and its thread is left behind. `meanwhile` is called now and then.
        """
        while True:
            done, _ = await asyncio.wait([job.future], timeout=PATIENCE / 2)
            meanwhile()
            if done:
                return True
            # Left already when nobody waited long enough to know.
            if job.left or (progress.hangs and self.leave(job, progress)):
                return False

    def leave(self, job: Job[Any], progress: Progress) -> bool:
        """
        Leave a job behind that waits for a file system, and return True; False when it has ended by now.
        """
        if not self._pool.leave(job):
            return False
        progress.unwanted = True
        path = progress.path
        self.hung[path] = Hung(path, progress.since, job, _group(path, _mounts()))
        job.future.add_done_callback(lambda _: self.hung.pop(path, None))
        return True

    def behind(self, paths: Sequence[str]) -> dict[str, Hung]:
        """
        Return the paths that must not be accessed now, each with the path that hangs before it.
        """
        hanging = tuple(self.hung.values())
        groups = Counter(one.group for one in hanging)
        full = {one.group: one for one in hanging if groups[one.group] >= HUNG_TOGETHER}
        mounts = _mounts() if full else ()
        found: dict[str, Hung] = {}
        for path in paths:
            hung = next((one for one in hanging if f"{path}/".startswith(f"{one.path}/")), None)
            if hung is None and full:
                hung = full.get(_group(path, mounts))
            if hung is None and len(hanging) >= HUNG_LIMIT:
                hung = hanging[0]
            if hung is not None:
                found[path] = hung
        return found

    def may_ask(self, path: str) -> bool:
        """
        Return False for a path that hangs, or probably would. May be called in any thread.
        """
        return not self.hung or not self.behind([path])


def _mounts() -> tuple[str, ...]:
    """
    Return the mount points, the deepest first, without the root; empty where they are not known.
    """
    try:
        # From the kernel: no file system is accessed.
        lines = Path(MOUNTS).read_bytes().splitlines()
    except OSError:
        return ()
    points = {
        os.fsdecode(_OCTAL.sub(lambda found: bytes([int(found[1], 8)]), line.split()[4])) for line in lines
    }
    return tuple(sorted(points - {"/"}, key=len, reverse=True))


def _group(path: str, mounts: Sequence[str]) -> str:
    """
    Return the mount that a path, or the target of its link, is on; on the root file system, its directory.
    """
    mount = next((one for one in mounts if path.startswith(f"{one}/")), None)
    if mount is None:
        try:
            # As text: no file system is accessed.
            target = os.path.normpath(Path(path).parent / Path(path).readlink())
        except OSError:
            target = path
        mount = next((one for one in mounts if f"{target}/".startswith(f"{one}/")), None)
    return mount or path.rpartition("/")[0]
