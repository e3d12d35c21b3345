"""
Common parts of the look-ups at issuers: intervals, results, and answers from before a restart.
"""

from exporter.model.observation import Certificate, Chain, FailedLookup, FoundFault, Item
from exporter.model.reasons import Fault, Lookup, Reason
from exporter.model.targets import Target
from exporter.net.background import LookupFailedError, LookupState
from exporter.net.http import Downloaded, shown
from exporter.net.network import Network
from exporter.pki import renewal_information as ari
from exporter.pki.authorities import Authorities
from exporter.pki.revocation import URL_LIMIT

ANSWER_LIMIT = 100_000
"""
Largest size in bytes of an OCSP response, an ACME directory or a renewal window; usual are 100 to 10,000.
"""


SHORTEST_PAUSE = 600.0


LONGEST_PAUSE = 86400.0
"""Seconds between two queries for the same list or to the same responder, at least and at most."""


def _called(name: str, chain: Chain) -> str:
    """
    Return the name of an item that belongs to a chain.
    """
    return f"{name}-{chain.key}" if chain.key else name


def _failed(lookup: Lookup, failure: LookupFailedError, *, stands: bool) -> FailedLookup:
    return FailedLookup(lookup, failure.reason, failure.detail, stands)


def _keep(
    name: str, leaf: Certificate, authorities: Authorities, items: list[Item], faults: list[FoundFault]
) -> bool:
    """
    Add the items and faults of a leaf from before a restart, until its issuer answers. False without any.
    """
    before = authorities.before(leaf)
    if before is None:
        return False
    kept = [item for item in before.items if item.name == name]
    found = [found for found in before.faults if found.fault is Fault.REVOKED]
    items += kept
    faults += found
    return bool(kept or found)


def _not_asked(
    lookup: Lookup, certificate: Certificate, what: str, target: Target, network: Network, *, has_urls: bool
) -> LookupState:
    """
    Record that a look-up is not made, and return its state.

    The issuer of the certificate is not known, or the URL is not one that may be queried.
    """
    if has_urls:
        why = "the issuer is neither presented nor among the trust anchors, so nothing can be verified"
    else:
        why = f"only http URLs of at most {URL_LIMIT} characters are asked"
    key = ("not asked", lookup, certificate.fingerprint_sha256, has_urls)
    return network.lookups.refuse(key, f"{what} is not asked: {why}", what, target.name)


def again(next_update: float | None, now: float) -> float:
    """
    Return the seconds until a list or a responder is queried again: more often when its end comes near.

    A new one is published before this one ends, and should be seen before the old one is reported as late.
    """
    left = LONGEST_PAUSE if next_update is None else next_update - now
    return min(max(left / 8, SHORTEST_PAUSE), LONGEST_PAUSE)


def _good(got: Downloaded, url: str, network: Network) -> Downloaded:
    """
    Return the response, if its status is 200. Raises LookupFailedError.
    """
    if got.status == 200:
        return got
    reason = Reason.RATE_LIMITED if got.status == 429 else Reason.HTTP_FAILED
    wait = ari.seconds_of(got.retry_after, network.clock())
    # A server can't put off the next query for longer than this.
    wait = None if wait is None else min(wait, LONGEST_PAUSE)
    raise LookupFailedError(reason, f"{shown(url)} answered with HTTP status {got.status}", wait)
