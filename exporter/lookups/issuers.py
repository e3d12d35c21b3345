"""
Who issued a certificate, and what was known of its issuer's answers before a restart.
"""

from exporter.model.destinations import Range, host_range
from exporter.model.observation import Certificate, Chain, Facts, FailedLookup, FoundFault, Item
from exporter.model.reasons import Fault, Lookup, Reason
from exporter.model.targets import Target
from exporter.net.background import LookupFailedError, LookupState, lookups
from exporter.net.http import Downloaded, shown
from exporter.net.network import Network
from exporter.pki import renewal_information as ari
from exporter.pki.anchors import AnchorFiles
from exporter.pki.revocation import URL_LIMIT, issued
from exporter.pki.trust import TrustStore

ANSWER_LIMIT = 100_000
"""Bytes of an OCSP response, an ACME directory or a renewal window; usual are some hundred or thousand."""


SHORTEST_PAUSE = 600.0


LONGEST_PAUSE = 86400.0
"""Seconds between two looks at the same list or responder, at least and at most."""


PLACES_LIMIT = 20_000
"""Leaves at other than public addresses of which it is remembered where they were seen."""


class Authorities:
    """
    Issuers by what they issued, and what was known of them before a restart. One for the life of the process.
    """

    def __init__(self, network: Network) -> None:
        self._files = AnchorFiles(network.files.content)
        self._before: dict[str, Facts] = {}
        self._places: dict[str, frozenset[Range]] = {}

    def close(self) -> None:
        """
        Nothing is open.
        """

    def issuer(self, certificate: Certificate, chain: Chain, target: Target) -> Certificate | None:
        """
        Who issued it, of the presented certificates or the target's trust anchors; None when neither has it.
        """
        for other in chain.certificates:
            if other.subject == certificate.issuer and issued(certificate.der, other.der):
                return other
        store = self._files.anchors(target.ca_file).store
        return _anchor(certificate.der, certificate.issuer, store) if store is not None else None

    def seen_at(self, facts: Facts, host: str) -> None:
        """
        Note where the leaves of a look were found: what they name may be near that, and nowhere else.
        """
        place = host_range(host.partition("%")[0])
        if place is Range.PUBLIC:
            # As is taken of all that nothing is noted of.
            return
        for chain in facts.chains:
            leaf = chain.leaf.fingerprint_sha256
            # To the end: the one not seen for longest is forgotten first.
            self._places[leaf] = self._places.pop(leaf, frozenset()) | {place}
        while len(self._places) > PLACES_LIMIT:
            del self._places[next(iter(self._places))]

    def places(self, leaf: Certificate) -> frozenset[Range]:
        """
        At what kinds of addresses a leaf was seen that are not public.
        """
        return self._places.get(leaf.fingerprint_sha256, frozenset())

    def restore(self, facts: Facts) -> None:
        """
        Take back what was known of the certificates in these facts, until their issuers are heard.
        """
        for chain in facts.chains:
            self._before[chain.leaf.fingerprint_sha256] = facts
        for item in facts.items:
            # In files most leaves stand alone.
            if item.renewal is not None and item.certificate is not None:
                self._before.setdefault(item.certificate.fingerprint_sha256, facts)

    def before(self, leaf: Certificate) -> Facts | None:
        """
        What was known of a certificate before the process was started; None when nothing was.
        """
        return self._before.get(leaf.fingerprint_sha256)


def _anchor(der: bytes, issuer: str, store: TrustStore) -> Certificate | None:
    fitting = (anchor for anchor in store.anchors if anchor.subject == issuer)
    return next((anchor for anchor in fitting if issued(der, anchor.der)), None)


def authorities(network: Network) -> Authorities:
    """
    The authorities of the process.
    """
    return network.resource(Authorities, lambda: Authorities(network))


def _called(name: str, chain: Chain) -> str:
    """
    The name of an item that belongs to a chain.
    """
    return f"{name}-{chain.key}" if chain.key else name


def _failed(lookup: Lookup, failure: LookupFailedError, *, stands: bool) -> FailedLookup:
    return FailedLookup(lookup, failure.reason, failure.detail, stands)


def _keep(
    name: str, leaf: Certificate, network: Network, items: list[Item], faults: list[FoundFault]
) -> bool:
    """
    Add what was known of a leaf before a restart, since its issuer was not heard yet. False: nothing was.
    """
    before = authorities(network).before(leaf)
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
    Why a list or a responder that a certificate names is not asked: its issuer is not known, or the URL is
    not one that is asked.
    """
    if has_urls:
        why = "the issuer is neither presented nor among the trust anchors, so nothing can be verified"
    else:
        why = f"only http URLs of at most {URL_LIMIT} characters are asked"
    key = ("not asked", lookup, certificate.fingerprint_sha256, has_urls)
    return lookups(network).refuse(key, f"{what} is not asked: {why}", what, target.name)


def again(next_update: float | None, now: float) -> float:
    """
    Seconds until a list or a responder is looked at again: more often when its end comes near.

    The next one is out before this one ends. It is to be seen before somebody is told that it is late.
    """
    left = LONGEST_PAUSE if next_update is None else next_update - now
    return min(max(left / 8, SHORTEST_PAUSE), LONGEST_PAUSE)


def _good(got: Downloaded, url: str, network: Network) -> Downloaded:
    """
    The answer, if its status is 200. Raises LookupFailedError.
    """
    if got.status == 200:
        return got
    reason = Reason.RATE_LIMITED if got.status == 429 else Reason.HTTP_FAILED
    wait = ari.seconds_of(got.retry_after, network.clock())
    # A server can't keep us away for longer than this.
    wait = None if wait is None else min(wait, LONGEST_PAUSE)
    raise LookupFailedError(reason, f"{shown(url)} answered with HTTP status {got.status}", wait)
