"""
One scrape: the rows from which metrics, pages and commands are made.

Nobody changes a row once it is made. They are not frozen since that makes them in four times the time, and
there is one for every endpoint of every scrape.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from math import inf

from exporter.engine.by_turns import is_seldom
from exporter.engine.memory import EndpointMemory, ProblemRow
from exporter.engine.results import TargetResult
from exporter.engine.sightings import FEW
from exporter.judgement.coverage import Coverage
from exporter.judgement.issued import NONE, Issuances
from exporter.judgement.newest import kin_of
from exporter.judgement.problems import Known
from exporter.judgement.registrations import may_be_unpaid
from exporter.judgement.verdicts import JudgedItem, Verdict
from exporter.model.observation import Failed
from exporter.model.targets import Target


@dataclass(slots=True)
class EndpointRow:
    """
    One endpoint as it is exported.
    """

    target: Target
    label: str
    held: EndpointMemory
    verdict: Verdict | None
    """None when the endpoint was never seen."""
    others: tuple[Known, ...] = ()
    """What other servers behind the same address or name showed in turn; empty for most."""
    before: tuple[Verdict, ...] = ()
    """Verdicts on all that was seen in this place lately: what is newer there is known."""
    unwatched: tuple[str, ...] = ()
    """Names on its certificate that no target looks at, where that is a problem; empty for most."""

    @property
    def is_unsettled(self) -> bool:
        """
        True where several servers may take turns, and too few looks were made to know whether they do; or
        where the end of a domain may have been moved before it was first seen, by nobody knows whom.
        """
        if self.target.url.scheme == "domain":
            return may_be_unpaid(self.held.facts, self.held.past.first_at, self.held.seen_at)
        return 0 < self.held.looks < FEW and self.target.is_served

    @property
    def knowns(self) -> tuple[Known, ...]:
        """
        All by which problems are decided: this endpoint, and what others show in its place.
        """
        return self.known, *self.others

    @property
    def known(self) -> Known:
        """
        The part of the row by which problems are decided.
        """
        held = self.held
        return Known(
            self.target,
            self.label,
            held.observation,
            held.seen_at,
            held.facts,
            self.verdict,
            held.judged,
            held.past,
            tuple(one.facts for one in self.others if one.likely and one.facts is not None),
            self.unwatched,
            any(one.one_of_several for one in self.others),
            seldom=tuple(one.facts for one in held.others if is_seldom(one)),
        )


@dataclass(slots=True)
class TargetRow:
    """
    One target as it is exported, without its endpoints.
    """

    target: Target
    prober: str
    left_out: int


@dataclass(frozen=True, slots=True)
class Scrape:
    """
    The result of one scrape: rows to export, and the results of the probes behind them.
    """

    # Not in repr(): when its loop ends, asyncio formats the result, which takes longer than the probes.
    targets: tuple[TargetRow, ...] = field(repr=False)
    endpoints: tuple[EndpointRow, ...] = field(repr=False)
    results: tuple[TargetResult, ...] = field(repr=False)
    duration: float
    """Seconds that the sweep took, or has taken so far."""
    timeout: float
    """Seconds that it was given."""
    complete: bool
    """True when every endpoint was probed."""
    at: float
    """Time at which it was made, in seconds since the epoch."""
    ended: float = 0.0
    """Loop time at which its sweep ended or was due to end; the response is rendered after that."""
    cut: int = 0
    """Number of targets that were not probed in time."""
    problems: tuple[ProblemRow, ...] = field(default=(), repr=False)
    issuances: Issuances = field(default=NONE, repr=False)
    """What public logs know; nothing where a part of the targets was probed."""
    coverage: Coverage = field(default=Coverage(), repr=False)
    """What nobody watches; nothing where that was not asked for."""

    @property
    def failures(self) -> int:
        """
        Number of endpoints that the last probe could not see.
        """
        return sum(
            isinstance(row.held.observation, Failed) and row.held.observation.saw_nothing
            for row in self.endpoints
        )


def verdicts(rows: Iterable[EndpointRow]) -> Iterator[Verdict | None]:
    """
    Yield the verdicts on all endpoints, and on what was seen in their place lately.

    What a rollback took away counts for as long as that lasts: it was renewed, and is not deployed there.
    """
    for row in rows:
        yield row.verdict
        yield from row.before
        for name in row.held.past.rolled_back_at:
            leaf = row.held.past.previous.get(name)
            if leaf is not None and leaf.certificate is not None:
                kin = kin_of(leaf.certificate, row.target.name, name, served=True)
                # Only what clients accepted is remembered.
                yield Verdict((JudgedItem(leaf, None, trusted=True, kin=kin),), (), -inf, inf)
