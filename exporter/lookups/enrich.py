"""
Enrichment: the results of look-ups, added to the facts after each probe of any kind.

Each step takes the facts so far and returns them with more in them, or the same object when it has nothing to
add. Steps run at each scrape, so look-ups are made in the background.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple

from exporter.lookups import client_certificate, crl, ocsp, renewal_information, staple
from exporter.lookups import dns as dns_checks
from exporter.model.observation import Facts, Failed, Item, Observation
from exporter.model.reasons import Kind, Lookup
from exporter.model.targets import Target
from exporter.net.network import Network
from exporter.pki.authorities import Authorities


class Step(NamedTuple):
    """
    One kind of look-up.
    """

    concerns: Callable[[Facts, Target], bool]
    """Returns True when it has to do with facts of this target: these two alone decide that."""
    add: Callable[[Facts, Target, Network, Authorities], Facts]
    """Returns the facts that it concerns with what it knows by now."""


def is_concerned(facts: Facts, target: Target) -> bool:
    """
    Return True when some look-up has to do with these facts; if none has, none ever adds to them.
    """
    return any(step.concerns(facts, target) for step in STEPS)


def enrich(
    seen: Observation, target: Target, address: str, network: Network, authorities: Authorities
) -> Observation:
    """
    Return the observation with the results of look-ups so far; the same object when there are none.

    `address` is that of the endpoint, empty where only a proxy knows it.
    """
    if isinstance(seen, Failed) and seen.facts is None:
        aside = client_certificate.ours(target, network)
        return replace(seen, aside=aside) if aside else seen
    assert seen.facts is not None
    facts = before = seen.facts
    if target.crl or target.ocsp:
        authorities.seen_at(facts, address or target.url.host)
    for step in STEPS:
        if step.concerns(facts, target):
            facts = step.add(facts, target, network, authorities)
    return seen if facts is before else replace(seen, facts=facts)


def told(facts: Facts, target: Target) -> Iterator[str]:
    """
    Yield the result of each look-up about the facts, as a sentence for a person.
    """
    asked = {
        Lookup.CRL: target.crl,
        Lookup.OCSP: target.ocsp,
        Lookup.RENEWAL_INFORMATION: target.renewal_information,
        Lookup.DNS: target.dns_checks is True,
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
"""The noun for each look-up in a sentence."""


def _is_from(item: Item, lookup: Lookup) -> bool:
    """
    Return True for an item that the look-up added, or whose renewal time it set.
    """
    if lookup is Lookup.RENEWAL_INFORMATION:
        return item.renewal is not None
    kind = {Lookup.CRL: Kind.CRL, Lookup.OCSP: Kind.OCSP}.get(lookup)
    return item.kind is kind and item.name.startswith(lookup)


STEPS: tuple[Step, ...] = (
    Step(client_certificate.is_presented, client_certificate.client_certificate),
    Step(staple.has_or_needs_staple, staple.staple),
    Step(crl.are_lists_wanted, crl.revocation_lists),
    Step(ocsp.is_responder_wanted, ocsp.responder),
    Step(renewal_information.has_known_issuer, renewal_information.renewal_information),
    Step(dns_checks.are_to_be_checked, dns_checks.checks),
)
"""The steps in the order in which they add to the facts."""
