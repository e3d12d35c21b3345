"""
Certificates in public logs that no server shows: renewals not in service, CAs that are none of yours. Pure.

    issuances of the logs, less the certificates that were seen anywhere = what is known from logs alone

A log does not say where a certificate is meant to be served, and often not what type of key it has. So what
is not certain by names, issuer and time is not told as a problem: see `Renewed.sure` and `Stranger.sure`.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

from exporter.judgement.newest import Found, Newest
from exporter.judgement.verdicts import JudgedItem, Verdict, expected_issuers
from exporter.model.issuance import Issuance
from exporter.model.observation import Certificate
from exporter.model.policies import DAY
from exporter.model.probers import DOMAIN, DTLS, QUIC, WIRE
from exporter.model.reasons import Kind
from exporter.model.schemes import SCHEMES
from exporter.model.targets import Target, fingerprint
from exporter.pki.issuance import issuer_names

DEPLOYMENT = 2 * DAY
"""Seconds in which a renewal gets to its servers and into the answers about logs."""


DEPLOYMENT_SHARE = 1 / 20
"""The share of its lifetime, if that is less."""


BESIDE = 2 / 5
"""
Share of a certificate's lifetime within which another one of the same names and issuer was not issued to
renew it, but to stand beside it: for the other type of key, or another node. Renewers wait for half of it.
"""


STRANGERS = 100
"""Issuances that are told at one target: the newest, if they come in that order."""


_HANDSHAKES = frozenset(name for name, one in SCHEMES.items() if one.prober in {WIRE, DTLS, QUIC})


@dataclass(frozen=True, slots=True)
class Renewed:
    """
    An issuance that renews a leaf, and was seen nowhere.
    """

    issuance: Issuance
    sure: bool
    """False where it may renew another one of the same names: for the other type of key, or another node."""


@dataclass(frozen=True, slots=True)
class Stranger:
    """
    An issuance of a CA that is none of those that a target expects, and was seen nowhere.
    """

    issuance: Issuance
    expected: tuple[str, ...]
    sure: bool
    """False where the CAs are expected by what stands above the issuer, which logs do not say."""


Expected = tuple[str, ...]
"""Names and fingerprints of CAs, as `issuers` has them."""


class _Watched:
    """
    The targets by the names that they look at. Of those that expect the same CAs, one each.
    """

    def __init__(self) -> None:
        self._hosts: dict[str, dict[object, Target]] = defaultdict(dict)
        self._below: dict[str, dict[object, Target]] = defaultdict(dict)
        self._domains: dict[str, Target] = {}

    def add(self, target: Target) -> None:
        """
        Add a target.
        """
        if target.url.scheme in _HANDSHAKES:
            name = target.expected_name.lower().removesuffix(".")
            kind = target.issuers, target.policy.name, tuple(one.policy.name for one in target.matches)
            self._hosts[name].setdefault(kind, target)
            self._below[name.partition(".")[2]].setdefault(kind, target)
        elif target.issuers and SCHEMES[target.url.scheme].prober is DOMAIN:
            self._domains.setdefault(target.url.host, target)

    def by(self, names: Iterable[str]) -> list[Target]:
        """
        Return the targets that look at one of the names, those of a whole name first; else at its domain.
        """
        whole = chain.from_iterable(self._hosts[one].values() for one in names if one in self._hosts)
        below = [one[2:] for one in names if one.startswith("*.")]
        found = [
            *whole,
            *chain.from_iterable(self._below[one].values() for one in below if one in self._below),
        ]
        return found or [self._domains[one] for name in names for one in _above(name) if one in self._domains]


def _above(name: str) -> Iterator[str]:
    while name:
        yield name
        name = name.partition(".")[2]


class Issuances:
    """
    The issuances that logs know, beside the targets that they concern. It does not change once it is made.
    """

    def __init__(self, known: Iterable[Issuance] = (), targets: Iterable[Target] = ()) -> None:
        self.by_names: dict[tuple[str, ...], list[Issuance]] = {}
        self.by_moment: dict[tuple[float, float], list[Issuance]] = {}
        """By begin and end."""
        self.strange: dict[str, list[tuple[Issuance, frozenset[Expected]]]] = {}
        """By target, the issuances whose issuer's name is none of those expected; told at one target only."""
        for _ in self._steps(tuple(known), targets):
            pass

    @classmethod
    def in_steps(cls, known: Collection[Issuance], targets: Iterable[Target]) -> Iterator["Issuances"]:
        """
        Yield the same object after each step in which it is made: half a second for 10,000 of each.
        """
        made = cls()
        yield made
        yield from made._steps(known, targets)

    def _steps(self, known: Collection[Issuance], targets: Iterable[Target]) -> Iterator["Issuances"]:
        watched = _Watched()
        for target in targets if known else ():
            watched.add(target)
            yield self
        for one in known:
            self.by_names.setdefault(one.names, []).append(one)
            self.by_moment.setdefault((one.not_before, one.not_after), []).append(one)
            concerned = watched.by(one.names)
            expected = frozenset(_expected(target, one) for target in concerned)
            # Whoever expects any CA, or this one, has ordered it, for all that is known.
            if expected and all(expected) and not any(_is_named(one.issuer, those) for those in expected):
                told = self.strange.setdefault(concerned[0].name, [])
                if len(told) < STRANGERS:
                    told.append((one, expected))
            yield self

    def __bool__(self) -> bool:
        return bool(self.by_names)


NONE = Issuances()
"""Nothing is known from logs."""


def _expected(target: Target, issuance: Issuance) -> Expected:
    return expected_issuers(target, target.policy_of(Kind.LEAF, issuance.issuer))


def _is_named(issuer: str, expected: Expected) -> bool:
    names = issuer_names(issuer)
    return any(text.strip().casefold() in names for text in expected)


class Unseen:
    """
    The certificates of logs that were not seen, at `now` in seconds since the epoch, once all seen are noted.
    """

    def __init__(self, issuances: Issuances = NONE, now: float = 0.0) -> None:
        self._issuances = issuances
        self._now = now
        self._noted: list[Certificate] = []
        self._seen: dict[tuple[float, float], list[Certificate]] | None = None
        """What was noted by begin and end; None until it is asked for, since in most scrapes it is not."""
        self._issuers: set[tuple[Expected, str]] = set()
        self._accepted: dict[Expected, dict[str, bool]] = defaultdict(dict)
        """By the CAs expected, the organizations that issued for them, and whether `issuers` names those."""

    def note(self, items: Iterable[JudgedItem]) -> None:
        """
        Note the certificates that are at an endpoint.
        """
        if not self._issuances:
            return
        self._seen = None
        for judged in items:
            one = judged.item.certificate
            if one is None or judged.item.kind is not Kind.LEAF:
                continue
            self._noted.append(one)
            if judged.expected and not judged.foreign and (judged.expected, one.issuer) not in self._issuers:
                self._issuers.add((judged.expected, one.issuer))
                accepted, named = self._accepted[judged.expected], _is_named(one.issuer, judged.expected)
                accepted[one.issuer_organization] = accepted.get(one.issuer_organization, True) and named

    def _is_seen(self, issuance: Issuance) -> bool:
        if self._seen is None:
            seen = self._seen = defaultdict(list)
            for one in self._noted:
                seen[one.not_before, one.not_after].append(one)
        there = self._seen.get((issuance.not_before, issuance.not_after), ())
        return any(issuance.is_of(one) for one in there)

    def renewed(self, judged: JudgedItem) -> Renewed | None:
        """
        Return the issuance that renews a leaf, of several that which ends last; None when none is known.

        It has the same names and the same issuer (its organization) or key, began later and ends later, and
        there was time to deploy it.
        """
        leaf, kin = judged.item.certificate, judged.kin
        if not self._issuances or leaf is None or kin is None or judged.trusted is False:
            return None
        if not kin.is_for_servers or leaf.self_issued:
            return None
        # A server may not list all names of a certificate: then it does not list them of a renewal either.
        there = self._issuances.by_moment.get((leaf.not_before, leaf.not_after), ())
        names = next((one.names for one in there if one.is_of(leaf)), kin.names)
        known = self._issuances.by_names.get(names, ())
        alike = [one for one in known if _may_renew(one, leaf) and not one.is_of(leaf)]
        later = [
            one
            for one in alike
            if one.not_after > leaf.not_after
            and one.not_before > leaf.not_before
            and self._now >= one.not_before + min(DEPLOYMENT, one.lifetime * DEPLOYMENT_SHARE)
            and not self._is_seen(one)
        ]
        if not later:
            return None
        newest = max(later, key=lambda one: one.not_after)
        beside = any(abs(one.not_before - leaf.not_before) < leaf.lifetime * BESIDE for one in alike)
        return Renewed(newest, sure=newest.key == leaf.public_key_sha256 or not beside)

    def strangers(self, target: Target) -> Iterator[Stranger]:
        """
        Yield the issuances that are told at this target, since none of the CAs expected issued them.
        """
        for one, expected in self._issuances.strange.get(target.name, ()):
            accepted = [self._accepted.get(those, {}) for those in sorted(expected)]
            if one.not_after <= self._now or any(one.organization in those for those in accepted):
                continue
            if self._is_seen(one):
                # It is judged where it was seen.
                continue
            above = any(False in those.values() for those in accepted)
            all_of_them = tuple(dict.fromkeys(chain.from_iterable(sorted(expected))))
            known = not above and not any(fingerprint(text) for text in all_of_them)
            yield Stranger(one, all_of_them, sure=known)


def _may_renew(issuance: Issuance, leaf: Certificate) -> bool:
    return issuance.organization == leaf.issuer_organization or issuance.key == leaf.public_key_sha256


class Elsewhere(Newest[Found]):
    """
    All that is known elsewhere of a leaf: what was seen at other endpoints, and what only logs know.
    """

    __slots__ = ("unseen",)

    def __init__(self, issuances: Issuances = NONE, now: float = 0.0) -> None:
        super().__init__()
        self.unseen = Unseen(issuances, now)

    def note(self, items: Iterable[JudgedItem], found: Found) -> None:
        """
        Note the items of an endpoint, with a value for each of them.
        """
        for judged in items:
            if judged.kin is not None:
                self.add(judged.kin, judged.trusted, judged.item.not_after, found)
        self.unseen.note(items)

    def newer_end(self, judged: JudgedItem) -> float | None:
        """
        Return the latest end of a renewal of this item, in seconds since the epoch; None when none is known.
        """
        if judged.kin is None:
            return None
        newer = self.newer(judged.kin, judged.trusted, judged.item.not_after)
        renewed = self.unseen.renewed(judged)
        ends = [newer[0]] if newer is not None else []
        if renewed is not None and renewed.sure:
            ends.append(renewed.issuance.not_after)
        return max(ends, default=None)


def newest_ends(
    verdicts: Iterable[Verdict | None],
    issuances: Issuances = NONE,
    now: float = 0.0,
    of: Iterable[Verdict | None] | None = None,
) -> Elsewhere[None]:
    """
    Return the ends of all leaves that are compared, among the verdicts on all endpoints.

    `issuances` are those that logs know at `now`, in seconds since the epoch. `of`: only the leaves of these
    verdicts will be asked for; None: any.
    """
    newest: Elsewhere[None] = Elsewhere(issuances, now)
    if of is None:
        note_ends(newest, verdicts)
        return newest
    asked = (one for verdict in of if verdict is not None for one in verdict.items)
    only = {judged.kin.about for judged in asked if judged.kin is not None}
    for verdict in verdicts:
        items = verdict.items if verdict is not None else ()
        newest.unseen.note(items)
        for one in items:
            if one.kin is not None and one.kin.about in only:
                newest.add(one.kin, one.trusted, one.item.not_after, None)
    return newest


def newer_ends(
    leaves: Iterable[JudgedItem],
    verdicts: Iterable[Verdict | None],
    issuances: Issuances = NONE,
    now: float = 0.0,
) -> list[float | None]:
    """
    Return `Elsewhere.newer_end` of each of these leaves, among the verdicts on all endpoints.

    `issuances` are those that logs know at `now`, in seconds since the epoch.
    """
    newest = newest_ends(verdicts, issuances, now)
    return [newest.newer_end(one) for one in leaves]


def note_ends(newest: Elsewhere[None], verdicts: Iterable[Verdict | None]) -> None:
    """
    Add the ends of the leaves of these verdicts to those so far.
    """
    for verdict in verdicts:
        if verdict is not None:
            newest.note(verdict.items, None)
