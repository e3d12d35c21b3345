"""
Patterns of paths: which files match, within limits of time, depth and number.
"""

import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import translate
from itertools import takewhile
from pathlib import Path

from exporter.model.caches import remembered
from exporter.model.errors import ProbeError
from exporter.model.foreign_text import printable
from exporter.model.reasons import Reason
from exporter.net.file_threads import PATIENCE, Progress
from exporter.net.regular_files import unreadable

MATCH_LIMIT = 20_000
"""Files of one pattern at most."""


VISIT_LIMIT = 500_000
"""Directory entries that are read for one pattern."""


DEPTH_LIMIT = 32
"""Directories that `**` goes down."""


PASSWORD_SUFFIX = ".password"  # noqa: S105 - the end of a name, not a password
"""The suffix of a file beside a keystore that holds its password."""


SEARCH_PATIENCE = 3.0
"""Seconds that a file system may take to list one directory before others are searched without it."""


_MAGIC = re.compile(r"[*?\[]")


_ESCAPED = re.compile(r"\[([*?\[])\]")
"""A character of a path that is not one of a pattern, as `glob.escape` writes it."""


_HASHED = re.compile(r"[0-9a-f]{8}\.r?\d+")
"""The name of a link by which OpenSSL finds a CA certificate or revocation list (openssl-rehash(1))."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """
    A directory that could not be read.
    """

    path: str
    why: str
    """The reason in a few words."""
    failure: ProbeError = field(repr=False)
    """The outcome of probing the directory."""


@dataclass(frozen=True, slots=True)
class Found:
    """
    The result of a search: the files that match a pattern, and the directories that could not be read.
    """

    paths: tuple[str, ...]
    unreadable: tuple[Unreadable, ...] = ()
    beyond: int = 0
    """Files above the limit of one pattern, or of all together."""


def is_pattern(path: str) -> bool:
    """
    Return True when the path has wildcards.
    """
    return _MAGIC.search(path) is not None


def search(pattern: str, progress: Progress, may_ask: Callable[[str], bool] = lambda _: True) -> Found:
    """
    Return the files that match a whole path with `*`, `?`, `[...]` and `**`, in order. Blocks.

    As in a shell, names that begin with a dot are matched only by a pattern that begins with one, and `**`
    does not follow links to directories. Directories do not match. A path that must not be accessed counts as
    a file.
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
    return Found(found, tuple(walk.unreadable.values()), beyond)


def covering(patterns: Iterable[str]) -> Callable[[str, Collection[int] | None], bool]:
    """
    Return whether `search` finds the file at a path by one of these patterns, if it is there. Asks no disk.

    Besides the path it takes the numbers of its directories that are links, from 0: `**` does not come past
    them. None: nobody knows, and a pattern with `**` counts for nothing.
    """
    rows = [_Row.of(one) for one in patterns if is_pattern(one)]

    def covers(path: str, links: Collection[int] | None) -> bool:
        if not rows or is_pattern(_ESCAPED.sub("", path)):
            return False
        names = names_of(path)
        return any(row.fits(names, links) for row in rows)

    return covers


def names_of(path: str) -> list[str]:
    """
    Return the names in a path of which what a pattern has besides is escaped, from the root on.
    """
    return [_ESCAPED.sub(r"\1", one) for one in path.split("/") if one]


@dataclass(frozen=True, slots=True)
class _Row:
    """
    A pattern, segment by segment.
    """

    first: Sequence[str]
    """The names before its first wildcard."""
    rest: Sequence[Callable[[str], bool] | None]
    """For each further segment, a function that returns True for a name that fits; None for `**`."""

    @classmethod
    def of(cls, pattern: str) -> "_Row":
        """
        Return the row of a pattern.
        """
        segments = [one for one in pattern.split("/") if one]
        if segments[-1] == "**":
            segments.append("*")
        first = list(takewhile(lambda one: not is_pattern(one), segments))
        return cls(first, [None if one == "**" else _fitting(one) for one in segments[len(first) :]])

    def fits(self, names: Sequence[str], links: Collection[int] | None) -> bool:
        """
        Return whether the pattern comes to the file with these names from the root on.
        """
        least = len(self.first) + sum(1 for one in self.rest if one is not None)
        if len(names) < least or names[: len(self.first)] != self.first:
            return False
        if None not in self.rest:
            return len(names) == least and all(
                fits is not None and fits(name)
                for fits, name in zip(self.rest, names[len(self.first) :], strict=True)
            )
        if links is None or len(names) - least > DEPTH_LIMIT:
            return False
        places = {len(self.first)}
        for fits in self.rest:
            if fits is None:
                places = {deeper for place in places for deeper in _below(names, place, links)}
            else:
                places = {place + 1 for place in places if place < len(names) and fits(names[place])}
        return len(names) in places


def _below(names: Sequence[str], place: int, links: Collection[int]) -> Iterator[int]:
    """
    Yield how far `**` comes from a place in a path: never to its last name, which is a file.
    """
    yield place
    while place < len(names) - 1 and place not in links and not names[place].startswith("."):
        place += 1
        yield place


def _fitting(segment: str) -> Callable[[str], bool]:
    """
    Return whether a segment of a pattern fits a name.
    """
    if not is_pattern(segment):
        return segment.__eq__
    fits, hidden = _matcher(segment).match, segment.startswith(".")
    return lambda name: fits(name) is not None and (hidden or not name.startswith("."))


def _is_hash_of(path: str, paths: Mapping[str, None]) -> bool:
    """
    Return True for a hash link of OpenSSL to a file that is found in the same directory under its own name.
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
    unreadable: dict[str, Unreadable] = field(default_factory=dict)
    left: int = VISIT_LIMIT

    def matches(self, base: str, segments: Sequence[str], depth: int) -> Iterator[str]:
        """
        Yield the files that match the rest of a pattern below a directory.
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
        fits = _fitting(first)
        for entry in self._entries(base):
            if not fits(entry.name):
                continue
            path = f"{base}/{entry.name}"
            if rest:
                if self._is_directory(path, entry):
                    yield from self.matches(path, rest, depth)
            elif not self._is_directory(path, entry):
                yield path

    def _entries(self, base: str) -> list["os.DirEntry[str]"]:
        """
        Return the entries of a directory, in order; empty when it does not exist.
        """
        if self.left <= 0:
            return []
        if not self._may_ask(base or "/", SEARCH_PATIENCE):
            why = "its file system does not answer (a network mount that hangs?)"
            self._note(base, why, Reason.TIMEOUT)
            return []
        try:
            with os.scandir(base or "/") as found:
                entries = sorted(found, key=lambda entry: entry.name)
            self.progress.answered()
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            path = base or "/"
            self.unreadable[path] = Unreadable(path, error.strerror or str(error), unreadable(path, error))
            return []
        self.left -= len(entries)
        if self.left <= 0:
            self._note(base, f"more than {VISIT_LIMIT:,} names would have to be read", Reason.FILE_UNREADABLE)
        return entries

    def _note(self, base: str, why: str, reason: Reason) -> None:
        path = base or "/"
        failure = ProbeError(reason, f"{printable(path)} can't be read: {why}")
        self.unreadable[path] = Unreadable(path, why, failure)

    def _may_ask(self, path: str, patience: float = PATIENCE) -> bool:
        """
        Note that the file system is accessed for this path, and return True; False when it must not be
        accessed.
        """
        if not self.may_ask(path):
            return False
        self.progress.ask(path, patience)
        return True

    def _is_file(self, path: str) -> bool:
        """
        Return True when the path exists and is no directory, or must not be accessed.
        """
        try:
            return not self._may_ask(path) or (os.path.lexists(path) and not Path(path).is_dir())
        finally:
            self.progress.answered()

    def _is_directory(self, path: str, entry: "os.DirEntry[str]") -> bool:
        try:
            # Entries that are no links are known already. A link that hangs counts as one to a file.
            return (not entry.is_symlink() or self._may_ask(path)) and entry.is_dir()
        except OSError:
            return False
        finally:
            self.progress.answered()
