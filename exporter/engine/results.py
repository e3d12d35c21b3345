"""
What a sweep gives: the result of each probe of each endpoint, by target.
"""

from dataclasses import dataclass

from exporter.model.errors import LeftOut
from exporter.model.observation import Facts, Failed, Observation, Observed
from exporter.model.targets import Target


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """
    One probe of one endpoint, with what the probe itself saw.
    """

    label: str
    observation: Observation
    duration: float
    """Seconds."""
    steps: tuple[tuple[float, str], ...] = ()
    """What was done, each with the seconds since the look began; empty when nobody asked."""
    turn: float | None = None
    """Monotonic time at which it began; None when it had no turn, or too little time to count as one."""
    address: str | None = None
    """Of the endpoint that was probed, empty where only a proxy knows it; None when the probe did not end."""


@dataclass(frozen=True, slots=True)
class TargetResult:
    """
    What one sweep gave for one target.
    """

    target: Target
    looks: tuple[ProbeResult, ...]
    located: bool
    """True when the endpoints of the target are known: then those without a look exist no more."""
    left_out: tuple[LeftOut, ...] = ()
    going_on: frozenset[str] = frozenset()
    """Labels of looks that were cut off for one scrape only: they go on for others."""


def seen_facts(observation: Observation) -> Facts | None:
    """
    What was seen, even if the look failed afterwards; None when nothing was.
    """
    match observation:
        case Observed(facts):
            return facts
        case Failed(facts=facts):
            return facts
