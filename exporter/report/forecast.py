"""
The forecast: which alerts will fire, and when, if nothing is renewed and nothing else changes, and which
notifications they make. Pure.

It asks `judgement.problems` about later moments; a test holds it to the shipped rules
(alerts/rules.yml). Prometheus sends each alert up to one scrape and one evaluation later,
and one with a `for:` by that much later still. Changes of what is served are not foreseen;
those that are known to have happened (ExpiryWentBackwards, ExpiryIdentityChanged) are
reported. Of the alerts about the exporter itself, none is.

Notifications are those of the example for Alertmanager (alerts/alertmanager.yml), without daily reminders.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from exporter.engine.scrape import EndpointRow, verdicts
from exporter.judgement.hidden import Beside
from exporter.judgement.issued import Elsewhere, newest_ends
from exporter.judgement.problems import Key, Onset, causes, found
from exporter.model.observation import Failed
from exporter.model.policies import DAY, Severity
from exporter.model.problems import MEANINGS, Problem
from exporter.model.reasons import Kind
from exporter.report.times import in_text

GATHERED = 300.0
"""
Seconds within which what joins a group is told in the same notification (`group_interval` of the example).
"""


@dataclass(frozen=True, slots=True)
class Alert:
    """
    One alert as the rules fire it: for a target, or for an item of a target at its worst endpoint.
    """

    at: float
    """When it fires, in seconds since the epoch. Not after the forecast's `now`: it fires already."""
    problem: Problem
    severity: Severity
    target: str
    location: str
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

    @property
    def name(self) -> str:
        """
        Name of the alert in the rules.
        """
        return MEANINGS[self.problem].alert

    @property
    def key(self) -> Key:
        """
        The problem that it reports.
        """
        return self.target, self.item, self.problem, self.severity


@dataclass(frozen=True, slots=True)
class Notification:
    """
    A notification that Alertmanager sends at one moment to one receiver: alerts of one severity about one
    certificate, or of one name where there is no certificate.
    """

    at: float
    """When its first alert fires, in seconds since the epoch. Not after the forecast's `now`: it is sent."""
    alerts: tuple[Alert, ...]
    """What it says first, first."""

    @property
    def severity(self) -> Severity:
        """
        Severity of its alerts, by which routes divide.
        """
        return self.alerts[0].severity


@dataclass(frozen=True, slots=True)
class Forecast:
    """
    The alerts from `now` to `until` (seconds since the epoch), in the order in which they fire.
    """

    now: float
    until: float
    alerts: tuple[Alert, ...]
    """Those that fire already come first, the critical ones before the others."""
    notifications: tuple[Notification, ...]
    """In the same order. Alerts that others inhibit are in none."""
    targets: int
    """Number of targets that were probed."""
    unseen: tuple[EndpointRow, ...]
    """Endpoints that were never seen: alerts for their items are missing here."""

    def firing(self, one: Alert) -> bool:
        """
        Return True when the alert fires already.
        """
        return one.at <= self.now


def forecast(rows: Sequence[EndpointRow], now: float, days: float) -> Forecast:
    """
    Return the alerts for these endpoints within `days` from `now` (seconds since the epoch).
    """
    until = now + days * DAY
    newest = newest_ends(verdicts(rows))
    reach = _reach(rows)
    gathered = causes((known for row in rows for known in row.knowns), newest, now, until)
    alerts = [_alert(onsets, newest, reach, now) for onsets in gathered.values()]
    alerts.sort(key=lambda one: _order(one, now))
    unseen = tuple(row for row in rows if row.held.facts is None)
    told = tuple(_notifications(alerts, now))
    return Forecast(now, until, tuple(alerts), told, len({row.target.name for row in rows}), unseen)


def _notifications(alerts: Sequence[Alert], now: float) -> Iterator[Notification]:
    """
    Yield the notifications of these alerts, which are in their order.
    """
    groups: dict[tuple[Severity, str], list[list[Alert]]] = defaultdict(list)
    for one in _told(alerts, now):
        told = groups[one.severity, one.fingerprint_sha256 or one.name]
        if told and max(one.at, now) - max(told[-1][0].at, now) <= GATHERED:
            told[-1].append(one)
        else:
            told.append([one])
    gathered = [same for told in groups.values() for same in told]
    for same in sorted(gathered, key=lambda same: _order(same[0], now)):
        yield Notification(same[0].at, tuple(same))


def _told(alerts: Sequence[Alert], now: float) -> Iterator[Alert]:
    """
    Yield the alerts that none beside them inhibits. Nothing is resolved in a forecast, so none is told later.
    """
    firing: dict[str, list[tuple[Key, float]]] = defaultdict(list)
    for one in alerts:
        firing[one.target].append((one.key, one.at))
    beside = {target: Beside(there) for target, there in firing.items()}
    for one in alerts:
        if beside[one.target].hider(one.key, max(one.at, now)) is None:
            yield one


def _order(one: Alert, now: float) -> tuple[object, ...]:
    # What fires already is one moment: there the urgent comes first, then what ends first.
    end = one.end if one.end is not None else now
    about = one.target, one.item, one.problem is not Problem.PASSED, one.name
    return max(one.at, now), one.severity is not Severity.CRITICAL, end, *about


def _alert(
    onsets: Sequence[Onset], newest: Elsewhere[None], reach: Mapping[str, set[str]], now: float
) -> Alert:
    at = min(one.at for one in onsets)
    problem = found([one for one in onsets if one.at <= max(at, now)], newest, now)
    worst = problem.onset
    where = worst.known.target.name, worst.known.location, problem.endpoints
    if worst.judged is None:
        return Alert(at, worst.problem, worst.severity, *where, reasons=problem.reasons)
    item = worst.judged.item
    fingerprint = item.certificate.fingerprint_sha256 if item.certificate is not None else None
    return Alert(
        at,
        worst.problem,
        worst.severity,
        *where,
        item=item.name,
        kind=item.kind,
        end=item.not_after,
        fingerprint_sha256=fingerprint,
        targets=len(reach[fingerprint]) if fingerprint is not None else 1,
    )


def _reach(rows: Iterable[EndpointRow]) -> dict[str, set[str]]:
    """
    Return the names of the targets that have each certificate, by its fingerprint.
    """
    reach: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        for verdict in verdicts([row]):
            for judged in verdict.items if verdict is not None else ():
                if judged.item.certificate is not None:
                    reach[judged.item.certificate.fingerprint_sha256].add(row.target.name)
    return reach


Document = dict[str, object]


def document(found: Forecast) -> Document:
    """
    Return the forecast as JSON values, with times in seconds since the epoch, and once more as text in
    `rfc3339`. The names are API.
    """
    numbers = numbered(found)
    fields: Document = {
        "now": found.now,
        "until": found.until,
        "targets": found.targets,
        "alerts": [_fields(one, found, numbers) for one in found.alerts],
        "notifications": len(found.notifications),
        "unseen": [
            {
                "target": row.target.name,
                "location": row.label,
                "reason": row.held.observation.reason,
                "detail": row.held.observation.detail,
            }
            for row in found.unseen
            if isinstance(row.held.observation, Failed)
        ],
    }
    return in_text(fields, "now", "until")


def numbered(found: Forecast) -> Mapping[Key, int]:
    """
    Return the number of the notification that tells each alert, from 1. Inhibited alerts are missing.
    """
    return {one.key: number for number, each in enumerate(found.notifications, 1) for one in each.alerts}


def _fields(one: Alert, found: Forecast, numbers: Mapping[Key, int]) -> Document:
    fields: Document = {
        "at": one.at,
        "firing": found.firing(one),
        "alert": one.name,
        "severity": one.severity,
        "notification": numbers.get(one.key),
        "target": one.target,
        "item": one.item or None,
        "kind": one.kind,
        "not_after": one.end,
        "location": one.location,
        "endpoints": one.endpoints,
        "fingerprint_sha256": one.fingerprint_sha256,
        "targets_with_the_same": one.targets,
        "reasons": list(one.reasons),
    }
    return in_text(fields, "at", "not_after")
