"""
A line of the table, and how much is measured for it.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """
    One line of the table. `ours` is judged by `target` unless there is a `ratio`: then that is.
    """

    what: str
    ours: float
    unit: str
    peer: float | None = None
    """The same of the peer, or the bound that the figure is compared with; None when there is none."""
    ratio: float | None = None
    at_most: float | None = None
    at_least: float | None = None
    """Targets; both None for a figure that explains the others."""

    @property
    def met(self) -> bool | None:
        """
        Whether the target is met; None when there is none.
        """
        figure = self.ours if self.ratio is None else self.ratio
        if self.at_most is not None:
            return figure <= self.at_most
        return None if self.at_least is None else figure >= self.at_least


@dataclass(frozen=True, slots=True)
class Sizes:
    """
    How much is measured.
    """

    many: int = 2000
    some: int = 1000
    silent: int = 50
    rounds: int = 5
    repeats: int = 3
    fleet: int = 10_000
    scrapes: int = 50
    timeouts: tuple[float, ...] = (10.0, 5.0)
    """Scrape timeouts in seconds: Prometheus's own, and half of it."""
    evaluations: int = 6
    interval: int = 5
    """Seconds between two scrapes of Prometheus, and between two evaluations of the rules."""
    crowd: int = 60
    """Seconds for which many ask at the port."""


QUICK = Sizes(
    many=100,
    some=50,
    silent=5,
    rounds=1,
    repeats=1,
    fleet=100,
    scrapes=2,
    timeouts=(2.0, 1.0),
    evaluations=2,
    interval=1,
    crowd=2,
)
