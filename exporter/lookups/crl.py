"""
Revocation lists (CRL) of the certificates presented (RFC 5280 section 5).
"""

from functools import partial

from exporter.lookups.issuers import _called, _failed, _good, _keep, _not_asked, again
from exporter.lookups.merge import added
from exporter.model.destinations import Range
from exporter.model.errors import ProbeError
from exporter.model.observation import Certificate, Chain, Facts, FailedLookup, FoundFault, Item
from exporter.model.reasons import Kind, Lookup, Reason
from exporter.model.targets import Target
from exporter.net.background import Answer, LookupFailedError, LookupState
from exporter.net.http import download, shown
from exporter.net.network import Network
from exporter.net.pools import Pool
from exporter.pki.authorities import Authorities
from exporter.pki.candidates import candidates
from exporter.pki.revocation import RevocationError, RevocationList, loaded, pointers, read_list, revoked

LIST_LIMIT = 20_000_000
"""Largest size of a revocation list in bytes: some public ones have ten million."""


LIST_TIMEOUT = 60.0
"""Seconds that the download of a revocation list may take."""


URLS = 3
"""Most URLs of one revocation list that are tried."""


_READING = Pool("revocation lists", 2)


def are_lists_wanted(_: Facts, target: Target) -> bool:
    """
    Return True when the target's revocation lists are to be downloaded.
    """
    return target.crl


def revocation_lists(facts: Facts, target: Target, network: Network, authorities: Authorities) -> Facts:
    """
    Return the facts with the leaf's revocation list as item `crl`, and a fault for each revoked certificate.
    """
    items: list[Item] = []
    faults: list[FoundFault] = []
    unanswered: list[FailedLookup] = []
    for chain in facts.chains:
        name = _called("crl", chain)
        for certificate in (chain.leaf, *candidates(chain.leaf, chain.certificates[1:])):
            heard = _list(certificate, chain, target, network, authorities)
            stands = heard.known is not None
            if not stands and certificate is chain.leaf:
                stands = _keep(name, chain.leaf, authorities, items, faults)
            if heard.failure is not None:
                unanswered.append(_failed(Lookup.CRL, heard.failure, stands=stands))
            if heard.known is None:
                continue
            found: RevocationList = heard.known.value
            if certificate is chain.leaf and found.next_update is not None:
                items.append(Item(name, Kind.CRL, found.this_update, found.next_update))
            reason = found.reason(certificate)
            if reason is not None:
                which = (
                    "the certificate"
                    if certificate is chain.leaf
                    else f"{certificate.subject}, of its chain,"
                )
                faults.append(revoked("The issuer's revocation list", reason, which))
    return added(facts, tuple(items), tuple(faults), unanswered=unanswered)


def _list(
    certificate: Certificate, chain: Chain, target: Target, network: Network, authorities: Authorities
) -> LookupState:
    """
    Return the state of the look-up of a certificate's list, a `RevocationList`; empty when it names none.
    """
    if certificate.self_issued:
        return LookupState()
    found = pointers(certificate.der)
    urls = found.crl_urls[:URLS]
    what = f"the revocation list {shown(urls[0]) if urls else found.crl_elsewhere}"
    if not urls and not found.crl_elsewhere:
        return LookupState()
    issuer = authorities.issuer(certificate, chain, target) if urls else None
    if issuer is None:
        return _not_asked(Lookup.CRL, certificate, what, target, network, has_urls=bool(urls))
    # By the issuer's key: another authority may name the same URL, and its signature would not fit.
    # And by where it was seen: an internal server may name addresses that others may not.
    own = authorities.places(chain.leaf)
    key = ("crl", urls, issuer.subject, issuer.public_key_sha256, own)
    return network.lookups.hear(key, partial(_get_list, network, urls, issuer, own), what, target.name)


async def _get_list(
    network: Network, urls: tuple[str, ...], issuer: Certificate, own: frozenset[Range]
) -> Answer:
    """
    Return the list from the first URL that has a valid one. Raises ProbeError.
    """
    failure: ProbeError | None = None
    for url in urls:
        try:
            got = _good(
                await download(network.resolver, url, LIST_LIMIT, timeout=LIST_TIMEOUT, own=own), url, network
            )
            found = await _READING.run(partial(read_list, got.body, loaded(issuer.der), url))
        except ProbeError as error:
            failure = failure or error
        except RevocationError as error:
            words = f"what {shown(url)} gives is no revocation list to go by: {error}"
            failure = failure or LookupFailedError(Reason.FORMAT_BROKEN, words)
        else:
            return Answer(found, again(found.next_update, network.clock()), len(found.rows))
    assert failure is not None
    raise failure
