"""
The kinds of targets: one file each, one line each in the registry.

A probe returns facts or raises. It does not time itself, and it does not turn
exceptions into observations: `sweep` does both, for all of them, in one place.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from exporter.network import Network, Trace
from exporter.observation import Facts
from exporter.probes import wire
from exporter.probes.endpoint import Endpoint, Endpoints
from exporter.targets import Target


@dataclass(frozen=True, slots=True)
class Probe:
    """
    How one kind of target is looked at.
    """

    name: str
    """The `prober` label of `expiry_target_info`."""
    endpoints: Callable[[Target, Network], Awaitable[Endpoints]]
    """The places to look at for a target. May raise ProbeError: then none of them can be seen."""
    look: Callable[[Target, Endpoint, Network, Trace], Awaitable[Facts]]
    """What is seen at one place. Raises ProbeError, OSError or TimeoutError."""


WIRE = Probe("wire", wire.endpoints, wire.look)

PROBES: dict[str, Probe] = {"https": WIRE, "tls": WIRE}
"""URL scheme to probe."""
