"""
Policies: when a renewal is due, and when its delay becomes a warning and critical.

Pure functions of an item's lifetime. All durations are seconds, and all
deadlines are given as time left before the end, because that is how people
state them ("three weeks before").
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import translate
from functools import lru_cache
from sys import getsizeof

from exporter.model.caches import remembered

HOUR = 3600.0


DAY = 24 * HOUR


UNSEEN_LEAST = HOUR / 4
"""Seconds for which an endpoint may fail before anybody is told: a restart, a reboot, a short outage."""


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
    unseen: Before | None = None
    """
    Time for which an endpoint with such an item may fail until that is a problem; None: the default pace.
    """
    issuers: tuple[str, ...] = ()
    """
    Names and fingerprints of the CAs whose certificates are expected, see `issuance`; empty: all are.
    """
    interval: float | None = None
    """Seconds after which targets with this policy are probed again; None: it does not say so."""
    planned: bool = False
    """
    True when `renewal_due` is what the renewer itself says. If that is late, the deadlines after it are later
    than usual too: a healthy renewal must not be alerted.
    """
    habit: bool = True
    """True when the rhythm of the renewals that were seen counts too: see `judgement.habit`."""

    def unseen_for(self, lifetime: float) -> float:
        """
        Return the seconds for which an endpoint may fail until that is a problem, by its item's lifetime.

        By default a sixtieth of the lifetime, from a quarter of an hour to a day: no renewal is missed in it.
        """
        if self.unseen is not None:
            return self.unseen.left(max(lifetime, 0.0))
        return min(max(UNSEEN_LEAST, lifetime / 60), DAY)

    def time_left(self, lifetime: float) -> TimeLeft:
        """
        Return the deadlines for an item of this lifetime in seconds.

        They are always in order, and none is before the first half of the lifetime is over.
        """
        return _time_left(self, lifetime)

    def __hash__(self) -> int:
        """
        Return the hash of the name: to hash all that it says takes as long as to compute a deadline.
        """
        return hash(self.name)


# A fleet has few policies, and issuers have few lifetimes.
@lru_cache(maxsize=256)
def _time_left(policy: Policy, lifetime: float) -> TimeLeft:
    # A lifetime can be zero or negative in a broken certificate: then every deadline is its end.
    lifetime = max(lifetime, 0.0)
    due, warning = policy.renewal_due, policy.warning
    if lifetime < 10 * DAY:
        due = policy.renewal_due_short or due
        warning = policy.warning_short or warning
    due_left = min(due.left(lifetime), lifetime / 2)
    if warning is None:
        warning_left = due_left - lateness(lifetime)
    else:
        warning_left = min(warning.left(lifetime), lifetime / 2)
    # A quarter of the lifetime at most: a person who is warned needs some time before it is critical.
    critical_left = min(policy.critical.left(lifetime), lifetime / 4)
    if policy.planned:
        warning_left = due_left - min(lateness(lifetime), due_left * 2 / 3)
        critical_left = min(critical_left, warning_left * 3 / 4)
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


@dataclass(frozen=True, slots=True)
class Renewer:
    """
    Something that renews certificates by a rule of its own, with the policy for it.
    """

    policy: Policy
    who: str
    """What renews, in words."""
    rule: str
    """When it renews, in words."""
    source: str
    """The document that states the rule: its URL."""
    issuers: tuple[str, ...] = ()
    """Patterns (fnmatch, ignoring case) of RFC 4514 names of issuers that give it away."""
    subjects: tuple[str, ...] = ()
    """Such patterns of names of subjects."""
    places: tuple[str, ...] = ()
    """Such patterns of paths and URLs."""


def _renewing(
    name: str, due: Before, critical: Before, warning: Before | None = None, short: Before | None = None
) -> Policy:
    return Policy(name, due, critical, warning, short, AUTOMATIC.warning_short if short is not None else None)


_THIRD = Before(share=1 / 3)


_TENTH = Before(share=1 / 10)


_LAST_WEEK = Before(duration=7 * DAY, share=1 / 8)


_LAST_FORTNIGHT = Before(duration=14 * DAY, share=1 / 8)


RENEWERS = (
    Renewer(
        _renewing("acme", AUTOMATIC.renewal_due, _LAST_WEEK, short=Before(share=1 / 2)),
        "certbot, acme.sh, lego, Caddy, Traefik and other ACME clients",
        "with 1/3 of the lifetime left, 1/2 under 10 d",
        "https://eff-certbot.readthedocs.io/en/stable/using.html#renewing-certificates",
        issuers=("*Let's Encrypt*", "*O=ZeroSSL*"),
        places=("*/letsencrypt/*", "*/.acme.sh/*", "*/.lego/*", "*/caddy/*"),
    ),
    Renewer(
        _renewing("cert-manager", _THIRD, _LAST_WEEK),
        "cert-manager",
        "with 1/3 of the lifetime left, or as `renewBefore` says",
        "https://cert-manager.io/docs/usage/certificate/#issuance-behavior-rotation-of-the-private-key",
    ),
    Renewer(
        # It comes between 87 and 93 % of the lifetime: what is left must suffice for the latest.
        _renewing("vault-agent", _TENTH, Before(share=1 / 50), Before(share=1 / 25)),
        "Vault Agent, consul-template",
        "with 10 % of the lifetime left",
        "https://developer.hashicorp.com/vault/docs/agent-and-proxy/agent/template#renewals-and-updating-secrets",
        issuers=("*vault*",),
        places=("*/vault/*", "*/vault-agent/*", "*/consul-template/*"),
    ),
    Renewer(
        _renewing("kubelet", _TENTH, Before(share=1 / 40), Before(share=1 / 20)),
        "kubelet",
        "with 30 to 10 % of the lifetime left",
        "https://kubernetes.io/docs/tasks/tls/certificate-rotation/",
        subjects=("*O=system:nodes*",),
        places=("*/kubelet/pki/*", "*/kubelet-client-*", "*/kubelet-server-*"),
    ),
    Renewer(
        _renewing("step", _THIRD, _LAST_WEEK),
        "step ca renew --daemon",
        "with 1/3 of the lifetime left",
        "https://smallstep.com/docs/step-cli/reference/ca/renew/",
        issuers=("*smallstep*", "*step-ca*", "*step ca*"),
        places=("*/.step/*", "*/step/*"),
    ),
    Renewer(
        _renewing("istio", Before(share=1 / 2), Before(share=1 / 6), _THIRD),
        "Istio",
        "with 1/2 of the lifetime left",
        "https://istio.io/latest/docs/reference/commands/pilot-agent/",
        issuers=("*istio*", "O=cluster.local"),
        places=("*/istio/*",),
    ),
    Renewer(
        _renewing("spire", Before(share=1 / 2), Before(share=1 / 6), _THIRD),
        "SPIRE",
        "with 1/2 of the lifetime left",
        "https://spiffe.io/docs/latest/deploying/spire_agent/",
        issuers=("*O=SPIFFE*", "*O=SPIRE*", "*spire*"),
        places=("*/spire/*",),
    ),
    Renewer(
        _renewing("cloud-60", Before(60 * DAY, 1 / 3), _LAST_FORTNIGHT),
        "AWS Certificate Manager, and clouds that renew as early",
        "with 60 d left",
        "https://docs.aws.amazon.com/acm/latest/userguide/troubleshooting-renewal.html",
        issuers=("*O=Amazon*",),
    ),
    Renewer(
        _renewing("cloud-45", Before(45 * DAY, 1 / 3), _LAST_FORTNIGHT),
        "Azure App Service, and clouds that renew as early",
        "with 45 d left",
        "https://learn.microsoft.com/azure/app-service/configure-ssl-certificate",
        issuers=("*O=Microsoft*",),
        places=("*.azurewebsites.net", "*.azurewebsites.net:*"),
    ),
    Renewer(
        _renewing("cloud-30", Before(30 * DAY, 1 / 3), _LAST_WEEK),
        "Google Cloud, and clouds that renew as late",
        "with 30 d left",
        "https://cloud.google.com/load-balancing/docs/ssl-certificates/google-managed-certs",
        issuers=("*O=Google Trust Services*",),
    ),
    Renewer(
        _renewing("monthly", Before(16 * DAY, 1 / 3), Before(5 * DAY, 1 / 8), Before(10 * DAY, 1 / 4)),
        "a person, each month, certificates of 47 days",
        # 47 days are the longest that public CAs may issue from 2029 on, and a month has 31 at most.
        "once a month: with 16 of 47 d left",
        "https://cabforum.org/2025/04/11/ballot-sc081v3-introduce-schedule-of-reducing-validity-and-data-reuse-periods",
    ),
)
"""The usual renewers, each with its policy, the rule that it keeps and who states that rule."""


BUILT_IN: dict[str, Policy] = {
    policy.name: policy
    for policy in (
        *(AUTOMATIC, MANUAL, AUTHORITY, DOMAIN, SIGNATURE, CRL),
        *(renewer.policy for renewer in RENEWERS),
    )
}


def renewer_of(issuer: str, subject: str, places: Iterable[str], stated: str = "") -> Renewer | None:
    """
    Return the renewer whose policy is `stated`, or that issuer, subject or a place give away; else None.

    Issuer and subject are RFC 4514 names. A place says more than an issuer, who serves many.
    """
    if (found := _STATED.get(stated)) is not None:
        return found
    texts = [place.lower() for place in places]
    subject = subject.lower()
    for renewer in _PLACED:
        if _match([subject], renewer.subjects) or _match(texts, renewer.places):
            return renewer
    return _by_issuer(issuer)


_STATED = {renewer.policy.name: renewer for renewer in RENEWERS}


_PLACED = tuple(renewer for renewer in RENEWERS if renewer.subjects or renewer.places)


# There are few issuers, and it is asked of each certificate in each scrape.
@remembered("parsed", lambda _, issuer: getsizeof(issuer))
def _by_issuer(issuer: str) -> Renewer | None:
    return next((one for one in RENEWERS if _match([issuer.lower()], one.issuers)), None)


def _match(texts: Iterable[str], patterns: tuple[str, ...]) -> bool:
    """
    Return True when one of the patterns matches one of the texts, which are in lower case.
    """
    if not patterns:
        return False
    words, others = _read(patterns)
    for text in texts:
        for word in words:
            if word in text:
                return True
        if others is not None and others.match(text) is not None:
            return True
    return False


@lru_cache(maxsize=256)
def _read(patterns: tuple[str, ...]) -> tuple[tuple[str, ...], re.Pattern[str] | None]:
    """
    Return the words of patterns like `*word*`, and an expression for the others, in lower case.

    Each probe asks for dozens: to search for a word takes a fiftieth of the time of an expression.
    """
    lowered = [pattern.lower() for pattern in patterns]
    words = {one: one[1:-1] for one in lowered if re.fullmatch(r"\*[^*?\[]*\*", one)}
    others = "|".join(translate(one) for one in lowered if one not in words)
    return tuple(words.values()), re.compile(others) if others else None


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
        return issuer is not None and _match([issuer.lower()], self.issuers)


BY_KIND = (
    Match(AUTHORITY, frozenset({"authority"})),
    Match(DOMAIN, frozenset({"registration"})),
    Match(SIGNATURE, frozenset({"dnssec", "ocsp"})),
    Match(CRL, frozenset({"crl", "metadata"})),
)
"""The policies of these kinds unless the configuration says otherwise."""
