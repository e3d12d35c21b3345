"""
Results of a sweep: those of the probes of each endpoint, by target.

Nobody changes them once they are made. They are not frozen since that makes them in four times the time, and
there is one of each for every probe.
"""

from dataclasses import dataclass
from typing import NamedTuple

from exporter.model.errors import LeftOut
from exporter.model.observation import Facts, Failed, Observation
from exporter.model.reasons import Reason
from exporter.model.targets import Target

SILENT = frozenset({Reason.TIMEOUT, Reason.DNS_TIMEOUT, Reason.CONNECT_TIMEOUT, Reason.HANDSHAKE_TIMEOUT})
"""Reasons of probes that got no answer."""


@dataclass(slots=True)
class ProbeResult:
    """
    The result of one probe of one endpoint.
    """

    label: str
    observation: Observation
    duration: float
    """Seconds."""
    steps: tuple[tuple[float, str], ...] = ()
    """The steps, each with the seconds since the probe began; empty when they were not traced."""
    turn: float | None = None
    """Loop time at which it began; None when it had no turn, or too little time to count as one."""
    address: str | None = None
    """Address of the endpoint, empty where only a proxy knows it; None when the probe did not end."""


@dataclass(slots=True)
class TargetResult:
    """
    The result of one sweep for one target.
    """

    target: Target
    looks: tuple[ProbeResult, ...]
    located: bool
    """
    True when the target's endpoints are known: remembered ones that are not among `looks` exist no more.
    """
    left_out: tuple[LeftOut, ...] = ()
    going_on: frozenset[str] = frozenset()
    """Labels of probes that were cut off for this scrape only: they continue for others."""


class Given(NamedTuple):
    """
    One result of a sweep: of a probe when it ends, or of a target after its last probe.
    """

    at: float
    """Time at which it ended, in seconds since the epoch."""
    target: Target
    result: ProbeResult | TargetResult


def seen_facts(observation: Observation) -> Facts | None:
    """
    Return the facts seen, even if the probe failed afterwards; None when there are none.
    """
    return observation.facts


def is_silent(observation: Observation) -> bool:
    """
    Return True when the probe got no answer in its time.
    """
    return isinstance(observation, Failed) and observation.reason in SILENT
