"""
Files on this host: found by pattern, read within limits, and parsed again only when they changed.

A file system may hang (a network mount), so all of it is done in threads of its own (`file_threads`). A pipe
or a device is never opened.
"""

import asyncio
import errno
import hashlib
import logging
import os
import re
import stat
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from fnmatch import translate
from pathlib import Path

from exporter import left_out
from exporter.caches import remembered
from exporter.file_threads import PATIENCE, Job, Progress, Threads
from exporter.foreign_text import printable
from exporter.formats import distinct, failure, kubeconfig, parse, recognised, without_mark
from exporter.formats.parsed import Findings, Given, Parsed, Problem
from exporter.network import ProbeError
from exporter.observation import Facts, Reason

logger = logging.getLogger(__name__)

SIZE_LIMIT = 16 * 1024 * 1024
"""Bytes that a file may have. The largest revocation lists have some megabytes."""

MATCH_LIMIT = 20_000
"""Files of one pattern that are looked at."""

TOTAL_LIMIT = 50_000
"""Files of all patterns together."""

ASKED = 3600.0
"""Seconds since its last search for which a pattern's files count for that."""

VISIT_LIMIT = 500_000
"""Directory entries that are read for one pattern."""

DEPTH_LIMIT = 32
"""Directories that `**` goes down."""

PASSWORD_SUFFIX = ".password"  # noqa: S105 - the end of a name, not a password
"""A keystore's password may be in a file of its name and this."""

PASSWORD_LIMIT = 1024
"""Bytes of a password's file."""

LABEL_LIMIT = 512
"""Characters of a path as a label."""

SEARCH_PATIENCE = 3.0
"""Seconds that a file system may take to list one directory before others are searched without it."""

HUNG_TOGETHER = 4
"""Paths of one mount that may hang before the others on it are not even asked for."""

HUNG_LIMIT = 64
"""Paths that may hang, each with a thread, before nothing is read any more."""

CHUNK = 500
"""Outcomes that are told in one go, before others get their turn."""

MOUNTS = "/proc/self/mountinfo"

TRIES = 3
"""How often a file is read that changes meanwhile."""

SETTLED = 2.0
"""Seconds after its last change from which on a file's times tell whether it changed again.

File systems count time in steps; two changes in one of them look like one.
"""

FORGET_AFTER = 86400.0
"""Seconds after which a file is forgotten that nobody asked for."""

DIRECTORY_SUFFIX = "/."
"""Ends the path of a directory that could not be read when a pattern was searched."""

_MAGIC = re.compile(r"[*?\[]")
_OCTAL = re.compile(rb"\\([0-7]{3})")
_HASHED = re.compile(r"[0-9a-f]{8}\.r?\d+")
"""What OpenSSL looks up a CA certificate or list by (openssl-rehash(1))."""

_STAMP = struct.Struct("=QQqqq")

Stamp = bytes
"""Device, inode, size, and when content and inode changed last; packed, since there are many."""


class LeftOutError(Exception):
    """
    A file that matched a pattern and is no endpoint, with the reason in words.
    """


Outcome = Facts | ProbeError | LeftOutError
"""What a look at a file gave."""


class Tolerance(Enum):
    """
    What somebody who names files bears among them.
    """

    NONE = auto()
    """A file that is named is to hold something that expires."""
    KEYS = auto()
    """The pattern names its files (`live/*/cert`): keys may be among them."""
    ALL = auto()
    """The pattern means what there is: what is no certificate at all is left out, and trust stores are."""


def tolerance_of(path: str) -> Tolerance:
    """
    What a path or pattern bears.
    """
    if not is_pattern(path):
        return Tolerance.NONE
    return Tolerance.ALL if is_pattern(path.rstrip("/").rpartition("/")[2]) else Tolerance.KEYS


@dataclass(frozen=True, slots=True)
class Found:
    """
    What a pattern matches.
    """

    paths: tuple[str, ...]
    unreadable: tuple[tuple[str, str], ...] = ()
    """Directories that could not be read, each with the reason."""
    beyond: int = 0
    """Files above the limit of one pattern, or of all together."""


@dataclass(slots=True)
class _Entry:
    """
    What is remembered of a file.
    """

    stamps: tuple[tuple[str, Stamp | None], ...]
    """Of the file, and of all others that were read with it; None for one that was not there.

    Empty when they would not tell that it changed again.
    """
    outcome: Outcome
    had_items: bool
    """True when there was ever something in it that expires."""
    left_out: str = ""
    """Why a pattern leaves it out; empty when it does not."""
    used: float = 0.0


@dataclass(frozen=True, slots=True)
class _Hung:
    """
    A path that a file system was asked for, and did not answer for yet.
    """

    path: str
    since: float
    """By the monotonic clock."""
    job: Job
    group: str
    """What probably hangs with it."""


Tell = Callable[[int, Outcome, float], None]
"""Takes the position of a path, what a look at it gave, and its seconds."""

_parsing = threading.Semaphore(2)
"""Computing is no faster in more threads, and they would take turns from all others."""


class Files:
    """
    All files of the process.
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
        self._entries: dict[tuple[str, str | None], _Entry] = {}
        self._matched: dict[str, tuple[str, ...]] = {}
        self._searched: dict[str, float] = {}
        self._cleaned = monotonic()
        self._threads = Threads(loop)
        self._hung: dict[str, _Hung] = {}
        self._searches: dict[str, asyncio.Task[Found]] = {}
        self._slow: set[str] = set()
        """Files that took long when they were last read. They come last, whenever they change."""

    def close(self) -> None:
        """
        Nobody waits any more. Files are never left open, and threads end with the process.
        """
        for task in self._searches.values():
            task.cancel()

    async def search(self, pattern: str) -> Found:
        """
        The files that match a pattern now.
        """
        task = self._searches.get(pattern)
        if task is None:
            # One for all who ask: it goes on when a scrape's time is over.
            task = self._searches[pattern] = self._loop.create_task(self._search(pattern))
            task.add_done_callback(lambda _: self._searches.pop(pattern, None))
        found = await asyncio.shield(task)
        if found.unreadable:
            # What was found in a directory that can't be read now is not gone: looking at it fails.
            hidden = tuple(f"{where}/" for where, _ in found.unreadable)
            kept = [path for path in self._matched.get(pattern, ()) if path.startswith(hidden)]
            found = replace(found, paths=tuple(dict.fromkeys((*found.paths, *kept))))
        # The same texts as the last time: they are many, and others hold them already.
        known = {path: path for path in self._matched.get(pattern, ())}
        paths = tuple(known.get(path, path) for path in found.paths[: self._room(pattern)])
        self._matched[pattern] = paths
        return replace(found, paths=paths, beyond=found.beyond + len(found.paths) - len(paths))

    def _room(self, pattern: str) -> int:
        """
        Files that this pattern may have beside those of all others.
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
        What the pattern matches. Directories that hang are told, and not gone into.
        """
        while True:
            progress = Progress()
            job = self._threads.begin(lambda: search(pattern, progress, self._may_ask))  # noqa: B023 - of this turn
            if await self._ends(job, progress, lambda: None):
                found: Found = job.future.result()
                return found

    async def _ends(self, job: Job, progress: Progress, meanwhile: Callable[[], None]) -> bool:
        """
        True when the job has ended; False when a path hangs, which is noted, and its thread left behind.
        """
        while True:
            done, _ = await asyncio.wait([job.future], timeout=PATIENCE / 2)
            meanwhile()
            if done:
                return True
            if progress.hangs and self._threads.leave(job):
                progress.unwanted = True
                self._note_hung(job, progress)
                return False

    def _note_hung(self, job: Job, progress: Progress) -> None:
        path = progress.path
        self._hung[path] = _Hung(path, progress.since, job, _group(path, _mounts()))
        job.future.add_done_callback(lambda _: self._hung.pop(path, None))

    async def look(
        self, paths: Sequence[str], password: str | None, timeout: float, tell: Tell, *, tolerance: Tolerance
    ) -> None:
        """
        Tell what is in each of these files. One that hangs hinders no other, and fails after so many seconds.
        """
        self._clean(self._monotonic())
        left = list(range(len(paths)))
        if self._slow:
            left.sort(key=lambda position: paths[position] in self._slow)
        while left:
            behind = self._behind([paths[position] for position in left]) if self._hung else {}
            free = [position for position in left if paths[position] not in behind]
            if free:
                done = await self._run(paths, free, password, tell, tolerance)
                left = [position for position in left if position not in done]
                continue
            now = time.monotonic()
            waits = [one.since + timeout - now for one in behind.values()]
            if max(waits) <= 0:
                for position in left:
                    tell(position, _timeout(paths[position], behind[paths[position]], now), 0.0)
                return
            jobs = {one.job.future for one in behind.values()}
            await asyncio.wait(jobs, timeout=max(waits), return_when=asyncio.FIRST_COMPLETED)

    def _behind(self, paths: Sequence[str]) -> dict[str, _Hung]:
        """
        Those of the paths that are not to be asked for now, each with what hangs before it.
        """
        hanging = tuple(self._hung.values())
        groups = Counter(one.group for one in hanging)
        full = {one.group: one for one in hanging if groups[one.group] >= HUNG_TOGETHER}
        mounts = _mounts() if full else ()
        found: dict[str, _Hung] = {}
        for path in paths:
            hung = next((one for one in hanging if f"{path}/".startswith(f"{one.path}/")), None)
            if hung is None and full:
                hung = full.get(_group(path, mounts))
            if hung is None and len(hanging) >= HUNG_LIMIT:
                hung = hanging[0]
            if hung is not None:
                found[path] = hung
        return found

    def _may_ask(self, path: str) -> bool:
        """
        False for what hangs, or probably would.
        """
        return not self._hung or not self._behind([path])

    async def _run(
        self,
        paths: Sequence[str],
        positions: list[int],
        password: str | None,
        tell: Tell,
        tolerance: Tolerance,
    ) -> set[int]:
        """
        Look at these until one hangs, or there is no other left. Those that were told of.
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
            ended = await self._ends(job, progress, tell_some)
            while len(told) < len(made):
                await asyncio.sleep(0)
                tell_some()
            if ended:
                job.future.result()
        finally:
            progress.unwanted = True
            # Nobody waited long enough to know whether it hangs: it is not asked for again until it answers.
            if progress.asking and not job.future.done() and self._threads.leave(job):
                self._note_hung(job, progress)
        return told

    async def parse(self, data: bytes, given: Given) -> Parsed:
        """
        What is in bytes that came from elsewhere. Done in a thread, since a keystore may take its time.
        """

        def work() -> Parsed:
            with _parsing:
                return parse(data, given)

        parsed: Parsed = await self._threads.begin(work).future
        return parsed

    def _look_all(
        self,
        paths: Mapping[int, str],
        password: str | None,
        tolerance: Tolerance,
        progress: Progress,
        made: list[tuple[int, Outcome, float]],
    ) -> None:
        """
        Look at one after the other, in a thread, as long as somebody waits for it.
        """
        now = self._clock()
        begin = time.perf_counter()
        for position, path in paths.items():
            progress.ask(path)
            outcome, why = self._look(path, password, now, progress)
            outcome = _tolerated(path, outcome, why, tolerance)
            progress.answered()
            end = time.perf_counter()
            if end - begin > PATIENCE:
                self._slow.add(path)
            elif self._slow:
                self._slow.discard(path)
            made.append((position, outcome, end - begin))
            begin = end
            if progress.unwanted:
                return

    def _look(self, path: str, password: str | None, now: float, progress: Progress) -> tuple[Outcome, str]:
        """
        What is in a file, and why a pattern leaves it out; empty when it does not.
        """
        entry = self._entries.get((path, password))
        if entry is not None and entry.stamps:
            entry.used = self._monotonic()
            if all(_stamp_of(where) == stamp for where, stamp in entry.stamps):
                return entry.outcome, entry.left_out
        had_items = entry is not None and entry.had_items
        try:
            looked = _Looking(path, password, now, progress)
            parsed = looked.parsed()
        except ProbeError as error:
            return error, "" if had_items else left_out.why(path, Parsed(), error)
        except Exception as error:
            # A fault of ours in one file must not take the others with it, and must not be quiet either.
            logger.exception("internal error while reading a file")
            words = f"{type(error).__name__}: please report it with the traceback in the exporter's log"
            return ProbeError(Reason.INTERNAL_ERROR, words), ""
        outcome = outcome_of(printable(path), parsed, had_items=had_items)
        problem = outcome if isinstance(outcome, ProbeError) else None
        progress.ask(path)
        why = "" if problem is not None and had_items else left_out.why(path, parsed, problem)
        # Without stamps it is read again the next time, and only what it once held is remembered.
        stamps = tuple(looked.stamps.items()) if looked.settled else ()
        had_items = had_items or bool(parsed.items)
        self._entries[path, password] = _Entry(stamps, outcome, had_items, why, self._monotonic())
        return outcome, why

    def _clean(self, now: float) -> None:
        """
        Forget what nobody asks for any more.
        """
        if now - self._cleaned < FORGET_AFTER / 8:
            return
        self._cleaned = now
        for key in [key for key, one in list(self._entries.items()) if one.used < now - FORGET_AFTER]:
            self._entries.pop(key, None)


def outcome_of(where: str, parsed: Parsed, *, had_items: bool = False) -> Outcome:
    """
    What was found as an outcome. What holds nothing that expires is left out, unless it once held something.
    """
    if parsed.references:
        parsed = replace(parsed, references=(), lasting=(*parsed.lasting, "paths of files on another host"))
    problem = failure(parsed)
    if problem is None:
        return parsed.facts
    words = f"{where}: {problem.detail}"
    if problem.reason is Reason.NOTHING_EXPIRES and not had_items:
        return LeftOutError(words)
    return ProbeError(problem.reason, words, parsed.facts if parsed.items or parsed.faults else None)


def _tolerated(path: str, outcome: Outcome, why: str, tolerance: Tolerance) -> Outcome:
    """
    The outcome as it is told, by whether somebody named the file.
    """
    if tolerance is Tolerance.ALL and why and not isinstance(outcome, LeftOutError):
        return LeftOutError(f"{printable(path)}: {why}")
    if tolerance is Tolerance.NONE and isinstance(outcome, LeftOutError):
        return ProbeError(Reason.NOTHING_EXPIRES, str(outcome))
    return outcome


def _timeout(path: str, hung: _Hung, now: float) -> ProbeError:
    """
    The failure of a file that is not waited for any longer.
    """
    words = f"the file system did not answer for {printable(hung.path)} in {now - hung.since:,.0f} s"
    if path != hung.path:
        words += f", and {printable(path)} stands behind it"
    return ProbeError(Reason.TIMEOUT, f"{words}: see whether a network mount hangs (stat, findmnt)")


def _mounts() -> tuple[str, ...]:
    """
    Where file systems are mounted, the deepest first, without the root; nothing where that is not known.
    """
    try:
        # Told by the kernel: no file system is asked.
        lines = Path(MOUNTS).read_bytes().splitlines()
    except OSError:
        return ()
    points = {
        os.fsdecode(_OCTAL.sub(lambda found: bytes([int(found[1], 8)]), line.split()[4])) for line in lines
    }
    return tuple(sorted(points - {"/"}, key=len, reverse=True))


def _group(path: str, mounts: Sequence[str]) -> str:
    """
    The mount that a path, or what it links to, is on; where that is the root, its directory.
    """
    mount = next((one for one in mounts if path.startswith(f"{one}/")), None)
    if mount is None:
        try:
            # As text: nothing further is asked.
            target = os.path.normpath(Path(path).parent / Path(path).readlink())
        except OSError:
            target = path
        mount = next((one for one in mounts if f"{target}/".startswith(f"{one}/")), None)
    return mount or path.rpartition("/")[0]


@dataclass(slots=True)
class _Looking:
    """
    One look at one file and all that belongs to it.
    """

    path: str
    password: str | None = field(repr=False)
    now: float
    progress: Progress = field(repr=False)
    stamps: dict[str, Stamp | None] = field(default_factory=dict)
    settled: bool = True
    """False when a stamp does not tell yet whether a file changes again."""

    def parsed(self) -> Parsed:
        """
        What is in the file, and in those that it names. Raises ProbeError.
        """
        if self.path.endswith(DIRECTORY_SUFFIX):
            raise _directory_failure(self.path)
        data, modified = self._read(self.path)
        password = self.password
        with _parsing:
            found = recognised(data)
        if found.is_keystore:
            beside = self._sibling()
            password = password if beside is None else beside
        given = Given(password, modified)
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

    def _named(self, path: str, given: Given, limit: int) -> tuple[Parsed, int]:
        """
        What is in a file that another one names, and the bytes that were read for it.
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
        self.stamps[path] = _stamp(status)
        return data, status.st_mtime

    def _sibling(self) -> str | None:
        """
        The password in the file beside the keystore; None when there is no such file. Raises ProbeError.
        """
        path = self.path + PASSWORD_SUFFIX
        self.stamps[path] = None
        self.progress.ask(self.path)
        if not os.path.lexists(path):
            return None
        try:
            data, _ = read(path, PASSWORD_LIMIT)
            self.stamps[path] = _stamp_of(path)
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


def is_pattern(path: str) -> bool:
    """
    True when the path has characters that stand for others.
    """
    return _MAGIC.search(path) is not None


def label(path: str) -> str:
    """
    A path as the label of an endpoint: bounded, and still its own.
    """
    text = printable(path)
    if len(text) <= LABEL_LIMIT:
        return text
    digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
    half = (LABEL_LIMIT - len(digest)) // 2 - 1
    return f"{text[:half]}…{digest}…{text[-half:]}"


def read(path: str, limit: int) -> tuple[bytes, os.stat_result | None]:
    """
    The content of a regular file and its status; None when it changed all the while. Raises ProbeError.
    """
    try:
        data = b""
        for _ in range(TRIES):
            # Asked before it is opened: to open a device may be to do something with it.
            _refuse_unless_file(path, os.stat(path), limit)  # noqa: PTH116 - a Path for each costs more
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
            try:
                before = os.fstat(descriptor)
                _refuse_unless_file(path, before, limit)
                data = _content(descriptor, path, limit, before.st_size)
                after = os.fstat(descriptor)
            finally:
                os.close(descriptor)
            if _stamp(before) == _stamp(after):
                return data, before
    except OSError as error:
        raise _unreadable(path, error) from None
    return data, None


def _content(descriptor: int, path: str, limit: int, stated: int) -> bytes:
    """
    All there is to read. The size that a file states may be none (as in /proc), or grow meanwhile.
    """
    parts: list[bytes] = []
    size = 0
    while part := os.read(descriptor, 1 << 20):
        parts.append(part)
        size += len(part)
        if size == stated:
            break  # that it did not grow is seen by its status afterwards
        if size > limit:
            raise _too_large(path, limit)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _refuse_unless_file(path: str, status: os.stat_result, limit: int) -> None:
    mode = status.st_mode
    if stat.S_ISDIR(mode):
        where = printable(path).rstrip("/")
        raise ProbeError(
            Reason.NOT_A_FILE,
            f"{where or '/'} is a directory: {where}/* means all files in it, {where}/** all files below it",
        )
    if not stat.S_ISREG(mode):
        kinds = ((stat.S_ISFIFO, "pipe"), (stat.S_ISSOCK, "socket"))
        kind = next((name for fits, name in kinds if fits(mode)), "device")
        raise ProbeError(Reason.NOT_A_FILE, f"{printable(path)} is a {kind}: it was not opened")
    if status.st_size > limit:
        raise _too_large(path, limit, status.st_size)


def _too_large(path: str, limit: int, size: int | None = None) -> ProbeError:
    has = f"{size:,}" if size is not None else f"more than {limit:,}"
    return ProbeError(Reason.FILE_TOO_LARGE, f"{printable(path)} has {has} bytes; at most {limit:,} are read")


def _unreadable(path: str, error: OSError) -> ProbeError:
    where = printable(path)
    if error.errno in {errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG}:
        try:
            to = printable(str(Path(path).readlink()))
        except OSError:
            # It is no link, or one whose target may not be known (/proc/PID/exe of another's process).
            return ProbeError(Reason.FILE_NOT_FOUND, f"there is no file {where}")
        return ProbeError(Reason.FILE_NOT_FOUND, f"{where} is a link to {to}, which is not there")
    if error.errno in {errno.EMFILE, errno.ENFILE}:
        return ProbeError(
            Reason.INTERNAL_ERROR, "this process may open no more files: raise its limit (ulimit -n)"
        )
    if error.errno in {errno.ENXIO, errno.EISDIR}:
        return ProbeError(Reason.NOT_A_FILE, f"{where} is no file: {error.strerror}")
    return ProbeError(Reason.FILE_UNREADABLE, f"{where} can't be read: {error.strerror}")


def _directory_failure(path: str) -> ProbeError:
    """
    Why a directory could not be searched.
    """
    where = path.removesuffix(DIRECTORY_SUFFIX)
    try:
        os.scandir(path).close()
    except OSError as error:
        return _unreadable(where, error)
    return ProbeError(Reason.FILE_UNREADABLE, f"{printable(where)} could not be read a moment ago")


def _stamp(status: os.stat_result) -> Stamp:
    return _STAMP.pack(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _stamp_of(path: str) -> Stamp | None:
    """
    The stamp of a file; None when there is none that can be asked.
    """
    try:
        return _stamp(os.stat(path))  # noqa: PTH116 - this is all that an unchanged file costs
    except OSError:
        return None


def search(pattern: str, progress: Progress, may_ask: Callable[[str], bool] = lambda _: True) -> Found:
    """
    The files that match a whole path with `*`, `?`, `[...]` and `**`, in order. Blocks.

    As in a shell: names that begin with a dot are matched only by what begins with one, and `**` does not
    follow links to directories. Directories are no matches. What may not be asked for is taken for a file.
    """
    segments = [one for one in pattern.split("/") if one]
    if segments[-1] == "**":
        segments.append("*")
    walk = _Walk(progress, may_ask)
    paths: dict[str, None] = {}
    beyond = 0
    for path in walk.matches("", segments, 0):
        # In order, a keystore comes before the file of its password.
        if path.endswith(PASSWORD_SUFFIX) and path.removesuffix(PASSWORD_SUFFIX) in paths:
            continue
        if len(paths) < MATCH_LIMIT:
            paths[path] = None
        elif path not in paths:
            beyond += 1
    twice = {path for path in paths if _is_hash_of(path, paths)}
    found = tuple(path for path in paths if path not in twice) if twice else tuple(paths)
    return Found(found, tuple(walk.unreadable.items()), beyond)


def _is_hash_of(path: str, paths: Mapping[str, None]) -> bool:
    """
    True for a link by which OpenSSL finds a file of the same directory that is there under its own name.
    """
    directory, _, name = path.rpartition("/")
    if _HASHED.fullmatch(name) is None:
        return False
    try:
        return f"{directory}/{os.readlink(path)}" in paths  # noqa: PTH115 - a Path for each costs more
    except OSError:
        return False


@remembered("patterns")
def _matcher(segment: str) -> "re.Pattern[str]":
    return re.compile(translate(segment))


@dataclass(slots=True)
class _Walk:
    """
    One walk through directories.
    """

    progress: Progress
    may_ask: Callable[[str], bool]
    unreadable: dict[str, str] = field(default_factory=dict)
    left: int = VISIT_LIMIT

    def matches(self, base: str, segments: Sequence[str], depth: int) -> Iterator[str]:
        """
        What matches the rest of a pattern below a directory.
        """
        first, *rest = segments
        if first == "**":
            yield from self.matches(base, rest, depth)
            if depth < DEPTH_LIMIT:
                for entry in self._entries(base):
                    if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False):
                        yield from self.matches(f"{base}/{entry.name}", segments, depth + 1)
            return
        if not is_pattern(first):
            path = f"{base}/{first}"
            if rest:
                yield from self.matches(path, rest, depth)
            elif self._is_file(path):
                yield path
            return
        fits = _matcher(first).match
        hidden = first.startswith(".")
        for entry in self._entries(base):
            name = entry.name
            if fits(name) is None or (not hidden and name.startswith(".")):
                continue
            path = f"{base}/{name}"
            if rest:
                if self._is_directory(path, entry):
                    yield from self.matches(path, rest, depth)
            elif not self._is_directory(path, entry):
                yield path

    def _entries(self, base: str) -> list["os.DirEntry[str]"]:
        """
        What is in a directory, in order; nothing when there is none.
        """
        if self.left <= 0:
            return []
        if not self._may_ask(base or "/", SEARCH_PATIENCE):
            self.unreadable[base or "/"] = "its file system does not answer (a network mount that hangs?)"
            return []
        try:
            with os.scandir(base or "/") as found:
                entries = sorted(found, key=lambda entry: entry.name)
            self.progress.answered()
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            self.unreadable[base or "/"] = error.strerror or str(error)
            return []
        self.left -= len(entries)
        if self.left <= 0:
            self.unreadable[base or "/"] = f"more than {VISIT_LIMIT:,} names would have to be read"
        return entries

    def _may_ask(self, path: str, patience: float = PATIENCE) -> bool:
        """
        Note that a file system is asked for this; False for what must not be asked for.
        """
        if not self.may_ask(path):
            return False
        self.progress.ask(path, patience)
        return True

    def _is_file(self, path: str) -> bool:
        """
        True when there is something that is no directory; also for what must not be asked for.
        """
        try:
            return not self._may_ask(path) or (os.path.lexists(path) and not Path(path).is_dir())
        finally:
            self.progress.answered()

    def _is_directory(self, path: str, entry: "os.DirEntry[str]") -> bool:
        try:
            # What is no link is known already. A link that hangs is taken for one to a file.
            return (not entry.is_symlink() or self._may_ask(path)) and entry.is_dir()
        except OSError:
            return False
        finally:
            self.progress.answered()
