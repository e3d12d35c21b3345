"""
One scrape: the rows that metrics, pages and commands are made from.
"""

from dataclasses import dataclass, field

from exporter.engine.memory import EndpointMemory
from exporter.engine.results import TargetResult
from exporter.judgement.problems import Found, Known
from exporter.judgement.verdicts import Verdict
from exporter.model.observation import Failed
from exporter.model.targets import Target


@dataclass(frozen=True, slots=True)
class EndpointRow:
    """
    All that is exported for one endpoint.
    """

    target: Target
    label: str
    held: EndpointMemory
    verdict: Verdict | None
    """None when nothing was ever seen there."""

    @property
    def known(self) -> Known:
        """
        The same as far as problems are decided by it.
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
        )


@dataclass(frozen=True, slots=True)
class ProblemRow:
    """
    All that is exported for one problem.
    """

    found: Found
    since: float
    """When it was first found, in seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class TargetRow:
    """
    All that is exported for one target besides its endpoints.
    """

    target: Target
    prober: str
    left_out: int


@dataclass(frozen=True, slots=True)
class Scrape:
    """
    What one scrape saw: rows to export, and the results behind them.
    """

    # Not shown: when its loop ends, asyncio writes down what it gave, which takes longer than to look at it.
    targets: tuple[TargetRow, ...] = field(repr=False)
    endpoints: tuple[EndpointRow, ...] = field(repr=False)
    results: tuple[TargetResult, ...] = field(repr=False)
    duration: float
    """Seconds that the sweep took, or has taken so far."""
    timeout: float
    """Seconds that it might have taken."""
    complete: bool
    """True when every endpoint was looked at."""
    at: float
    """When it was made, in seconds since the epoch."""
    ended: float = 0.0
    """Loop time at which its sweep ended, or was to end: what follows is the making of the answer."""
    problems: tuple[ProblemRow, ...] = field(default=(), repr=False)

    @property
    def failures(self) -> int:
        """
        Endpoints whose look failed.
        """
        return sum(isinstance(row.held.observation, Failed) for row in self.endpoints)
