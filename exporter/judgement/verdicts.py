"""
Judgement: what the facts of an endpoint mean at a given time under a given policy.

Pure. The path to a trust anchor is judged in `trust`; deadlines and what a
handshake agreed on are judged here.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from exporter.model.observation import Certificate, Chain, Facts, FoundFault, Item, Tls
from exporter.model.policies import AUTOMATIC, CRL, SIGNATURE, Policy, lateness
from exporter.model.reasons import Fault, Kind
from exporter.model.targets import Target
from exporter.pki.trust import Anchors, Trust, judge

WEAK_PROTOCOLS = frozenset({"SSLv2", "SSLv3", "TLSv1", "TLSv1.1"})
"""RFC 8996 (TLS 1.0 and 1.1), RFC 7568 (SSL 3.0)."""


UNTRUSTWORTHY = frozenset(
    {
        Fault.SELF_SIGNED,
        Fault.UNTRUSTED_ROOT,
        Fault.INVALID_CHAIN,
        Fault.CA_AS_LEAF,
        Fault.WRONG_KEY_USAGE,
        Fault.REVOKED,
    }
)
"""
Faults for which clients refuse a certificate for what it is, wherever and under whichever name it is shown.

Where clients accept another certificate, one of these would lock them out: it is no renewal of that. All
other faults are of the place or the time (a name, a date, a protocol, a missing intermediate), or of its
strength: the same certificate may well be the renewed one.
"""


WEAK_CIPHER_MARKS = ("NULL", "RC4", "RC2", "DES", "EXP", "ADH", "AECDH", "MD5", "SEED", "IDEA")


@dataclass(frozen=True, slots=True)
class Deadlines:
    """
    Moments of one item, in seconds since the epoch.
    """

    renewal_due: float
    """When a healthy renewer would have replaced it."""
    warning: float
    critical: float


@dataclass(frozen=True, slots=True)
class JudgedItem:
    """
    An item with its deadlines.
    """

    item: Item
    deadlines: Deadlines | None
    """None for what is renewed together with something else, or has no say: see `judge_item`."""
    policy: Policy = AUTOMATIC
    """The policy that the deadlines are made by."""
    trusted: bool | None = None
    """False for a leaf that clients refuse for what it is; None when it is shown to none, or not judged."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """
    What the facts of one endpoint mean. It holds for `valid_from <= now < valid_until`.
    """

    items: tuple[JudgedItem, ...]
    faults: tuple[FoundFault, ...]
    """Why a normal client would refuse the endpoint, at most one per fault; empty when it would not."""
    valid_from: float
    valid_until: float


def judge_facts(facts: Facts, target: Target, anchors: Anchors, now: float) -> Verdict:
    """
    The verdict on an endpoint of this target.
    """
    found: list[FoundFault] = list(facts.faults)
    trusted: dict[str, bool] = {}
    valid_from, valid_until = float("-inf"), float("inf")
    for chain in facts.chains:
        if not chain.presented:
            continue
        trust = _judge_chain(chain, target, anchors, now)
        if anchors.store is not None:
            trusted[chain.leaf.fingerprint_sha256] = trustworthy((*facts.faults, *trust.faults))
        found += trust.faults
        valid_from, valid_until = max(valid_from, trust.valid_from), min(valid_until, trust.valid_until)
    if facts.tls is not None:
        found += judge_tls(facts.tls)
    found += (_malformed(item) for item in facts.items if _is_irregular(item, facts))
    items = tuple(_judged_item(item, facts, target, trusted) for item in facts.items)
    return Verdict(items, _once_each(found), valid_from, valid_until)


def trustworthy(faults: Iterable[FoundFault]) -> bool:
    """
    True when none of the faults lies in the certificate itself.
    """
    return UNTRUSTWORTHY.isdisjoint(one.fault for one in faults)


def _judged_item(item: Item, facts: Facts, target: Target, trusted: Mapping[str, bool]) -> JudgedItem:
    policy = policy_for(item, facts, target)
    leaf = item.certificate if item.kind is Kind.LEAF else None
    is_trusted = trusted.get(leaf.fingerprint_sha256) if leaf is not None else None
    return JudgedItem(item, judge_item(item, facts, policy), policy, is_trusted)


def policy_for(item: Item, facts: Facts, target: Target) -> Policy:
    """
    The policy of an item: that of the first match that fits, or else the target's.

    What accompanies a leaf is renewed by whoever renews the leaf, so the leaf is what must fit.
    """
    leaf = _leaf_of(item, facts)
    kind, certificate = (item.kind, item.certificate) if leaf is None else (Kind.LEAF, leaf)
    issuer = certificate.issuer if certificate is not None else None
    otherwise = target.policy
    if kind in {Kind.CRL, Kind.OCSP} and facts.chains:
        # The target's policy says how its certificate is renewed. What tells of that lives for days only.
        otherwise = CRL if kind is Kind.CRL else SIGNATURE
    return next((match.policy for match in target.matches if match.fits(kind, issuer)), otherwise)


def _leaf_of(item: Item, facts: Facts) -> Certificate | None:
    """
    The leaf that an intermediate accompanies, the one that ends last; None for everything else.
    """
    if item.kind is not Kind.INTERMEDIATE:
        return None
    # A server with an RSA and an ECDSA certificate has two chains, which may share it.
    leaves = [chain.leaf for chain in facts.chains if item.certificate in chain.certificates]
    return max(leaves, key=lambda one: one.not_after, default=None)


def judge_item(item: Item, facts: Facts, policy: Policy) -> Deadlines | None:
    """
    The deadlines of an item.

    When its issuer or manager said when it is to be renewed, a person is told once that is late.

    A root that is served has none: clients use their own copy. A CA certificate that
    accompanies a leaf comes anew with each renewal of the leaf, so it has deadlines
    only when it ends before the leaf does, and then those of the leaf's lifetime.
    """
    lifetime = item.not_after - item.not_before
    if item.kind is Kind.ROOT:
        return None
    leaf = _leaf_of(item, facts)
    if leaf is not None:
        if item.not_after >= leaf.not_after:
            return None
        lifetime = leaf.lifetime
    left = policy.time_left(lifetime)
    if item.renewal is not None:
        critical = item.not_after - left.critical
        due = min(item.renewal.due, critical)
        warning = due + lateness(max(lifetime, 0.0))
        if due >= item.not_after - left.renewal_due:
            # No sooner than anyone would renew: renewers that do not ask the issuer are healthy too.
            warning = max(warning, item.not_after - left.warning)
        return Deadlines(due, min(warning, critical), critical)
    return Deadlines(
        item.not_after - left.renewal_due, item.not_after - left.warning, item.not_after - left.critical
    )


def _judge_chain(chain: Chain, target: Target, anchors: Anchors, now: float) -> Trust:
    if anchors.store is None:
        fault = FoundFault(Fault.TRUST_STORE_UNUSABLE, anchors.problem)
        return Trust((fault,), (), valid_until=float("inf"), valid_from=float("-inf"))
    return judge(chain.certificates, target.expected_name, anchors.store, now)


def _is_irregular(item: Item, facts: Facts) -> bool:
    """
    True for a certificate of the endpoint that strict clients refuse to read. Our own is none of it.
    """
    one = item.certificate
    if one is None or not one.irregular:
        return False
    return facts.tls is None or any(one in chain.certificates for chain in facts.chains)


def _malformed(item: Item) -> FoundFault:
    """
    The fault that strict clients refuse to read a certificate.
    """
    assert item.certificate is not None
    words = f"Strict clients refuse to read the certificate {item.name}: {item.certificate.irregular}."
    return FoundFault(Fault.MALFORMED, words)


def judge_tls(tls: Tls) -> list[FoundFault]:
    """
    What a normal client would not agree on with this server.
    """
    found = []
    if tls.protocol in WEAK_PROTOCOLS:
        found.append(
            FoundFault(
                Fault.WEAK_PROTOCOL, f"the best protocol the server offers is {tls.protocol} (RFC 8996)"
            )
        )
    if any(mark in tls.cipher for mark in WEAK_CIPHER_MARKS):
        found.append(
            FoundFault(
                Fault.WEAK_CIPHER, f"the best cipher the server offers is {tls.cipher or 'none at all'}"
            )
        )
    return found


def _once_each(found: list[FoundFault]) -> tuple[FoundFault, ...]:
    if not found:
        return ()
    order = list(Fault)
    first: dict[Fault, FoundFault] = {}
    for one in found:
        first.setdefault(one.fault, one)
    return tuple(sorted(first.values(), key=lambda one: order.index(one.fault)))


@dataclass(frozen=True, slots=True)
class Judged:
    """
    A verdict with all that it was made of.
    """

    facts: Facts
    target: Target
    anchors: Anchors
    verdict: Verdict


def judge_again(before: Judged | None, facts: Facts, target: Target, anchors: Anchors, now: float) -> Judged:
    """
    The verdict on an endpoint: the same object as before while nothing changed and no certificate ended.
    """
    if (
        before is not None
        and before.facts is facts
        and before.anchors is anchors
        and (before.target is target or before.target == target)
        and before.verdict.valid_from <= now < before.verdict.valid_until
    ):
        return before
    return Judged(facts, target, anchors, judge_facts(facts, target, anchors, now))
