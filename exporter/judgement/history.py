"""
History: the predecessors of an endpoint's items, and the times of changes.

Pure: the clock is an argument.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from exporter.judgement.habit import Habits
from exporter.judgement.registrations import is_explained, moved_by_itself
from exporter.model.observation import Facts, Failed, Item, Observation
from exporter.model.policies import DAY, HOUR
from exporter.model.reasons import Kind, Reason

RENEWED_EARLY = 60 * DAY
"""Seconds before the end at which the earliest renewers with a fixed number of days renew."""


NAMELESS_FOR = 3600.0
"""
Seconds for which DNS must have said that a name does not exist until that is believed, and for which it
stands while DNS does not answer.
"""


UNANSWERED = frozenset({Reason.DNS_FAILED, Reason.DNS_TIMEOUT, Reason.TIMEOUT})
"""Reasons of probes that got no answer from DNS, or may have got none."""


IN_SERVICE = DAY
"""Seconds for which a leaf was in service before it counts as a rollback that it is not any more."""


IN_SERVICE_SHARE = 1 / 20
"""Share of its lifetime that is enough for it, too."""


BACKDATED = HOUR
"""Seconds by which a certificate may begin before it is issued: so do those of Let's Encrypt."""


FRESH = DAY
"""Seconds after its issuance at which a certificate comes that is deployed as soon as it is issued."""


TURNS = 3
"""How many times as long as that of another a turn of days may be."""


IDENTITY_REPORTED = 3 * DAY
"""Seconds for which it is a problem that issuer and key changed together."""


REMEMBERED = 8
"""Leaves that are remembered of each place, those that left last."""


@dataclass(frozen=True, slots=True)
class Former:
    """
    A leaf that was there before, as far as it must be known again.
    """

    fingerprint: str
    issuer: str
    key: str
    first_at: float
    """Time at which it was first seen there, in seconds since the epoch."""
    returned: bool = False
    """True when it had gone and came back."""
    turned: bool = False
    """True when one that was there before it took its place: they take turns, none replaced the other."""
    issued_at: float = 0.0
    """Its begin, in seconds since the epoch."""
    trusted: bool = False
    """True when it was in service for long, clients accepted it, and its identity was in no doubt."""
    displaced: bool = False
    """
    True when issuer and key changed together when it left, long before it was due, and are not back yet: that
    it comes back itself is a fault put right, however long it took.
    """


_NOTHING: Mapping[str, Any] = {}


def _nothing() -> Mapping[str, Any]:
    # The same each time: nearly all that a fleet has is healthy and unchanged, and seven empty ones of each
    # take as much room as all else that is known of it.
    return _NOTHING


@dataclass(slots=True)
class Past:
    """
    The predecessors of an endpoint's items, and the times of changes, in seconds since the epoch.

    Only a leaf that clients accepted counts as one that was in service before. A mapping is never changed,
    but replaced.
    """

    previous: Mapping[str, Item] = field(default_factory=_nothing)
    """By item name, what was in service before the last change. No entry before the first change."""
    identity_changed_at: Mapping[str, float] = field(default_factory=_nothing)
    """
    By name of a leaf, when its issuer and key changed together outside any renewal window. No entry when the
    identity of before is back.
    """
    changed_at: Mapping[str, float] = field(default_factory=_nothing)
    """By item name, when it last changed."""
    rolled_back_at: Mapping[str, float] = field(default_factory=_nothing)
    """
    By name of a leaf, when one came back that the one before it had replaced. No entry while the newest is
    served.
    """
    trusted_at: float | None = None
    """Time at which a normal client would last have accepted the endpoint; None when never."""
    first_at: float | None = None
    """Time at which something was first seen there; None when not known."""
    served: Mapping[str, float] = field(default_factory=_nothing)
    """By name of a leaf, the seconds for which the one in `previous` was in service."""
    formers: Mapping[str, tuple[Former, ...]] = field(default_factory=_nothing)
    """By name of a leaf, those that were there before, REMEMBERED at most."""
    nameless: tuple[float, float] | None = None
    """Since when, and when last, DNS said that the endpoint's name does not exist; None while it may."""
    failing_since: float | None = None
    """Time of the first probe that saw nothing since the endpoint was last seen; None while it is seen."""
    moved_at: Mapping[str, float] = field(default_factory=_nothing)
    """
    By name of a registration, when its end was moved ahead, as a registry does by itself. No entry once the
    registry has said how it is about a payment.
    """
    habits: Habits = field(default_factory=_nothing)
    """By item name, its renewals. No entry before the first."""

    def note_name(self, observation: Observation, now: float) -> None:
        """
        Record what a probe at `now` (seconds since the epoch) says about the existence of the name.

        A look-up without an answer says nothing: what DNS said before that stands for a while.
        """
        reason = observation.reason if isinstance(observation, Failed) else None
        if reason is Reason.DNS_NOT_FOUND:
            since = now if self.nameless is None else min(self.nameless[0], now)
            self.nameless = since, now
        elif self.nameless is not None and not (
            reason in UNANSWERED and 0 <= now - self.nameless[1] < NAMELESS_FOR
        ):
            self.nameless = None

    def note_failure(self, now: float) -> None:
        """
        Record that nothing was seen by `now`, in seconds since the epoch.
        """
        # From the future: the time of day was set back since.
        if self.failing_since is None or self.failing_since > now:
            self.failing_since = now

    def note_change(
        self,
        before: Facts,
        after: Facts,
        now: float,
        last_seen: float | None = None,
        *,
        accepted: bool = True,
        expected: bool = False,
        rotates: bool = False,
    ) -> None:
        """
        Record that the facts changed at `now`, in seconds since the epoch.

        `accepted`: clients accepted the endpoint before; `expected`: it is configured whose certificates are,
        and those before were. These were seen until `last_seen` (seconds since the epoch; None: until now).
        Where it `rotates`, each probe may be at another server: an older certificate or another issuer is
        then no sign of a change.
        """
        now_there = {item.name: item for item in after.items}
        parts: dict[str, Past] = {}
        for old in before.items:
            new = now_there.get(old.name)
            if new is None or not _is_another(old, new):
                continue
            parts[old.name] = part = self._part(old.name)
            part.note_item(old, new, now, accepted=accepted, expected=expected, rotates=rotates)
            if old.kind is Kind.REGISTRATION and new.not_after != old.not_after:
                seen = now if after.seen_at is None else after.seen_at
                moved = moved_by_itself(old, new, now if last_seen is None else last_seen, seen)
                part.moved_at = {old.name: now} if moved else _NOTHING
        # Each mapping is made once: a file may have thousands of items that are renewed together.
        for key in _BY_ITEM if parts else ():
            setattr(
                self, key, _joined(getattr(self, key), {name: getattr(parts[name], key) for name in parts})
            )
        if self.moved_at and is_explained(after):
            self.moved_at = _NOTHING

    def _part(self, name: str) -> "Past":
        """
        Return what is known of one item alone.
        """
        part = Past(first_at=self.first_at)
        for key in _BY_ITEM:
            if name in (known := getattr(self, key)):
                setattr(part, key, {name: known[name]})
        return part

    def note_item(
        self, old: Item, new: Item, now: float, *, accepted: bool, expected: bool, rotates: bool
    ) -> None:
        """
        Record that an item changed, as `note_change`.
        """
        if old.kind is Kind.LEAF:
            self._leave(old, new, now, accepted=accepted)
        else:
            # Of other items than leaves only the dates are used; a certificate may be large.
            self.previous = {**self.previous, old.name: replace(old, certificate=None)}
        self.changed_at = {**self.changed_at, old.name: now}
        if old.kind is Kind.LEAF:
            self._compare(old, new, now, accepted=accepted, expected=expected, rotates=rotates)

    def _leave(self, old: Item, new: Item, now: float, *, accepted: bool) -> None:
        """
        Remember a leaf that is not there any more, since a new one is.
        """
        name, began = old.name, self.changed_at.get(old.name)
        first_at = next((at for at in (began, self.first_at) if at is not None), now)
        changed = self.identity_changed_at.get(name)
        is_in_doubt = changed is not None and now < changed + IDENTITY_REPORTED
        # What was there from the first look on may be there since it was issued.
        served = now - (old.not_before if began is None else began)
        if accepted and not is_in_doubt and name not in self.rolled_back_at:
            self.previous = {**self.previous, name: old}
            self.served = {**self.served, name: served}
        if (identity := identity_of(old)) is not None:
            assert old.certificate is not None
            fingerprint = old.certificate.fingerprint_sha256
            others = [one for one in self.formers.get(name, ()) if one.fingerprint != fingerprint]
            known = self._former(old)
            if known is None:
                known = Former(fingerprint, *identity, first_at)
            trusted = known.trusted or (accepted and not is_in_doubt and served >= in_service(old))
            turned = known.turned or self._former(new) is not None
            known = replace(known, turned=turned, trusted=trusted, issued_at=old.not_before)
            self.formers = {**self.formers, name: (*others, known)[-REMEMBERED:]}

    def _former(self, item: Item) -> Former | None:
        fingerprint = item.certificate.fingerprint_sha256 if item.certificate is not None else ""
        return next((one for one in self.formers.get(item.name, ()) if one.fingerprint == fingerprint), None)

    def _compare(
        self, old: Item, new: Item, now: float, *, accepted: bool, expected: bool, rotates: bool
    ) -> None:
        """
        Compare a leaf that came with the one that was in service before.
        """
        name, before = new.name, self.previous.get(new.name)
        known, newer = self._former(new), None if before is None else self._former(before)
        if known is not None:
            returned = (replace(one, returned=True) if one is known else one for one in self.formers[name])
            self.formers = {**self.formers, name: tuple(returned)}
        if before is None or rotates:
            return
        if new.certificate == before.certificate and new.not_after == before.not_after:
            # It is back, as if it had never been away.
            self.changed_at = {**self.changed_at, name: now - self.served[name]}
        went_back = (
            is_older(new, before)
            and self.served.get(name, 0.0) >= in_service(before)
            and not (newer is not None and newer.returned)
            and not (known is not None and known.displaced and not expected)
            and not (known is not None and self._took_turns(name, known))
            and (was_due(new, before) or self._was_issued_meanwhile(new, before, now))
        )
        if went_back:
            self.rolled_back_at = {name: now, **self.rolled_back_at}
            # It did replace the older one, which is no turn.
            no_turn = (replace(one, turned=False) if one is newer else one for one in self.formers[name])
            self.formers = {**self.formers, name: tuple(no_turn)}
        else:
            self.rolled_back_at = _without(name, self.rolled_back_at)
        self._compare_identity(old, new, now, accepted=accepted)

    def is_put_right(self, rolled_back: Mapping[str, float]) -> bool:
        """
        Return True when one of these rollbacks has just ended, and the newer leaf had replaced the older one:
        it was issued after that was first seen here.
        """
        over = [name for name in rolled_back if name not in self.rolled_back_at and self.formers.get(name)]
        return any(
            self.previous[name].not_before > self.formers[name][-1].first_at - BACKDATED for name in over
        )

    def _was_issued_meanwhile(self, older: Item, newer: Item, now: float) -> bool:
        """
        Return True when the newer leaf was issued while the older one was served here, and brought here at
        once, so that it is not another server's.

        Where both were here for about as long, they may take turns of days, and one was renewed meanwhile.
        """
        known, came = self._former(older), self._former(newer)
        if known is None or came is None or newer.not_before <= known.first_at - BACKDATED:
            return False
        was_here, is_here = came.first_at - known.first_at, now - came.first_at
        from_first = self.first_at is None or known.first_at <= self.first_at
        is_turn = not from_first and is_here / TURNS <= was_here <= is_here * TURNS
        return came.first_at - newer.not_before <= FRESH and not is_turn

    def _took_turns(self, name: str, known: Former) -> bool:
        """
        Return True when one that is no newer was in service after it: of two servers none replaced the other.
        """
        formers = self.formers[name]
        position = [one.fingerprint for one in formers].index(known.fingerprint)
        return known.turned or any(
            one.trusted and one.issued_at <= known.issued_at for one in formers[position + 1 :]
        )

    def _compare_identity(self, old: Item, new: Item, now: float, *, accepted: bool) -> None:
        name, before, identity = new.name, self.previous[new.name], identity_of(new)
        if identity is not None:
            # What was displaced is not any more, once its issuer or key is back.
            self._note_displaced(
                name, lambda one: one.displaced and not _are_related(identity, (one.issuer, one.key))
            )
        if not changed_identity(before, new, now):
            self.identity_changed_at = _without(name, self.identity_changed_at)
        elif not accepted or _are_related(identity, identity_of(old)):
            # A fault that was put right, or another one of the same: nothing new is to be told.
            return
        elif self._is_known(new, now) or self._was_brief(name, before, identity):
            self.identity_changed_at = _without(name, self.identity_changed_at)
        else:
            self.identity_changed_at = {**self.identity_changed_at, name: now}
            was = self._former(before)
            self._note_displaced(name, lambda one: one.displaced or one is was)

    def _note_displaced(self, name: str, is_displaced: Callable[[Former], bool]) -> None:
        formers = self.formers.get(name, ())
        if any(one.displaced != is_displaced(one) for one in formers):
            noted = tuple(replace(one, displaced=is_displaced(one)) for one in formers)
            self.formers = {**self.formers, name: noted}

    def _is_known(self, new: Item, now: float) -> bool:
        """
        Return True when issuer and key are those of a leaf that is known there for long.

        The issuer is enough if one of its leaves was in service for long: a second site may have renewed it
        since.
        """
        identity = identity_of(new)
        return identity is not None and any(
            one.issuer == identity[0]
            and (one.trusted or (one.key == identity[1] and now - one.first_at >= in_service(new)))
            for one in self.formers.get(new.name, ())
        )

    def _was_brief(self, name: str, before: Item, identity: tuple[str, str] | None) -> bool:
        """
        Return True when the leaf before was there for a moment only, and an earlier issuer is back.
        """
        issuers = {one.issuer for one in self.formers.get(name, ())}
        return identity is not None and identity[0] in issuers and self.served[name] < in_service(before)


_BY_ITEM = (
    "previous",
    "identity_changed_at",
    "changed_at",
    "rolled_back_at",
    "served",
    "formers",
    "moved_at",
)
"""The mappings of `Past` by item name that a change of the item changes."""


def _joined(known: Mapping[str, Any], parts: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any]:
    """
    Return a mapping by item name with each of these parts, by name, in place of what is known of that item.
    """
    others = {name: value for name, value in known.items() if name not in parts}
    made = {name: part[name] for name, part in parts.items() if name in part}
    return {**others, **made} if others or made else _NOTHING


def _is_another(old: Item, new: Item) -> bool:
    """
    Return True when an item is not what it was; the renewal time that its issuer wants may have changed.
    """
    return old != new and (old.renewal == new.renewal or replace(old, renewal=new.renewal) != new)


def _are_related(one: tuple[str, str] | None, other: tuple[str, str] | None) -> bool:
    """
    Return True when two leaves, by their identities, have the same issuer or the same key.
    """
    return one is not None and other is not None and (one[0] == other[0] or one[1] == other[1])


def _without(name: str, times: Mapping[str, float]) -> Mapping[str, float]:
    return {one: at for one, at in times.items() if one != name} if name in times else times


def in_service(item: Item) -> float:
    """
    Return the seconds after which a leaf has been in service for long.
    """
    return min(IN_SERVICE, (item.not_after - item.not_before) * IN_SERVICE_SHARE)


def was_due(older: Item, newer: Item) -> bool:
    """
    Return True when the newer leaf was issued when the older one was due to be renewed.
    """
    lifetime = older.not_after - older.not_before
    # The earliest of the usual renewers renews at a half what lives for less than ten days.
    due = lifetime / (2 if lifetime < 10 * DAY else 3)
    return older.not_after - newer.not_before <= due + min(DAY, lifetime / 20)


def is_older(new: Item, old: Item) -> bool:
    """
    Return True when a leaf begins and ends before its predecessor.
    """
    return new.kind is Kind.LEAF and new.not_after < old.not_after and new.not_before < old.not_before


def changed_identity(old: Item, new: Item, now: float) -> bool:
    """
    Return True when issuer and key of a leaf changed together, at a time when no renewer would renew.

    Each of the two changes alone is usual: new keys come with most renewals, and an authority issues by turns
    from several certificates of its own.
    """
    was, became = identity_of(old), identity_of(new)
    if was is None or became is None or _are_related(was, became):
        return False
    return old.not_after - now > renewal_window(old)


def identity_of(item: Item) -> tuple[str, str] | None:
    """
    Return the issuer and the key of a leaf; None for every other item.
    """
    if item.kind is not Kind.LEAF or item.certificate is None:
        return None
    return item.certificate.issuer_organization, item.certificate.public_key_sha256


def renewal_window(item: Item) -> float:
    """
    Return the seconds before an item's end from which on healthy renewers renew it.

    certbot and cert-manager renew when a third of the lifetime is left, or a half where the issuer says so;
    clouds 60, 45 or 30 days before the end.
    """
    lifetime = item.not_after - item.not_before
    return min(lifetime / 2, max(lifetime / 3, RENEWED_EARLY))
