"""
The rows of the state file: values to JSON and back, each checked by its type.

A damaged row is reported by itself, and the others are used.
"""

import base64
import json
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from exporter.engine.memory import NOT_LOOKED_AT, EndpointMemory, TargetMemory
from exporter.judgement.history import Past
from exporter.model.observation import Certificate, Chain, Facts, FoundFault, FoundHazard, Item, Renewal, Tls
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
        self.found[as_text(name)] = TargetMemory(as_text(identity), roster=as_moments(from_json(roster)))

    def _endpoint(self, target: object, label: object, seen_at: object, facts: object, past: object) -> None:
        there = as_text(label)
        # Until the first sweep after a restart says otherwise.
        held = EndpointMemory(
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


def past_text(past: Past) -> str:
    """
    Return the past as JSON text. Most endpoints have none.
    """
    if past == _NO_PAST:
        return _NO_PAST_TEXT
    return json.dumps(encode_past(past))


def encode_past(past: Past) -> dict[str, Any]:
    """
    Return the past as JSON values, certificates by fingerprint.
    """
    return {
        "previous": [encode_item(item) for item in past.previous.values()],
        "identity_changed_at": past.identity_changed_at,
        "changed_at": past.changed_at,
        "rolled_back_at": past.rolled_back_at,
        "trusted_at": past.trusted_at,
        "nameless": past.nameless,
    }


def decode_past(stored: object, certificates: Mapping[str, Certificate]) -> Past:
    """
    Return the past from values that `encode_past` made. Raises ValueError or KeyError for others.
    """
    read = as_mapping(stored)
    previous = [decode_item(item, certificates) for item in as_list(read["previous"])]
    trusted_at = read["trusted_at"]
    # Files of the first versions do not have it.
    nameless = read.get("nameless")
    return Past(
        {item.name: item for item in previous},
        as_moments(read["identity_changed_at"]),
        # Files of the first versions have neither.
        as_moments(read.get("changed_at", {})),
        as_moments(read.get("rolled_back_at", {})),
        as_moment(trusted_at) if trusted_at is not None else None,
        nameless=_span(nameless) if nameless is not None else None,
    )


def _span(stored: object) -> tuple[float, float]:
    begin, last = map(as_moment, as_list(stored))
    return begin, last


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


_NO_PAST = Past()


_NO_PAST_TEXT = json.dumps(encode_past(_NO_PAST))
