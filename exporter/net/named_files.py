"""
Files that the configuration names for targets: trust anchors, client certificates and their keys.

They are read in threads, and kept. So a mount that hangs affects only the targets that name a file on it, and
only until the file was read once.
"""

import asyncio
import logging
import os
import ssl
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from exporter.logs import fields
from exporter.model.errors import ProbeError
from exporter.model.foreign_text import printable
from exporter.model.reasons import Reason
from exporter.model.targets import Target
from exporter.net.file_threads import FileThreads, Progress
from exporter.net.regular_files import Stamp, read, stamp_from, stamp_of

logger = logging.getLogger(__name__)


LIMIT = 16 * 1024 * 1024
"""Bytes that such a file may have. The trust anchors of a distribution take a quarter of a megabyte."""


SYSTEM_FILES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Alpine, Arch
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/ssl/cert.pem",  # Alpine, BSDs
)


def system_file() -> str:
    """
    Return the path of the system's trust store: `SSL_CERT_FILE`, the interpreter's, or the distribution's.

    The first that exists; when none does, a usual one, so that the message names it. Determined once.
    """
    return _system_file(os.environ.get("SSL_CERT_FILE"))


@lru_cache
def _system_file(named: str | None) -> str:
    candidates = (named, ssl.get_default_verify_paths().cafile, *SYSTEM_FILES)
    return next((name for name in candidates if name and Path(name).is_file()), SYSTEM_FILES[0])


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
        self.system = system_file()
        """Path of the system's trust store."""

    def close(self) -> None:
        """
        Cancel all tasks that wait for files.
        """
        for entry in self._entries.values():
            if entry.task is not None:
                entry.task.cancel()
        self._threads.close()

    def begin(self, ca_files: Iterable[str | None]) -> None:
        """
        Begin a sweep, in which files may have changed. Read these trust anchors now (None: the system's), and
        other files when a target needs them.
        """
        self._round += 1
        for path in ca_files:
            self._look(path or self.system)

    async def ready(self, target: Target) -> None:
        """
        Wait until the files of a target were read in this sweep, or are known to hang.
        """
        if reading := self.reading(target):
            await asyncio.wait(reading)

    def reading(self, target: Target) -> "list[asyncio.Task[None]]":
        """
        Return the tasks that read the files of a target now; empty once all were read in this sweep, or hang.

        These are the files that its probe and its judgement need.
        """
        paths = [target.ca_file or self.system]
        if target.client_certificate_file is not None:
            paths += filter(None, (target.client_certificate_file, target.client_key_file))
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
