"""
OCSP responders: their answers about the leaf (RFC 6960).
"""

from functools import partial

from exporter.lookups.issuers import (
    ANSWER_LIMIT,
    _called,
    _failed,
    _good,
    _keep,
    _not_asked,
    again,
)
from exporter.lookups.merge import added
from exporter.model.destinations import Range
from exporter.model.observation import Certificate, Chain, Facts, FailedLookup, FoundFault, Item
from exporter.model.reasons import Lookup, Reason
from exporter.model.targets import Target
from exporter.net.background import Answer, LookupFailedError, LookupState
from exporter.net.http import download, shown
from exporter.net.network import Network
from exporter.net.pools import Pool
from exporter.pki.authorities import Authorities
from exporter.pki.ocsp import judge_answer, read_response, request
from exporter.pki.revocation import RevocationError, pointers

_READING = Pool("ocsp", 2)


def is_responder_wanted(_: Facts, target: Target) -> bool:
    """
    Return True when the responder is to be asked about the target's leaf.
    """
    return target.ocsp


def responder(facts: Facts, target: Target, network: Network, authorities: Authorities) -> Facts:
    """
    Return the facts with the leaf's OCSP response as item `ocsp`, and a fault if the leaf is revoked.
    """
    items: list[Item] = []
    faults: list[FoundFault] = []
    unanswered: list[FailedLookup] = []
    for chain in facts.chains:
        leaf, name = chain.leaf, _called("ocsp", chain)
        heard = _answer(leaf, chain, target, network, authorities)
        stands = heard.known is not None or _keep(name, leaf, authorities, items, faults)
        if heard.failure is not None:
            unanswered.append(_failed(Lookup.OCSP, heard.failure, stands=stands))
        if heard.known is None:
            continue
        judged = judge_answer(heard.known.value, name, "The issuer's OCSP responder")
        items += [judged.item] if judged.item is not None else []
        faults += judged.faults
    return added(facts, tuple(items), tuple(faults), unanswered=unanswered)


def _answer(
    leaf: Certificate, chain: Chain, target: Target, network: Network, authorities: Authorities
) -> LookupState:
    """
    Return the state of the look-up at a leaf's responder, an `OcspAnswer`; empty when it names none.
    """
    found = pointers(leaf.der)
    urls = found.ocsp_urls
    what = f"the OCSP responder {shown(urls[0]) if urls else found.ocsp_elsewhere}"
    if not urls and not found.ocsp_elsewhere:
        return LookupState()
    issuer = authorities.issuer(leaf, chain, target) if urls else None
    if issuer is None:
        return _not_asked(Lookup.OCSP, leaf, what, target, network, has_urls=bool(urls))
    own = authorities.places(leaf)
    key = ("ocsp", urls[0], leaf.fingerprint_sha256, own)
    ask = partial(_ask_responder, network, urls[0], leaf, issuer, own)
    return network.lookups.hear(key, ask, what, target.name)


async def _ask_responder(
    network: Network, url: str, leaf: Certificate, issuer: Certificate, own: frozenset[Range]
) -> Answer:
    """
    Return the OCSP response for a certificate. Raises LookupFailedError.
    """
    try:
        got = await download(
            network.resolver,
            url,
            ANSWER_LIMIT,
            body=request(leaf.der, issuer.der),
            headers={"Content-Type": "application/ocsp-request"},
            own=own,
        )
        body = _good(got, url, network).body
        answer = await _READING.run(partial(read_response, body, leaf.der, issuer.der))
    except RevocationError as error:
        words = f"what the OCSP responder {shown(url)} answers is no good: {error}"
        raise LookupFailedError(Reason.FORMAT_BROKEN, words) from None
    if not answer.known:
        words = f"the OCSP responder {shown(url)} does not know the certificate {leaf.serial}"
        raise LookupFailedError(Reason.LOOKUP_FAILED, words)
    return Answer(answer, again(answer.next_update, network.clock()))
