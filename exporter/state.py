"""
State on disk: what `memory` holds, kept over a restart in one SQLite file.

Facts are kept as the certificates' own bytes and parsed again when they are
read, so that a new version never trusts what an old one made of them.
"""

import base64
import contextlib
import fcntl
import json
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from exporter.certificates import certificate
from exporter.logs import fields
from exporter.memory import NOT_LOOKED_AT, Held, Known, Memory, Past
from exporter.observation import (
    Certificate,
    Chain,
    Facts,
    Fault,
    FoundFault,
    FoundHazard,
    Hazard,
    Item,
    Kind,
    Renewal,
    Tls,
)

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
CREATE TABLE IF NOT EXISTS certificate (fingerprint TEXT PRIMARY KEY, der BLOB NOT NULL);
"""


BUSY_TIMEOUT = 0.5
"""Seconds to wait for another program that has locked the file."""

BAD_ROWS_LOGGED = 10
"""Damaged rows that get a line of log each; the others are counted."""

LATEST = 1e12
"""Seconds from the epoch beyond which there are no dates, in either direction: the year 33658."""


class FormatError(ValueError):
    """
    A file of another version of this program.
    """


_FROM_SQLITE = (sqlite3.Error, FormatError, UnicodeDecodeError)
"""What using the file raises. SQLite's words about a damaged one may repeat bytes of it that are no text."""


class StateError(Exception):
    """
    State can't be kept. The message says where and what to do.
    """


@dataclass(frozen=True, slots=True)
class Row:
    """
    One endpoint as it is to be saved.
    """

    target: str
    label: str
    seen_at: float
    facts: Facts
    past: str
    """As JSON."""
    previous: tuple[Item, ...]
    """What the past refers to."""

    @property
    def certificates(self) -> Iterable[Certificate]:
        """
        All that the facts and the past refer to.
        """
        return certificates_of(self.facts, self.previous)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """
    All that is to be saved, taken on the event loop so that it can be written elsewhere.
    """

    targets: tuple[tuple[str, str, str], ...]
    """Name, identity, roster as JSON."""
    rows: tuple[Row, ...]


def snapshot(memory: Memory) -> Snapshot:
    """
    What the memory holds now.
    """
    targets = tuple((name, known.identity, json.dumps(known.roster)) for name, known in memory)
    rows = tuple(
        Row(
            name,
            label,
            held.seen_at,
            held.facts,
            past_text(held.past),
            tuple(held.past.previous.values()),
        )
        for name, known in memory
        for label, held in known.endpoints.items()
        if held.facts is not None and held.seen_at is not None
    )
    return Snapshot(targets, rows)


class State:
    """
    The state file. Use from one thread at a time.

    A lock beside it keeps a second process from writing: two would delete each other's rows. It ends with the
    process that has it, however that ends.
    """

    def __init__(self, path: str, clock: Callable[[], float] = time.time) -> None:
        """
        `clock` gives seconds since the epoch, for the names of files that are set aside.
        """
        self.path = Path(path)
        if self.path.is_dir():
            self.path /= "state.sqlite"
        self.refused: StateError | None = None
        """Why nothing can be written to the file from which was loaded; None when it can."""
        self._clock = clock
        self._lock: int | None = None
        self._saved: dict[tuple[str, str], Facts] = {}
        self._database: sqlite3.Connection | None = None
        self._opened: tuple[int, int] | None = None

    def load(self, now: float) -> Mapping[str, Known]:
        """
        What was known when the file was last saved, by target name; empty for a new file.

        A damaged file is renamed, not deleted, and a new one begun; of one with damaged rows a copy is kept,
        and the other rows are used. A file that can be read and not written (see `refused`) is only read.
        Raises StateError when the file can be neither read nor made.
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
        Make the file hold what the snapshot does. Writes only what changed. Raises StateError.
        """
        self._take_lock()
        self._reopen_if_replaced()
        try:
            self._save(self._open(), taken)
        except _FROM_SQLITE as error:
            self._close_database()
            if not _is_damage(error):
                raise self._unusable(error) from error
            self._set_aside(self._clock(), error)
            self._save_anew(taken)

    def close(self) -> None:
        """
        Close the file, and let another process have it.
        """
        self._close_database()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _take_lock(self) -> None:
        """
        Keep every other process from writing. Raises StateError when one has the file, or none can be kept.
        """
        path = self._beside(".lock")
        if self._lock is not None:
            if _identity(self._lock) == _identity(path):
                return
            # Somebody removed it, and another process may have made a new one.
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
            # A file system without locks: the state is worth more than the certainty.
            pass
        self._lock = lock

    def _beside(self, suffix: str) -> Path:
        """
        The path of a file beside the state file, which may be named by a link.
        """
        return Path(os.path.realpath(self.path) + suffix)

    def _reopen_if_replaced(self) -> None:
        """
        Let go of a file that was removed or replaced: what is written to it would be lost.
        """
        if self._database is not None and self._opened != _identity(self.path):
            self._close_database()

    def _open(self) -> sqlite3.Connection:
        if self._database is None:
            # Another program may write for a moment, a backup for instance. At the end nobody waits for it.
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
                    # Nothing of ours stays beside what is not ours.
                    self._beside(".lock").unlink(missing_ok=True)
                    self.close()
                raise
            self._database = database
            self._opened = _identity(self.path)
        return self._database

    def _version(self, database: sqlite3.Connection) -> int:
        """
        The format of the file; 0 for a new one. Raises StateError for the database of another program.
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
        self._saved = {}
        if self._database is not None:
            self._database.close()
            self._database = None

    def _load_or_set_aside(self, now: float) -> dict[str, Known]:
        try:
            return self._load(now)
        except _FROM_SQLITE as error:
            self._close_database()
            if not _is_damage(error):
                raise self._unusable(error) from error
            self._set_aside(now, error)
            try:
                return self._load(now)
            except _FROM_SQLITE as again:
                raise self._unusable(again) from again

    def _set_aside(self, now: float, cause: Exception) -> None:
        """
        Rename the damaged file, and what belongs to it. Raises StateError.
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
            "the state file is damaged; it was set aside and a new one begun: "
            "what was last seen of endpoints that are down now is not known",
            extra=fields(path=str(self.path), aside=str(aside), cause=str(cause)),
        )

    def _aside(self, now: float) -> Path:
        return self._beside(time.strftime(".damaged-%Y%m%dT%H%M%SZ", time.gmtime(now)))

    def _load(self, now: float) -> dict[str, Known]:
        database = self._open()
        read = Reading(database)
        if read.bad:
            self._copy_aside(database, read, now)
        self._saved = {
            (name, label): held.facts
            for name, known in read.found.items()
            for label, held in known.endpoints.items()
            if held.facts is not None
        }
        return read.found

    def _copy_aside(self, database: sqlite3.Connection, read: "Reading", now: float) -> None:
        """
        Say which rows are damaged, keep a copy of the file as it is, and remove them from it.
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

    def _only_read(self) -> dict[str, Known] | None:
        """
        What a file holds that can't be written; None when it can't be read either, or there is none.
        """
        if not self.path.is_file():
            return None
        name = quote(str(self.path.absolute()))
        # On a file system that can't be written, SQLite reads such a file only when told that nobody does.
        for how in ("mode=ro", "immutable=1"):
            try:
                with contextlib.closing(
                    sqlite3.connect(f"file:{name}?{how}", uri=True, timeout=BUSY_TIMEOUT)
                ) as database:
                    if self._version(database) == SCHEMA_VERSION:
                        return Reading(database).found
            except (*_FROM_SQLITE, StateError):
                continue
        return None

    def _save_anew(self, taken: Snapshot) -> None:
        try:
            self._save(self._open(), taken)
        except _FROM_SQLITE as error:
            self._close_database()
            raise self._unusable(error) from error

    def _save(self, database: sqlite3.Connection, taken: Snapshot) -> None:
        changed = [row for row in taken.rows if self._saved.get((row.target, row.label)) is not row.facts]
        keys = {(row.target, row.label) for row in taken.rows}
        written = {(row.target, row.label) for row in changed}
        targets = {name: (name, identity, roster) for name, identity, roster in taken.targets}
        database.execute("BEGIN IMMEDIATE")
        try:
            # What is gone is told by the file: after a failed save nothing else knows what it holds.
            there = database.execute("SELECT rowid, target, label FROM endpoint").fetchall()
            gone = [rowid for rowid, *key in there if tuple(key) not in keys]
            stored = {
                row[1]: row for row in database.execute("SELECT rowid, name, identity, roster FROM target")
            }
            _delete(database, "target", [row[0] for name, row in stored.items() if name not in targets])
            database.executemany(
                "INSERT OR REPLACE INTO target VALUES (?, ?, ?)",
                [row for name, row in targets.items() if name not in stored or stored[name][1:] != row],
            )
            database.executemany(
                "INSERT OR REPLACE INTO certificate VALUES (?, ?)",
                ((one.fingerprint_sha256, one.der) for row in changed for one in row.certificates),
            )
            _delete(database, "endpoint", gone)
            database.executemany(
                "INSERT OR REPLACE INTO endpoint VALUES (?, ?, ?, ?, ?)",
                (
                    (row.target, row.label, row.seen_at, json.dumps(encode(row.facts)), row.past)
                    for row in changed
                ),
            )
            database.executemany(
                "UPDATE endpoint SET seen_at = ?, past = ? WHERE target = ? AND label = ?",
                [
                    (row.seen_at, row.past, row.target, row.label)
                    for row in taken.rows
                    if (row.target, row.label) not in written
                ],
            )
            if changed or gone:
                needed = {one.fingerprint_sha256 for row in taken.rows for one in row.certificates}
                kept = database.execute("SELECT rowid, fingerprint FROM certificate").fetchall()
                _delete(database, "certificate", [rowid for rowid, one in kept if one not in needed])
            database.execute("COMMIT")
        except BaseException:
            # After some errors, a full disk for one, SQLite has done so itself.
            if database.in_transaction:
                database.execute("ROLLBACK")
            raise
        self._saved = {(row.target, row.label): row.facts for row in taken.rows}

    def _unusable(self, error: Exception) -> StateError:
        """
        The error for a person, with what it means and what to do.
        """
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        words = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else str(error)
        return StateError(
            f"can't keep state in {self.path}: {words}. Held facts will not survive a restart: "
            + _ADVICE.get(code, _USUAL_ADVICE)
        )


_USUAL_ADVICE = (
    "check that the directory exists, that this process may write in it, and that the disk is not full"
)

_ADVICE = {
    sqlite3.SQLITE_FULL: "the disk is full. What was saved before is still there; make room on it",
    sqlite3.SQLITE_BUSY: "another program (a backup, an open sqlite3) has locked the file; it is tried again "
    "after the next scrape",
    sqlite3.SQLITE_READONLY: "the file, or the file system that it is on, is read-only for this process",
    sqlite3.SQLITE_IOERR: "the disk fails, or a limit of the system on the size of files is reached; the "
    "system's log may say more",
}
"""What SQLite's errors mean, by their code."""

_DAMAGED = {sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT}


def _is_damage(error: Exception) -> bool:
    """
    True when the file itself is at fault.

    The general code is that of a column that is not there.
    """
    if isinstance(error, sqlite3.Error):
        return getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGED
    return True


def _identity(file: int | Path) -> tuple[int, int] | None:
    """
    What tells a file from every other one there is; None when there is none.
    """
    try:
        found = os.fstat(file) if isinstance(file, int) else file.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _text_or_bytes(value: bytes) -> str | bytes:
    """
    A text of the file; its bytes when they are no UTF-8, which no row of ours has.
    """
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value


def _delete(database: sqlite3.Connection, table: str, rows: Iterable[int]) -> None:
    """
    Delete rows by their number: a damaged one has no name that could be asked for.
    """
    database.executemany(f"DELETE FROM {table} WHERE rowid = ?", [(row,) for row in rows])  # noqa: S608 - ours


@dataclass(frozen=True, slots=True)
class BadRow:
    """
    A row that no version of this program wrote.
    """

    table: str
    rowid: int
    what: str
    """Whose it is, for a person."""
    cause: str


class Reading:
    """
    All that a state file holds, each row checked: what is found, and the rows that are left out.
    """

    def __init__(self, database: sqlite3.Connection) -> None:
        """
        Raises sqlite3.Error.
        """
        self.found: dict[str, Known] = {}
        self.bad: list[BadRow] = []
        self._certificates: dict[str, Certificate] = {}
        for rowid, *row in database.execute("SELECT rowid, fingerprint, der FROM certificate"):
            self._take("certificate", rowid, f"certificate {row[0]!r:.80}", self._certificate, row)
        for rowid, *row in database.execute("SELECT rowid, name, identity, roster FROM target"):
            self._take("target", rowid, f"target {row[0]!r:.200}", self._target, row)
        for rowid, *row in database.execute(
            "SELECT rowid, target, label, seen_at, facts, past FROM endpoint"
        ):
            self._take(
                "endpoint", rowid, f"target {row[0]!r:.200}, endpoint {row[1]!r:.200}", self._endpoint, row
            )

    def _take(
        self, table: str, rowid: int, what: str, take: Callable[..., None], row: Iterable[object]
    ) -> None:
        try:
            take(*row)
        except KeyError as error:
            self.bad.append(BadRow(table, rowid, what, f"{error} is missing"))
        except RecursionError:
            self.bad.append(BadRow(table, rowid, what, "it is nested too deeply"))
        except ValueError as error:
            self.bad.append(BadRow(table, rowid, what, f"{error!s:.200}"))

    def _certificate(self, fingerprint: object, der: object) -> None:
        if not isinstance(der, bytes):
            raise ValueError("the certificate is not bytes")  # noqa: TRY004 - of the file's, not of the code's
        made = certificate(der)
        if made.fingerprint_sha256 != fingerprint:
            raise ValueError("it is stored under the fingerprint of another certificate")
        self._certificates[made.fingerprint_sha256] = made

    def _target(self, name: object, identity: object, roster: object) -> None:
        self.found[as_text(name)] = Known(as_text(identity), roster=as_moments(from_json(roster)))

    def _endpoint(self, target: object, label: object, seen_at: object, facts: object, past: object) -> None:
        there = as_text(label)
        # Until the first sweep after a restart says otherwise.
        held = Held(
            NOT_LOOKED_AT,
            0.0,
            decode(from_json(facts), self._certificates),
            as_moment(seen_at),
            past=decode_past(from_json(past), self._certificates),
        )
        if (known := self.found.get(as_text(target))) is not None:
            known.endpoints[there] = held


def certificates_of(facts: Facts, previous: Iterable[Item]) -> Iterable[Certificate]:
    """
    Every certificate in the facts and in the items that were there before.
    """
    for chain in facts.chains:
        yield from chain.certificates
    for item in (*facts.items, *previous):
        if item.certificate is not None:
            yield item.certificate


def encode(facts: Facts) -> dict[str, Any]:
    """
    The facts as JSON values, certificates by fingerprint. What was asked and not learned is asked again.
    """
    tls = None
    if facts.tls is not None:
        tls = asdict(facts.tls)
        if facts.tls.staple is not None:
            tls["staple"] = base64.b64encode(facts.tls.staple).decode("ascii")
    return {
        "items": [encode_item(item) for item in facts.items],
        "chains": [
            [chain.key, [one.fingerprint_sha256 for one in chain.certificates], chain.presented]
            for chain in facts.chains
        ],
        "tls": tls,
        "faults": [[one.fault, one.detail] for one in facts.faults],
        "hazards": [[one.hazard, one.detail] for one in facts.hazards],
    }


def decode(stored: object, certificates: Mapping[str, Certificate]) -> Facts:
    """
    The facts that `encode` wrote. Raises ValueError or KeyError when they are not that.
    """
    read = as_mapping(stored)
    return Facts(
        tuple(decode_item(item, certificates) for item in as_list(read["items"])),
        tuple(_chain(chain, certificates) for chain in as_list(read["chains"])),
        _tls(read["tls"]) if read["tls"] is not None else None,
        # Files of the first versions have neither.
        tuple(
            FoundFault(Fault(fault), detail) for fault, detail in map(_pair, as_list(read.get("faults", [])))
        ),
        tuple(
            FoundHazard(Hazard(hazard), detail)
            for hazard, detail in map(_pair, as_list(read.get("hazards", [])))
        ),
    )


def _chain(stored: object, certificates: Mapping[str, Certificate]) -> Chain:
    # Files of the first versions hold no third value.
    key, fingerprints, *presented = as_list(stored)
    chain = tuple(certificates[as_text(one)] for one in as_list(fingerprints))
    if not chain:
        raise ValueError("a chain without a certificate")
    return Chain(chain, as_text(key), as_flag(presented[0]) if presented else True)


def _tls(stored: object) -> Tls:
    read = as_mapping(stored)
    name, staple = read["server_name"], read["staple"]
    return Tls(
        as_text(read["protocol"]),
        as_text(read["cipher"]),
        as_text(name) if name is not None else None,
        as_flag(read["client_certificate_requested"]),
        base64.b64decode(as_text(staple), validate=True) if staple is not None else None,
    )


def _pair(stored: object) -> tuple[str, str]:
    what, detail = map(as_text, as_list(stored))
    return what, detail


def encode_item(item: Item) -> list[Any]:
    """
    The item as JSON values, its certificate by fingerprint.
    """
    fingerprint = item.certificate.fingerprint_sha256 if item.certificate is not None else None
    renewal = item.renewal and [item.renewal.due, item.renewal.begin, item.renewal.explanation_url]
    return [item.name, item.kind, item.not_before, item.not_after, fingerprint, renewal]


def decode_item(stored: object, certificates: Mapping[str, Certificate]) -> Item:
    """
    The item that `encode_item` wrote. Raises ValueError or KeyError when it is not that.
    """
    name, kind, begin, end, fingerprint, *more = as_list(stored)
    return Item(
        as_text(name),
        Kind(as_text(kind)),
        as_moment(begin),
        as_moment(end),
        certificates[as_text(fingerprint)] if fingerprint is not None else None,
        # Files of the first versions end before it.
        _renewal(more[0]) if more and more[0] is not None else None,
    )


def _renewal(stored: object) -> Renewal:
    due, begin, url = as_list(stored)
    return Renewal(as_moment(due), as_moment(begin) if begin is not None else None, as_text(url))


def past_text(past: Past) -> str:
    """
    The past as JSON. Most endpoints have none.
    """
    if past == _NO_PAST:
        return _NO_PAST_TEXT
    return json.dumps(encode_past(past))


def encode_past(past: Past) -> dict[str, Any]:
    """
    The past as JSON values, certificates by fingerprint.
    """
    return {
        "previous": [encode_item(item) for item in past.previous.values()],
        "identity_changed_at": past.identity_changed_at,
        "changed_at": past.changed_at,
        "rolled_back_at": past.rolled_back_at,
        "trusted_at": past.trusted_at,
    }


def decode_past(stored: object, certificates: Mapping[str, Certificate]) -> Past:
    """
    The past that `encode_past` wrote. Raises ValueError or KeyError when it is not that.
    """
    read = as_mapping(stored)
    previous = [decode_item(item, certificates) for item in as_list(read["previous"])]
    trusted_at = read["trusted_at"]
    return Past(
        {item.name: item for item in previous},
        as_moments(read["identity_changed_at"]),
        # Files of the first versions have neither.
        as_moments(read.get("changed_at", {})),
        as_moments(read.get("rolled_back_at", {})),
        as_moment(trusted_at) if trusted_at is not None else None,
    )


def from_json(value: object) -> object:
    """
    What a text of the file says. Raises ValueError, or RecursionError for what is nested too deeply.
    """
    found: object = json.loads(as_text(value))
    return found


def as_text(value: object) -> str:
    """
    The value, if it is a text that can be written anywhere. Raises ValueError.
    """
    if not isinstance(value, str):
        raise ValueError(f"{value!r:.80} is not a text")  # noqa: TRY004 - of the file's, not of the code's
    value.encode()
    return value


def as_moment(value: object) -> float:
    """
    The value, if it is a number of seconds that a date can have. Raises ValueError.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= LATEST:
        raise ValueError(f"{value!r:.80} is no moment")
    return float(value)


def as_flag(value: object) -> bool:
    """
    The value, if it is true or false. Raises ValueError.
    """
    if not isinstance(value, bool):
        raise ValueError(f"{value!r:.80} is neither true nor false")  # noqa: TRY004 - as above
    return value


def as_list(value: object) -> list[Any]:
    """
    The value, if it is a list. Raises ValueError.
    """
    if not isinstance(value, list | tuple):
        raise ValueError(f"{value!r:.80} is not a list")  # noqa: TRY004 - as above
    return list(value)


def as_mapping(value: object) -> dict[str, Any]:
    """
    The value, if it is a mapping; its keys are texts. Raises ValueError.
    """
    if not isinstance(value, dict):
        raise ValueError(f"{value!r:.80} is not a mapping")  # noqa: TRY004 - as above
    return {as_text(key): one for key, one in value.items()}


def as_moments(value: object) -> dict[str, float]:
    """
    The value, if it is a mapping of moments. Raises ValueError.
    """
    return {key: as_moment(one) for key, one in as_mapping(value).items()}


_NO_PAST = Past()
_NO_PAST_TEXT = json.dumps(encode_past(_NO_PAST))
