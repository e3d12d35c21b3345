"""
Files on this host: found by pattern, read within limits, and parsed again only when they changed.

A file system may hang (a network mount), so all access is done in threads (`net.file_threads`). A pipe or a
device is never opened.
"""

import asyncio
import logging
import os
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from pathlib import Path

from exporter.formats import distinct, kubeconfig, parse, recognised, without_mark
from exporter.formats.outcome import outcome_of
from exporter.formats.parsed import Findings, ParseContext, Parsed, Problem
from exporter.model.errors import LeftOutError, Outcome, ProbeError
from exporter.model.foreign_text import printable
from exporter.model.reasons import Reason
from exporter.net.file_threads import PATIENCE, FileThreads, Hung, Progress
from exporter.net.regular_files import Stamp, read, stamp_from, stamp_of
from exporter.probes.files import left_out
from exporter.probes.files.glob import PASSWORD_SUFFIX, Found, is_pattern, search
from exporter.probes.files.singles import Singles, Timed

logger = logging.getLogger(__name__)


SIZE_LIMIT = 16 * 1024 * 1024
"""Bytes that a file may have. The largest revocation lists have some megabytes."""


TOTAL_LIMIT = 50_000
"""Files of all patterns together."""


ASKED = 3600.0
"""Seconds after its last search for which the files of a pattern count towards TOTAL_LIMIT."""


PASSWORD_LIMIT = 1024
"""Bytes of a password file."""


CHUNK = 500
"""Outcomes that are reported in one go, before other work gets its turn."""


SETTLED = 2.0
"""Seconds after its last change from which on a file's times show whether it changed again.

File systems count time in steps; two changes in one step look like one.
"""


FORGET_AFTER = 86400.0
"""Seconds after its last probe until a file is forgotten."""


class Tolerance(Enum):
    """
    The files that a path or pattern may match without a failure.
    """

    NONE = auto()
    """None: a file that is named must hold an item."""
    KEYS = auto()
    """Private keys: the pattern names its files (`live/*/cert`), so keys may be among them."""
    ALL = auto()
    """All: files without certificates are left out, and so are trust stores."""


def tolerance_of(path: str) -> Tolerance:
    """
    Return the tolerance of a path or pattern.
    """
    if not is_pattern(path):
        return Tolerance.NONE
    return Tolerance.ALL if is_pattern(path.rstrip("/").rpartition("/")[2]) else Tolerance.KEYS


@dataclass(slots=True)
class _Entry:
    """
    The last outcome of a file.
    """

    stamps: tuple[tuple[str, Stamp | None], ...]
    """The stamps of the file, and of all others that were read with it; None for a file that did not exist.

    Empty when they would not show a further change.
    """
    outcome: Outcome
    had_items: bool
    """True when the file ever had an item."""
    left_out: str = ""
    """The reason why a pattern leaves it out; empty when it does not."""
    used: float = 0.0


Tell = Callable[[int, Outcome, float], None]
"""Reports an outcome: takes the position of a path, the outcome, and the seconds it took."""


_parsing = threading.Semaphore(2)
"""Limits the parsers at work: more threads would not be faster, and would delay all others."""


class Files:
    """
    The files of the process, found by pattern and cached. One object for the life of the process.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Callable[[], float],
        limit: int = TOTAL_LIMIT,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        `limit` is for the files of all patterns together.
        """
        self._limit = limit
        self._loop = loop
        self._clock = clock
        self._monotonic = monotonic
        self._entries: dict[str | None, dict[str, _Entry]] = {}
        """By password and path: hardly any file has one, and none needs a key of its own to hold it."""
        self._matched: dict[str, tuple[str, ...]] = {}
        self._searched: dict[str, float] = {}
        self._cleaned = monotonic()
        self._threads = FileThreads("files")
        self._singles = Singles(loop, self._threads)
        self._searches: dict[str, asyncio.Task[Found]] = {}
        self._slow: set[str] = set()
        """Files that were slow when last read. They are read last whenever they change."""

    def close(self) -> None:
        """
        Stop all waiting. No file stays open.
        """
        self._threads.close()
        for task in self._searches.values():
            task.cancel()

    async def search(self, pattern: str) -> Found:
        """
        Return the files that match a pattern now.
        """
        task = self._searches.get(pattern)
        if task is None:
            # One search for all callers: it goes on when a scrape's time is over.
            task = self._searches[pattern] = self._loop.create_task(self._search(pattern))
            task.add_done_callback(lambda _: self._searches.pop(pattern, None))
        found = await asyncio.shield(task)
        if found.unreadable:
            # Files of a directory that can't be read now are not gone: probing them fails.
            hidden = tuple(f"{one.path}/" for one in found.unreadable)
            kept = [path for path in self._matched.get(pattern, ()) if path.startswith(hidden)]
            found = replace(found, paths=tuple(dict.fromkeys((*found.paths, *kept))))
        # The same strings as the last time: they are many, and are referenced elsewhere already.
        known = {path: path for path in self._matched.get(pattern, ())}
        paths = tuple(known.get(path, path) for path in found.paths[: self._room(pattern)])
        self._matched[pattern] = paths
        return replace(found, paths=paths, beyond=found.beyond + len(found.paths) - len(paths))

    def _room(self, pattern: str) -> int:
        """
        Return the number of files that this pattern may have beside those of all others.
        """
        now = self._monotonic()
        self._searched[pattern] = now
        for other in [other for other, when in self._searched.items() if when < now - ASKED]:
            del self._searched[other]
            self._matched.pop(other, None)
        others = sum(len(paths) for other, paths in self._matched.items() if other != pattern)
        return max(0, self._limit - others)

    async def _search(self, pattern: str) -> Found:
        """
        Return the files that match the pattern. Directories that hang are reported, and not searched.
        """
        while True:
            progress = Progress()
            job = self._threads.begin(lambda: search(pattern, progress, self._threads.may_ask))  # noqa: B023 - of this turn
            if await self._threads.ends(job, progress):
                return job.future.result()

    async def look(
        self, paths: Sequence[str], password: str | None, timeout: float, tell: Tell, *, tolerance: Tolerance
    ) -> None:
        """
        Report the outcome of each of these files. A file that hangs delays no other, and fails after
        `timeout` seconds.
        """
        self._clean(self._monotonic())
        left = list(range(len(paths)))
        if self._slow:
            left.sort(key=lambda position: paths[position] in self._slow)
        while left:
            behind: Mapping[str, Hung] = {}
            free = left
            if self._threads.hung:
                behind = self._threads.behind([paths[position] for position in left])
                free = [position for position in left if paths[position] not in behind]
            if free and len(paths) == 1:
                if (made := await self._read_one(paths[0], password, tolerance)) is not None:
                    tell(0, *made)
                    return
                continue
            if free:
                done = await self._run(paths, free, password, tell, tolerance)
                left = [position for position in left if position not in done]
                continue
            now = time.monotonic()
            waits = [one.since + timeout - now for one in behind.values()]
            if max(waits) <= 0:
                for position in left:
                    tell(position, behind[paths[position]].failure(paths[position], now), 0.0)
                return
            jobs = {one.job.future for one in behind.values()}
            await asyncio.wait(jobs, timeout=max(waits), return_when=asyncio.FIRST_COMPLETED)

    async def _run(
        self,
        paths: Sequence[str],
        positions: list[int],
        password: str | None,
        tell: Tell,
        tolerance: Tolerance,
    ) -> set[int]:
        """
        Read these files until one hangs or all are done. Return the positions of those that were reported.
        """
        progress = Progress()
        made: list[tuple[int, Outcome, float]] = []
        told: set[int] = set()

        def tell_some() -> None:
            for position, outcome, duration in made[len(told) : len(told) + CHUNK]:
                told.add(position)
                tell(position, outcome, duration)

        some = {position: paths[position] for position in positions}
        job = self._threads.begin(lambda: self._look_all(some, password, tolerance, progress, made))
        try:
            ended = await self._threads.ends(job, progress, tell_some)
            while len(told) < len(made):
                await asyncio.sleep(0)
                tell_some()
            if ended:
                job.future.result()
        finally:
            progress.unwanted = True
            # No caller waited long enough to know whether it hangs: not accessed again until it answers.
            if progress.asking and not job.future.done():
                self._threads.leave(job, progress)
        return told

    def _read_one(self, path: str, password: str | None, tolerance: Tolerance) -> Awaitable[Timed | None]:
        """
        Read a single file, which shares a thread with those of other callers. None when it hangs.
        """

        def read(progress: Progress) -> Timed:
            return self._look_timed(path, password, tolerance, self._clock(), progress)

        return self._singles.read(path, read)

    async def parse(self, data: bytes, given: ParseContext) -> Parsed:
        """
        Return the items and problems in bytes from elsewhere. Parsed in a thread, since a keystore may take
        long.
        """

        def work() -> Parsed:
            with _parsing:
                return parse(data, given)

        return await self._threads.begin(work).future

    def _look_all(
        self,
        paths: Mapping[int, str],
        password: str | None,
        tolerance: Tolerance,
        progress: Progress,
        made: list[tuple[int, Outcome, float]],
    ) -> None:
        """
        Read one file after the other, in a thread, as long as a caller waits for it.
        """
        now = self._clock()
        for position, path in paths.items():
            made.append((position, *self._look_timed(path, password, tolerance, now, progress)))
            if progress.unwanted:
                return

    def _look_timed(
        self, path: str, password: str | None, tolerance: Tolerance, now: float, progress: Progress
    ) -> Timed:
        """
        Return the outcome of a file that is reported, and the seconds that it took.
        """
        begin = time.perf_counter()
        progress.ask(path)
        outcome, why = self._look(path, password, now, progress)
        outcome = _tolerated(path, outcome, why, tolerance)
        progress.answered()
        seconds = time.perf_counter() - begin
        if seconds > PATIENCE:
            self._slow.add(path)
        elif self._slow:
            self._slow.discard(path)
        return outcome, seconds

    def _look(self, path: str, password: str | None, now: float, progress: Progress) -> tuple[Outcome, str]:
        """
        Return the outcome of a file, and the reason why a pattern leaves it out; empty when it does not.
        """
        entries = self._entries.setdefault(password, {})
        entry = entries.get(path)
        if entry is not None and entry.stamps:
            entry.used = self._monotonic()
            if all(stamp_of(where) == stamp for where, stamp in entry.stamps):
                return entry.outcome, entry.left_out
        had_items = entry is not None and entry.had_items
        try:
            looked = _Looking(path, password, now, progress)
            parsed = looked.parsed()
        except ProbeError as error:
            return error, "" if had_items else left_out.why(path, Parsed(), error)
        except Exception as error:
            # An internal error in one file must not affect the others, and must be logged.
            logger.exception("internal error while reading a file")
            words = f"{type(error).__name__}: please report it with the traceback in the exporter's log"
            return ProbeError(Reason.INTERNAL_ERROR, words), ""
        outcome = outcome_of(printable(path), parsed, had_items=had_items)
        problem = outcome if isinstance(outcome, ProbeError) else None
        progress.ask(path)
        why = "" if problem is not None and had_items else left_out.why(path, parsed, problem)
        # Without stamps it is read again the next time, and only `had_items` is kept.
        stamps = tuple(looked.stamps.items()) if looked.settled else ()
        had_items = had_items or bool(parsed.items)
        entries[path] = _Entry(stamps, outcome, had_items, why, self._monotonic())
        return outcome, why

    def _clean(self, now: float) -> None:
        """
        Forget files that are no longer probed.
        """
        if now - self._cleaned < FORGET_AFTER / 8:
            return
        self._cleaned = now
        for entries in list(self._entries.values()):
            for path in [path for path, one in list(entries.items()) if one.used < now - FORGET_AFTER]:
                entries.pop(path, None)


def _tolerated(path: str, outcome: Outcome, why: str, tolerance: Tolerance) -> Outcome:
    """
    Return the outcome that is reported, by the tolerance of the path or pattern.
    """
    if tolerance is Tolerance.ALL and why and not isinstance(outcome, LeftOutError):
        return LeftOutError(printable(path), why)
    if tolerance is Tolerance.NONE and isinstance(outcome, LeftOutError):
        return ProbeError(Reason.NOTHING_EXPIRES, str(outcome))
    return outcome


@dataclass(slots=True)
class _Looking:
    """
    The read of one file and of all files that belong to it.
    """

    path: str
    password: str | None = field(repr=False)
    now: float
    progress: Progress = field(repr=False)
    stamps: dict[str, Stamp | None] = field(default_factory=dict)
    settled: bool = True
    """False when a stamp does not show yet whether a file changes again."""

    def parsed(self) -> Parsed:
        """
        Return the items of the file and of those that it names. Raises ProbeError.
        """
        data, modified = self._read(self.path)
        given = ParseContext(self.password, modified)
        with _parsing:
            found = recognised(data)
            parsed = found.read(given) if not found.is_keystore else None
        if parsed is None:
            beside = self._sibling()
            given = ParseContext(self.password if beside is None else beside, modified)
            with _parsing:
                parsed = found.read(given)
        if not parsed.references:
            return parsed
        findings = Findings(given.budget)
        findings.add(replace(parsed, references=()))
        known: dict[str, Parsed] = {}
        left = SIZE_LIMIT
        for reference in given.budget.each(parsed.references, 10):
            where = str(Path(self.path).parent / reference.path)
            if where not in known:
                known[where], size = self._named(where, given, left)
                left -= size
            findings.add(kubeconfig.prefixed(known[where], reference.prefix, given.budget))
        return distinct(findings.parsed(), given.budget)

    def _named(self, path: str, given: ParseContext, limit: int) -> tuple[Parsed, int]:
        """
        Return the items of a file that another one names, and the number of bytes that were read for it.
        """
        try:
            data, modified = self._read(path, limit)
        except ProbeError as error:
            self.stamps.setdefault(path, None)
            words = error.detail
            if error.reason is Reason.FILE_TOO_LARGE:
                words += f" ({SIZE_LIMIT:,} of all files that one file names)"
            return Parsed(problems=(Problem(error.reason, words),)), 0
        except ValueError:
            problem = Problem(Reason.FORMAT_BROKEN, "the path that it names can be none")
            return Parsed(problems=(problem,)), 0
        with _parsing:
            return parse(data, replace(given, password=None, modified=modified)), len(data)

    def _read(self, path: str, limit: int = SIZE_LIMIT) -> tuple[bytes, float]:
        self.progress.ask(self.path)
        data, status = read(path, limit)
        self.progress.answered()
        if status is None or self.now - max(status.st_mtime, status.st_ctime) < SETTLED:
            self.settled = False
        if status is None:
            return data, self.now
        self.stamps[path] = stamp_from(status)
        return data, status.st_mtime

    def _sibling(self) -> str | None:
        """
        Return the password in the file beside the keystore; None when there is no such file. Raises
        ProbeError.
        """
        path = self.path + PASSWORD_SUFFIX
        self.stamps[path] = None
        self.progress.ask(self.path)
        if not os.path.lexists(path):
            return None
        try:
            data, _ = read(path, PASSWORD_LIMIT)
            self.stamps[path] = stamp_of(path)
            self.progress.answered()
            return without_mark(data).decode().removesuffix("\n").removesuffix("\r")
        except ProbeError as error:
            raise ProbeError(
                Reason.KEYSTORE_LOCKED, f"the keystore's password can't be read: {error.detail}"
            ) from None
        except UnicodeDecodeError:
            raise ProbeError(
                Reason.KEYSTORE_LOCKED,
                f"the keystore's password can't be read: {printable(path)} is not UTF-8 text",
            ) from None
