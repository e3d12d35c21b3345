"""
Domain registrations: `domain:example.com`, when it ends and what its registry says of it.

Registries are asked every few hours in the background. While they can't be, what was last seen holds, with
the time it was seen. A domain that vanishes from the zone above it is asked for at once: that is what a hold,
a deletion and a lapse look like from outside, and the registry says which of them it is.
"""

import asyncio
from dataclasses import dataclass, replace
from functools import partial

from dns import rcode

from exporter.model.errors import ProbeError
from exporter.model.observation import Facts
from exporter.model.reasons import Kind, Reason
from exporter.model.targets import Target
from exporter.model.urls import parse_url
from exporter.net.background import Answer, Known
from exporter.net.dns import ResolutionError
from exporter.net.network import Network, Trace
from exporter.probes.base import Endpoint, Endpoints
from exporter.probes.dependencies import Dependencies
from exporter.probes.dns import zone
from exporter.probes.domains.registries import AGAIN_AFTER, registrable

PATIENCE = 3 * 86400.0
"""Seconds of failed look-ups after which a probe says that it failed. A registration changes slowly."""


DELEGATION_AGAIN = 120.0
"""Seconds between two questions to the zone above, of two packets each."""


DELEGATION_PAUSE = 900.0
"""Seconds to the next question when nobody answered."""


VANISHED_AGAIN = 900.0
"""Seconds after which a registry is asked again about a domain that vanished, or has just come back."""


JUST_BACK = 3600.0
"""Seconds for which a domain has just come back."""


SERVERS_ASKED = 3
"""Name servers of the zone above that are tried."""


@dataclass(frozen=True, slots=True)
class Delegation:
    """
    Whether the zone above knows the domain.
    """

    there: bool
    changed_at: float | None = None
    """When that was first seen to change, by the monotonic clock; None: it never did."""

    def is_news(self, now: float) -> bool:
        """
        True when it vanished, or has just come back. One that the zone never knew has not vanished.
        """
        if self.changed_at is None:
            return False
        return not self.there or now < self.changed_at + JUST_BACK


def restore(domain: str, facts: Facts, seen_at: float, network: Network) -> None:
    """
    Take back what was seen before a restart: a registry is not asked again for that. Other facts are left.
    """
    if any(item.kind is Kind.REGISTRATION for item in facts.items):
        known = Known(replace(facts, seen_at=seen_at), seen_at)
        network.lookups.remember(_key(domain), known, AGAIN_AFTER)


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


async def look(target: Target, endpoint: Endpoint, dependencies: Dependencies, trace: Trace) -> Facts:
    """
    The registration as it was last looked up. Raises ProbeError.
    """
    domain = endpoint.label
    trace.phase = "asking the registry"
    if domain != target.url.host:
        trace.note("%s is a name below %s, which is what is registered", target.url.host, domain)
    trace.note("asking for %s, or for what was last heard of it", domain)
    key = _key(domain)
    known = dependencies.lookups
    delegation = known.peek(
        ("delegation", domain, target.dns_servers),
        partial(_look_above, domain, target, dependencies),
        f"the zone above {domain}",
        target.name,
    )
    if (
        delegation is not None
        and delegation.value is not None
        and delegation.value.is_news(dependencies.monotonic())
    ):
        trace.note("it vanished from the zone above, or has just come back: asking the registry sooner")
        known.hurry(key, VANISHED_AGAIN)
    failure = known.failure(key)
    # A registry that says there is no such domain was reached: that is news, not a failure to wait out.
    gone = failure is not None and failure.reason is Reason.NOT_REGISTERED
    found = await known.wait(
        key,
        partial(dependencies.registries.look_up, domain),
        f"the registration of {domain}",
        target.name,
        patience=0.0 if gone else PATIENCE,
        timeout=target.patience,
    )
    assert isinstance(found.value, Facts)
    return found.value


async def _look_above(domain: str, target: Target, network: Network) -> Answer:
    """
    Whether the zone above knows the domain now, a `Delegation`. What nobody answers is as it was, or None.
    """
    before = network.lookups.known(("delegation", domain, target.dns_servers))
    was = before.value if before is not None else None
    try:
        async with asyncio.timeout(target.patience):
            there = await _is_delegated(domain, target, network)
    except (ProbeError, ResolutionError, TimeoutError):
        # This host may not be allowed to ask other name servers: the registry is asked in its time then.
        return Answer(was, DELEGATION_PAUSE)
    if was is None:
        return Answer(Delegation(there), DELEGATION_AGAIN)
    if was.there is there:
        return Answer(was, DELEGATION_AGAIN)
    return Answer(Delegation(there, network.monotonic()), DELEGATION_AGAIN)


async def _is_delegated(domain: str, target: Target, network: Network) -> bool:
    """
    True when a server of the zone above knows the domain. Raises ProbeError, ResolutionError or TimeoutError.

    Servers that others use would still tell what they once heard, for days.
    """
    above = domain.partition(".")[2]
    asking = network.resolution
    failure: ResolutionError | None = None
    servers = await zone.endpoints(replace(target, url=parse_url(f"dns:{above}")), network)
    for server in servers.found[:SERVERS_ASKED]:
        try:
            answer = await asking.exchange(
                (server.address, asking.authority_port), domain, "NS", recursive=False
            )
        except ResolutionError as error:
            failure = error
            continue
        if answer.rcode() in {rcode.NOERROR, rcode.NXDOMAIN}:
            return answer.rcode() == rcode.NOERROR
    raise failure or ResolutionError(Reason.DNS_FAILED, f"no server of {above} knows of {domain}")
