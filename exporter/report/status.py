"""
Status: the level of an endpoint and its findings, in words for a person.

Pure. The status page, `expiry-exporter check` and /probe's debug output show the
same words.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum

from exporter.engine.scrape import EndpointRow
from exporter.judgement.problems import LOST, identity_changed_at, rolled_back_at
from exporter.judgement.verdicts import JudgedItem, Verdict
from exporter.model.observation import Facts, Failed, FoundFault, Item
from exporter.model.policies import DAY, HOUR
from exporter.model.reasons import Fault, Kind, Lookup
from exporter.report import advice
from exporter.report.families import bounded


class Level(IntEnum):
    """
    The level of urgency. The values are the exit codes of monitoring plugins.
    """

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


URGENCY = (Level.OK, Level.WARNING, Level.UNKNOWN, Level.CRITICAL)
"""From least to most urgent: an endpoint that can't be seen may be worse than a warning."""


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
"""The noun for each kind of item in a sentence."""


@dataclass(frozen=True, slots=True)
class Finding:
    """
    One finding about an endpoint, with its level.
    """

    level: Level
    words: str
    advice: str = ""
    """The remedy; empty when there is none."""
    item: str | None = None
    """Name of the item concerned; None when the finding is about the endpoint."""
    deploy: bool = False
    """True when the remedy is to deploy a newer item, if one is known elsewhere."""
    reason: str = ""
    """The failure, fault or hazard concerned, by which the manual explains it; empty when there is none."""


@dataclass(frozen=True, slots=True)
class Status:
    """
    The findings about an endpoint, the most urgent first; empty when all is well.
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
    Return the status of an endpoint at `now`, in seconds since the epoch.
    """
    found = [*_probe_findings(row, now)]
    if row.verdict is not None:
        for judged in row.verdict.items:
            found += _item_findings(judged, now)
            found += _past_findings(row, judged.item, now)
        found += [
            Finding(
                Level.CRITICAL,
                f"not trusted: {one.detail}",
                advice.FAULTS.get(one.fault, ""),
                reason=one.fault,
            )
            for one in _other_faults(row.verdict)
        ]
    if row.held.facts is not None:
        found += [
            Finding(
                Level.CRITICAL if one.hazard in LOST else Level.WARNING,
                one.detail,
                advice.HAZARDS.get(one.hazard, ""),
                reason=one.hazard,
            )
            for one in row.held.facts.hazards
        ]
        found += lookup_findings(row.held.facts)
    return Status(tuple(sorted(found, key=lambda one: -URGENCY.index(one.level))))


def worst(levels: Iterable[Level]) -> Level:
    """
    Return the most urgent of the levels; OK when there are none.
    """
    return max(levels, key=URGENCY.index, default=Level.OK)


def _probe_findings(row: EndpointRow, now: float) -> Iterator[Finding]:
    observation = row.held.observation
    if not isinstance(observation, Failed):
        return
    what_to_do = advice.FAILURES.get(observation.reason, "")
    if observation.facts is not None:
        # The certificate was seen before the server refused the client.
        words = f"{observation.reason}: {observation.detail}"
        yield Finding(Level.WARNING, words, what_to_do, reason=observation.reason)
        return
    held = ""
    if row.held.seen_at is not None:
        held = f" (last seen {ago(now - row.held.seen_at)})"
    words = f"{observation.reason}: {observation.detail}{held}"
    yield Finding(Level.UNKNOWN, words, what_to_do, reason=observation.reason)


def lookup_findings(facts: Facts) -> Iterator[Finding]:
    """
    Yield a finding for each failed look-up about an endpoint.

    Its level is UNKNOWN; it is OK when an earlier answer still stands, and when only the renewal information
    is missing, without which the policy alone decides.
    """
    for one in facts.unanswered:
        unknown = not one.stands and one.lookup is not Lookup.RENEWAL_INFORMATION
        words = f"{_NOT_KNOWN[one.lookup]}: {one.reason}: {one.detail}"
        if one.stands:
            words = f"{_NOT_UPDATED[one.lookup]}: {one.reason}: {one.detail}; what is known besides stands"
        level = Level.UNKNOWN if unknown else Level.OK
        yield Finding(level, words, advice.LOOKUPS[one.lookup], reason=one.reason)


_NOT_KNOWN = {
    Lookup.CRL: "revocation is not known from its list",
    Lookup.OCSP: "revocation is not known from its responder",
    Lookup.RENEWAL_INFORMATION: "when the issuer wants it renewed is not known",
    Lookup.DNS: "what DNS says of its names is not known",
}


_NOT_UPDATED = {
    Lookup.CRL: "the revocation list was not got again",
    Lookup.OCSP: "the OCSP responder gave no new answer",
    Lookup.RENEWAL_INFORMATION: "the issuer gave no new time for the renewal",
    Lookup.DNS: "not all that DNS was asked about its names was answered",
}


def _item_findings(judged: JudgedItem, now: float) -> Iterator[Finding]:
    item, due = judged.item, judged.deadlines
    if item.kind is Kind.ROOT:
        return
    if now <= item.not_after and (due is None or now < due.warning):
        return
    what = _named(item)
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
    yield Finding(level, words, advice.renewal(item.kind, judged.policy), item.name, deploy=True)


def _past_findings(row: EndpointRow, item: Item, now: float) -> Iterator[Finding]:
    """
    Yield the findings from comparing an item with its predecessor, for as long as the alerts fire.
    """
    past = row.held.past
    if not (past.rolled_back_at or past.identity_changed_at):
        return
    what = _named(item)
    changed_at, before = past.changed_at.get(item.name), past.previous.get(item.name)
    known = row.known
    rolled_back = rolled_back_at(known, item)
    if before is not None and rolled_back is not None and rolled_back <= now:
        when = rolled_back if changed_at is None else changed_at
        words = (
            f"{what} went backwards {ago(now - when)}, on {date(when)}: it ends on {date(item.not_after)}, "
            f"the one before it on {date(before.not_after)}"
        )
        yield Finding(Level.WARNING, words, advice.ROLLED_BACK, item.name, deploy=True)
    became = identity_changed_at(known, item, now)
    if became is not None:
        issuers, since = "", "; it has changed again since then"
        if became == changed_at and before is not None:
            issuers, since = f" from {_issuer(before)} to {_issuer(item)}", ""
        words = (
            f"{what} changed its issuer{issuers} and its key together {ago(now - became)}, "
            f"on {date(became)}, long before a renewal was due{since}"
        )
        yield Finding(Level.WARNING, words, advice.IDENTITY_CHANGED, item.name)


def _issuer(item: Item) -> str:
    return bounded(item.certificate.issuer_organization) if item.certificate is not None else "none"


def _named(item: Item) -> str:
    """
    Return the noun for an item in a sentence, with its name unless that is its kind.
    """
    # A server with several is probed for each type of key (`leaf-rsa`): then the name says which.
    return NOUNS[item.kind] if item.name == item.kind else f"{NOUNS[item.kind]} {item.name}"


def _other_faults(verdict: Verdict) -> Iterator[FoundFault]:
    """
    Return the faults other than EXPIRED, which the finding about the item's end has already.
    """
    return (one for one in verdict.faults if one.fault is not Fault.EXPIRED)


def date(timestamp: float) -> str:
    """
    Return a time in UTC to the minute; outside the years 1 to 9999, as seconds since 1970.
    """
    try:
        return datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (ValueError, OverflowError, OSError):
        return f"{timestamp:.0f} s since 1970"


def span(seconds: float) -> str:
    """
    Return a duration in its two largest units: `12 d 3 h`, `3 h 20 min`, `45 s`. Negative ones are 0 s.
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
    Return a duration in the past, in words: `3 h 20 min ago`.
    """
    return f"{span(seconds)} ago"
