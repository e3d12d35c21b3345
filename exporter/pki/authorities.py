"""
Who issued a certificate, where leaves were seen, and what was known of both before a restart.
"""

from collections.abc import Callable

from exporter.model.destinations import Range, host_range
from exporter.model.observation import Certificate, Chain, Facts
from exporter.model.targets import Target
from exporter.pki.anchors import AnchorFiles
from exporter.pki.revocation import issued
from exporter.pki.trust import TrustStore

PLACES_LIMIT = 20_000
"""Leaves at other than public addresses of which it is remembered where they were seen."""


class Authorities:
    """
    Issuers by what they issued, and what was known of them before a restart. One for the life of the process.
    """

    def __init__(self, read: Callable[[str], bytes]) -> None:
        """
        `read` gives the content of a file of trust anchors, at once. It raises ProbeError.
        """
        self._files = AnchorFiles(read)
        self._before: dict[str, Facts] = {}
        self._places: dict[str, frozenset[Range]] = {}

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
