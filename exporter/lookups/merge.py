"""
Facts with additions: results of look-ups, added to the facts of a probe.

The same additions to the same facts return the same object, since facts that are the same object keep their
verdict and their metric lines.
"""

from collections.abc import Iterable
from dataclasses import replace

from exporter.model.caches import remembered
from exporter.model.observation import (
    Certificate,
    Facts,
    FailedLookup,
    FoundFault,
    FoundHazard,
    Item,
    Renewal,
)


class _Same:
    """
    Facts that are equal only to the same object: to compare their content would cost more than it saves.
    """

    __slots__ = ("facts",)

    def __init__(self, facts: Facts) -> None:
        self.facts = facts

    def __hash__(self) -> int:
        return id(self.facts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.facts is self.facts


def added(
    facts: Facts,
    items: tuple[Item, ...] = (),
    faults: tuple[FoundFault, ...] = (),
    hazards: tuple[FoundHazard, ...] = (),
    unanswered: Iterable[FailedLookup] = (),
) -> Facts:
    """
    Return the facts with these additions after their own; the same object when there are none.
    """
    failed = tuple(dict.fromkeys(unanswered))
    if not (items or faults or hazards or failed):
        return facts
    return _added(_Same(facts), items, faults, hazards, failed)


def renewed(facts: Facts, renewals: tuple[tuple[str, Renewal], ...]) -> Facts:
    """
    Return the facts with these renewal times, by certificate fingerprint; the same object when there are
    none.
    """
    return _renewed(_Same(facts), renewals) if renewals else facts


@remembered("facts", apart=(Certificate,))
def _added(
    same: _Same,
    items: tuple[Item, ...],
    faults: tuple[FoundFault, ...],
    hazards: tuple[FoundHazard, ...],
    unanswered: tuple[FailedLookup, ...],
) -> Facts:
    facts = same.facts
    return replace(
        facts,
        items=facts.items + items,
        faults=facts.faults + faults,
        hazards=facts.hazards + hazards,
        unanswered=facts.unanswered + unanswered,
    )


@remembered("facts", apart=(Certificate,))
def _renewed(same: _Same, renewals: tuple[tuple[str, Renewal], ...]) -> Facts:
    by_fingerprint = dict(renewals)
    items = tuple(_with_renewal(item, by_fingerprint) for item in same.facts.items)
    return replace(same.facts, items=items)


def _with_renewal(item: Item, by_fingerprint: dict[str, Renewal]) -> Item:
    renewal = (
        by_fingerprint.get(item.certificate.fingerprint_sha256) if item.certificate is not None else None
    )
    return item if renewal is None else replace(item, renewal=renewal)
