"""
Status: the level of an endpoint and its findings, in words for a person.

Pure. The status page, `expiry-exporter check` and /probe's debug output show the same words. The problems
among them are those of `judgement.problems`, with the same severity; nothing is decided here.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from exporter.engine.scrape import EndpointRow
from exporter.judgement.hidden import Places
from exporter.judgement.issued import Unseen
from exporter.judgement.problems import Onset
from exporter.judgement.verdicts import JudgedItem
from exporter.model.observation import Facts, Failed, FailedLookup, Item, Observed
from exporter.model.policies import Severity
from exporter.model.problems import Problem
from exporter.model.reasons import Fault, Hazard, Kind, Lookup
from exporter.report import advice
from exporter.report.families import bounded
from exporter.report.problems import advice_of, issued, issued_by, issued_by_stranger, issuer_of, some
from exporter.report.times import ago, date, span


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


_LEVELS = {Severity.WARNING: Level.WARNING, Severity.CRITICAL: Level.CRITICAL}


_ORDER = {problem: number for number, problem in enumerate(Problem)}


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


MOVED = (
    "the registration ended lately and its date was moved ahead on that day, as registries do whether or not "
    "anybody paid. This one does not say: see that the renewal was paid"
)
"""What is known of a domain whose end was moved, and whose registry has no status for that."""


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
    problem: Problem | None = None
    """The problem concerned; None when it is none: a note, or something that is not known."""


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


def status(row: EndpointRow, onsets: Iterable[Onset], now: float, unseen: Unseen | None = None) -> Status:
    """
    Return the status of an endpoint at `now`, in seconds since the epoch.

    `onsets` are what gives cause for problems there, as `Inventory` has it. Nothing else makes it urgent but
    what can't be seen or was not answered. `unseen` is what only logs know; None: nothing.
    """
    ordered = sorted(onsets, key=lambda one: _ORDER[one.problem])
    # Each of its items that is due is a reason why a failing probe is critical.
    failing = next((one for one in ordered if one.problem is Problem.PROBE_FAILING), None)
    found = [_problem(row, one, now) for one in ordered if one.problem is not Problem.PROBE_FAILING]
    found += _refused_besides(row, found)
    found += _probe_findings(row, failing, now)
    found += _notes(row, {one.item for one in found}, now)
    if unseen is not None:
        found += _logged(row, unseen)
    if row.held.facts is not None:
        found += lookup_findings(row.held.facts)
    return Status(tuple(sorted(found, key=lambda one: -URGENCY.index(one.level))))


class Standing(NamedTuple):
    """
    The level of an endpoint, and the problem behind it: pages, commands and dashboards count these.
    """

    level: Level
    problem: Problem | None = None
    """The problem that makes it so; None when it is well, or what makes it so is no problem yet."""

    @property
    def urgency(self) -> int:
        """
        Its place among the levels, from 0 for OK to 3 for critical.
        """
        return URGENCY.index(self.level)


WELL = Standing(Level.OK)


def standing(row: EndpointRow, onsets: Collection[Onset]) -> Standing:
    """
    Return the level of `status` and its first problem, without words: of thousands of endpoints only a page
    is shown.
    """
    held = row.held
    if not onsets and isinstance(held.observation, Observed) and not (held.facts and held.facts.unanswered):
        return WELL
    ordered = sorted(onsets, key=lambda one: _ORDER[one.problem])
    failing = next((one for one in ordered if one.problem is Problem.PROBE_FAILING), None)
    found = [Standing(_LEVELS[one.severity], one.problem) for one in ordered if one is not failing]
    if isinstance(held.observation, Failed):
        problem = failing.problem if failing is not None else None
        found.append(Standing(_level_of_failure(held.observation, failing), problem))
    if held.facts is not None and any(map(_leaves_unknown, held.facts.unanswered)):
        found.append(Standing(Level.UNKNOWN))
    most = max(found, key=lambda one: one.urgency, default=WELL)
    return most if most.level else WELL


def onsets_at(row: EndpointRow, places: Places) -> Sequence[Onset]:
    """
    Return what gives cause for problems at an endpoint, and at addresses that take turns with it.
    """
    if not row.others:
        return places.get((row.target.name, row.label), ())
    labels = dict.fromkeys([row.label, *(one.location for one in row.others)])
    return [onset for label in labels for onset in places.get((row.target.name, label), ())]


def worst(levels: Iterable[Level]) -> Level:
    """
    Return the most urgent of the levels; OK when there are none.
    """
    return max(levels, key=URGENCY.index, default=Level.OK)


def _problem(row: EndpointRow, onset: Onset, now: float) -> Finding:
    """
    Return a problem of the endpoint in words.
    """
    deploy = onset.judged is not None and onset.problem is not Problem.IDENTITY_CHANGED
    return Finding(
        _LEVELS[onset.severity],
        _words(row, onset, now),
        advice_of(onset),
        onset.item or None,
        deploy=deploy,
        reason=onset.reason,
        problem=onset.problem,
    )


def _words(row: EndpointRow, onset: Onset, now: float) -> str:
    match onset.problem:
        case Problem.NOT_TRUSTED:
            faults = row.verdict.faults if row.verdict is not None else ()
            return "not trusted: " + _detail(onset, ((one.fault, one.detail) for one in faults))
        case Problem.DOMAIN_STATUS | Problem.RENEWAL_BLOCKED:
            hazards = row.held.facts.hazards if row.held.facts is not None else ()
            moved = (Hazard.DOMAIN_AUTO_RENEW.value, MOVED)
            return _detail(onset, (moved, *((one.hazard.value, one.detail) for one in hazards)))
        case Problem.UNWATCHED:
            return f"its certificate names hosts that no target looks at: {some(row.unwatched)}"
    if onset.stranger is not None:
        return f"not by the CAs in `issuers`: {issued_by_stranger(onset.stranger)}"
    assert onset.judged is not None
    item = onset.judged.item
    match onset.problem:
        case Problem.FOREIGN_ISSUER:
            return f"{_named(item)} is of none of the CAs in `issuers`: {issued_by(onset.judged)}"
        case Problem.WENT_BACKWARDS:
            return _went_backwards(row, item, onset.at, now)
        case Problem.IDENTITY_CHANGED:
            return _changed_identity(row, item, onset.at, now)
    return _ends(onset, onset.judged, now)


def _detail(onset: Onset, details: Iterable[tuple[str, str]]) -> str:
    """
    Return what the endpoint says about the reason of the onset; the reason when it does not say so any more.
    """
    return dict(details).get(onset.reason, onset.reason)


def _ends(onset: Onset, judged: JudgedItem, now: float) -> str:
    """
    Return when an item ends or ended, and what makes that a problem.
    """
    item, due = judged.item, judged.deadlines
    left = item.not_after - now
    if judged.needless:
        return f"{_named(item)} expired {ago(-left)} and is dead weight: clients accept the server without it"
    if left < 0:
        words = f"{_named(item)} EXPIRED {ago(-left)}, on {date(item.not_after)}"
    else:
        words = f"{_named(item)} expires in {span(left)}, on {date(item.not_after)}"
    if onset.problem is Problem.CHAIN_ENDS_FIRST:
        return f"{words}, before the leaf does"
    if onset.problem is Problem.NOT_DEPLOYED:
        return f"{words}; it was renewed, but not deployed here"
    if left >= 0 and due is not None and now >= due.renewal_due and onset.severity is Severity.WARNING:
        words += f"; renewal has been due for {span(now - due.renewal_due)}"
    return words


def _refused_besides(row: EndpointRow, found: Collection[Finding]) -> Iterator[Finding]:
    """
    Yield why clients refuse an endpoint besides its end, which hides that in alerts.

    A renewal that is as wrong would mend nothing.
    """
    if all(one.problem is not Problem.PASSED for one in found):
        return
    said = {one.reason for one in found} | {Fault.EXPIRED}
    for one in row.verdict.faults if row.verdict is not None else ():
        if one.fault not in said:
            words, problem = f"not trusted either: {one.detail}", Problem.NOT_TRUSTED
            yield Finding(Level.WARNING, words, advice.FAULTS[one.fault], reason=one.fault, problem=problem)


def _went_backwards(row: EndpointRow, item: Item, at: float, now: float) -> str:
    when, before = row.held.past.changed_at.get(item.name, at), row.held.past.previous.get(item.name)
    words = (
        f"{_named(item)} went backwards {ago(now - when)}, on {date(when)}: "
        f"it expires on {date(item.not_after)}"
    )
    return words if before is None else f"{words}, the one before it on {date(before.not_after)}"


def _changed_identity(row: EndpointRow, item: Item, at: float, now: float) -> str:
    before = row.held.past.previous.get(item.name)
    issuers, since = "", "; it has changed again since then"
    if at == row.held.past.changed_at.get(item.name) and before is not None:
        issuers, since = f" from {bounded(issuer_of(before))} to {bounded(issuer_of(item))}", ""
    return (
        f"{_named(item)} changed its issuer{issuers} and its key together {ago(now - at)}, "
        f"on {date(at)}, long before a renewal was due{since}"
    )


def _probe_findings(row: EndpointRow, failing: Onset | None, now: float) -> Iterator[Finding]:
    """
    Yield the failure of the last probe; `failing` is the problem that it is by now, if any.
    """
    observation = row.held.observation
    if not isinstance(observation, Failed):
        return
    words = f"{observation.reason}: {observation.detail}"
    if observation.saw_nothing and row.held.seen_at is not None:
        words += f" (last seen {ago(now - row.held.seen_at)})"
    what_to_do, problem = (
        advice.FAILURES[observation.reason],
        failing.problem if failing is not None else None,
    )
    of_failure = _level_of_failure(observation, failing)
    yield Finding(of_failure, words, what_to_do, reason=observation.reason, problem=problem)


def _level_of_failure(observation: Failed, failing: Onset | None) -> Level:
    """
    Return the level of a failed probe: OK where the server showed its certificate all the same.
    """
    if failing is not None and failing.severity is Severity.CRITICAL:
        return Level.CRITICAL
    return Level.UNKNOWN if observation.saw_nothing else Level.OK


def _notes(row: EndpointRow, said: Collection[str | None], now: float) -> Iterator[Finding]:
    """
    Yield the items that have ended and are no problem, since nothing depends on them alone.
    """
    for judged in row.verdict.items if row.verdict is not None else ():
        item = judged.item
        if item.kind is Kind.ROOT or item.not_after >= now or item.name in said:
            continue
        words = f"{_named(item)} EXPIRED {ago(now - item.not_after)}, on {date(item.not_after)}"
        what_to_do = advice.renewal(item.kind, judged.policy)
        if item.kind is Kind.AUTHORITY:
            words = f"{_named(item)} expired {ago(now - item.not_after)}: its successor stands beside it"
            what_to_do = advice.REPLACED
        yield Finding(Level.OK, words, what_to_do, item.name)


def _logged(row: EndpointRow, unseen: Unseen) -> Iterator[Finding]:
    """
    Yield what only logs know of renewals, and of strangers that are not certain.
    """
    for judged in row.verdict.items if row.verdict is not None else ():
        renewed = unseen.renewed(judged)
        if renewed is not None:
            words = f"no target shows a newer {_named(judged.item)}: {issued(renewed)}"
            yield Finding(Level.OK, words, advice.ISSUED_ELSEWHERE, judged.item.name)
    for stranger in unseen.strangers(row.target):
        if not stranger.sure:
            yield Finding(Level.OK, issued_by_stranger(stranger), advice.EXPECTED_ABOVE)


def lookup_findings(facts: Facts) -> Iterator[Finding]:
    """
    Yield a finding for each failed look-up about an endpoint.

    Its level is UNKNOWN; it is OK when an earlier answer still stands, and when only the renewal information
    is missing, without which the policy alone decides.
    """
    for one in facts.unanswered:
        words = f"{NOT_KNOWN[one.lookup]}: {one.reason}: {one.detail}"
        if one.stands:
            words = f"{_NOT_UPDATED[one.lookup]}: {one.reason}: {one.detail}; what is known besides stands"
        of_lookup = Level.UNKNOWN if _leaves_unknown(one) else Level.OK
        yield Finding(of_lookup, words, advice.LOOKUPS[one.lookup], reason=one.reason)


def _leaves_unknown(one: FailedLookup) -> bool:
    return not one.stands and one.lookup in CHECKS


CHECKS = tuple(one for one in Lookup if one is not Lookup.RENEWAL_INFORMATION)
"""Look-ups without which an endpoint is unknown. Without renewal information the policy alone decides."""


NOT_KNOWN = {
    Lookup.CRL: "revocation is not known from its list",
    Lookup.OCSP: "revocation is not known from its responder",
    Lookup.RENEWAL_INFORMATION: "when the issuer wants it renewed is not known",
    Lookup.DNS: "what DNS says of its names is not known",
}
"""What a failed look-up leaves unknown."""


_NOT_UPDATED = {
    Lookup.CRL: "the revocation list was not got again",
    Lookup.OCSP: "the OCSP responder gave no new answer",
    Lookup.RENEWAL_INFORMATION: "the issuer gave no new time for the renewal",
    Lookup.DNS: "not all that DNS was asked about its names was answered",
}


def _named(item: Item) -> str:
    """
    Return the noun for an item in a sentence, with its name unless that is its kind.
    """
    # A server with several is probed for each type of key (`leaf-rsa`): then the name says which.
    return NOUNS[item.kind] if item.name == item.kind else f"{NOUNS[item.kind]} {item.name}"
