"""
The stapled OCSP response of a handshake, and what is wrong with it (RFC 6066 section 8, RFC 7633).
"""

from exporter.lookups.issuers import _called
from exporter.lookups.merge import added
from exporter.model.observation import Facts, FoundFault, Item
from exporter.model.reasons import Fault
from exporter.model.targets import Target
from exporter.net.network import Network
from exporter.pki.authorities import Authorities
from exporter.pki.ocsp import judge_staple, must_staple, outdated, unreadable_staple


def staple(facts: Facts, target: Target, network: Network, authorities: Authorities) -> Facts:
    """
    With the stapled response of each handshake as item `staple`, and what is wrong with it.

    No staple says nothing, unless the certificate demands one.
    """
    if facts.tls is None:
        return facts
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
            # Whose signature it should bear is not known; that the chain lacks it is found elsewhere.
            faults += unreadable_staple(chain.staple)
            continue
        judged = judge_staple(chain.staple, _called("staple", chain), leaf.der, issuer.der)
        items += [judged.item] if judged.item is not None else []
        faults += [*judged.faults, *outdated(judged.item, leaf.der, network.clock())]
    return added(facts, tuple(items), tuple(faults))
