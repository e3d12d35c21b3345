"""
Endpoints of a target, the steps of a probe, and the interface of probes.
"""

import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from exporter.model.errors import LeftOut, Outcome, ProbeError
from exporter.model.observation import Facts
from exporter.model.targets import Target

if TYPE_CHECKING:
    from exporter.probes.dependencies import Dependencies


@dataclass(frozen=True, slots=True)
class Endpoint:
    """
    One endpoint of a target. `label` is its name in metrics, unless the addresses of the name rotate.
    """

    label: str
    address: str = ""
    """An IP address or a path; empty for endpoints that need neither."""
    failure: ProbeError | None = None
    """The failure of locating it, when it is known already that it can't be probed."""


@dataclass(frozen=True, slots=True)
class Endpoints:
    """
    The endpoints of a target, and those that are left out.
    """

    found: tuple[Endpoint, ...]
    left_out: tuple[LeftOut, ...] = ()
    lasting: bool = False
    """True when the target always has these: they need not be found again."""


@dataclass(slots=True)
class Trace:
    """
    The steps of one probe, for error messages and for debug output.
    """

    clock: Callable[[], float]
    phase: str = "start"
    deadline: float = math.inf
    """Loop time at which the caller stops waiting for the probe."""
    steps: list[tuple[float, str]] | None = None
    """`(time, words)` of each step; None when the caller wants no steps."""

    def note(self, words: str, *values: object) -> None:
        """
        Record a step, if the caller wants steps. The values replace each `%s`.
        """
        if self.steps is not None:
            self.steps.append((self.clock(), words % values))


Tell = Callable[[int, Outcome, float], None]
"""Reports an outcome: takes the position of an endpoint in the target, the outcome, and the seconds it
took."""


LookAll = Callable[[Target, Sequence[Endpoint], "Dependencies", Tell], Awaitable[None]]
"""Probes all endpoints and reports each. Raises the errors of `Probe.look`; the endpoints not reported by
then were not probed."""


@dataclass(frozen=True, slots=True)
class Probe:
    """
    The probe for one kind of target.
    """

    name: str
    """The `prober` label of `expiry_target_info`."""
    endpoints: Callable[[Target, "Dependencies"], Awaitable[Endpoints]]
    """Returns the endpoints of a target. Raises ProbeError when none of them can be probed."""
    look: Callable[[Target, Endpoint, "Dependencies", Trace], Awaitable[Facts]]
    """Probes one endpoint and returns its facts. Raises ProbeError, OSError or TimeoutError."""
    look_all: LookAll | None = None
    """Probes all endpoints of a target at once, for kinds with thousands of them; None: `look` is called for
    each."""
    local: bool = False
    """True when it sends nothing over the network, so that it need not wait for a network slot."""
