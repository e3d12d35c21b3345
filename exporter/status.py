"""
Status: how urgent an endpoint is and why, in words for a person.

Pure. The status page, `expiry-exporter check` and /probe's debug output show the
same words.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum

from exporter import advice
from exporter.judgement import JudgedItem, Verdict
from exporter.metrics import EndpointRow
from exporter.observation import Failed, Fault, FoundFault, Hazard, Kind
from exporter.policies import DAY, HOUR


class Level(IntEnum):
    """
    How urgent something is. The values are the exit codes that monitoring plugins use.
    """

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


URGENCY = (Level.OK, Level.WARNING, Level.UNKNOWN, Level.CRITICAL)
"""From least to most urgent: what can't be seen may be worse than a warning."""

NOUNS = {
    Kind.LEAF: "certificate",
    Kind.INTERMEDIATE: "intermediate certificate",
    Kind.ROOT: "root certificate",
    Kind.AUTHORITY: "CA certificate",
    Kind.CRL: "revocation list",
    Kind.OCSP: "OCSP response",
    Kind.REGISTRATION: "domain registration",
    Kind.DNSSEC: "DNSSEC signature",
    Kind.SSH: "SSH certificate",
    Kind.METADATA: "SAML metadata",
}
"""What each kind of item is called in a sentence."""

LOST = frozenset({Hazard.DOMAIN_HOLD, Hazard.DOMAIN_REDEMPTION, Hazard.DOMAIN_PENDING_DELETE})
"""Hazards that are critical: the domain is gone from DNS or about to go to somebody else."""


@dataclass(frozen=True, slots=True)
class Finding:
    """
    One thing to say about an endpoint.
    """

    level: Level
    words: str
    advice: str = ""
    """What to do about it."""
    item: str | None = None
    """The name of the item that it is about; None when it is about the endpoint."""


@dataclass(frozen=True, slots=True)
class Status:
    """
    What there is to say about an endpoint: the most urgent first, empty when all is well.
    """

    findings: tuple[Finding, ...]

    @property
    def level(self) -> Level:
        """
        The level of the most urgent finding.
        """
        return self.findings[0].level if self.findings else Level.OK


def status(row: EndpointRow, now: float) -> Status:
    """
    The status of an endpoint at this time.
    """
    found = [*_probe_findings(row, now)]
    if row.verdict is not None:
        for judged in row.verdict.items:
            found += _item_findings(judged, now)
        found += [
            Finding(Level.CRITICAL, f"not trusted: {one.detail}", advice.REFUSALS.get(one.fault, ""))
            for one in _other_faults(row.verdict)
        ]
    if row.held.facts is not None:
        found += [
            Finding(
                Level.CRITICAL if one.hazard in LOST else Level.WARNING,
                one.detail,
                advice.HAZARDS.get(one.hazard, ""),
            )
            for one in row.held.facts.hazards
        ]
    return Status(tuple(sorted(found, key=lambda one: -URGENCY.index(one.level))))


def worst(levels: Iterable[Level]) -> Level:
    """
    The most urgent of the levels; OK when there are none.
    """
    return max(levels, key=URGENCY.index, default=Level.OK)


def _probe_findings(row: EndpointRow, now: float) -> Iterator[Finding]:
    observation = row.held.observation
    if not isinstance(observation, Failed):
        return
    what_to_do = advice.FAILURES.get(observation.reason, "")
    if observation.facts is not None:
        # It was seen, certificate and all, before it turned us away.
        yield Finding(Level.WARNING, f"{observation.reason}: {observation.detail}", what_to_do)
        return
    held = ""
    if row.held.seen_at is not None:
        held = f" (last seen {ago(now - row.held.seen_at)})"
    yield Finding(Level.UNKNOWN, f"{observation.reason}: {observation.detail}{held}", what_to_do)


def _item_findings(judged: JudgedItem, now: float) -> Iterator[Finding]:
    item, due = judged.item, judged.deadlines
    if item.kind is Kind.ROOT:
        return
    if now <= item.not_after and (due is None or now < due.warning):
        return
    # A server with several is asked for each by its kind of key (`leaf-rsa`): then the name says which.
    what = NOUNS[item.kind] if item.name == item.kind else f"{NOUNS[item.kind]} {item.name}"
    left = item.not_after - now
    if left < 0:
        level = Level.CRITICAL if due is not None else Level.WARNING
        words = f"{what} EXPIRED {ago(-left)}, on {date(item.not_after)}"
    else:
        assert due is not None
        level = Level.CRITICAL if now >= due.critical else Level.WARNING
        words = f"{what} ends in {span(left)}, on {date(item.not_after)}"
        if level is Level.WARNING:
            words += f"; renewal has been due for {span(now - due.renewal_due)}"
    yield Finding(level, words, advice.renewal(item.kind, judged.policy), item.name)


def _other_faults(verdict: Verdict) -> Iterator[FoundFault]:
    """
    The faults that an item's own end does not say already.
    """
    return (one for one in verdict.faults if one.fault is not Fault.EXPIRED)


def date(timestamp: float) -> str:
    """
    The moment in UTC to the minute; a far or broken date as good as it can be said.
    """
    try:
        return datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (ValueError, OverflowError, OSError):
        return f"{timestamp:.0f} s since 1970"


def span(seconds: float) -> str:
    """
    A duration in the two units that matter: `12 d 3 h`, `3 h 20 min`, `45 s`.
    """
    seconds = max(seconds, 0.0)
    if seconds >= 100 * DAY:
        return f"{seconds / DAY:.0f} d"
    if seconds >= DAY:
        return f"{seconds // DAY:.0f} d {seconds % DAY // HOUR:.0f} h"
    if seconds >= HOUR:
        return f"{seconds // HOUR:.0f} h {seconds % HOUR // 60:.0f} min"
    if seconds >= 60:
        return f"{seconds // 60:.0f} min"
    return f"{int(seconds)} s"


def ago(seconds: float) -> str:
    """
    How long ago something was.
    """
    return f"{span(seconds)} ago"
