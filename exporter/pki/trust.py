"""
Trust: would a normal client accept this chain for this name at this time? Pure.

OpenSSL verifies (through pyOpenSSL), service-identity compares names. OpenSSL verifies without its clock: the
certificates that are valid at the time in question are selected beforehand. So one expired certificate hides
no other fault, and nothing depends on how a platform counts years.

Where clients differ, the strictest counts, unless ordinary certificates would be refused for it:

- A CA of version 3 needs basic constraints, a trusted root too: Go, Firefox and RFC 5280 section 4.2.1.9 want
  them, OpenSSL is content with a key usage. A trusted root of version 1 is accepted by all, and here.
- A wildcard that covers an excluded name is refused, as in Go, BoringSSL and rustls (CVE-2025-61727); OpenSSL
  compares texts only.
- Name constraints that constrain nothing are refused, as in Go (RFC 5280 section 4.2.1.10 forbids them).
- An extended key usage that allows nothing, or can't be read, is refused, as in OpenSSL and pyca; one for any
  purpose as in OpenSSL, and so is a leaf of another Netscape certificate type.
- Certificates that only OpenSSL refuses (duplicate extensions, an unknown critical one; not a weak
  self-signature) are refused.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from math import inf

from OpenSSL import crypto

from exporter.model.caches import remembered
from exporter.model.observation import Certificate, FoundFault
from exporter.model.reasons import Fault
from exporter.pki.candidates import LARGER_KEYS, candidates, is_large
from exporter.pki.certificates import parse_pem
from exporter.pki.faults import (
    _boundaries,
    _Faults,
    _judge_chain_dates,
    _judge_issuers,
    _judge_key,
    _judge_leaf_dates,
    _judge_signature,
    _judge_use,
    _name_fault,
    _shown,
    _valid,
)
from exporter.pki.name_constraints import COMPARISONS_LIMIT, comparisons
from exporter.pki.path_refusals import (
    _BAD_SIGNATURE,
    _classify,
    _Refusal,
    _refusal_detail,
    _signer,
)

# X509_V_FLAG_NO_CHECK_TIME of OpenSSL's x509_vfy.h, which pyOpenSSL does not name. Partial chains:
# an anchor need not be a root, as in Go and in browsers; private CA files often hold only an intermediate.
_FLAGS = 0x200000 | crypto.X509StoreFlags.PARTIAL_CHAIN


# Verifications of one chain at most: a server can present any number of certificates of the same name.
_LOOKS = 8


class TrustStoreError(ValueError):
    """
    A trust store without a certificate that can be read. The message says so for a person.
    """


@dataclass(frozen=True, slots=True)
class Trust:
    """
    A normal client's judgement of a chain at one time, and the period in which it stays the same.
    """

    faults: tuple[FoundFault, ...]
    """Each fault once, in the order of the enum; empty when a normal client accepts the chain."""
    path: tuple[Certificate, ...]
    """Leaf to anchor, dates aside; empty when no path leads to an anchor."""
    valid_from: float
    """The faults have been these since this moment; minus infinity when nothing began or ended before."""
    valid_until: float
    """Before this moment the faults stay these; infinity when nothing begins or ends later."""


@dataclass(frozen=True, slots=True)
class _Anchors:
    """
    Trust anchors as values, and as OpenSSL's objects.
    """

    certificates: tuple[Certificate, ...]
    openssl: crypto.X509Store
    by_encoding: dict[bytes, Certificate]
    """The anchors by the encoding that OpenSSL gives them."""


class TrustStore:
    """
    The trust anchors of a client. Immutable.
    """

    __slots__ = ("_at", "_boundaries", "_fingerprints", "anchors", "skipped")

    def __init__(self, anchors: Iterable[Certificate], skipped: int = 0) -> None:
        """
        A store of those anchors that OpenSSL can parse, each once; the others are counted as skipped.
        """
        given = tuple(dict.fromkeys(anchors))
        self.anchors = tuple(anchor for anchor in given if _openssl(anchor.der) is not None)
        self.skipped = skipped + len(given) - len(self.anchors)
        self._fingerprints = {anchor.fingerprint_sha256 for anchor in self.anchors}
        self._boundaries = _moments(self.anchors)
        self._at: dict[int | None, _Anchors] = {}

    @classmethod
    def from_pem(cls, data: bytes) -> "TrustStore":
        """
        Return a store of the certificates in a PEM file. Raises TrustStoreError when none can be used.
        """
        blocks = parse_pem(data)
        anchors = [block for block in blocks if isinstance(block, Certificate)]
        store = cls(anchors, len(blocks) - len(anchors))
        if not store.anchors:
            why = next((f" ({block})" for block in blocks if not isinstance(block, Certificate)), "")
            raise TrustStoreError(
                f"none of its {len(blocks)} certificates can be used{why}: is the file whole?"
                if blocks
                else "it holds no certificate: a PEM file with -----BEGIN CERTIFICATE----- lines is needed"
            )
        return store

    def holds(self, certificate: Certificate) -> bool:
        """
        Return True when the certificate is one of the anchors.
        """
        return certificate.fingerprint_sha256 in self._fingerprints

    def _anchors(self, now: float | None) -> _Anchors:
        """
        Return the anchors that are valid at that time; all of them for None.
        """
        # A system has hundreds of anchors, and months pass before one of them begins or ends.
        key = None if now is None else bisect_right(self._boundaries, now)
        if key not in self._at:
            if len(self._at) > 2:
                self._at.clear()
            self._at[key] = _anchors(it for it in self.anchors if now is None or _valid(it, now))
        return self._at[key]


def judge(chain: tuple[Certificate, ...], expected_name: str, store: TrustStore, now: float) -> Trust:
    """
    Return a normal client's judgement of the chain, leaf first, for this name at that time (seconds since the
    epoch).

    Never raises. Dates, names, use and strength are judged apart from the path, so every independent fault is
    found. A leaf that is itself an anchor may be a CA or sign itself.
    """
    if not chain:
        nothing = FoundFault(Fault.INVALID_CHAIN, "The server presented no certificate.")
        return Trust((nothing,), (), -inf, inf)
    found = _judge_chain(chain, store, _since(chain, store, now))
    # A wildcard's chain is that of many hosts: all but the name is judged once.
    fault = _name_fault(chain[0], expected_name)
    if fault is None:
        return found
    faults = _Faults({one.fault: one.detail for one in (*found.faults, fault)})
    return replace(found, faults=faults.in_order())


def _since(chain: Iterable[Certificate], store: TrustStore, now: float) -> float:
    """
    Return the last moment until `now` at which a certificate of the chain, or an anchor, began or ended;
    minus infinity when there is none. The judgement of the chain has been the same since then.
    """
    begun = [moment for it in chain for moment in _boundaries(it) if moment <= now]
    moments = store._boundaries  # noqa: SLF001 -- same module
    position = bisect_right(moments, now)
    return max((*begun, *moments[max(0, position - 1) : position]), default=-inf)


# Few, since a chain may have hundreds of kilobytes.
@lru_cache(maxsize=16)
def _judge_chain(chain: tuple[Certificate, ...], store: TrustStore, now: float) -> Trust:
    """
    Return the judgement of a chain, the leaf's name aside, at the last moment at which one of them, or of the
    anchors, began or ended.
    """
    leaf = chain[0]
    # In an order of our own, so that the server's does not matter: of two certificates of one
    # name OpenSSL takes the first that fits.
    presented = candidates(
        leaf, sorted(set(chain) - {leaf}, key=lambda it: (not _valid(it, now), -it.not_after, it.der))
    )
    faults = _Faults()
    path, in_time = _find_path(leaf, presented, store, now, faults)
    _judge_issuers(path, faults)
    used = path or _follow_names(leaf, presented)
    _judge_leaf_dates(leaf, now, faults)
    _judge_chain_dates(used[1:], now, faults)
    if leaf.is_ca and not store.holds(leaf):
        faults.add(Fault.CA_AS_LEAF, f"{_shown(leaf)} is the certificate of an authority, not of a server.")
    untrusted = [it for it in used[1:] if not store.holds(it)]
    # Anchors too, whose purposes OpenSSL heeds.
    _judge_use(leaf, used[1:], faults)
    for it in (leaf, *untrusted):
        _judge_key(it, faults)
    for it in used:
        # The signature of a self-signed certificate proves nothing, and neither does that of an anchor.
        if not (store.holds(it) or (it == used[-1] and it.self_issued)):
            _judge_signature(it, faults)
    # With a path that is in time nothing outside of it matters; else any anchor may change the judgement.
    moments = _moments({*chain, *(path if in_time else store.anchors)})
    position = bisect_right(moments, now)
    return Trust(
        faults.in_order(),
        path,
        valid_from=moments[position - 1] if position else -inf,
        valid_until=moments[position] if position < len(moments) else inf,
    )


def issuers_of(
    leaf: Certificate, chain: Sequence[Certificate], store: TrustStore | None
) -> tuple[Certificate, ...]:
    """
    Return the CAs that stand behind a leaf, whatever the dates.

    Those are the ones on its path to a trust anchor, and those of the `chain` that came with it of which each
    signed the one before. Others may be anybody's.
    """
    presented = candidates(leaf, [it for it in dict.fromkeys(chain) if it != leaf])
    found: dict[Certificate, None] = {}
    if comparisons((leaf, *presented)) > COMPARISONS_LIMIT:
        return ()
    if store is not None:
        path = _look(leaf, presented, store._anchors(None))  # noqa: SLF001 -- same module
        found.update(dict.fromkeys(() if isinstance(path, _Refusal) else path[1:]))
    signed = [leaf]
    while not signed[-1].self_issued:
        below = signed[-1]
        named = (it for it in presented if it.subject == below.issuer and it not in signed)
        above = next((it for it in named if _is_signed_by(below, it)), None)
        if above is None:
            break
        signed.append(above)
    found.update(dict.fromkeys(signed if leaf.self_issued else signed[1:]))
    return tuple(found)


def _is_signed_by(certificate: Certificate, issuer: Certificate) -> bool:
    """
    Return True when the issuer is a CA and its key made the signature.
    """
    return not isinstance(_verify(certificate, (), _anchors([issuer])), _Refusal)


def _find_path(
    leaf: Certificate, presented: list[Certificate], store: TrustStore, now: float, faults: _Faults
) -> tuple[tuple[Certificate, ...], bool]:
    """
    Return the path to an anchor (empty when there is none), and True when it is valid at that time, apart
    from the leaf's own dates.
    """
    if comparisons((leaf, *presented)) > COMPARISONS_LIMIT:
        words = "The name constraints in it are more than clients compare with its names (Go gives up)."
        faults.add(Fault.INVALID_CHAIN, words)
        return (), False
    larger = (it for it in presented if is_large(it) and not store.holds(it))
    large = list(islice(larger, LARGER_KEYS, None))
    presented = [it for it in presented if it not in large]
    valid = [it for it in presented if _valid(it, now)]
    valid_anchors = store._anchors(now)  # noqa: SLF001 -- same module
    outcome = _look(leaf, valid, valid_anchors)
    if not isinstance(outcome, _Refusal):
        return outcome, True
    if len(valid) < len(presented) or len(valid_anchors.certificates) < len(store.anchors):
        outcome = _look(leaf, presented, store._anchors(None))  # noqa: SLF001 -- same module
        if not isinstance(outcome, _Refusal):
            return outcome, False
    if large:
        key = large[0].key
        words = f"More than {LARGER_KEYS} CAs in it have keys as large as {key}, which Go and rustls refuse."
        faults.add(Fault.INVALID_CHAIN, words)
        return (), False
    signer = _signer(outcome, (*presented, *store.anchors))
    if signer is not None:
        words = (
            f"{_shown(signer)} signed {_shown(outcome.certificate)}, and OpenSSL does not take that: "
            "an extension can't be read, or names another key of the issuer."
        )
        faults.add(Fault.INVALID_CHAIN, words)
        return (), False
    fault = _classify(outcome, leaf)
    faults.add(fault, _refusal_detail(fault, outcome))
    if fault is not Fault.INVALID_CHAIN:
        # Where the end of the chain is not trusted OpenSSL stops there: verify again, as if it were trusted.
        outcome = _verify(leaf, presented, _anchors([outcome.certificate]))
        if isinstance(outcome, _Refusal):
            faults.add(Fault.INVALID_CHAIN, _refusal_detail(Fault.INVALID_CHAIN, outcome))
    return (), False


def _look(
    leaf: Certificate, presented: Sequence[Certificate], anchors: _Anchors
) -> tuple[Certificate, ...] | _Refusal:
    """
    Return the path that OpenSSL finds, without certificates that mislead it; its first refusal when there is
    no path.
    """
    first = outcome = _verify(leaf, presented, anchors)
    for _ in range(_LOOKS):
        if not isinstance(outcome, _Refusal):
            return outcome
        misleading = _misleading(outcome, presented, anchors.certificates)
        if not misleading:
            break
        presented = [it for it in presented if it not in misleading]
        if not misleading.isdisjoint(anchors.certificates):
            anchors = _anchors(it for it in anchors.certificates if it not in misleading)
        outcome = _verify(leaf, presented, anchors)
    return first if isinstance(outcome, _Refusal) else outcome


def _misleading(
    refusal: _Refusal, presented: Sequence[Certificate], anchors: Sequence[Certificate]
) -> set[Certificate]:
    """
    Return certificates without which another path is possible; empty when there is no choice.

    OpenSSL takes the first issuer whose name matches and does not try another, as Go and browsers do.
    """
    at_fault = refusal.certificate
    if refusal.code == _BAD_SIGNATURE:
        # A CA that changed its key and kept its name (RFC 4158 section 3.5.12).
        namesakes = {it for it in (*presented, *anchors) if it.subject == at_fault.issuer}
        impostors = {it for it in namesakes if not _signed(at_fault, it)} if len(namesakes) > 1 else set()
        return impostors if impostors != namesakes else set()
    names = {it.subject for it in presented}
    return {at_fault} if refusal.depth and at_fault in presented and len(names) < len(presented) else set()


def _signed(certificate: Certificate, issuer: Certificate) -> bool:
    """
    Return False when the signature is not that of the issuer's key.
    """
    outcome = _verify(certificate, (), _anchors([issuer]))
    return not (isinstance(outcome, _Refusal) and outcome.code == _BAD_SIGNATURE)


def _verify(
    leaf: Certificate, presented: Sequence[Certificate], anchors: _Anchors
) -> tuple[Certificate, ...] | _Refusal:
    """
    Return the path that OpenSSL finds from leaf to anchor, whatever the dates; or the reason why there is
    none.
    """
    loaded = _latest(leaf.der)
    if loaded is None:
        return _Refusal(0, 0, "it can't be read", leaf)
    others = [(it, known) for it in presented if (known := _openssl(it.der)) is not None]
    certificates = anchors.by_encoding | {_encoding(known): it for it, known in others}
    context = crypto.X509StoreContext(anchors.openssl, loaded, [known for _, known in others])
    try:
        # The first is the leaf.
        return leaf, *(certificates[_encoding(it)] for it in context.get_verified_chain()[1:])
    except crypto.X509StoreContextError as error:
        return _refusal(error, certificates | {_encoding(loaded): leaf}, leaf)


def _refusal(
    error: crypto.X509StoreContextError, certificates: dict[bytes, Certificate], leaf: Certificate
) -> _Refusal:
    """
    Return the refusal as a value. `certificates` are all that took part, by OpenSSL's encoding.
    """
    code, depth, words = error.errors
    try:
        return _Refusal(code, depth, words, certificates[_encoding(error.certificate)])
    except crypto.Error:
        # Where it can't read the leaf's key OpenSSL stops without saying at which certificate.
        return _Refusal(code, 0, f"{words} (can its public key be read?)", leaf)


def _anchors(certificates: Iterable[Certificate]) -> _Anchors:
    """
    Return these certificates as trust anchors.
    """
    store = crypto.X509Store()
    store.set_flags(_FLAGS)
    loaded = {it: known for it in certificates if (known := _openssl(it.der)) is not None}
    for known in loaded.values():
        store.add_cert(known)
    return _Anchors(tuple(loaded), store, {_encoding(known): it for it, known in loaded.items()})


# Measured: OpenSSL keeps the encoding and what it read of it.
@remembered("parsed", lambda _, der: 2500 + 3 * len(der))
def _openssl(der: bytes) -> crypto.X509 | None:
    """
    Return the certificate as parsed by OpenSSL, cached; None when it can't parse it.
    """
    return _parsed(der)


@lru_cache(maxsize=1)
def _latest(der: bytes) -> crypto.X509 | None:
    """
    Return the same for a leaf. It is judged once, unlike CAs: of each target one would take 5 kB for nothing.
    """
    return _parsed(der)


def _parsed(der: bytes) -> crypto.X509 | None:
    try:
        return crypto.load_certificate(crypto.FILETYPE_ASN1, der)
    except crypto.Error:
        return None


def _encoding(certificate: crypto.X509) -> bytes:
    """
    Return OpenSSL's encoding of a certificate, which normalises unusual lengths.
    """
    return crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate)


def _follow_names(leaf: Certificate, presented: Sequence[Certificate]) -> tuple[Certificate, ...]:
    """
    Return the leaf and those above it by the names of issuers: the candidates for a path where there is none.
    """
    used = [leaf]
    while not used[-1].self_issued:
        above = next((it for it in presented if it.subject == used[-1].issuer and it not in used), None)
        if above is None:
            break
        used.append(above)
    return tuple(used)


def _moments(certificates: Iterable[Certificate]) -> list[float]:
    """
    Return all times at which one of the certificates begins or ends, in order.
    """
    return sorted({moment for it in certificates for moment in _boundaries(it)})


@dataclass(frozen=True, slots=True)
class Anchors:
    """
    The trust anchors for a target, or the reason why there are none.
    """

    store: TrustStore | None
    problem: str = ""
