"""
The prober of domain registrations (`domain:example.com`): when one ends, and its status at the registry.

Registries are asked every few hours in the background. While they can't be reached, the facts last seen are
held, with the time they were seen. When a domain vanishes from its parent zone, its registry is asked at
once: a hold, a deletion and a lapse all have that effect, and the registry has the reason.
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
from exporter.net.network import Network
from exporter.probes.base import Endpoint, Endpoints, Trace
from exporter.probes.dependencies import Dependencies
from exporter.probes.dns import zone
from exporter.probes.domains.registries import AGAIN_AFTER, registrable

PATIENCE = 3 * 86400.0
"""Seconds of failed look-ups after which a probe fails. A registration changes slowly."""


DELEGATION_AGAIN = 120.0
"""Seconds between two queries to the parent zone, of two packets each."""


DELEGATION_PAUSE = 900.0
"""Seconds to the next query to the parent zone when no server answered."""


VANISHED_AGAIN = 900.0
"""Seconds between two look-ups of a domain that vanished or has just come back."""


JUST_BACK = 3600.0
"""Seconds after its return for which a domain counts as just back."""


SERVERS_ASKED = 3
"""Name servers of the parent zone that are tried."""


@dataclass(frozen=True, slots=True)
class Delegation:
    """
    The delegation of a domain in its parent zone.
    """

    exists: bool
    """True when the parent zone has the domain."""
    changed_at: float | None = None
    """When a change of `exists` was first seen, in seconds of the monotonic clock; None: it never changed."""

    def has_changed(self, now: float) -> bool:
        """
        Return True when the domain vanished or has just come back. One that was never there has not vanished.
        """
        if self.changed_at is None:
            return False
        return not self.exists or now < self.changed_at + JUST_BACK


def restore(domain: str, facts: Facts, seen_at: float, network: Network) -> None:
    """
    Restore the facts of a registration seen before a restart, so that its registry is not asked again.

    `seen_at` is in seconds since the epoch. Facts without a registration are ignored.
    """
    if any(item.kind is Kind.REGISTRATION for item in facts.items):
        known = Known(replace(facts, seen_at=seen_at), seen_at)
        network.lookups.remember(_key(domain), known, AGAIN_AFTER)


def _key(domain: str) -> tuple[str, str]:
    return ("registration", domain)


async def endpoints(target: Target, _network: Network) -> Endpoints:
    """
    Return the registered domain as the only endpoint: `example.co.uk` for the target `www.example.co.uk`.

    Raises ProbeError for a public suffix, which nobody can register.
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
    Return the facts of the registration as it was last looked up.

    Raises ProbeError when there is none, it was never looked up, or look-ups failed for PATIENCE seconds.
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
        partial(_query_parent_zone, domain, target, dependencies),
        f"the zone above {domain}",
        target.name,
    )
    if (
        delegation is not None
        and delegation.value is not None
        and delegation.value.has_changed(dependencies.monotonic())
    ):
        trace.note("it vanished from the zone above, or has just come back: asking the registry sooner")
        known.hurry(key, VANISHED_AGAIN)
    failure = known.failure(key)
    # A registry that has no such domain was reached: that is reported at once, unlike other failures.
    gone = failure is not None and failure.reason is Reason.NOT_REGISTERED
    found = await known.wait(
        key,
        partial(dependencies.registries.look_up, domain),
        f"the registration of {domain}",
        target.name,
        patience=0.0 if gone else PATIENCE,
        timeout=target.patience,
        # All that are asked of one registry wait for each other there.
        owner=f"the registry of .{domain.rpartition('.')[2]}",
    )
    assert isinstance(found.value, Facts)
    return found.value


async def _query_parent_zone(domain: str, target: Target, network: Network) -> Answer:
    """
    Return the domain's present Delegation; the one known before, or None, when no server answers.
    """
    before = network.lookups.known(("delegation", domain, target.dns_servers))
    was = before.value if before is not None else None
    try:
        async with asyncio.timeout(target.patience):
            exists = await _is_delegated(domain, target, network)
    except (ProbeError, ResolutionError, TimeoutError):
        # This host may not be allowed to ask other name servers: the registry is asked in its time then.
        return Answer(was, DELEGATION_PAUSE)
    if was is None:
        return Answer(Delegation(exists), DELEGATION_AGAIN)
    if was.exists is exists:
        return Answer(was, DELEGATION_AGAIN)
    return Answer(Delegation(exists, network.monotonic()), DELEGATION_AGAIN)


async def _is_delegated(domain: str, target: Target, network: Network) -> bool:
    """
    Return True when a server of the parent zone has the domain. Recursive resolvers are not asked: their
    caches would have it for days after it vanished.

    Raises ProbeError, ResolutionError or TimeoutError when no server answers.
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
