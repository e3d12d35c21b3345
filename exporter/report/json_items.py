"""
Endpoints and items as JSON values, for `check --output json` and /api/v1/items. Pure.

Times are seconds since the epoch; unknown values are null. The names are API.
"""

from collections.abc import Iterator
from itertools import islice

from exporter.engine.scrape import EndpointRow
from exporter.judgement.verdicts import JudgedItem
from exporter.model.observation import Failed
from exporter.report.filters import Selection
from exporter.report.inventory import Inventory
from exporter.report.status import Status

Document = dict[str, object]


def endpoint(row: EndpointRow, inventory: Inventory, now: float) -> Document:
    """
    Return an endpoint with all its items.
    """
    return {
        **_head(row),
        **_state(row, inventory.status(row, now)),
        "items": [item(judged) for judged in (row.verdict.items if row.verdict is not None else ())],
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
    shown = islice(pairs, begin, begin + selection.limit)
    return head, (_item_of(row, judged, inventory, now) for row, judged in shown)


def _item_of(row: EndpointRow, judged: JudgedItem | None, inventory: Inventory, now: float) -> Document:
    return {
        **_head(row),
        **({"policy": judged.policy.name} if judged is not None else {}),
        "labels": dict(row.target.labels),
        **(item(judged) if judged is not None else dict.fromkeys(_ITEM)),
        "newest_not_after": inventory.newest_end(judged) if judged is not None else None,
        "last_seen": row.held.seen_at,
        **_state(row, inventory.status(row, now)),
    }


def _head(row: EndpointRow) -> Document:
    return {"target": row.target.name, "location": row.label, "policy": row.target.policy.name}


def _state(row: EndpointRow, found: Status) -> Document:
    observation = row.held.observation
    failed = observation if isinstance(observation, Failed) else None
    return {
        "level": found.level.name.lower(),
        "findings": [
            {
                "problem": one.problem,
                "level": one.level.name.lower(),
                "words": one.words,
                "advice": one.advice,
                "item": one.item,
            }
            for one in found.findings
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


_ITEM = ("item", "kind", "not_before", "not_after", "renewal_due", "warning", "critical")


def item(judged: JudgedItem) -> Document:
    """
    Return an item with its deadlines, and with the fields of its certificate if it has one.
    """
    one, due, certificate = judged.item, judged.deadlines, judged.item.certificate
    found: Document = {
        "item": one.name,
        "kind": one.kind,
        "not_before": one.not_before,
        "not_after": one.not_after,
        "renewal_due": due.renewal_due if due is not None else None,
        "warning": due.warning if due is not None else None,
        "critical": due.critical if due is not None else None,
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
