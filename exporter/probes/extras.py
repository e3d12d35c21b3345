"""
What else is told of an endpoint on the wire, besides what its handshake showed.

Each extra takes the facts so far and gives them with more in them, or the same object when it has nothing to
add. They run at each look, so what they ask of others is asked in the background.
"""

from collections.abc import Callable, Iterator
from functools import lru_cache

from exporter import tls
from exporter.network import Network
from exporter.observation import Certificate, Facts, Item, Kind, Lookup
from exporter.probes import dns, issuers
from exporter.probes.additions import added
from exporter.targets import Target

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


def client_certificate(facts: Facts, target: Target, _: Network) -> Facts:
    """
    With the certificate that we show to the server, as item `client`.
    """
    return added(facts, ours(target))


def ours(target: Target) -> tuple[Item, ...]:
    """
    The certificate that we show to the server, as an item without its chain; none when it can't be read.

    It ends, whether or not it can be used, which is a reason of its own.
    """
    if target.client_certificate_file is None:
        return ()
    leaf = tls.client_leaf(target.client_certificate_file)
    return (_client_item(leaf),) if leaf is not None else ()


@lru_cache(maxsize=256)
def _client_item(leaf: Certificate) -> Item:
    return Item("client", Kind.LEAF, leaf.not_before, leaf.not_after, leaf)


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
    issuers.staple,
    issuers.revocation_lists,
    issuers.responder,
    issuers.renewal_information,
    dns.checks,
)
"""In the order in which they add."""
