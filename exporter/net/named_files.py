"""
Files that the configuration names for targets: trust anchors, client certificates and their keys.

They are read in threads, and kept. So a mount that hangs affects only the targets that name a file on it, and
only until the file was read once.
"""

import asyncio
import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass

from exporter.logs import fields
from exporter.model.errors import ProbeError
from exporter.model.foreign_text import printable
from exporter.model.reasons import Reason
from exporter.net.file_threads import FileThreads, Progress
from exporter.net.regular_files import Stamp, read, stamp_from, stamp_of

logger = logging.getLogger(__name__)


LIMIT = 16 * 1024 * 1024
"""Bytes that such a file may have. The trust anchors of a distribution take a quarter of a megabyte."""


@dataclass(slots=True)
class _Entry:
    """
    A file as it was read last.
    """

    content: bytes | ProbeError | None = None
    """The content, or the failure to read it; None before it was read."""
    stamp: Stamp | None = None
    """The stamp of the content; None when the file could not be read."""
    round: int = -1
    """The sweep in which it was read last."""
    task: "asyncio.Task[None] | None" = None
    """The task that reads it now; None when there is none."""
    hangs: bool = False


class NamedFiles:
    """
    The content of the files named by targets. One object for the life of the process.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._threads = FileThreads("named files")
        self._entries: dict[str, _Entry] = {}
        self._round = 0

    def close(self) -> None:
        """
        Cancel all tasks that wait for files.
        """
        for entry in self._entries.values():
            if entry.task is not None:
                entry.task.cancel()
        self._threads.close()

    def begin(self, paths: Iterable[str]) -> None:
        """
        Begin a sweep, in which files may have changed. Read these now, and others when they are needed.
        """
        self._round += 1
        for path in paths:
            self._look(path)

    async def ready(self, paths: Iterable[str]) -> None:
        """
        Wait until these files were read in this sweep, or are known to hang.
        """
        if reading := self.reading(paths):
            await asyncio.wait(reading)

    def reading(self, paths: Iterable[str]) -> "list[asyncio.Task[None]]":
        """
        Return the tasks that read these files now; empty once all were read in this sweep, or hang.
        """
        return [task for path in paths if (task := self._look(path)) is not None]

    def content(self, path: str) -> bytes:
        """
        Return the content of a file as last read, the same object until it changes.

        Accesses no file system. Raises ProbeError.
        """
        entry = self._entries.get(path)
        if entry is None or entry.content is None:
            raise ProbeError(Reason.TIMEOUT, f"{printable(path)} is not read yet")
        if isinstance(entry.content, ProbeError):
            # A new exception: the same failure is kept and raised many times.
            raise ProbeError(entry.content.reason, entry.content.detail)
        return entry.content

    def _look(self, path: str) -> "asyncio.Task[None] | None":
        """
        Return the task that reads a file now; None when it was read in this sweep.
        """
        entry = self._entries.get(path)
        if entry is None:
            entry = self._entries[path] = _Entry()
        if entry.task is None and entry.round != self._round:
            entry.round = self._round
            entry.task = self._loop.create_task(self._read(path, entry))
        return entry.task

    async def _read(self, path: str, entry: _Entry) -> None:
        progress = Progress()

        def work() -> tuple[Stamp | None, bytes | ProbeError] | None:
            # Checked in its turn: a file begun with it may hang by now.
            if not self._threads.may_ask(path):
                return None
            progress.ask(path)
            found = _found(path, entry)
            progress.answered()
            return found

        try:
            job = self._threads.begin(work)
            found = job.future.result() if await self._threads.ends(job, progress) else None
        finally:
            entry.task = None
        if found is not None:
            entry.stamp, entry.content = found
            entry.hangs = False
            return
        behind = self._threads.behind([path]).get(path)
        if behind is None or entry.hangs:
            return
        entry.hangs = True
        if isinstance(entry.content, bytes):
            words = "a file system does not answer: what was read before is used"
            logger.warning(words, extra=fields(path=path))
        else:
            entry.content = behind.failure(path, time.monotonic())


def _found(path: str, before: _Entry) -> tuple[Stamp | None, bytes | ProbeError]:
    """
    Return the stamp and the content of a file, the old content unless it changed. Blocks.
    """
    try:
        if isinstance(before.content, bytes) and stamp_of(path) == before.stamp:
            return before.stamp, before.content
        data, status = read(path, LIMIT)
    except ProbeError as error:
        return None, error
    if isinstance(before.content, bytes) and data == before.content:
        data = before.content
    return stamp_from(status) if status is not None else None, data
