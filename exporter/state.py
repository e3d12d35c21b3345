"""
State on disk: what `memory` holds, kept over a restart in one SQLite file.

Facts are kept as the certificates' own bytes and parsed again when they are
read, so that a new version never trusts what an old one made of them.
"""

import base64
import json
import logging
import sqlite3
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from exporter.certificates import CertificateError, certificate
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
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        if self.path.is_dir():
            self.path /= "state.sqlite"
        self._saved: dict[tuple[str, str], Facts] = {}
        self._database: sqlite3.Connection | None = None

    def load(self, now: float) -> Mapping[str, Known]:
        """
        What was known when the file was last saved, by target name; empty for a new file.

        A damaged file is renamed, not deleted, and a new one begun. Raises StateError
        when the file can be neither read nor made.
        """
        try:
            return self._load()
        except (sqlite3.DatabaseError, ValueError, KeyError, TypeError) as error:
            # All that is wrong with the world is an OperationalError. So is a column that is not there, with
            # the general code, and text that is no UTF-8, without a code.
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
            if isinstance(error, sqlite3.OperationalError) and code != sqlite3.SQLITE_ERROR:
                raise self._unusable(error) from error
            self.close()
            aside = self.path.with_name(
                self.path.name + time.strftime(".damaged-%Y%m%dT%H%M%SZ", time.gmtime(now))
            )
            try:
                self.path.replace(aside)
            except OSError as refused:
                raise self._unusable(refused) from refused
            for leftover in ("-wal", "-shm"):
                self.path.with_name(self.path.name + leftover).unlink(missing_ok=True)
            logger.error(  # noqa: TRY400 - the cause is a field; a traceback says no more
                "the state file is damaged; it was set aside and a new one begun: "
                "what was last seen of endpoints that are down now is not known",
                extra=fields(path=str(self.path), aside=str(aside), cause=str(error)),
            )
            try:
                return self._load()
            except sqlite3.Error as again:
                raise self._unusable(again) from again

    def save(self, taken: Snapshot) -> None:
        """
        Make the file hold what the snapshot does. Writes only what changed. Raises StateError.
        """
        try:
            self._save(self._open(), taken)
        except sqlite3.Error as error:
            self._saved = {}
            self.close()
            raise self._unusable(error) from error

    def close(self) -> None:
        """
        Close the file.
        """
        if self._database is not None:
            self._database.close()
            self._database = None

    def _open(self) -> sqlite3.Connection:
        if self._database is None:
            database = sqlite3.connect(self.path, check_same_thread=False, isolation_level=None)
            try:
                version = database.execute("PRAGMA user_version").fetchone()[0]
                if version == 0 and database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                    raise StateError(  # noqa: TRY301 - the file is closed below
                        f"{self.path} is the database of another program, and is left alone: "
                        "choose another file for --state.path"
                    )
                database.execute("PRAGMA journal_mode = WAL")
                database.execute("PRAGMA synchronous = NORMAL")
                if version not in {0, SCHEMA_VERSION}:
                    raise ValueError(  # noqa: TRY301 - the file is closed below
                        f"it has format {version}, this program writes {SCHEMA_VERSION}"
                    )
                database.executescript(SCHEMA)
                database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            except BaseException:
                database.close()
                raise
            self._database = database
        return self._database

    def _load(self) -> dict[str, Known]:
        database = self._open()
        certificates: dict[str, Certificate] = {}
        for fingerprint, der in database.execute("SELECT fingerprint, der FROM certificate"):
            try:
                certificates[fingerprint] = certificate(der)
            except CertificateError as error:
                raise ValueError(f"certificate {fingerprint}: {error}") from error
        found = {
            name: Known(identity, roster=_roster(roster))
            for name, identity, roster in database.execute("SELECT name, identity, roster FROM target")
        }
        for target, label, seen_at, text, past in database.execute(
            "SELECT target, label, seen_at, facts, past FROM endpoint"
        ):
            if target in found:
                facts = decode(json.loads(text), certificates)
                # Until the first sweep after a restart says otherwise.
                before = decode_past(json.loads(past), certificates)
                found[target].endpoints[label] = Held(NOT_LOOKED_AT, 0.0, facts, seen_at, past=before)
                self._saved[target, label] = facts
        return found

    def _save(self, database: sqlite3.Connection, taken: Snapshot) -> None:
        changed = [row for row in taken.rows if self._saved.get((row.target, row.label)) is not row.facts]
        keys = {(row.target, row.label) for row in taken.rows}
        written = {(row.target, row.label) for row in changed}
        targets = {name: (name, identity, roster) for name, identity, roster in taken.targets}
        database.execute("BEGIN IMMEDIATE")
        try:
            # What is gone is told by the file: after a failed save nothing else knows what it holds.
            gone = set(database.execute("SELECT target, label FROM endpoint")) - keys
            stored = {row[0]: row for row in database.execute("SELECT name, identity, roster FROM target")}
            database.executemany(
                "INSERT OR REPLACE INTO target VALUES (?, ?, ?)",
                [row for name, row in targets.items() if stored.get(name) != row],
            )
            database.executemany(
                "DELETE FROM target WHERE name = ?", [(name,) for name in stored.keys() - targets.keys()]
            )
            database.executemany(
                "INSERT OR REPLACE INTO certificate VALUES (?, ?)",
                ((one.fingerprint_sha256, one.der) for row in changed for one in row.certificates),
            )
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
            database.executemany("DELETE FROM endpoint WHERE target = ? AND label = ?", gone)
            if changed or gone:
                needed = {one.fingerprint_sha256 for row in taken.rows for one in row.certificates}
                there = {row[0] for row in database.execute("SELECT fingerprint FROM certificate")}
                database.executemany(
                    "DELETE FROM certificate WHERE fingerprint = ?", [(one,) for one in there - needed]
                )
            database.execute("COMMIT")
        except BaseException:
            database.execute("ROLLBACK")
            raise
        self._saved = {(row.target, row.label): row.facts for row in taken.rows}

    def _unusable(self, error: Exception) -> StateError:
        return StateError(
            f"can't keep state in {self.path}: {error}. Held facts will not survive a restart: check that "
            "the directory exists, that this process may write in it, and that the disk is not full"
        )


def _roster(text: str) -> dict[str, float]:
    """
    The roster that `snapshot` wrote. Raises ValueError or TypeError when it is not that.
    """
    return {str(label): float(given) for label, given in dict(json.loads(text)).items()}


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


def decode(stored: dict[str, Any], certificates: Mapping[str, Certificate]) -> Facts:
    """
    The facts that `encode` wrote. Raises ValueError, KeyError or TypeError when they are not that.
    """
    tls = None
    if stored["tls"] is not None:
        staple = stored["tls"]["staple"]
        tls = Tls(**{**stored["tls"], "staple": base64.b64decode(staple) if staple is not None else None})
    return Facts(
        tuple(decode_item(item, certificates) for item in stored["items"]),
        tuple(
            # Files of the first versions hold no third value.
            Chain(tuple(certificates[one] for one in fingerprints), key, *presented)
            for key, fingerprints, *presented in stored["chains"]
        ),
        tls,
        # Files of the first versions have neither.
        tuple(FoundFault(Fault(fault), detail) for fault, detail in stored.get("faults", ())),
        tuple(FoundHazard(Hazard(hazard), detail) for hazard, detail in stored.get("hazards", ())),
    )


def encode_item(item: Item) -> list[Any]:
    """
    The item as JSON values, its certificate by fingerprint.
    """
    fingerprint = item.certificate.fingerprint_sha256 if item.certificate is not None else None
    renewal = item.renewal and [item.renewal.due, item.renewal.begin, item.renewal.explanation_url]
    return [item.name, item.kind, item.not_before, item.not_after, fingerprint, renewal]


def decode_item(stored: list[Any], certificates: Mapping[str, Certificate]) -> Item:
    """
    The item that `encode_item` wrote. Raises ValueError, KeyError or TypeError when it is not that.
    """
    name, kind, begin, end, fingerprint, *more = stored
    return Item(
        name,
        Kind(kind),
        begin,
        end,
        certificates[fingerprint] if fingerprint is not None else None,
        # Files of the first versions end before it.
        Renewal(*more[0]) if more and more[0] is not None else None,
    )


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


def decode_past(stored: dict[str, Any], certificates: Mapping[str, Certificate]) -> Past:
    """
    The past that `encode_past` wrote. Raises ValueError, KeyError or TypeError when it is not that.
    """
    previous = [decode_item(item, certificates) for item in stored["previous"]]
    return Past(
        {item.name: item for item in previous},
        stored["identity_changed_at"],
        # Files of the first versions have neither.
        stored.get("changed_at", {}),
        stored.get("rolled_back_at", {}),
        stored["trusted_at"],
    )


_NO_PAST = Past()
_NO_PAST_TEXT = json.dumps(encode_past(_NO_PAST))
