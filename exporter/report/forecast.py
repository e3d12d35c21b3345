"""
The forecast: which alerts will fire, and when, if nothing is renewed and nothing else changes. Pure.

It applies the shipped rules (alerts/rules.yml) to the results of one probe of each
endpoint; a test holds it to those rules. Prometheus fires up to one scrape and one
evaluation later, and an alert with a `for:` by that much later still. Changes that
were seen already are in it (ExpiryWentBackwards, ExpiryIdentityChanged), future ones
are not, nor are the alerts about the exporter itself.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from exporter.engine.scrape import EndpointRow
from exporter.judgement.newest import Newest, names_key
from exporter.judgement.verdicts import JudgedItem, judge_facts
from exporter.model.observation import Failed
from exporter.model.policies import DAY, Severity
from exporter.model.reasons import Fault, Hazard, Kind
from exporter.report.status import LOST, identity_changed_at, rolled_back_at

SIGNED = frozenset({Kind.CRL, Kind.OCSP, Kind.DNSSEC})
"""Kinds that a program signs again every few days."""


BLOCKED = frozenset({Hazard.CAA_FORBIDS_ISSUER, Hazard.NAME_NOT_RESOLVING})
"""Hazards that stop the next renewal."""


HELD = 600.0
"""Seconds for which an endpoint may be unseen before ExpiryProbeFailing counts it."""


@dataclass(frozen=True, slots=True)
class Alert:
    """
    One alert as the rules fire it: for a target, or for an item of a target at its worst endpoint.
    """

    at: float
    """When it fires, in seconds since the epoch. Not after the forecast's `now`: it fires already."""
    name: str
    severity: Severity
    target: str
    endpoint: str
    """The endpoint that is worst when it fires (or now, if it fires already): there the item ends first."""
    endpoints: int
    """Number of endpoints of the target that are concerned by then."""
    item: str = ""
    """Name of the item; empty when the alert is for the target."""
    kind: Kind | None = None
    """Kind of the item; None when the alert is for the target."""
    end: float | None = None
    """End of the item in seconds since the epoch; None when the alert is for the target."""
    fingerprint_sha256: str | None = None
    """Fingerprint of the item's certificate; None when it has none."""
    targets: int = 1
    """Number of targets with the same certificate, all of which its end concerns."""
    reasons: tuple[str, ...] = ()
    """Reasons of failed probes, faults or hazards; empty when the alert is for an end."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """
    The alerts from `now` to `until` (seconds since the epoch), in the order in which they fire.
    """

    now: float
    until: float
    alerts: tuple[Alert, ...]
    """Those that fire already come first, the critical ones before the others."""
    targets: int
    """Number of targets that were probed."""
    unseen: tuple[EndpointRow, ...]
    """Endpoints that were never seen: alerts for their items are missing here."""

    def firing(self, one: Alert) -> bool:
        """
        Return True when the alert fires already.
        """
        return one.at <= self.now


@dataclass(frozen=True, slots=True)
class _Onset:
    """
    The time from which an endpoint causes an alert, in seconds since the epoch.
    """

    at: float
    name: str
    severity: Severity
    row: EndpointRow
    judged: JudgedItem | None = None
    reason: str = ""

    @property
    def key(self) -> tuple[str, Severity, str, str]:
        """
        The identity of the alert: causes with the same key make one alert.
        """
        return self.name, self.severity, self.row.target.name, self.judged.item.name if self.judged else ""

    @property
    def end(self) -> float:
        """
        The end of the item in seconds since the epoch; without an item, `at`.
        """
        return self.judged.item.not_after if self.judged is not None else self.at


def forecast(rows: Sequence[EndpointRow], now: float, days: float) -> Forecast:
    """
    Return the alerts for these endpoints within `days` from `now` (seconds since the epoch).
    """
    until = now + days * DAY
    newest = _newest_ends(rows)
    causes: dict[tuple[str, Severity, str, str], list[_Onset]] = defaultdict(list)
    for row in rows:
        for onset in _onsets(row, newest, now, until):
            if onset.at <= until:
                causes[onset.key].append(onset)
    reach = _reach(rows)
    alerts = [_alert(onsets, reach, now) for onsets in causes.values()]
    alerts.sort(key=lambda one: _order(one, now))
    unseen = tuple(row for row in rows if row.held.facts is None)
    return Forecast(now, until, tuple(alerts), len({row.target.name for row in rows}), unseen)


def _order(one: Alert, now: float) -> tuple[object, ...]:
    # What fires already is one moment: there the urgent comes first, then what ends first.
    end = one.end if one.end is not None else now
    about = one.target, one.item, one.name != "ExpiryPassed", one.name
    return max(one.at, now), one.severity is not Severity.CRITICAL, end, *about


def _alert(onsets: Sequence[_Onset], reach: Mapping[str, set[str]], now: float) -> Alert:
    first = min(onsets, key=lambda one: one.at)
    concerned = [one for one in onsets if one.at <= max(first.at, now)]
    worst = min(concerned, key=lambda one: (one.end, one.row.label))
    reasons = tuple(dict.fromkeys(one.reason for one in concerned if one.reason))
    # An endpoint may be there with several reasons.
    endpoints = len({one.row.label for one in concerned})
    where = worst.row.target.name, worst.row.label, endpoints
    if worst.judged is None:
        return Alert(first.at, worst.name, worst.severity, *where, reasons=reasons)
    item = worst.judged.item
    fingerprint = item.certificate.fingerprint_sha256 if item.certificate is not None else None
    return Alert(
        first.at,
        worst.name,
        worst.severity,
        *where,
        item=item.name,
        kind=item.kind,
        end=item.not_after,
        fingerprint_sha256=fingerprint,
        targets=len(reach[fingerprint]) if fingerprint is not None else 1,
    )


def _onsets(row: EndpointRow, newest: Newest[None], now: float, until: float) -> Iterator[_Onset]:
    """
    Yield all causes for alerts at an endpoint.
    """
    for judged in row.verdict.items if row.verdict is not None else ():
        yield from _of_item(row, judged, newest, now)
        yield from _of_past(row, judged, now)
    yield from _of_failure(row, now)
    yield from _of_trust(row, now, until)
    for one in row.held.facts.hazards if row.held.facts is not None else ():
        severity = Severity.CRITICAL if one.hazard in LOST else Severity.WARNING
        name = "ExpiryRenewalBlocked" if one.hazard in BLOCKED else "ExpiryDomainStatus"
        yield _Onset(now, name, severity, row, reason=one.hazard)


def _of_item(row: EndpointRow, judged: JudgedItem, newest: Newest[None], now: float) -> Iterator[_Onset]:
    due, kind = judged.deadlines, judged.item.kind
    if due is None:
        return
    warned, critical = due.warning, max(due.warning, due.critical)
    if kind is Kind.INTERMEDIATE:
        # It has deadlines only if it ends before its leaf. That alert fires at once, whenever it ends.
        yield _Onset(now, "ExpiryChainEndsBeforeLeaf", Severity.WARNING, row, judged)
        yield _Onset(critical, "ExpiryChainEndsBeforeLeaf", Severity.CRITICAL, row, judged)
        return
    # A warning after the renewal was due means that an automatic one is late; else, that a person must renew.
    late = due.warning > due.renewal_due
    yield _Onset(warned, _name(kind, Severity.WARNING, late=late), Severity.WARNING, row, judged)
    yield _Onset(critical, _name(kind, Severity.CRITICAL, late=late), Severity.CRITICAL, row, judged)
    if kind not in SIGNED:
        yield _Onset(max(judged.item.not_after, critical), "ExpiryPassed", Severity.CRITICAL, row, judged)
    key = names_key(judged)
    if key is not None and judged.item.not_after < newest.of(key, judged.trusted)[0]:
        yield _Onset(warned, "ExpiryNotDeployed", Severity.WARNING, row, judged)
        yield _Onset(critical, "ExpiryNotDeployed", Severity.CRITICAL, row, judged)


def _of_past(row: EndpointRow, judged: JudgedItem, now: float) -> Iterator[_Onset]:
    rolled_back = rolled_back_at(row, judged.item)
    if rolled_back is not None:
        yield _Onset(rolled_back, "ExpiryWentBackwards", Severity.WARNING, row, judged)
    changed = identity_changed_at(row, judged.item, now)
    if changed is not None:
        yield _Onset(changed, "ExpiryIdentityChanged", Severity.WARNING, row, judged)


def _name(kind: Kind, severity: Severity, *, late: bool) -> str:
    """
    Return the name of the alert for the coming end of an item.
    """
    if kind is Kind.AUTHORITY:
        return "ExpiryAuthorityEnding"
    if kind is Kind.REGISTRATION:
        return "ExpiryDomainEnding"
    if kind in SIGNED:
        return "ExpirySignatureStale"
    return "ExpiryRenewalOverdue" if late and severity is Severity.WARNING else "ExpirySoon"


def _of_failure(row: EndpointRow, now: float) -> Iterator[_Onset]:
    observation, seen_at = row.held.observation, row.held.seen_at
    if not isinstance(observation, Failed) or observation.facts is not None:
        # An endpoint that presents its certificate and then refuses the client is seen by each probe.
        return
    name, reason = "ExpiryProbeFailing", observation.reason
    if seen_at is None:
        yield _Onset(now, name, Severity.WARNING, row, reason=reason)
        return
    unseen = seen_at + HELD
    yield _Onset(unseen, name, Severity.WARNING, row, reason=reason)
    for judged in row.verdict.items if row.verdict is not None else ():
        if judged.deadlines is not None:
            at = max(unseen, judged.deadlines.warning)
            yield _Onset(at, name, Severity.CRITICAL, row, reason=reason)


def _of_trust(row: EndpointRow, now: float, until: float) -> Iterator[_Onset]:
    """
    Yield the causes for ExpiryNotTrusted: clients refuse the endpoint now, or when its chain ends.
    """
    verdict, judged = row.verdict, row.held.judged
    at, trusted = now, row.held.past.trusted_at is not None
    while verdict is not None:
        # The end of the leaf has its own alerts. The severity depends on whether it was ever trusted.
        severity = Severity.CRITICAL if trusted else Severity.WARNING
        for fault in verdict.faults:
            if fault.fault is not Fault.EXPIRED:
                yield _Onset(at, "ExpiryNotTrusted", severity, row, reason=fault.fault)
        trusted = trusted or not verdict.faults
        # Judged as it will be when the verdict changes: a chain may end before its leaf, or begin after now.
        if judged is None or not at < verdict.valid_until <= until:
            return
        at = verdict.valid_until
        verdict = judge_facts(judged.facts, judged.target, judged.anchors, at)


def _newest_ends(rows: Iterable[EndpointRow]) -> Newest[None]:
    """
    Return the latest end for each set of names, among all endpoints.
    """
    newest: Newest[None] = Newest()
    for row in rows:
        for judged in row.verdict.items if row.verdict is not None else ():
            key = names_key(judged)
            if key is not None:
                newest.add(key, judged.trusted, judged.item.not_after, None)
    return newest


def _reach(rows: Iterable[EndpointRow]) -> dict[str, set[str]]:
    """
    Return the names of the targets that have each certificate, by its fingerprint.
    """
    reach: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        for judged in row.verdict.items if row.verdict is not None else ():
            if judged.item.certificate is not None:
                reach[judged.item.certificate.fingerprint_sha256].add(row.target.name)
    return reach


Document = dict[str, object]


def document(found: Forecast) -> Document:
    """
    Return the forecast as JSON values, with times in seconds since the epoch. The names are API.
    """
    return {
        "now": found.now,
        "until": found.until,
        "targets": found.targets,
        "alerts": [_fields(one, found) for one in found.alerts],
        "unseen": [
            {
                "target": row.target.name,
                "endpoint": row.label,
                "reason": row.held.observation.reason,
                "detail": row.held.observation.detail,
            }
            for row in found.unseen
            if isinstance(row.held.observation, Failed)
        ],
    }


def _fields(one: Alert, found: Forecast) -> Document:
    return {
        "at": one.at,
        "firing": found.firing(one),
        "alert": one.name,
        "severity": one.severity,
        "target": one.target,
        "item": one.item or None,
        "kind": one.kind,
        "not_after": one.end,
        "endpoint": one.endpoint,
        "endpoints": one.endpoints,
        "fingerprint_sha256": one.fingerprint_sha256,
        "targets_with_the_same": one.targets,
        "reasons": list(one.reasons),
    }
