"""
History: the predecessors of an endpoint's items, and the times of changes.

Pure: the clock is an argument.
"""

from dataclasses import dataclass, field, replace

from exporter.model.observation import Facts, Failed, Item, Observation
from exporter.model.reasons import Kind, Reason

DEPLOYMENT = 3 * 3600.0
"""Seconds that a deployment over several servers may take."""


RENEWED_EARLY = 60 * 86400.0
"""Seconds before the end at which the earliest renewers with a fixed number of days renew."""


NAMELESS_FOR = 3600.0
"""
Seconds for which DNS must have said that a name does not exist until that is believed, and for which it
stands while DNS does not answer.
"""


UNANSWERED = frozenset({Reason.DNS_FAILED, Reason.DNS_TIMEOUT, Reason.TIMEOUT})
"""Reasons of probes that got no answer from DNS, or may have got none."""


@dataclass(slots=True)
class Past:
    """
    The predecessors of an endpoint's items, and the times of changes, in seconds since the epoch.
    """

    previous: dict[str, Item] = field(default_factory=dict)
    """By item name, the item before the last change. No entry before the first change."""
    identity_changed_at: dict[str, float] = field(default_factory=dict)
    """By name of a leaf, when its issuer and key last changed together outside any renewal window."""
    changed_at: dict[str, float] = field(default_factory=dict)
    """By item name, when it last changed."""
    rolled_back_at: dict[str, float] = field(default_factory=dict)
    """
    By name of a leaf, from when on the return of an older one counts. No entry while the newest is served.
    """
    trusted_at: float | None = None
    """Time at which a normal client would last have accepted the endpoint; None when never."""
    nameless: tuple[float, float] | None = None
    """Since when, and when last, DNS said that the endpoint's name does not exist; None while it may."""

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

    def note_change(self, before: Facts, after: Facts, now: float, *, rotates: bool = False) -> None:
        """
        Record that the facts changed at `now`, in seconds since the epoch.

        Where the endpoint `rotates`, each probe may be at another server: an older certificate or another
        issuer is then no sign of a change.
        """
        now_there = {item.name: item for item in after.items}
        for old in before.items:
            new = now_there.get(old.name)
            # The renewal time that the issuer wants may change while the item is the same.
            if new is None or replace(new, renewal=None) == replace(old, renewal=None):
                continue
            before_that = self.previous.get(old.name)
            # Of other items than leaves only the dates are used; a certificate may be large.
            self.previous[old.name] = old if old.kind is Kind.LEAF else replace(old, certificate=None)
            last_change = self.changed_at.get(old.name)
            self.changed_at[old.name] = now
            self.rolled_back_at.pop(old.name, None)
            if rotates:
                continue
            # Two changes in a short time are a deployment under way, seen through one address of several.
            under_way = last_change is not None and now - last_change < DEPLOYMENT
            if is_older(new, old):
                self.rolled_back_at[old.name] = now + DEPLOYMENT if under_way else now
            is_back = before_that is not None and is_as_before(new, before_that, under_way=under_way)
            if changed_identity(old, new, now) and not is_back:
                self.identity_changed_at[old.name] = now


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
    was, became = _identity(old), _identity(new)
    if was is None or became is None or was[0] == became[0] or was[1] == became[1]:
        return False
    return old.not_after - now > renewal_window(old)


def is_as_before(new: Item, before: Item, *, under_way: bool) -> bool:
    """
    Return True when a leaf has the issuer and key of the one before its predecessor: it was put back.

    Where two changes came in a short time, the issuer is enough: it was put back with a new key.
    """
    was, became = _identity(before), _identity(new)
    return was is not None and became is not None and (was == became or (under_way and was[0] == became[0]))


def _identity(item: Item) -> tuple[str, str] | None:
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
