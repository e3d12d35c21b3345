"""
Policies: when a renewal is due, and when its delay becomes a warning and critical.

Pure functions of an item's lifetime. All durations are seconds, and all
deadlines are given as time left before the end, because that is how people
state them ("three weeks before").
"""

from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase

HOUR = 3600.0


DAY = 24 * HOUR


class Severity(StrEnum):
    """
    The severity of an alert. The values are label values and Alertmanager routes: they are API.
    """

    WARNING = "warning"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True)
class Before:
    """
    A time before the end: a duration in seconds, a share of the lifetime, or the shorter of both.
    """

    duration: float | None = None
    share: float | None = None

    def left(self, lifetime: float) -> float:
        """
        Return the seconds left at that time, for an item of this lifetime in seconds.
        """
        candidates = [self.duration] if self.duration is not None else []
        if self.share is not None:
            candidates.append(self.share * lifetime)
        return min(candidates)


@dataclass(frozen=True, slots=True)
class TimeLeft:
    """
    The deadlines of one item, in seconds before its end: `renewal_due >= warning >= critical`.
    """

    renewal_due: float
    warning: float
    critical: float


@dataclass(frozen=True, slots=True)
class Policy:
    """
    The deadlines for a kind of item. The built-in ones are below; a configuration may add its own.
    """

    name: str
    renewal_due: Before
    critical: Before
    warning: Before | None = None
    """None: once the renewal is later than a healthy renewer would be (`lateness`)."""
    renewal_due_short: Before | None = None
    """Replaces `renewal_due` for lifetimes under ten days; None when there is no difference."""
    warning_short: Before | None = None
    """Replaces `warning` for lifetimes under ten days; None when there is no difference."""
    habit: bool = True
    """True when the rhythm of the renewals that were seen counts too: see `judgement.habit`."""

    def time_left(self, lifetime: float) -> TimeLeft:
        """
        Return the deadlines for an item of this lifetime in seconds.

        They are always in order, and none is before the first half of the lifetime is over.
        """
        # A lifetime can be zero or negative in a broken certificate: then every deadline is its end.
        lifetime = max(lifetime, 0.0)
        due, warning = self.renewal_due, self.warning
        if lifetime < 10 * DAY:
            due = self.renewal_due_short or due
            warning = self.warning_short or warning
        due_left = min(due.left(lifetime), lifetime / 2)
        if warning is None:
            warning_left = due_left - lateness(lifetime)
        else:
            warning_left = min(warning.left(lifetime), lifetime / 2)
        # A quarter of the lifetime at most: a person who is warned needs some time before it is critical.
        critical_left = min(self.critical.left(lifetime), lifetime / 4)
        warning_left = max(warning_left, critical_left)
        return TimeLeft(max(due_left, warning_left), warning_left, critical_left)


def lateness(lifetime: float) -> float:
    """
    Return the seconds by which a healthy automatic renewal may be late, for this lifetime in seconds.

    It allows for a renewer's daily timer and for an outage of the issuer.
    """
    return min(max(DAY, lifetime / 20), lifetime / 8, 5 * DAY)


AUTOMATIC = Policy(
    "automatic",
    renewal_due=Before(duration=30 * DAY, share=1 / 3),
    renewal_due_short=Before(share=1 / 2),
    # cert-manager and Caddy wait until a third is left here too. Half of that is for outages and deployments.
    warning_short=Before(share=1 / 6),
    critical=Before(duration=7 * DAY, share=1 / 8),
)


MANUAL = Policy(
    "manual",
    renewal_due=Before(duration=45 * DAY),
    warning=Before(duration=45 * DAY),
    critical=Before(duration=21 * DAY),
    habit=False,
)


AUTHORITY = Policy(
    "authority",
    renewal_due=Before(duration=365 * DAY),
    warning=Before(duration=365 * DAY),
    critical=Before(duration=90 * DAY),
    habit=False,
)


DOMAIN = Policy(
    "domain",
    renewal_due=Before(duration=60 * DAY),
    warning=Before(duration=60 * DAY),
    critical=Before(duration=14 * DAY),
    habit=False,
)


SIGNATURE = Policy(
    "signature",
    # Signers replace a signature with a fifth (OpenDNSSEC) or more of its validity left, responders too.
    renewal_due=Before(share=1 / 5),
    warning=Before(share=1 / 6),
    critical=Before(share=1 / 14),
)


CRL = Policy(
    "crl",
    # A week's list is replaced when a fifteenth of its validity is left (Active Directory), or more.
    renewal_due=Before(share=1 / 15),
    warning=Before(share=1 / 20),
    critical=Before(share=1 / 40),
)


BUILT_IN: dict[str, Policy] = {
    policy.name: policy for policy in (AUTOMATIC, MANUAL, AUTHORITY, DOMAIN, SIGNATURE, CRL)
}


@dataclass(frozen=True, slots=True)
class Match:
    """
    A policy with the kinds and issuers of the items that it is for.
    """

    policy: Policy
    kinds: frozenset[str] = frozenset()
    """Values of `Kind`; empty: every kind."""
    issuers: tuple[str, ...] = ()
    """Patterns (fnmatch, ignoring case) of RFC 4514 names; empty: every item, with or without an issuer."""

    def fits(self, kind: str, issuer: str | None) -> bool:
        """
        Return True for an item of this kind and issuer. The issuer is None for items without a certificate.
        """
        if self.kinds and kind not in self.kinds:
            return False
        if not self.issuers:
            return True
        return issuer is not None and any(
            fnmatchcase(issuer.lower(), pattern.lower()) for pattern in self.issuers
        )


BY_KIND = (
    Match(AUTHORITY, frozenset({"authority"})),
    Match(DOMAIN, frozenset({"registration"})),
    Match(SIGNATURE, frozenset({"dnssec", "ocsp"})),
    Match(CRL, frozenset({"crl", "metadata"})),
)
"""The policies of these kinds unless the configuration says otherwise."""
