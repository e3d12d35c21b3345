"""
Domain registrations: `domain:example.com`, when it ends and what its registry says of it.

Registries are asked every few hours in the background. While they can't be, what was last seen holds, with
the time it was seen.
"""

from dataclasses import replace
from functools import partial

from exporter.lookups import Known, lookups
from exporter.network import Network, ProbeError, Trace
from exporter.observation import Facts, Kind, Reason
from exporter.probes.endpoint import Endpoint, Endpoints
from exporter.registries import AGAIN_AFTER, registrable, registries
from exporter.targets import Target

PATIENCE = 3 * 86400.0
"""Seconds of failed look-ups after which a probe says that it failed. A registration changes slowly."""


def restore(domain: str, facts: Facts, seen_at: float, network: Network) -> None:
    """
    Take back what was seen before a restart: a registry is not asked again for that. Other facts are left.
    """
    if any(item.kind is Kind.REGISTRATION for item in facts.items):
        known = Known(replace(facts, seen_at=seen_at), seen_at)
        lookups(network).remember(_key(domain), known, AGAIN_AFTER)


def _key(domain: str) -> tuple[str, str]:
    return ("registration", domain)


async def endpoints(target: Target, _network: Network) -> Endpoints:
    """
    The one domain that is registered: `example.co.uk` for a target that names `www.example.co.uk`.
    """
    domain = registrable(target.url.host)
    if domain is None:
        raise ProbeError(
            Reason.NOT_REGISTERED,
            f"nobody can register {target.url.host}: it is a suffix below which registrations are sold; "
            "name the domain that is yours",
        )
    return Endpoints((Endpoint(domain),))


async def look(target: Target, endpoint: Endpoint, network: Network, trace: Trace) -> Facts:
    """
    The registration as it was last looked up. Raises ProbeError.
    """
    domain = endpoint.label
    trace.phase = "asking the registry"
    if domain != target.url.host:
        trace.note("%s is a name below %s, which is what is registered", target.url.host, domain)
    trace.note("asking for %s, or for what was last heard of it", domain)
    key = _key(domain)
    known = lookups(network)
    failure = known.failure(key)
    # A registry that says there is no such domain was reached: that is news, not a failure to wait out.
    gone = failure is not None and failure.reason is Reason.NOT_REGISTERED
    found = await known.wait(
        key,
        partial(registries(network).look_up, domain),
        patience=0.0 if gone else PATIENCE,
        timeout=target.timeout,
    )
    assert isinstance(found.value, Facts)
    return found.value
