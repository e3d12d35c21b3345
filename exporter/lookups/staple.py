"""
The stapled OCSP response of a handshake, and its faults (RFC 6066 section 8, RFC 7633).
"""

from exporter.lookups.issuers import _called
from exporter.lookups.merge import added
from exporter.model.observation import Facts, FoundFault, Item
from exporter.model.reasons import Fault
from exporter.model.targets import Target
from exporter.net.network import Network
from exporter.pki.authorities import Authorities
from exporter.pki.ocsp import judge_staple, must_staple, outdated, unreadable_staple


def has_or_needs_staple(facts: Facts, _: Target) -> bool:
    """
    Return True when a server stapled a response, or its certificate demands one.
    """
    return facts.tls is not None and any(
        chain.staple is not None or must_staple(chain.leaf.der) for chain in facts.chains
    )


def staple(facts: Facts, target: Target, network: Network, authorities: Authorities) -> Facts:
    """
    Return the facts with the stapled response of each handshake as item `staple`, and its faults.

    A missing staple is a fault only if the certificate demands one (RFC 7633).
    """
    items: list[Item] = []
    faults: list[FoundFault] = []
    for chain in facts.chains:
        leaf = chain.leaf
        if chain.staple is None:
            if must_staple(leaf.der):
                words = (
                    "The certificate demands a stapled OCSP response (must-staple), and the server sent none."
                )
                faults.append(FoundFault(Fault.STAPLE_MISSING, words))
            continue
        issuer = authorities.issuer(leaf, chain, target)
        if issuer is None:
            # The key of its signature is not known; that the chain lacks the issuer is reported elsewhere.
            faults += unreadable_staple(chain.staple)
            continue
        judged = judge_staple(chain.staple, _called("staple", chain), leaf.der, issuer.der)
        items += [judged.item] if judged.item is not None else []
        faults += [*judged.faults, *outdated(judged.item, leaf.der, network.clock())]
    return added(facts, tuple(items), tuple(faults)) if items or faults else facts
