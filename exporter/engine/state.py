"""
State on disk: the content of `memory`, kept over a restart in one SQLite file.

Facts are kept as the certificates' own bytes and parsed again when they are read, so that a new version never
trusts what an old one made of them.
"""

import contextlib
import fcntl
import json
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from exporter.engine.memory import TargetMemory
from exporter.engine.snapshots import Snapshot
from exporter.engine.state_errors import ADVICE, FROM_SQLITE, USUAL_ADVICE, FormatError, is_damage
from exporter.engine.state_rows import Reading, encode, save_lists
from exporter.logs import fields

if TYPE_CHECKING:
    from exporter.model.observation import Facts

logger = logging.getLogger(__name__)


SCHEMA_VERSION = 1
"""Kept in the file's `user_version`. A file of another version is set aside, not guessed at."""


SCHEMA = """
CREATE TABLE IF NOT EXISTS target (name TEXT PRIMARY KEY, identity TEXT NOT NULL, roster TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS endpoint (
    target TEXT NOT NULL, label TEXT NOT NULL, seen_at REAL NOT NULL, facts TEXT NOT NULL,
    past TEXT NOT NULL,
    PRIMARY KEY (target, label)
);
CREATE TABLE IF NOT EXISTS problem (
    target TEXT NOT NULL, item TEXT NOT NULL, problem TEXT NOT NULL, severity TEXT NOT NULL,
    since REAL NOT NULL,
    PRIMARY KEY (target, item, problem, severity)
);
CREATE TABLE IF NOT EXISTS listing (source TEXT PRIMARY KEY, at REAL NOT NULL, content TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS certificate (fingerprint TEXT PRIMARY KEY, der BLOB NOT NULL);
"""


SET_ASIDE = (
    "the state file is {}; it was set aside and a new one begun: "
    "what was last seen of endpoints that are down now is not known"
)


LOCK = ".lock"
"""What the name of the lock file has besides that of the state file."""


BUSY_TIMEOUT = 0.5
"""Seconds to wait for another program that has locked the file."""


BAD_ROWS_LOGGED = 10
"""Damaged rows that get a line of log each; the others are counted."""


class StateError(Exception):
    """
    State can't be kept. The message says where, why and what to do.
    """


class State:
    """
    The state file. Use from one thread at a time.

    A lock file beside it keeps a second process from writing: two would delete each other's rows. The system
    removes the lock when the process ends, in whatever way.
    """

    def __init__(self, path: str, clock: Callable[[], float] = time.time) -> None:
        """
        `clock` returns seconds since the epoch, for the names of files that are set aside.
        """
        self.path = Path(path)
        # Not that of a Path: before Python 3.14 it raises where we may not look, which is said when loading.
        if os.path.isdir(path):  # noqa: PTH112
            self.path /= "state.sqlite"
        self.refused: StateError | None = None
        """The reason why the loaded file can't be written; None when it can."""
        self._clock = clock
        self._lock: int | None = None
        self._saved: dict[tuple[str, str], tuple[Facts, ...]] = {}
        self._problems: tuple[object, ...] | None = None
        """The problems in the file; None when not known."""
        self.lists: dict[str, tuple[float, str]] = {}
        """The lists that were loaded: time and content by source."""
        self._database: sqlite3.Connection | None = None
        self._opened: tuple[int, int] | None = None

    def load(self, now: float) -> Mapping[str, TargetMemory]:
        """
        Return the state that was last saved, by target name; empty for a new file.

        `now` is in seconds since the epoch. A damaged file is renamed, not deleted, and a new one begun. Of
        one with damaged rows a copy is kept, and its other rows are used. A file that can be read and not
        written (see `refused`) is only read. Raises StateError when the file can be neither read nor created.
        """
        self.refused = None
        try:
            self._take_lock()
            return self._load_or_set_aside(now)
        except StateError as error:
            known = self._only_read()
            if known is None:
                raise
            self.refused = error
            return known

    def save(self, taken: Snapshot) -> None:
        """
        Write the snapshot to the file, as far as it has changed. Raises StateError.
        """
        self._take_lock()
        self._reopen_if_replaced()
        try:
            self._save(self._open(), taken)
        except FROM_SQLITE as error:
            self._close_database()
            if not is_damage(error):
                raise self._unusable(error) from error
            self._set_aside(self._clock(), error)
            self._save_anew(taken)

    def close(self) -> None:
        """
        Close the file, and release its lock.
        """
        self._close_database()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _take_lock(self) -> None:
        """
        Lock the file against other processes. Raises StateError when one has the lock, or it can't be
        created.
        """
        self._refuse_second_names()
        path = self._beside(LOCK)
        if self._lock is not None:
            if _identity(self._lock) == _identity(path):
                return
            # The lock file was removed, and another process may have made a new one.
            self.close()
        try:
            lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise self._unusable(error) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            self._close_database()
            raise StateError(
                f"another process keeps its state in {self.path}, so this one writes nothing there, and what "
                "it sees will not survive a restart, until the other one ends. Give each process a "
                f"--state.path of its own. `fuser -v {path}` says which process it is"
            ) from None
        except OSError:
            # A file system without locks: to keep the state matters more than to exclude a second process.
            pass
        self._lock = lock

    def _refuse_second_names(self) -> None:
        """
        Raise StateError for a file with hard links: by each name it has another journal and another lock.

        No lock would do: a journal that was left behind by one name damages what was written by the other one
        later (https://sqlite.org/howtocorrupt.html, section 2.5).
        """
        try:
            names = self.path.stat().st_nlink
        except OSError:
            return  # it does not exist yet, or can't be used, which is said elsewhere
        if names > 1:
            raise StateError(
                f"{self.path} has {names} names (hard links), and SQLite keeps a journal for each, by which "
                "two processes would damage the file. So nothing is written there, and what is seen will not "
                "survive a restart. Remove the other names (`find -inum` and the number that `ls -i` shows), "
                "or put a copy in place of this one"
            )

    def _beside(self, suffix: str) -> Path:
        """
        Return the path of a file beside the state file, of which a symbolic link is resolved.
        """
        return Path(os.path.realpath(self.path) + suffix)

    def _reopen_if_replaced(self) -> None:
        """
        Close a file that was removed or replaced: data written to it would be lost.
        """
        if self._database is not None and self._opened != _identity(self.path):
            self._close_database()

    def _open(self) -> sqlite3.Connection:
        if self._database is None:
            # Another program may hold the file for a moment, a backup for instance: SQLite waits for it.
            database = sqlite3.connect(
                self.path, timeout=BUSY_TIMEOUT, check_same_thread=False, isolation_level=None
            )
            try:
                version = self._version(database)
                database.execute("PRAGMA journal_mode = WAL")
                database.execute("PRAGMA synchronous = NORMAL")
                if version not in {0, SCHEMA_VERSION}:
                    raise FormatError(  # noqa: TRY301 - the file is closed below
                        f"it has format {version}, this program writes {SCHEMA_VERSION}"
                    )
                database.executescript(SCHEMA)
                database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            except BaseException as error:
                database.close()
                if isinstance(error, StateError):
                    # No file of ours stays beside another program's database.
                    self._beside(LOCK).unlink(missing_ok=True)
                    self.close()
                raise
            self._database = database
            self._opened = _identity(self.path)
        return self._database

    def _version(self, database: sqlite3.Connection) -> int:
        """
        Return the format version of the file; 0 for a new one. Raises StateError for another program's
        database.
        """
        database.text_factory = _text_or_bytes
        version = int(database.execute("PRAGMA user_version").fetchone()[0])
        if version == 0 and database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            raise StateError(
                f"{self.path} is the database of another program, and is left alone: "
                "choose another file for --state.path"
            )
        return version

    def _close_database(self) -> None:
        self._saved, self._problems = {}, None
        if self._database is not None:
            self._database.close()
            self._database = None

    def _load_or_set_aside(self, now: float) -> dict[str, TargetMemory]:
        try:
            return self._load(now)
        except FROM_SQLITE as error:
            self._close_database()
            if not is_damage(error):
                raise self._unusable(error) from error
            self._set_aside(now, error)
            try:
                return self._load(now)
            except FROM_SQLITE as again:
                raise self._unusable(again) from again

    def _set_aside(self, now: float, cause: Exception) -> None:
        """
        Rename the damaged file and SQLite's files beside it. Raises StateError.
        """
        aside = self._aside(now)
        try:
            self._beside("").replace(aside)
        except OSError as refused:
            raise self._unusable(refused) from refused
        for leftover in ("-wal", "-shm"):
            with contextlib.suppress(OSError):
                self._beside(leftover).replace(aside.with_name(aside.name + leftover))
        logger.error(
            SET_ASIDE.format(
                "of another version of this program" if isinstance(cause, FormatError) else "damaged"
            ),
            extra=fields(path=str(self.path), aside=str(aside), cause=str(cause)),
        )

    def _aside(self, now: float) -> Path:
        return self._beside(time.strftime(".damaged-%Y%m%dT%H%M%SZ", time.gmtime(now)))

    def _load(self, now: float) -> dict[str, TargetMemory]:
        database = self._open()
        read = Reading(database)
        self.lists = read.lists
        if read.bad:
            self._copy_aside(database, read, now)
        self._saved = {
            (name, label): (held.facts, *(one.facts for one in held.others))
            for name, known in read.found.items()
            for label, held in known.endpoints.items()
            if held.facts is not None
        }
        return read.found

    def _copy_aside(self, database: sqlite3.Connection, read: "Reading", now: float) -> None:
        """
        Log the damaged rows, keep a copy of the file as it is, and delete the rows from it.
        """
        for one in read.bad[:BAD_ROWS_LOGGED]:
            logger.error(
                "a row of the state file is damaged and left out",
                extra=fields(path=str(self.path), row=one.what, cause=one.cause),
            )
        aside = self._aside(now)
        try:
            database.execute("VACUUM INTO ?", (str(aside),))
            for one in read.bad:
                database.execute(f"DELETE FROM {one.table} WHERE rowid = ?", (one.rowid,))  # noqa: S608 - ours
        except sqlite3.Error as error:
            kept = f"no copy could be kept: {error}"
        else:
            kept = f"a copy was kept as {aside}"
        logger.error(
            "rows of the state file are damaged; the others are used",
            extra=fields(path=str(self.path), rows=len(read.bad), aside=kept),
        )

    def _only_read(self) -> dict[str, TargetMemory] | None:
        """
        Return the state in a file that can't be written; None when it can't be read either, or does not
        exist.
        """
        if not os.path.isfile(self.path):  # noqa: PTH113 - where we may not look, there is none
            return None
        name = quote(str(self.path.absolute()))
        # On a read-only file system, SQLite reads such a file only when told that nobody writes it.
        for how in ("mode=ro", "immutable=1"):
            try:
                with contextlib.closing(
                    sqlite3.connect(f"file:{name}?{how}", uri=True, timeout=BUSY_TIMEOUT)
                ) as database:
                    if self._version(database) == SCHEMA_VERSION:
                        read = Reading(database)
                        self.lists = read.lists
                        return read.found
            except (*FROM_SQLITE, StateError):
                continue
        return None

    def _save_anew(self, taken: Snapshot) -> None:
        try:
            self._save(self._open(), taken)
        except FROM_SQLITE as error:
            self._close_database()
            raise self._unusable(error) from error

    def _save(self, database: sqlite3.Connection, taken: Snapshot) -> None:
        # One key for each row, wherever it is looked up, and no list of what is in the file: of ten thousand
        # targets each would take megabytes.
        rows = {(row.target, row.label): row for row in taken.rows}
        changed = {key: row for key, row in rows.items() if not row.is_as(self._saved.get(key, ()))}
        targets = {one[0]: one for one in taken.targets}
        new = targets.copy()
        obsolete: list[int] = []
        database.execute("BEGIN IMMEDIATE")
        try:
            # The file itself says which rows are gone: after a failed save nothing else knows its content.
            there = database.execute("SELECT rowid, target, label FROM endpoint")
            gone = [rowid for rowid, *key in there if tuple(key) not in rows]
            for rowid, *row in database.execute("SELECT rowid, name, identity, roster FROM target"):
                if row[0] not in targets:
                    obsolete.append(rowid)
                elif targets[row[0]] == tuple(row):
                    new.pop(row[0], None)
            _delete(database, "target", obsolete)
            database.executemany("INSERT OR REPLACE INTO target VALUES (?, ?, ?)", new.values())
            database.executemany(
                "INSERT OR REPLACE INTO certificate VALUES (?, ?)",
                ((one.fingerprint_sha256, one.der) for row in changed.values() for one in row.certificates),
            )
            _delete(database, "endpoint", gone)
            database.executemany(
                "INSERT OR REPLACE INTO endpoint VALUES (?, ?, ?, ?, ?)",
                (
                    (*key, row.seen_at, json.dumps(encode(row.facts)), row.past)
                    for key, row in changed.items()
                ),
            )
            database.executemany(
                "UPDATE endpoint SET seen_at = ?, past = ? WHERE target = ? AND label = ?",
                ((row.seen_at, row.past, *key) for key, row in rows.items() if key not in changed),
            )
            if self._problems != taken.problems:
                database.execute("DELETE FROM problem")
                database.executemany("INSERT INTO problem VALUES (?, ?, ?, ?, ?)", taken.problems)
            save_lists(database, taken.lists)
            if changed or gone:
                needed = {one.fingerprint_sha256 for row in taken.rows for one in row.certificates}
                kept = database.execute("SELECT rowid, fingerprint FROM certificate")
                _delete(database, "certificate", [rowid for rowid, one in kept if one not in needed])
            database.execute("COMMIT")
        except BaseException:
            # After some errors, a full disk for one, SQLite has rolled back by itself.
            if database.in_transaction:
                database.execute("ROLLBACK")
            raise
        self._saved = {key: (row.facts, *row.others) for key, row in rows.items()}
        self._problems = taken.problems

    def _unusable(self, error: Exception) -> StateError:
        """
        Return the error for a person: its cause and the remedy.
        """
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        words = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else str(error)
        return StateError(
            f"can't keep state in {self.path}: {words}. Held facts will not survive a restart: "
            + ADVICE.get(code, USUAL_ADVICE)
        )


def _identity(file: int | Path) -> tuple[int, int] | None:
    """
    Return the device and inode of a file; None when it does not exist.
    """
    try:
        found = os.fstat(file) if isinstance(file, int) else file.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _text_or_bytes(value: bytes) -> str | bytes:
    """
    Return the text, or its bytes when they are not UTF-8, which no row of this program has.
    """
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value


def _delete(database: sqlite3.Connection, table: str, rows: Iterable[int]) -> None:
    """
    Delete rows by rowid: a damaged row has no name to select it by.
    """
    database.executemany(f"DELETE FROM {table} WHERE rowid = ?", [(row,) for row in rows])  # noqa: S608 - ours
