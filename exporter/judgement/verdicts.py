"""
Judgement: the verdict on the facts of an endpoint, at a given time under a given policy.

Pure. The path to a trust anchor is judged in `pki.trust`; deadlines and the
parameters of the handshake are judged here.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import groupby
from math import inf

from exporter.judgement.habit import Habit, Habits, usual
from exporter.judgement.newest import Kin, kin_of
from exporter.model.observation import Certificate, Chain, Facts, FoundFault, Item, Tls
from exporter.model.policies import AUTOMATIC, CRL, SIGNATURE, Policy, lateness
from exporter.model.reasons import Fault, Kind
from exporter.model.targets import Target
from exporter.pki.issuance import is_issued_by
from exporter.pki.trust import Anchors, Trust, judge

CHAINS_LIMIT = 100
"""Chains of one file of which it is judged whether clients do without what has ended in them. A file may have
thousands, and each is a millisecond of work, or many."""


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
Faults of the certificate itself: clients refuse it at every endpoint and under every name.

Such a certificate is not a renewal of one that clients accept. All other faults depend on the endpoint, the
time or strength (a name, a date, a protocol, a missing intermediate): a renewed certificate may have them.
"""


_ALWAYS = (-inf, inf)
"""The times from and until which a verdict holds that no date changes. The same objects for all."""


_OUT_OF_TIME = frozenset({Fault.CHAIN_EXPIRED, Fault.CHAIN_NOT_YET_VALID})


WEAK_CIPHER_MARKS = ("NULL", "RC4", "RC2", "DES", "EXP", "ADH", "AECDH", "MD5", "SEED", "IDEA")


@dataclass(frozen=True, slots=True)
class Deadlines:
    """
    The deadlines of one item, in seconds since the epoch.
    """

    renewal_due: float
    """When a healthy renewer would have replaced the item."""
    warning: float
    critical: float
    unseen_warning: float | None = None
    """
    The warning by policy, where the item's habit has an earlier one: nobody knows that an item is late by its
    habit while the endpoint is not seen. None when there is only one warning.
    """


@dataclass(frozen=True, slots=True)
class JudgedItem:
    """
    An item with its deadlines.
    """

    item: Item
    deadlines: Deadlines | None
    """
    None for what nobody must renew in time: what another item renews or has replaced, what is needless, and a
    root. See `judge_item`.
    """
    policy: Policy = AUTOMATIC
    """The policy that the deadlines follow."""
    trusted: bool | None = None
    """False for a leaf with a fault in UNTRUSTWORTHY; None for other items, and when trust was not judged."""
    kin: Kin | None = None
    """A leaf as it is compared with others; None for what is not compared."""
    needless: bool = False
    """True for a CA certificate beside a leaf that has ended, and without which clients accept the leaf."""
    foreign: tuple[str, ...] = ()
    """The CAs that are expected to have issued a leaf, when none of them did; else empty."""
    expected: tuple[str, ...] = ()
    """The CAs that are expected to have issued a leaf; empty: any."""
    rhythm: float | None = None
    """Usual age at a renewal in seconds (`judgement.habit`); None if unknown, or ignored by policy."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """
    The judgement on the facts of one endpoint. It holds for `valid_from <= now < valid_until`.
    """

    items: tuple[JudgedItem, ...]
    faults: tuple[FoundFault, ...]
    """The faults for which a normal client refuses the endpoint, each once; empty when it accepts it."""
    valid_from: float
    valid_until: float
    foreign: bool = False
    """True when none of the CAs expected issued one of the leaves."""

    @property
    def expected(self) -> bool:
        """
        True when it is configured which CAs issue the leaves, and they did.
        """
        return not self.foreign and any(one.expected for one in self.items)


def judge_facts(
    facts: Facts, target: Target, anchors: Anchors, now: float, habits: Habits | None = None
) -> Verdict:
    """
    Return the verdict on the facts of an endpoint of this target, at `now` in seconds since the epoch.

    `habits` are those of its items; None: nothing has been learned.
    """
    found: list[FoundFault] = list(facts.faults)
    trusted: dict[str, bool] = {}
    valid_from, valid_until = _ALWAYS
    ended: dict[str, bool] = {}
    in_files = 0
    for chain in facts.chains:
        if not chain.presented:
            if not _ends_first(chain):
                continue
            in_files += 1
            if in_files > CHAINS_LIMIT:
                # As if each of them were needed.
                ended |= dict.fromkeys((one.fingerprint_sha256 for one in chain.certificates[1:]), False)
                continue
        trust = _judge_chain(chain, target, anchors, now)
        valid_from, valid_until = max(valid_from, trust.valid_from), min(valid_until, trust.valid_until)
        _note_needless(chain, trust, now, ended)
        if not chain.presented:
            continue
        if anchors.store is not None:
            trusted[chain.leaf.fingerprint_sha256] = trustworthy((*facts.faults, *trust.faults))
        found += trust.faults
    if facts.tls is not None:
        found += judge_tls(facts.tls)
    found += (_malformed(item) for item in facts.items if _is_irregular(item, facts))
    over = replaced_authorities(facts.items)
    learned = habits or {}
    came, leaves = _came_with(facts.chains), leaves_above(facts.chains)
    served = {chain.leaf for chain in facts.chains if chain.presented}
    items = tuple(
        _judged_item(item, facts, target, trusted, ended, over, anchors, learned, came, leaves, served)
        for item in facts.items
    )
    foreign = any(one.foreign for one in items)
    return Verdict(items, _once_each(found), valid_from, valid_until, foreign)


def trustworthy(faults: Iterable[FoundFault]) -> bool:
    """
    Return True when none of the faults is one of the certificate itself (UNTRUSTWORTHY).
    """
    return UNTRUSTWORTHY.isdisjoint(one.fault for one in faults)


def _ends_first(chain: Chain) -> bool:
    """
    Return True when a certificate above the leaf ends before it does.
    """
    return any(one.not_after < chain.leaf.not_after for one in chain.certificates[1:])


def _note_needless(chain: Chain, trust: Trust, now: float, ended: dict[str, bool]) -> None:
    """
    Note, by fingerprint of each certificate above the leaf that has ended, whether clients do without it.

    They do when a path in time leads to an anchor: what has ended is not on it. Of two chains with the same
    certificate, both must have one.
    """
    does_without = bool(trust.path) and _OUT_OF_TIME.isdisjoint(one.fault for one in trust.faults)
    for one in chain.certificates[1:]:
        if one.not_after + 1 <= now:
            ended[one.fingerprint_sha256] = does_without and ended.get(one.fingerprint_sha256, True)


def _judged_item(
    item: Item,
    facts: Facts,
    target: Target,
    trusted: Mapping[str, bool],
    ended: Mapping[str, bool],
    replaced: Collection[str],
    anchors: Anchors,
    habits: Habits,
    came: Mapping[Certificate, tuple[Certificate, ...]],
    leaves: Mapping[Certificate, Certificate],
    served: Collection[Certificate],
) -> JudgedItem:
    leaf = leaves.get(item.certificate) if item.kind is Kind.INTERMEDIATE and item.certificate else None
    policy = policy_for(item, leaf, facts, target)
    habit = habits.get(item.name) if policy.habit else None
    rhythm = habit.rhythm if habit is not None else None
    one = item.certificate
    needless = item.kind is Kind.INTERMEDIATE and one is not None and ended.get(one.fingerprint_sha256, False)
    deadlines = None if needless or item.name in replaced else judge_item(item, leaf, policy, habit)
    if item.kind is not Kind.LEAF or one is None:
        return JudgedItem(item, deadlines, policy, needless=needless, rhythm=rhythm)
    kin = kin_of(one, target.name, item.name, served=one in served)
    # The client certificate is the exporter's own.
    expected = expected_issuers(target, policy) if item.name != "client" else ()
    foreign = expected
    if foreign and is_issued_by(foreign, one, came.get(one, ()), anchors.store):
        foreign = ()
    return JudgedItem(
        item,
        deadlines,
        policy,
        trusted.get(one.fingerprint_sha256),
        # What somebody else issued is no renewal of ours.
        None if foreign else kin,
        foreign=foreign,
        expected=expected,
        rhythm=rhythm,
    )


def replaced_authorities(items: Iterable[Item]) -> frozenset[str]:
    """
    Return the names of the CA certificates whose end hurts nobody, since their successor stands beside them.

    A successor has the same subject or key, ends later, and is valid before the old one ends. Whoever trusts
    what stands in this place trusts it already, as in the middle of a healthy rotation.
    """
    authorities = [item for item in items if item.kind is Kind.AUTHORITY]
    if not authorities:
        return frozenset()
    replaced: set[str] = set()
    begins: dict[str, float] = {}
    # A bundle may have thousands: in the order of their ends, the last first, each is looked at once.
    authorities.sort(key=lambda one: -one.not_after)
    for end, found in groupby(authorities, key=lambda one: one.not_after):
        same_end = list(found)
        replaced |= {
            one.name for one in same_end if any(begins.get(mark, inf) <= end for mark in _marks(one))
        }
        for one in same_end:
            begins |= {mark: min(one.not_before, begins.get(mark, inf)) for mark in _marks(one)}
    return frozenset(replaced)


def _marks(authority: Item) -> tuple[str, ...]:
    """
    Return the key and the subject of a CA certificate, by which its successor is known.
    """
    one = authority.certificate
    if one is None:
        return ()
    return (one.public_key_sha256, f"subject {one.subject}") if one.subject else (one.public_key_sha256,)


def _came_with(chains: Iterable[Chain]) -> dict[Certificate, tuple[Certificate, ...]]:
    """
    Return the certificates that came with each leaf.
    """
    found: dict[Certificate, tuple[Certificate, ...]] = {}
    for chain in chains:
        found[chain.leaf] = found.get(chain.leaf, ()) + chain.certificates
    return found


def policy_for(item: Item, leaf: Certificate | None, facts: Facts, target: Target) -> Policy:
    """
    Return the policy of an item: that of the first match that fits, or else the target's.

    An intermediate comes with the renewal of its leaf, so its kind and issuer are those of the `leaf` here.
    """
    kind, certificate = (item.kind, item.certificate) if leaf is None else (Kind.LEAF, leaf)
    issuer = certificate.issuer if certificate is not None else None
    otherwise = target.policy
    if facts.chains and kind in {Kind.CRL, Kind.OCSP}:
        # The target's policy is for its certificate. Revocation lists and OCSP responses live for days only.
        otherwise = CRL if kind is Kind.CRL else SIGNATURE
    return target.policy_of(kind, issuer, otherwise)


def expected_issuers(target: Target, policy: Policy) -> tuple[str, ...]:
    """
    Return the CAs whose certificates are expected, of items with this policy; empty: any.
    """
    return policy.issuers if target.issuers is None else target.issuers


def leaves_above(chains: Iterable[Chain]) -> dict[Certificate, Certificate]:
    """
    Return the leaf of each certificate in a chain, of several the one that ends last.

    A server with an RSA and an ECDSA certificate has two chains, which may share those above; a file may have
    thousands.
    """
    found: dict[Certificate, Certificate] = {}
    for chain in chains:
        for one in chain.certificates:
            known = found.get(one)
            if known is None or known.not_after < chain.leaf.not_after:
                found[one] = chain.leaf
    return found


def judge_item(
    item: Item, leaf: Certificate | None, policy: Policy, habit: Habit | None = None
) -> Deadlines | None:
    """
    Return the deadlines of an item by its policy and its habit, or None when it has none. `leaf` is that of
    an intermediate's chain; None for other items.

    A renewal time given by the item's issuer or manager replaces the policy's: the warning comes when that
    renewal is late.

    A served root has none: clients use their own copy. An intermediate is replaced with each renewal of its
    leaf, so it has deadlines only when it ends before the leaf, and then those for the leaf's lifetime.
    """
    lifetime = item.not_after - item.not_before
    if item.kind is Kind.ROOT:
        return None
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
        return _by_habit(Deadlines(due, min(warning, critical), critical), item, habit)
    by_policy = Deadlines(
        item.not_after - left.renewal_due, item.not_after - left.warning, item.not_after - left.critical
    )
    return _by_habit(by_policy, item, habit)


def _by_habit(by_policy: Deadlines, item: Item, habit: Habit | None) -> Deadlines:
    """
    Return the deadlines with what was learned of the item's renewals.

    They are earlier for one that is usually renewed earlier, but it is critical by policy alone. They are
    later for one whose automatic renewals come after the policy's warning, unless its issuer says when to
    renew it: the warning comes when a third of the usual time left is gone, and it is critical at a half,
    or at half of what the policy leaves if that is earlier.
    """
    expected = usual(habit, item) if habit is not None else None
    if expected is None:
        return by_policy
    end, left = item.not_after, expected.left
    is_automatic = item.renewal is None and by_policy.warning > by_policy.renewal_due
    if is_automatic and left > 0 and end - left > by_policy.warning:
        most = end - by_policy.critical
        critical = min(max(left / 2, most / 2), most)
        warning = max(left * 2 / 3, critical)
        return Deadlines(end - max(left, warning), end - warning, end - critical)
    due, warning = min(by_policy.renewal_due, expected.due), min(by_policy.warning, expected.warning)
    if warning >= by_policy.warning:
        return replace(by_policy, renewal_due=due)
    return Deadlines(due, warning, by_policy.critical, by_policy.warning)


def _judge_chain(chain: Chain, target: Target, anchors: Anchors, now: float) -> Trust:
    if anchors.store is None:
        fault = FoundFault(Fault.TRUST_STORE_UNUSABLE, anchors.problem)
        return Trust((fault,), (), valid_until=float("inf"), valid_from=float("-inf"))
    return judge(chain.certificates, target.expected_name, anchors.store, now)


def _is_irregular(item: Item, facts: Facts) -> bool:
    """
    Return True for a certificate of the endpoint that strict clients cannot parse.

    The exporter's own client certificate is not one of the endpoint.
    """
    one = item.certificate
    if one is None or not one.irregular:
        return False
    return facts.tls is None or any(one in chain.certificates for chain in facts.chains)


def _malformed(item: Item) -> FoundFault:
    """
    Return the fault of a certificate that strict clients cannot parse.
    """
    assert item.certificate is not None
    words = f"Strict clients refuse to read the certificate {item.name}: {item.certificate.irregular}."
    return FoundFault(Fault.MALFORMED, words)


def judge_tls(tls: Tls) -> list[FoundFault]:
    """
    Return the faults of the negotiated protocol and cipher, which a normal client would not accept.
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
    A verdict with the facts, the target, the trust anchors and the habits that it was made from.
    """

    facts: Facts
    target: Target
    anchors: Anchors
    verdict: Verdict
    habits: Habits = field(default_factory=dict)


def judge_again(
    before: Judged | None,
    facts: Facts,
    target: Target,
    anchors: Anchors,
    now: float,
    habits: Habits,
) -> Judged:
    """
    Return the verdict on an endpoint, with the same object as `before` while that still holds.

    It holds while facts, habits, target and trust anchors are unchanged and `now` is within the verdict's
    validity.
    """
    if (
        before is not None
        and before.facts is facts
        and before.anchors is anchors
        and before.habits is habits
        and (before.target is target or before.target == target)
        and before.verdict.valid_from <= now < before.verdict.valid_until
    ):
        return before
    return Judged(facts, target, anchors, judge_facts(facts, target, anchors, now, habits), habits)
