"""
The places of a target, as probes find them.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from exporter.model.errors import LeftOut, Outcome, ProbeError
from exporter.model.observation import Facts
from exporter.model.targets import Target
from exporter.net.network import Trace
from exporter.probes.dependencies import Dependencies


@dataclass(frozen=True, slots=True)
class Endpoint:
    """
    One place of a target. `label` is what it is called in metrics, unless its name's addresses rotate.
    """

    label: str
    address: str = ""
    """An IP address or a path; empty for places that need neither."""
    failure: ProbeError | None = None
    """Why it can't be probed, if that was known when it was located."""


@dataclass(frozen=True, slots=True)
class Endpoints:
    """
    The places of a target, and those that are left out.
    """

    found: tuple[Endpoint, ...]
    left_out: tuple[LeftOut, ...] = ()


Tell = Callable[[int, Outcome, float], None]
"""Takes the position of a place among those of its target, what a look gave, and its seconds."""


LookAll = Callable[[Target, Sequence[Endpoint], Dependencies, Tell], Awaitable[None]]
"""Looks at all places and tells of each. Raises what a look may raise; then the rest was not looked at."""


@dataclass(frozen=True, slots=True)
class Probe:
    """
    How one kind of target is looked at.
    """

    name: str
    """The `prober` label of `expiry_target_info`."""
    endpoints: Callable[[Target, Dependencies], Awaitable[Endpoints]]
    """The places to look at for a target. May raise ProbeError: then none of them can be seen."""
    look: Callable[[Target, Endpoint, Dependencies, Trace], Awaitable[Facts]]
    """What is seen at one place. Raises ProbeError, OSError or TimeoutError."""
    look_all: LookAll | None = None
    """The same for all places of a target at once, for kinds with thousands of them; None: one by one."""
    local: bool = False
    """True when nothing is asked of the network, so that a look need not wait for its turn there."""
