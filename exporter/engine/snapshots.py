"""
Snapshots: what is saved of the memory, taken on the event loop so that another thread can write it.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from exporter.engine.memory import TargetMemory
from exporter.engine.state_rows import certificates_of, past_text
from exporter.model.observation import Certificate, Facts, Item


@dataclass(frozen=True, slots=True)
class Row:
    """
    One endpoint as it is saved.
    """

    target: str
    label: str
    seen_at: float
    facts: Facts
    past: str
    """The endpoint's past as JSON."""
    previous: tuple[Item, ...]
    """Items that the past refers to."""
    others: tuple[Facts, ...] = ()
    """What other servers showed there in turn, to which the past refers, too."""

    @property
    def certificates(self) -> Iterable[Certificate]:
        """
        All certificates that the facts and the past refer to.
        """
        yield from certificates_of(self.facts, self.previous)
        for facts in self.others:
            yield from certificates_of(facts, ())

    def is_as(self, saved: tuple[Facts, ...]) -> bool:
        """
        Return True when these are the facts that were saved, so that their certificates are in the file.
        """
        now = self.facts, *self.others
        return len(now) == len(saved) and all(one is other for one, other in zip(now, saved, strict=True))


@dataclass(frozen=True, slots=True)
class Snapshot:
    """
    The state to save, taken on the event loop so that another thread can write it.
    """

    targets: tuple[tuple[str, str, str], ...]
    """Name, identity, roster as JSON."""
    rows: tuple[Row, ...]
    problems: tuple[tuple[str, str, str, str, float], ...]
    """Target, item, problem, severity and start of each problem."""
    lists: tuple[tuple[str, float, str], ...]
    """Source, time of its last success, and content of each list of discovered targets."""


class Part(NamedTuple):
    """
    One target's part of a snapshot.
    """

    target: tuple[str, str, str]
    """Name, identity, roster as JSON."""
    rows: tuple[Row, ...]
    problems: tuple[tuple[str, str, str, str, float], ...]


def part(name: str, known: TargetMemory) -> Part:
    """
    Return what is to be saved of one target.
    """
    rows = tuple(
        Row(
            name,
            label,
            held.seen_at,
            held.facts,
            past_text(held, known),
            tuple(held.past.previous.values()),
            tuple(one.facts for one in held.others),
        )
        for label, held in (known.endpoints | known.absent if known.absent else known.endpoints).items()
        if held.facts is not None and held.seen_at is not None
    )
    problems = tuple((*key, row.since) for key, row in known.problems.items())
    # Only a name that is looked up has one.
    roster = json.dumps(known.roster) if known.roster else "{}"
    return Part((name, known.identity, roster), rows, problems)


def snapshot(parts: Sequence[Part], lists: tuple[tuple[str, float, str], ...] = ()) -> Snapshot:
    """
    Return the parts of all targets, and the lists of discovered targets, as one.
    """
    return Snapshot(
        tuple(one.target for one in parts),
        tuple(row for one in parts for row in one.rows),
        tuple(problem for one in parts for problem in one.problems),
        lists,
    )
