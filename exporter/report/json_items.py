"""
Endpoints and items as JSON values, for `check --output json` and /api/v1/items. Pure.

Times are seconds since the epoch, and once more as text in `rfc3339`; unknown values are null. The names are
API.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, islice

from exporter.engine.scrape import EndpointRow
from exporter.judgement.coverage import MOST_OF_ONE
from exporter.judgement.verdicts import JudgedItem
from exporter.model.observation import Failed
from exporter.report.filters import Selection
from exporter.report.inventory import Inventory
from exporter.report.status import Finding, Level, Status
from exporter.report.times import in_text

Document = dict[str, object]


FINDINGS_LIMIT = 20
"""Findings about an endpoint up to which each of its items has all of them. A file may have thousands of
items, each with a finding of its own."""


def endpoint(row: EndpointRow, inventory: Inventory, now: float) -> Document:
    """
    Return an endpoint with all its items.
    """
    status = inventory.status(row, now)
    head = {**_head(row), "policy": row.target.policy.name, "last_seen": row.held.seen_at}
    return {
        **in_text(head, "last_seen"),
        **_state(row, status.level, status.findings),
        "items": [
            in_text(item(judged, inventory), *_TIMES)
            for judged in (row.verdict.items if row.verdict is not None else ())
        ],
    }


def items(inventory: Inventory, selection: Selection, now: float) -> tuple[Document, Iterator[Document]]:
    """
    Return the head of the document, and an iterator of the selected page of items.

    An endpoint without items has one entry, whose item is null. Items are made one by one, since there may be
    many.
    """
    entries = inventory.select(selection, now)
    total = sum(len(one.row.verdict.items) or 1 if one.row.verdict is not None else 1 for one in entries)
    pairs = (
        (one.row, judged)
        for one in entries
        for judged in ((one.row.verdict.items if one.row.verdict is not None else ()) or (None,))
    )
    begin = (selection.page - 1) * selection.limit
    head: Document = {
        "seen_at": inventory.scrape.at,
        "total": total,
        "page": selection.page,
        "pages": -(-total // selection.limit),
        "limit": selection.limit,
    }
    head = in_text(head, "seen_at")
    shown = islice(pairs, begin, begin + selection.limit)
    return head, _items(shown, inventory, now)


def _items(
    shown: Iterable[tuple[EndpointRow, JudgedItem | None]], inventory: Inventory, now: float
) -> Iterator[Document]:
    # The items of an endpoint follow one another.
    for _, of_row in groupby(shown, key=lambda pair: id(pair[0])):
        told: _Findings | None = None
        for row, judged in of_row:
            told = told or _Findings(inventory.status(row, now))
            yield _item_of(row, judged, inventory, told)


class _Findings:
    """
    The findings about an endpoint, for each of its items.
    """

    def __init__(self, found: Status) -> None:
        self.level = found.level
        self._all = found.findings
        self._about: dict[str | None, list[Finding]] = defaultdict(list)
        for one in self._all:
            self._about[one.item].append(one)

    def of(self, judged: JudgedItem | None) -> Sequence[Finding]:
        """
        Return all; of more than FINDINGS_LIMIT the most urgent one, and those that are about this item or
        about the endpoint itself.
        """
        if len(self._all) <= FINDINGS_LIMIT:
            return self._all
        first, name = self._all[0], judged.item.name if judged is not None else None
        own = (*self._about[None], *(self._about[name] if name is not None else ()))
        return first, *(one for one in own if one is not first)


def unwatched(inventory: Inventory) -> Document:
    """
    Return the names that no target looks at, and the stored certificates that no server presents.
    """
    found = inventory.scrape.coverage
    document: Document = {
        "seen_at": inventory.scrape.at,
        "complete": found.complete,
        "names": [
            in_text(
                {
                    "name": one.name,
                    "wildcard": one.wildcard,
                    "has_address": found.addressed.get(one.name),
                    "suggestion": one.suggestion or None,
                    "target": one.target.name,
                    "location": one.location,
                    "fingerprint_sha256": one.certificate.fingerprint_sha256,
                    "not_after": one.certificate.not_after,
                },
                "not_after",
            )
            for one in found.gaps
        ],
        "nowhere": [{"url": one.url, "source": one.source, "why": one.why} for one in found.nowhere],
        "unused": [
            in_text(
                {
                    "target": one.target.name,
                    "location": one.location,
                    "item": one.item,
                    "subject": one.certificate.subject,
                    "dns_names": one.certificate.dns_names[:MOST_OF_ONE],
                    "fingerprint_sha256": one.certificate.fingerprint_sha256,
                    "not_after": one.certificate.not_after,
                },
                "not_after",
            )
            for one in found.unused
        ],
    }
    return in_text(document, "seen_at")


def _item_of(row: EndpointRow, judged: JudgedItem | None, inventory: Inventory, told: _Findings) -> Document:
    found: Document = {
        **_head(row),
        **(item(judged, inventory) if judged is not None else dict.fromkeys(_ITEM)),
        "last_seen": row.held.seen_at,
        **_state(row, told.level, told.of(judged)),
    }
    if judged is None:
        found["policy"] = row.target.policy.name
    return in_text(found, *_TIMES, "last_seen")


def _head(row: EndpointRow) -> Document:
    return {"target": row.target.name, "location": row.label, "labels": dict(row.target.labels)}


def _state(row: EndpointRow, level: Level, findings: Iterable[Finding]) -> Document:
    observation = row.held.observation
    failed = observation if isinstance(observation, Failed) else None
    return {
        "level": level.name.lower(),
        "findings": [
            {
                "problem": one.problem,
                "level": one.level.name.lower(),
                "words": one.words,
                "advice": one.advice,
                "item": one.item,
            }
            for one in findings
        ],
        "probe": {
            "success": failed is None,
            "reason": failed.reason if failed is not None else None,
            "detail": failed.detail if failed is not None else None,
            "duration_seconds": round(row.held.duration, 6),
        },
        "verification": {
            "success": not row.verdict.faults if row.verdict is not None else None,
            "faults": [
                {"reason": one.fault, "detail": one.detail}
                for one in (row.verdict.faults if row.verdict is not None else ())
            ],
        },
    }


_TIMES = ("not_before", "not_after", "renewal_due", "warning", "critical", "newest_not_after")


_ITEM = ("item", "kind", "policy", *_TIMES)


def item(judged: JudgedItem, inventory: Inventory) -> Document:
    """
    Return an item with its deadlines, and with the fields of its certificate if it has one.
    """
    one, due, certificate = judged.item, judged.deadlines, judged.item.certificate
    found: Document = {
        "item": one.name,
        "kind": one.kind,
        "policy": judged.policy.name,
        "not_before": one.not_before,
        "not_after": one.not_after,
        "renewal_due": due.renewal_due if due is not None else None,
        "warning": due.warning if due is not None else None,
        "critical": due.critical if due is not None else None,
        "newest_not_after": inventory.newest_end(judged),
    }
    if certificate is not None:
        found |= {
            "subject": certificate.subject,
            "issuer": certificate.issuer,
            "serial": certificate.serial,
            "fingerprint_sha256": certificate.fingerprint_sha256,
            "key": certificate.key,
            "dns_names": certificate.dns_names,
            "ip_addresses": certificate.ip_addresses,
        }
    return found
