"""
Issuers of certificates, address ranges of leaves, and kept facts from before a restart.
"""

from collections.abc import Callable
from itertools import islice

from exporter.model.destinations import Range, host_range
from exporter.model.observation import Certificate, Chain, Facts
from exporter.model.targets import Target
from exporter.pki.anchors import AnchorFiles
from exporter.pki.path_refusals import NAMESAKES
from exporter.pki.revocation import issued
from exporter.pki.trust import TrustStore

PLACES_LIMIT = 20_000
"""Leaves at non-public addresses whose address ranges are remembered."""


class Authorities:
    """
    Issuers by the certificates they issued, and facts from before a restart. One object for the life of the
    process.
    """

    def __init__(self, read: Callable[[str], bytes], system: str) -> None:
        """
        `read` and `system` are those of `AnchorFiles`.
        """
        self.files = AnchorFiles(read, system)
        """The trust anchors, for all who need them: a system's are a hundred and more."""
        self._before: dict[str, Facts] = {}
        self._places: dict[str, frozenset[Range]] = {}

    def issuer(self, certificate: Certificate, chain: Chain, target: Target) -> Certificate | None:
        """
        Return the issuer, from the presented certificates or the target's trust anchors; None when neither
        has it.
        """
        named = (other for other in chain.certificates if other.subject == certificate.issuer)
        # Of one name a server can present hundreds.
        for other in islice(named, NAMESAKES):
            if issued(certificate.der, other.der):
                return other
        store = self.files.anchors(target.ca_file).store
        return _anchor(certificate.der, certificate.issuer, store) if store is not None else None

    def seen_at(self, facts: Facts, host: str) -> None:
        """
        Note the address range of the leaves in a probe's facts: URLs in them may lead to that range, and to
        public addresses only.
        """
        place = host_range(host.partition("%")[0])
        if place is Range.PUBLIC:
            # The default for leaves without a note.
            return
        for chain in facts.chains:
            leaf = chain.leaf.fingerprint_sha256
            # Moved to the end: the leaf seen least recently is forgotten first.
            self._places[leaf] = self._places.pop(leaf, frozenset()) | {place}
        while len(self._places) > PLACES_LIMIT:
            del self._places[next(iter(self._places))]

    def places(self, leaf: Certificate) -> frozenset[Range]:
        """
        Return the non-public address ranges at which a leaf was seen.
        """
        return self._places.get(leaf.fingerprint_sha256, frozenset())

    def restore(self, facts: Facts) -> None:
        """
        Restore the issuers' answers about the certificates in these facts, until new ones come.
        """
        for chain in facts.chains:
            self._before[chain.leaf.fingerprint_sha256] = facts
        for item in facts.items:
            # In files most leaves have no chain.
            if item.renewal is not None and item.certificate is not None:
                self._before.setdefault(item.certificate.fingerprint_sha256, facts)

    def before(self, leaf: Certificate) -> Facts | None:
        """
        Return the facts of a certificate from before the process was started; None when there are none.
        """
        return self._before.get(leaf.fingerprint_sha256)


def _anchor(der: bytes, issuer: str, store: TrustStore) -> Certificate | None:
    fitting = (anchor for anchor in store.anchors if anchor.subject == issuer)
    return next((anchor for anchor in fitting if issued(der, anchor.der)), None)
