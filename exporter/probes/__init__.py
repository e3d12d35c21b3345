"""
The kinds of targets: one file each, one line each in the registry.

A probe returns facts or raises. It does not time itself, and it does not turn
exceptions into observations: `sweep` does both, for all of them, in one place.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from exporter.files import Outcome
from exporter.network import Network, Trace
from exporter.observation import Facts
from exporter.probes import dns, domain, dtls, extras, file, issuers, kubernetes, quic, url, wire
from exporter.probes.endpoint import Endpoint, Endpoints
from exporter.targets import SCHEMES, Form, Target

Tell = Callable[[int, Outcome, float], None]
"""Takes the position of a place among those of its target, what a look gave, and its seconds."""

LookAll = Callable[[Target, Sequence[Endpoint], Network, Tell], Awaitable[None]]
"""Looks at all places and tells of each. Raises what a look may raise; then the rest was not looked at."""


def _nothing(facts: Facts, _target: Target, _network: Network) -> Facts:
    return facts


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
    look_all: LookAll | None = None
    """The same for all places of a target at once, for kinds with thousands of them; None: one by one."""
    additions: Callable[[Facts, Target, Network], Facts] = _nothing
    """What a look saw with what is known besides by now, as the look itself adds it."""
    local: bool = False
    """True when nothing is asked of the network, so that a look need not wait for its turn there."""


WIRE = Probe("wire", wire.endpoints, wire.look, additions=extras.with_extras)
QUIC = Probe("quic", wire.endpoints, quic.look, additions=extras.with_extras)
_FILE = Probe(
    "file", file.endpoints, file.look, file.look_all, additions=issuers.renewal_information, local=True
)
_URL = Probe("url", url.endpoints, url.look, additions=url.additions)
_KUBERNETES = Probe(
    "kubernetes",
    kubernetes.endpoints,
    kubernetes.look,
    kubernetes.look_all,
    additions=issuers.renewal_information,
)

PROBES: dict[str, Probe] = {
    **{scheme: WIRE for scheme, meaning in SCHEMES.items() if meaning.form is Form.HOST},
    "quic": QUIC,
    "h3": QUIC,
    "dtls": Probe("dtls", wire.endpoints, dtls.look, additions=extras.with_extras),
    "domain": Probe("domain", domain.endpoints, domain.look),
    "dns": Probe("dns", dns.endpoints, dns.look),
    "file": _FILE,
    **dict.fromkeys(("pem+https", "pem+http", "jwks+https"), _URL),
    "kubernetes": _KUBERNETES,
}
"""URL scheme to probe."""
