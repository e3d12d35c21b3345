"""
Problems: conditions that a person must act on, decided from facts, memory, policy and a time. Pure.

This is the only place that decides it. An onset is the time from which on an endpoint gives cause for a
problem, if nothing changes until then: past onsets are the present problems, future ones are the forecast.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import inf

from exporter.judgement.history import IDENTITY_REPORTED, NAMELESS_FOR, Past
from exporter.judgement.issued import Elsewhere, Renewed, Stranger
from exporter.judgement.registrations import UNDONE_WITHIN
from exporter.judgement.verdicts import Deadlines, Judged, JudgedItem, Verdict, judge_facts
from exporter.model.foreign_text import bounded
from exporter.model.observation import Facts, Failed, Item, Observation, Observed
from exporter.model.policies import DAY, UNSEEN_LEAST, Severity
from exporter.model.problems import Problem
from exporter.model.reasons import SIGNED, Fault, Hazard, Kind
from exporter.model.targets import Target

LOST = frozenset({Hazard.DOMAIN_HOLD, Hazard.DOMAIN_REDEMPTION, Hazard.DOMAIN_PENDING_DELETE})
"""Hazards that are critical: the domain is gone from DNS or about to go to somebody else."""


BLOCKED = frozenset({Hazard.CAA_FORBIDS_ISSUER, Hazard.NAME_NOT_RESOLVING})
"""Hazards that stop the next renewal."""


ISSUER_LIMIT = 100
"""Characters of a CA's name in the name of an item."""


SKEW = 300.0
"""Seconds by which an issuer's clock may be ahead: what begins so soon has begun before anybody looks."""


NOT_YET = frozenset({Fault.NOT_YET_VALID, Fault.CHAIN_NOT_YET_VALID})


Key = tuple[str, str, Problem, Severity]
"""Target, item (empty when it is about an endpoint), problem and severity: one series, one alert."""


@dataclass(frozen=True, slots=True)
class Known:
    """
    The state of one endpoint, as far as problems depend on it.
    """

    target: Target
    location: str
    observation: Observation
    seen_at: float | None
    """Time at which its facts were really seen, in seconds since the epoch; None when there are none."""
    facts: Facts | None
    verdict: Verdict | None
    """None when the endpoint was never seen."""
    judged: Judged | None
    """The inputs of the verdict, to judge the same facts at a later time; None when that is not possible."""
    past: Past
    in_turn: tuple[Facts, ...] = ()
    """What other servers behind the same address or name are likely to show next; empty for most."""
    unwatched: tuple[str, ...] = ()
    """Names on its certificate that no target looks at, where that is to be told; empty for most."""
    one_of_several: bool = False
    """True when one of these was seen again after another, so that it is certain that they take turns."""
    elsewhere: bool = False
    """True for another server's, which the last probe did not see in this place."""
    likely: bool = False
    """True for another server's, if the next probes are likely to see it again."""
    seldom: tuple[Facts, ...] = ()
    """What few probes in this place showed lately: perhaps another server's with a small share of them."""


@dataclass(frozen=True, slots=True)
class Onset:
    """
    The time from which on an endpoint gives cause for a problem.
    """

    at: float
    """In seconds since the epoch."""
    problem: Problem
    severity: Severity
    known: Known
    judged: JudgedItem | None = None
    """The item concerned; None when the problem is about the endpoint."""
    reason: str = ""
    """The reason, fault or hazard; empty when the problem is about an end."""
    stranger: Stranger | None = None
    """The certificate of somebody else, known from a log alone; None when the problem is about one seen."""

    @property
    def item(self) -> str:
        """
        Name of the item concerned; empty when the problem is about the endpoint.
        """
        if self.stranger is not None:
            # One matter for each CA: what a person does is to find out who uses it.
            return f"issued by {bounded(self.stranger.issuance.organization, ISSUER_LIMIT)}"
        return self.judged.item.name if self.judged is not None else ""

    @property
    def kind(self) -> Kind | None:
        """
        Kind of the item concerned; None when the problem is about the endpoint.
        """
        if self.stranger is not None:
            return Kind.LEAF
        return self.judged.item.kind if self.judged is not None else None

    @property
    def key(self) -> Key:
        """
        Target, item, problem and severity: onsets with the same key make one problem.
        """
        return self.known.target.name, self.item, self.problem, self.severity

    @property
    def end(self) -> float:
        """
        End of the item, in seconds since the epoch; the time of the onset when it is about no item.
        """
        if self.stranger is not None:
            return self.stranger.issuance.not_after
        return self.judged.item.not_after if self.judged is not None else self.at


def onsets(known: Known, newest: Elsewhere[None], now: float, until: float) -> Iterator[Onset]:
    """
    Yield the onsets of an endpoint from `now` to `until` (seconds since the epoch), if nothing changes.

    `newest` has the latest ends of all endpoints. An onset whose beginning is not known is at `now`. While
    its name does not exist, nothing about an endpoint is critical, and what was it as such a failure is a
    warning; once that is a problem, nothing else is one: it is the whole matter. Another server, which was
    well when it was last seen, gives no cause until it is seen again: it may have been renewed meanwhile.
    """
    if known.elsewhere and _was_well(known):
        return
    nameless = _nameless_from(known)
    failing = min((one.at for one in _of_failure(known, now)), default=inf) if nameless < inf else inf
    for onset in _of_endpoint(known, newest, now, until):
        besides = nameless if onset.severity is Severity.CRITICAL else max(nameless, failing)
        is_warning_of_failure = onset.problem is Problem.PROBE_FAILING and onset.severity is Severity.WARNING
        if is_warning_of_failure or max(onset.at, now) < besides:
            yield onset
        elif onset.problem is Problem.PROBE_FAILING:
            # Else it would be over until the pace of a warning, as if the name were back.
            yield replace(onset, severity=Severity.WARNING)


def _was_well(known: Known) -> bool:
    """
    Return True when an endpoint gave no cause for a problem when it was last seen.
    """
    seen_at, verdict = known.seen_at, known.verdict
    if seen_at is None or verdict is None:
        return False
    if verdict.valid_from > seen_at:
        # Faults that came with time.
        verdict = replace(verdict, faults=())
    return is_well(known.observation, known.facts, verdict, known.past, seen_at)


def _nameless_from(known: Known) -> float:
    """
    Return from when on DNS is believed that a server's name does not exist, so that no client can be hurt
    there; infinity when it is not.

    In seconds since the epoch. What others get by other names is not concerned (a file, a Secret behind an
    API server), nor a name that somebody else looks up (a proxy) or of which only one family is looked up.
    """
    nameless, target = known.past.nameless, known.target
    if nameless is None or known.facts is None or not known.facts.presented:
        return inf
    if target.proxy is not None or target.address_family != "any":
        return inf
    return nameless[0] + NAMELESS_FOR


def _of_endpoint(known: Known, newest: Elsewhere[None], now: float, until: float) -> Iterator[Onset]:
    for judged in known.verdict.items if known.verdict is not None else ():
        yield from _of_item(known, judged, newest, now)
        yield from _of_past(known, judged, now)
        if judged.foreign:
            yield Onset(now, Problem.FOREIGN_ISSUER, Severity.CRITICAL, known, judged)
    for stranger in newest.unseen.strangers(known.target):
        if stranger.sure:
            yield Onset(now, Problem.FOREIGN_ISSUER, Severity.CRITICAL, known, stranger=stranger)
    yield from _of_failure(known, now)
    yield from _of_trust(known, now, until)
    yield from _of_hazards(known, now)
    if known.unwatched:
        yield Onset(now, Problem.UNWATCHED, Severity.WARNING, known)


def _of_item(known: Known, judged: JudgedItem, newest: Elsewhere[None], now: float) -> Iterator[Onset]:
    due, kind = judged.deadlines, judged.item.kind
    if judged.needless:
        yield Onset(now, Problem.CHAIN_ENDS_FIRST, Severity.WARNING, known, judged)
    if due is None:
        return
    warned = _warned(known, due)
    critical = max(warned, due.critical)
    if kind is Kind.INTERMEDIATE:
        # It has deadlines only if it ends before its leaf. That is reported at once, whenever it ends.
        yield Onset(now, Problem.CHAIN_ENDS_FIRST, Severity.WARNING, known, judged)
        yield Onset(critical, Problem.CHAIN_ENDS_FIRST, Severity.CRITICAL, known, judged)
        return
    # A warning after the renewal was due says that an automatic one is late; else, that somebody must do it.
    late = due.warning > due.renewal_due
    yield Onset(warned, _ending(kind, Severity.WARNING, late=late), Severity.WARNING, known, judged)
    yield Onset(critical, _ending(kind, Severity.CRITICAL, late=late), Severity.CRITICAL, known, judged)
    if kind not in SIGNED:
        passed = max(judged.item.not_after, critical)
        yield Onset(passed, Problem.PASSED, Severity.CRITICAL, known, judged)
    if newest.newer_end(judged) is not None:
        yield Onset(warned, Problem.NOT_DEPLOYED, Severity.WARNING, known, judged)
        yield Onset(critical, Problem.NOT_DEPLOYED, Severity.CRITICAL, known, judged)


def _warned(known: Known, due: Deadlines) -> float:
    """
    Return the time of the warning: by habit only while the endpoint is seen, or once it was seen to be late.
    """
    is_unseen = isinstance(known.observation, Failed) and known.observation.saw_nothing
    if due.unseen_warning is not None and is_unseen and (known.seen_at or 0.0) < due.warning:
        return due.unseen_warning
    return due.warning


def _ending(kind: Kind, severity: Severity, *, late: bool) -> Problem:
    """
    Return the problem for an item whose end comes near; `late` when its renewal is late.
    """
    if kind is Kind.AUTHORITY:
        return Problem.AUTHORITY_ENDING
    if kind is Kind.REGISTRATION:
        return Problem.DOMAIN_ENDING
    if kind in SIGNED:
        return Problem.SIGNATURE_STALE
    return Problem.RENEWAL_OVERDUE if late and severity is Severity.WARNING else Problem.SOON


def _of_past(known: Known, judged: JudgedItem, now: float) -> Iterator[Onset]:
    rolled_back = rolled_back_at(known, judged.item)
    if rolled_back is not None:
        yield Onset(rolled_back, Problem.WENT_BACKWARDS, Severity.WARNING, known, judged)
    changed = identity_changed_at(known, judged, now)
    if changed is not None:
        yield Onset(changed, Problem.IDENTITY_CHANGED, Severity.WARNING, known, judged)


def rolled_back_at(known: Known, item: Item) -> float | None:
    """
    Return the time (seconds since the epoch) since when an older leaf is served again; None for no problem.

    While another server may show the newer one, it is not known that this one went back.
    """
    if item.kind is not Kind.LEAF or _may_be_there(known, item.name, known.in_turn + known.seldom):
        return None
    return known.past.rolled_back_at.get(item.name)


def identity_changed_at(known: Known, judged: JudgedItem, now: float) -> float | None:
    """
    Return the time (seconds since the epoch) at which issuer and key changed together; None for no problem.

    Where the configuration says whose certificates are expected, one of those is nobody else's. Two that take
    turns are of two servers: whoever takes over a name shows his own alone.
    """
    when = known.past.identity_changed_at.get(judged.item.name)
    if when is None or now >= when + IDENTITY_REPORTED or (judged.expected and not judged.foreign):
        return None
    if judged.item.kind is not Kind.LEAF or _may_be_there(known, judged.item.name, known.in_turn):
        return None
    return when


def _may_be_there(known: Known, name: str, others: Iterable[Facts]) -> bool:
    """
    Return True while another server, which shows one of these, may show the leaf that was in service before.
    """
    before = known.past.previous.get(name)
    return before is not None and any(
        one.name == name and one.certificate == before.certificate for facts in others for one in facts.items
    )


def _of_failure(known: Known, now: float) -> Iterator[Onset]:
    observation, seen_at = known.observation, known.seen_at
    if not isinstance(observation, Failed) or not observation.saw_nothing:
        # A server that shows its certificate and then refuses the client is seen at each probe.
        return
    problem, reason = Problem.PROBE_FAILING, observation.reason
    since = now if known.past.failing_since is None else known.past.failing_since
    if seen_at is None:
        yield Onset(since + UNSEEN_LEAST, problem, Severity.WARNING, known, reason=reason)
        return
    held = _pacing(known.verdict.items if known.verdict is not None else ())
    pace = min(
        (one.policy.unseen_for(one.item.not_after - one.item.not_before) for one, _ in held),
        default=UNSEEN_LEAST,
    )
    yield Onset(since + pace, problem, Severity.WARNING, known, reason=reason)
    for _, due in held:
        # The pace allows for time that there is. Near the end there is none.
        at = max(since + min(pace, UNSEEN_LEAST), due.warning, due.critical)
        yield Onset(at, problem, Severity.CRITICAL, known, reason=reason)


def _pacing(items: Iterable[JudgedItem]) -> list[tuple[JudgedItem, Deadlines]]:
    """
    Return the items that set the pace of an endpoint, with their deadlines.

    What a machine signs anew every few days does so only where there is nothing else.
    """
    held = [(one, one.deadlines) for one in items if one.deadlines is not None]
    return [(one, due) for one, due in held if one.item.kind not in SIGNED] or held


def _of_trust(known: Known, now: float, until: float) -> Iterator[Onset]:
    """
    Yield the onsets of NOT_TRUSTED for faults other than EXPIRED: now, and when the verdict changes.
    """
    verdict, judged = known.verdict, known.judged
    at, trusted = now, known.past.trusted_at is not None
    while verdict is not None:
        # The end is a problem of the item. That clients now refuse an endpoint they accepted before is worse.
        severity = Severity.CRITICAL if trusted else Severity.WARNING
        begins_soon = verdict.valid_until <= at + SKEW
        for fault in verdict.faults:
            if fault.fault is not Fault.EXPIRED and not (begins_soon and fault.fault in NOT_YET):
                yield Onset(at, Problem.NOT_TRUSTED, severity, known, reason=fault.fault)
        trusted = trusted or not verdict.faults
        # Judged as it will be when the verdict changes: a chain may end before its leaf, or begin after now.
        if judged is None or not at < verdict.valid_until <= until:
            return
        at = verdict.valid_until
        verdict = judge_facts(judged.facts, judged.target, judged.anchors, at, judged.habits)


def _of_hazards(known: Known, now: float) -> Iterator[Onset]:
    for one in known.facts.hazards if known.facts is not None else ():
        problem = Problem.RENEWAL_BLOCKED if one.hazard in BLOCKED else Problem.DOMAIN_STATUS
        lost = one.hazard in LOST or (one.hazard is Hazard.DOMAIN_AUTO_RENEW and _was_critical(known))
        severity = Severity.CRITICAL if lost else Severity.WARNING
        yield Onset(now, problem, severity, known, reason=one.hazard)
    if is_moved_unpaid(known, now):
        yield Onset(now, Problem.DOMAIN_STATUS, Severity.CRITICAL, known, reason=Hazard.DOMAIN_AUTO_RENEW)


def is_moved_unpaid(known: Known, now: float) -> bool:
    """
    Return True while the registry may undo that it moved the end of a registration, which was critical then,
    and does not say whether anybody paid.
    """
    return _was_critical(known) and any(
        now < before.not_after + UNDONE_WITHIN
        for name, before in known.past.previous.items()
        if name in known.past.moved_at
    )


def _was_critical(known: Known) -> bool:
    """
    Return True when the end of a domain's registration was critical at the time it was last moved ahead.

    Where the registry moved it by itself, nothing has changed for the domain until somebody pays.
    """
    for judged in known.verdict.items if known.verdict is not None else ():
        name = judged.item.name
        before, moved_at = known.past.previous.get(name), known.past.changed_at.get(name)
        if judged.item.kind is not Kind.REGISTRATION or before is None or moved_at is None:
            continue
        left = judged.policy.time_left(before.not_after - before.not_before).critical
        # A policy that is critical on the last day only is for a registrar that lets the registry renew.
        if before.not_after < judged.item.not_after and left > DAY and moved_at >= before.not_after - left:
            return True
    return False


@dataclass(frozen=True, slots=True)
class Found:
    """
    A present problem of a target, or of an item of a target, at its worst endpoint.
    """

    onsets: tuple[Onset, ...]
    """At least one; first that at the endpoint where the item ends first."""
    newer: float | None = None
    """
    Latest known end of a renewal of this item, in seconds since the epoch; None when none is known.
    """
    changed_identity: bool = False
    """True while it is reported that issuer and key of the item changed together."""
    renewed: Renewed | None = None
    """What only a log knows of a renewal of this item; None when it knows of none."""

    @property
    def onset(self) -> Onset:
        """
        The onset at the endpoint where the item ends first.
        """
        return self.onsets[0]

    @property
    def reasons(self) -> tuple[str, ...]:
        """
        Reasons, faults or hazards; empty when the problem is about an end.
        """
        return tuple(sorted({one.reason for one in self.onsets if one.reason}))

    @property
    def endpoints(self) -> int:
        """
        Number of the target's endpoints that give cause for it: one may do so with several reasons.
        """
        return len({one.known.location for one in self.onsets})


def problems(endpoints: Iterable[Known], newest: Elsewhere[None], now: float) -> dict[Key, Found]:
    """
    Return the problems of these endpoints at `now` (seconds since the epoch).

    Endpoints that are well (see `is_well`) may be left out; `newest` has the latest ends of all.
    """
    return {key: found(onsets, newest, now) for key, onsets in causes(endpoints, newest, now, now).items()}


def pending(endpoints: Iterable[Known], now: float) -> list[Found]:
    """
    Return the failures of probes that become problems only if they last, one for each target with some.

    Targets of which a failure has lasted long enough at `now` (seconds since the epoch) are left out.
    """
    gathered: dict[str, list[Onset]] = {}
    for known in endpoints:
        for onset in _of_failure(known, now):
            gathered.setdefault(known.target.name, []).append(onset)
    waiting = (onsets for onsets in gathered.values() if all(one.at > now for one in onsets))
    return [
        found([one for one in onsets if one.severity is Severity.WARNING], Elsewhere(), now)
        for onsets in waiting
    ]


def causes(
    endpoints: Iterable[Known], newest: Elsewhere[None], now: float, until: float
) -> dict[Key, list[Onset]]:
    """
    Return the onsets of these endpoints up to `until` (seconds since the epoch), by the problem they make.
    """
    gathered: dict[Key, list[Onset]] = {}
    for known in endpoints:
        for onset in onsets(known, newest, now, until):
            if onset.at <= until:
                gathered.setdefault(onset.key, []).append(onset)
    return gathered


def is_well(
    observation: Observation, facts: Facts | None, verdict: Verdict | None, past: Past, now: float
) -> bool:
    """
    Return True when an endpoint gives no cause for a problem at `now` (seconds since the epoch).

    It is asked of each endpoint in each scrape, so that only few are looked at more closely.
    """
    if not isinstance(observation, Observed) or verdict is None or verdict.faults:
        return False
    if facts is None or facts.hazards or past.rolled_back_at or past.identity_changed_at or past.moved_at:
        return False
    for judged in verdict.items:
        due = judged.deadlines
        if judged.foreign:
            return False
        if due is None:
            if judged.needless:
                return False
        elif due.warning <= now or judged.item.kind is Kind.INTERMEDIATE:
            return False
    return True


def found(onsets: Sequence[Onset], newest: Elsewhere[None], now: float) -> Found:
    """
    Return the problem that these onsets of one target make together.
    """
    ordered = tuple(sorted(onsets, key=lambda one: (one.end, one.known.location)))
    worst = ordered[0]
    if worst.judged is None:
        return Found(ordered)
    changed = identity_changed_at(worst.known, worst.judged, now) is not None
    renewed = newest.unseen.renewed(worst.judged)
    return Found(ordered, newest.newer_end(worst.judged), changed, renewed)
