"""
Enrichment: what others say of what a probe saw, added to its facts after the probe.

Each step takes the facts so far and gives them with more in them, or the same object when it has nothing to
add. They run at each scrape, so what they ask of others is asked in the background.
"""

from collections.abc import Callable, Iterator

from exporter.lookups import crl, issuers, ocsp, renewal_information, staple
from exporter.lookups import dns as dns_checks
from exporter.lookups.client_certificate import client_certificate
from exporter.model.observation import Facts, Item
from exporter.model.reasons import Kind, Lookup
from exporter.model.targets import Target
from exporter.net.network import Network

Extra = Callable[[Facts, Target, Network], Facts]


def with_extras(facts: Facts, target: Target, network: Network, address: str | None = None) -> Facts:
    """
    The facts of a look with all that is known besides; the same object while nothing changed.

    `address` is where it was seen: empty when only a proxy knows, None when this is no new look.
    """
    if address is not None and (target.crl or target.ocsp):
        issuers.authorities(network).seen_at(facts, address or target.url.host)
    for extra in EXTRAS:
        facts = extra(facts, target, network)
    return facts


def told(facts: Facts, target: Target) -> Iterator[str]:
    """
    What came of each thing that was asked about the facts, for a person who wants to know each step.
    """
    asked = {
        Lookup.CRL: target.crl,
        Lookup.OCSP: target.ocsp,
        Lookup.RENEWAL_INFORMATION: target.renewal_information,
        Lookup.DNS: target.dns_checks,
    }
    for lookup in (lookup for lookup, wanted in asked.items() if wanted):
        failed = [one for one in facts.unanswered if one.lookup is lookup]
        for one in failed:
            yield f"{NOUNS[lookup]}: {one.reason}: {one.detail}"
        heard = [item.name for item in facts.items if _is_from(item, lookup)]
        if heard:
            yield f"{NOUNS[lookup]}: known for {', '.join(heard)}"
        elif not failed and lookup in {Lookup.CRL, Lookup.OCSP} and facts.chains:
            yield f"{NOUNS[lookup]}: the certificate names none, or there is no answer yet"


NOUNS = {
    Lookup.CRL: "revocation list",
    Lookup.OCSP: "OCSP responder",
    Lookup.RENEWAL_INFORMATION: "renewal information",
    Lookup.DNS: "DNS checks",
}
"""What is asked, in words."""


def _is_from(item: Item, lookup: Lookup) -> bool:
    """
    True for an item that the look-up gave, or said something of.
    """
    if lookup is Lookup.RENEWAL_INFORMATION:
        return item.renewal is not None
    kind = {Lookup.CRL: Kind.CRL, Lookup.OCSP: Kind.OCSP}.get(lookup)
    return item.kind is kind and item.name.startswith(lookup)


EXTRAS: tuple[Extra, ...] = (
    client_certificate,
    staple.staple,
    crl.revocation_lists,
    ocsp.responder,
    renewal_information.renewal_information,
    dns_checks.checks,
)
"""In the order in which they add."""
