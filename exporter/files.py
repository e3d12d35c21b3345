"""
Files on this host: found by pattern, read within limits, and parsed again only when they changed.

A file system may hang (a network mount), so all of it is done in threads of its own, which do not keep the
process from ending. A pipe or a device is never opened.
"""

import asyncio
import errno
import hashlib
import logging
import os
import queue
import re
import stat
import struct
import threading
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import translate
from pathlib import Path
from typing import Any, TypeVar

from exporter.caches import remembered
from exporter.foreign_text import printable
from exporter.formats import failure, kubeconfig, parse, recognised, without_mark
from exporter.formats.parsed import Findings, Given, Parsed, Problem
from exporter.network import ProbeError
from exporter.observation import Facts, Reason

logger = logging.getLogger(__name__)

T = TypeVar("T")

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

THREADS = 8
"""Threads that read. Each hangs with the file system it reads from."""

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

_STAMP = struct.Struct("=QQqqq")

Stamp = bytes
"""Device, inode, size, and when content and inode changed last; packed, since there are many."""


class LeftOutError(Exception):
    """
    A file that matched a pattern and is no endpoint, with the reason in words.
    """


Outcome = Facts | ProbeError | LeftOutError
"""What a look at a file gave."""


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


_Job = tuple[Callable[[], Any], "asyncio.Future[Any]"]
"""Work for a thread, and where what it gives goes."""


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
    used: float = 0.0


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
        self._jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self._under_way: dict[Hashable, asyncio.Future[Any]] = {}
        self._threads = 0
        self._idle = 0
        self._done: list[tuple[asyncio.Future[Any], Any]] = []
        self._lock = threading.Lock()

    def close(self) -> None:
        """
        Nothing to let go of: files are never left open, and threads end with the process.
        """

    async def search(self, pattern: str) -> Found:
        """
        The files that match a pattern now.
        """
        found = await self._call(("search", pattern), lambda: search(pattern))
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

    async def look(
        self, paths: Sequence[str], password: str | None, timeout: float, *, by_pattern: bool
    ) -> list[tuple[Outcome, float]]:
        """
        What is in each of these files, with the seconds that it took. Raises TimeoutError.
        """
        key = ("look", tuple(paths), password)
        return await self._call(key, lambda: self._look_all(paths, password, by_pattern=by_pattern), timeout)

    async def parse(self, data: bytes, given: Given) -> Parsed:
        """
        What is in bytes that came from elsewhere. Done in a thread, since a keystore may take its time.
        """
        return await self._call(object(), lambda: parse(data, given))

    async def _call(self, key: Hashable, work: Callable[[], T], timeout: float | None = None) -> T:
        """
        What the work gives, done in a thread. The same work is not begun again while it goes on.
        """
        future = self._under_way.get(key)
        if future is None:
            future = self._under_way[key] = self._loop.create_future()
            future.add_done_callback(lambda _: self._under_way.pop(key, None))
            if self._idle == 0 and self._threads < THREADS:
                self._threads += 1
                threading.Thread(target=self._work, name=f"files-{self._threads}", daemon=True).start()
            else:
                self._idle = max(0, self._idle - 1)
            self._jobs.put((work, future))
        done, _ = await asyncio.wait([future], timeout=timeout)
        if not done:
            raise TimeoutError
        result: T = future.result()
        return result

    def _work(self) -> None:
        while True:
            work, future = self._jobs.get()
            try:
                made = work()
            except Exception as error:  # noqa: BLE001 - raised where it is waited for
                made = error
            with self._lock:
                first = not self._done
                self._done.append((future, made))
            if not first:
                continue  # the loop is told already
            try:
                self._loop.call_soon_threadsafe(self._deliver)
            except RuntimeError:
                return  # the loop is closed: nobody waits any more

    def _deliver(self) -> None:
        with self._lock:
            done, self._done = self._done, []
        for future, made in done:
            self._idle += 1
            if isinstance(made, Exception):
                future.set_exception(made)
                future.exception()  # those who asked may have stopped waiting
            else:
                future.set_result(made)

    def _look_all(
        self, paths: Sequence[str], password: str | None, *, by_pattern: bool
    ) -> list[tuple[Outcome, float]]:
        now = self._clock()
        self._clean(self._monotonic())
        found: list[tuple[Outcome, float]] = []
        begin = time.perf_counter()
        for path in paths:
            outcome = self._look(path, password, now)
            if isinstance(outcome, LeftOutError) and not by_pattern:
                outcome = ProbeError(Reason.NOTHING_EXPIRES, str(outcome))
            end = time.perf_counter()
            found.append((outcome, end - begin))
            begin = end
        return found

    def _look(self, path: str, password: str | None, now: float) -> Outcome:
        entry = self._entries.get((path, password))
        if entry is not None and entry.stamps:
            entry.used = self._monotonic()
            if all(_stamp_of(where) == stamp for where, stamp in entry.stamps):
                return entry.outcome
        try:
            looked = _Looking(path, password, now)
            parsed = looked.parsed()
        except ProbeError as error:
            return error
        except Exception as error:
            # A fault of ours in one file must not take the others with it, and must not be quiet either.
            logger.exception("internal error while reading a file")
            words = f"{type(error).__name__}: please report it with the traceback in the exporter's log"
            return ProbeError(Reason.INTERNAL_ERROR, words)
        had_items = bool(parsed.items) or (entry is not None and entry.had_items)
        outcome = outcome_of(printable(path), parsed, had_items=had_items)
        # Without stamps it is read again the next time, and only what it once held is remembered.
        stamps = tuple(looked.stamps.items()) if looked.settled else ()
        self._entries[path, password] = _Entry(stamps, outcome, had_items, self._monotonic())
        return outcome

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


@dataclass(slots=True)
class _Looking:
    """
    One look at one file and all that belongs to it.
    """

    path: str
    password: str | None = field(repr=False)
    now: float
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
        found = recognised(data)
        if found.is_keystore:
            beside = self._sibling()
            password = password if beside is None else beside
        parsed = found.read(Given(password, modified))
        if not parsed.references:
            return parsed
        findings = Findings()
        findings.add(replace(parsed, references=()))
        for reference in parsed.references:
            where = str(Path(self.path).parent / reference.path)
            try:
                inner, modified = self._read(where)
            except ProbeError as error:
                findings.problems.append(Problem(error.reason, f"{reference.prefix}: {error.detail}"))
                self.stamps.setdefault(where, None)
            except ValueError:
                findings.broken(f"{reference.prefix}: the path that it names can be none")
            else:
                findings.add(kubeconfig.prefixed(parse(inner, Given(None, modified)), reference.prefix))
        return findings.parsed()

    def _read(self, path: str) -> tuple[bytes, float]:
        data, status = read(path, SIZE_LIMIT)
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
        if not os.path.lexists(path):
            return None
        try:
            data, _ = read(path, PASSWORD_LIMIT)
            self.stamps[path] = _stamp_of(path)
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


def search(pattern: str) -> Found:
    """
    The files that match a whole path with `*`, `?`, `[...]` and `**`, in order. Blocks.

    As in a shell: names that begin with a dot are matched only by what begins with one, and `**` does not
    follow links to directories. Directories are no matches.
    """
    segments = [one for one in pattern.split("/") if one]
    if segments[-1] == "**":
        segments.append("*")
    walk = _Walk()
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
    return Found(tuple(paths), tuple(walk.unreadable.items()), beyond)


@remembered("patterns")
def _matcher(segment: str) -> "re.Pattern[str]":
    return re.compile(translate(segment))


@dataclass(slots=True)
class _Walk:
    """
    One walk through directories.
    """

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
            elif os.path.lexists(path) and not Path(path).is_dir():
                yield path
            return
        fits = _matcher(first).match
        hidden = first.startswith(".")
        for entry in self._entries(base):
            name = entry.name
            if fits(name) is None or (not hidden and name.startswith(".")):
                continue
            if rest:
                if _is_directory(entry):
                    yield from self.matches(f"{base}/{name}", rest, depth)
            elif not _is_directory(entry):
                yield f"{base}/{name}"

    def _entries(self, base: str) -> list["os.DirEntry[str]"]:
        """
        What is in a directory, in order; nothing when there is none.
        """
        if self.left <= 0:
            return []
        try:
            with os.scandir(base or "/") as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            self.unreadable[base or "/"] = error.strerror or str(error)
            return []
        self.left -= len(entries)
        if self.left <= 0:
            self.unreadable[base or "/"] = f"more than {VISIT_LIMIT:,} names would have to be read"
        return entries


def _is_directory(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False
