"""
The rows of the state file: values to JSON and back, each checked by its type.

A damaged row is reported by itself, and the others are used.
"""

import base64
import contextlib
import json
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, astuple, dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from exporter.engine.by_turns import Shown
from exporter.engine.memory import NOT_LOOKED_AT, EndpointMemory, TargetMemory
from exporter.engine.sightings import FEW, RECENT, Sightings
from exporter.engine.state_errors import FROM_SQLITE
from exporter.judgement.habit import PAUSES, REMEMBERED, Habit, Replacement
from exporter.judgement.history import Former, Past
from exporter.model.observation import Certificate, Chain, Facts, FoundFault, FoundHazard, Item, Renewal, Tls
from exporter.model.policies import Severity
from exporter.model.problems import Problem
from exporter.model.reasons import Fault, Hazard, Kind
from exporter.pki.certificates import certificate

LATEST = 1e12
"""Largest absolute value of a time, in seconds since the epoch: the year 33658."""


@dataclass(frozen=True, slots=True)
class BadRow:
    """
    A damaged row: no version of this program wrote it.
    """

    table: str
    rowid: int
    what: str
    """The target or endpoint of the row, for a person."""
    cause: str


class Reading:
    """
    The content of a state file, each row checked: the state found, and the damaged rows.
    """

    def __init__(self, database: sqlite3.Connection) -> None:
        """
        Read all rows. Raises sqlite3.Error.
        """
        self.found: dict[str, TargetMemory] = {}
        self.bad: list[BadRow] = []
        self.lists: dict[str, tuple[float, str]] = {}
        """By source, when it was last read, and its list of discovered targets."""
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
        # Files of earlier versions lack these tables.
        tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
        if "problem" in tables:
            for rowid, *row in database.execute("SELECT rowid, * FROM problem"):
                self._take("problem", rowid, f"problem of target {row[0]!r:.200}", self._problem, row)
        if "listing" in tables:
            for rowid, *row in database.execute("SELECT rowid, * FROM listing"):
                self._take("listing", rowid, f"list of source {row[0]!r:.200}", self._list, row)

    def _list(self, source: object, at: object, content: object) -> None:
        self.lists[as_text(source)] = as_moment(at), as_text(content)

    def _problem(
        self, target: object, item: object, problem: object, severity: object, since: object
    ) -> None:
        name = as_text(target)
        key = name, as_text(item), Problem(as_text(problem)), Severity(as_text(severity))
        began = as_moment(since)
        if (known := self.found.get(name)) is not None:
            known.began[key] = began

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
        self.found[as_text(name)] = TargetMemory(as_text(identity), roster=as_moments(from_json(roster)))

    def _endpoint(self, target: object, label: object, seen_at: object, facts: object, past: object) -> None:
        there = as_text(label)
        read = from_json(past)
        # Until the first sweep after a restart says otherwise.
        held = EndpointMemory(
            NOT_LOOKED_AT,
            0.0,
            decode(from_json(facts), self._certificates),
            as_moment(seen_at),
            past=decode_past(read, self._certificates),
        )
        held.looks, held.shown = settled(held.past, as_moment(seen_at))
        if (turns := as_mapping(read).get("turns")) is not None:
            decode_turns(held, turns, self._certificates)
        known = self.found.get(as_text(target))
        listed = as_mapping(read).get("listed")
        if known is None:
            return
        if listed is None:
            known.endpoints[there] = held
            return
        looks, absent, sightings = as_list(listed)
        held.listed = _sightings(sightings)
        known.looks = as_count(looks)
        (known.absent if as_flag(absent) else known.endpoints)[there] = held


def certificates_of(facts: Facts, previous: Iterable[Item]) -> Iterable[Certificate]:
    """
    Return every certificate in the facts and in the previous items.
    """
    for chain in facts.chains:
        yield from chain.certificates
    for item in (*facts.items, *previous):
        if item.certificate is not None:
            yield item.certificate


def encode(facts: Facts) -> dict[str, Any]:
    """
    Return the facts as JSON values, certificates by fingerprint. Failed look-ups are not kept: they are
    repeated.
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
    Return the facts from values that `encode` made. Raises ValueError or KeyError for others.
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
    Return the item as JSON values, its certificate by fingerprint.
    """
    fingerprint = item.certificate.fingerprint_sha256 if item.certificate is not None else None
    renewal = item.renewal and [item.renewal.due, item.renewal.begin, item.renewal.explanation_url]
    return [item.name, item.kind, item.not_before, item.not_after, fingerprint, renewal]


def decode_item(stored: object, certificates: Mapping[str, Certificate]) -> Item:
    """
    Return the item from values that `encode_item` made. Raises ValueError or KeyError for others.
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


def past_text(held: EndpointMemory, known: TargetMemory) -> str:
    """
    Return an endpoint's past as JSON text, with what is known of others that take turns with it.
    """
    past = encode_past(held.past)
    if held.others:
        past["turns"] = encode_turns(held)
    if known.absent:
        is_absent = any(one is held for one in known.absent.values())
        past["listed"] = [known.looks, is_absent, astuple(held.listed)]
    return json.dumps(past)


def encode_turns(held: EndpointMemory) -> dict[str, Any]:
    """
    Return what servers showed in turn at an endpoint as JSON values, certificates by fingerprint.
    """
    return {
        "looks": held.looks,
        "shown": astuple(held.shown),
        "mixed": held.mixed,
        "others": [[encode(one.facts), one.seen_at, astuple(one.sightings)] for one in held.others],
    }


def decode_turns(held: EndpointMemory, stored: object, certificates: Mapping[str, Certificate]) -> None:
    """
    Add what servers showed in turn from values that `encode_turns` made. Raises ValueError or KeyError.
    """
    read = as_mapping(stored)
    held.looks = as_count(read["looks"])
    held.shown = _sightings(read["shown"])
    # Older versions had none.
    held.mixed = as_flag(read.get("mixed", False))
    for one in as_list(read["others"]):
        facts, seen_at, sightings = as_list(one)
        shown = Shown(decode(facts, certificates), as_moment(seen_at), _sightings(sightings))
        held.others = (*held.others, shown)


def _sightings(stored: object) -> Sightings:
    came, since, left, returns, missed, patience, *rest = as_list(stored)  # Older versions had no rest.
    limit, at_once, turn = (*rest, *(None, 0, False)[len(rest) :])[:3]
    return Sightings(
        as_count(came),
        as_moment(since),
        as_count(left),
        # More than it counts itself would only make it forget later.
        min(as_count(returns), RECENT),
        as_moment(missed),
        as_moment(patience),
        None if limit is None else as_moment(limit),
        as_count(at_once),
        as_flag(turn),
    )


def settled(past: Past, seen_at: float) -> tuple[int, Sightings]:
    """
    Return the number of looks and the sightings of what was shown alone until `seen_at`, for a new start.
    """
    times = past.changed_at.values() or [seen_at if past.first_at is None else past.first_at]
    return FEW, Sightings(0, min(max(times), seen_at))


def encode_past(past: Past) -> dict[str, Any]:
    """
    Return the past as JSON values, certificates by fingerprint, without what is empty: most of most pasts.
    """
    values = {
        "previous": [encode_item(item) for item in past.previous.values()],
        "identity_changed_at": past.identity_changed_at,
        "changed_at": past.changed_at,
        "rolled_back_at": past.rolled_back_at,
        "moved_at": past.moved_at,
        "trusted_at": past.trusted_at,
        "first_at": past.first_at,
        "served": past.served,
        "formers": {name: [astuple(one) for one in formers] for name, formers in past.formers.items()},
        "nameless": past.nameless,
        "failing_since": past.failing_since,
        "habits": {
            name: [one.newest, one.at, one.renewals, one.since, one.pauses]
            for name, one in past.habits.items()
        },
    }
    # These are always there, since older versions of this program expect them.
    expected = {"previous", "identity_changed_at", "trusted_at"}
    return {key: one for key, one in values.items() if one or one == 0.0 or key in expected}


def decode_past(stored: object, certificates: Mapping[str, Certificate]) -> Past:
    """
    Return the past from values that this version or an older one encoded. Raises ValueError or KeyError.
    """
    read = as_mapping(stored)
    previous = [decode_item(item, certificates) for item in as_list(read["previous"])]
    trusted_at, first_at = read["trusted_at"], read.get("first_at")
    formers = as_mapping(read.get("formers", {}))
    nameless, failing_since = read.get("nameless"), read.get("failing_since")
    return Past(
        {item.name: item for item in previous},
        as_moments(read["identity_changed_at"]),
        as_moments(read.get("changed_at", {})),
        as_moments(read.get("rolled_back_at", {})),
        as_moment(trusted_at) if trusted_at is not None else None,
        as_moment(first_at) if first_at is not None else None,
        as_moments(read.get("served", {})),
        {name: tuple(_former(one) for one in as_list(found)) for name, found in formers.items()},
        nameless=_span(nameless) if nameless is not None else None,
        failing_since=as_moment(failing_since) if failing_since is not None else None,
        moved_at=as_moments(read.get("moved_at", {})),
        habits={name: _habit(one) for name, one in as_mapping(read.get("habits", {})).items()},
    )


def _former(stored: object) -> Former:
    fingerprint, issuer, key, first_at, returned, *more = as_list(stored)
    # Files of the first versions end before these.
    more += (False, 0.0, False, False)[len(more) :]
    turned, issued_at, trusted, displaced = more
    former = Former(as_text(fingerprint), as_text(issuer), as_text(key), as_moment(first_at))
    former = replace(former, returned=as_flag(returned), turned=as_flag(turned), trusted=as_flag(trusted))
    return replace(former, issued_at=as_moment(issued_at), displaced=as_flag(displaced))


def _span(stored: object) -> tuple[float, float]:
    begin, last = map(as_moment, as_list(stored))
    return begin, last


def _habit(stored: object) -> Habit:
    newest, at, renewals, *more = as_list(stored)
    read = [_replacement(one) for one in as_list(renewals)[-REMEMBERED:]]
    # Files of the first versions have neither.
    since, pauses = more or (None, [])
    return Habit(
        as_moment(newest),
        as_moment(at),
        tuple(read),
        as_moment(since) if since is not None else None,
        tuple(_span(one) for one in as_list(pauses)[-PAUSES:]),
    )


def _replacement(stored: object) -> Replacement:
    age, left = map(as_moment, as_list(stored))
    if age <= 0 or age + left <= 0:
        raise ValueError("a renewal of an item without a lifetime")
    return Replacement(age, left)


def from_json(value: object) -> object:
    """
    Parse a JSON text of the file. Raises ValueError, or RecursionError when it is nested too deeply.
    """
    found: object = json.loads(as_text(value))
    return found


def as_text(value: object) -> str:
    """
    Return the value if it is text that can be encoded as UTF-8. Raises ValueError.
    """
    if not isinstance(value, str):
        raise ValueError(f"{value!r:.80} is not a text")  # noqa: TRY004 - of the file's, not of the code's
    value.encode()
    return value


def as_moment(value: object) -> float:
    """
    Return the value if it is a number of seconds that a date can have. Raises ValueError.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= LATEST:
        raise ValueError(f"{value!r:.80} is no moment")
    return float(value)


def as_count(value: object) -> int:
    """
    Return the value if it is a whole number that is not negative. Raises ValueError.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= LATEST:
        raise ValueError(f"{value!r:.80} is no count")
    return value


def as_flag(value: object) -> bool:
    """
    Return the value if it is a boolean. Raises ValueError.
    """
    if not isinstance(value, bool):
        raise ValueError(f"{value!r:.80} is neither true nor false")  # noqa: TRY004 - as above
    return value


def as_list(value: object) -> list[Any]:
    """
    Return the value if it is a list. Raises ValueError.
    """
    if not isinstance(value, list | tuple):
        raise ValueError(f"{value!r:.80} is not a list")  # noqa: TRY004 - as above
    return list(value)


def as_mapping(value: object) -> dict[str, Any]:
    """
    Return the value if it is a mapping with texts as keys. Raises ValueError.
    """
    if not isinstance(value, dict):
        raise ValueError(f"{value!r:.80} is not a mapping")  # noqa: TRY004 - as above
    return {as_text(key): one for key, one in value.items()}


def as_moments(value: object) -> dict[str, float]:
    """
    Return the value if it is a mapping of texts to times. Raises ValueError.
    """
    return {key: as_moment(one) for key, one in as_mapping(value).items()}


def save_lists(database: sqlite3.Connection, lists: Iterable[tuple[str, float, str]]) -> None:
    """
    Write the lists of discovered targets as far as they changed. Raises sqlite3.Error.
    """
    wanted = {source: (at, content) for source, at, content in lists}
    there = dict(database.execute("SELECT source, content FROM listing").fetchall())
    database.executemany(
        "DELETE FROM listing WHERE source = ?", [(one,) for one in there if one not in wanted]
    )
    for source, (at, content) in wanted.items():
        if there.get(source) == content:
            database.execute("UPDATE listing SET at = ? WHERE source = ? AND at != ?", (at, source, at))
        else:
            database.execute("INSERT OR REPLACE INTO listing VALUES (?, ?, ?)", (source, at, content))


def read_lists(path: Path) -> dict[str, tuple[float, str]]:
    """
    Return the lists of discovered targets in a state file, time and content by source; none if there is no
    such file. It is only read, and another process may be writing it.
    """
    name = quote(str(path.absolute()))
    try:
        with contextlib.closing(sqlite3.connect(f"file:{name}?mode=ro", uri=True)) as database:
            rows = database.execute("SELECT source, at, content FROM listing").fetchall()
            return {as_text(source): (as_moment(at), as_text(content)) for source, at, content in rows}
    except (*FROM_SQLITE, ValueError, TypeError):
        return {}
