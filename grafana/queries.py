"""
PromQL that several panels share.

Every selector is limited to the exporters that the dashboard's variables choose; metrics are named by
the exporter's own families, so that none can be misspelled.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto

from exporter.model.reasons import Hazard
from exporter.report import families
from exporter.report.families import Family

EXPORTERS = 'job=~"$job", instance=~"$instance"'

TARGET = "job, instance, target"
ENDPOINT = f"{TARGET}, location"
ITEM = f"{ENDPOINT}, item"

UNSEEN_FOR = 600
"""Seconds after which alerts fire for an endpoint that can't be seen."""

NTH = "①②③④⑤⑥"
"""Numbers of the lines with a colour of their own: as many as people with any colour vision distinguish."""

LINES = 12
"""Lines of one graph beside those."""

RANK = 10_000_000_000
"""More than any time in seconds (until the year 2286): a factor for the first key of a sort by two keys."""


def of(metric: Family | str, *matchers: str) -> str:
    """
    Return a selector of the chosen exporters' series, with these matchers.
    """
    name = metric if isinstance(metric, str) else metric.name
    return f"{name}{{{', '.join((EXPORTERS, *matchers))}}}"


THIS = 'target="$target"'
"""The matcher of the one chosen target."""

INTERMEDIATE = 'kind="intermediate"'
OWN = 'kind!="intermediate"'
SPEAKING = 'kind!~"intermediate|ocsp|crl"'
"""The kinds of items whose end is the endpoint's own."""

NOT_ABOVE = 'item!~"chain-.+"'
"""Without the certificates above a leaf: half of the series, since joins of certificates are expensive."""

CHOSEN = of(families.TARGET, '$label=~"$value"')
"""The targets that the variables choose."""

INFO = f"topk by ({TARGET}) (1, {CHOSEN})"
"""One series for each chosen target. After a change of labels, old and new series both exist for minutes."""

OWNED = f'label_replace({INFO}, "owner", "$1", "$label", "(.*)")'
"""One series for each chosen target, with the value of the chosen label as `owner`."""


def chosen(expression: str) -> str:
    """
    Return the series of the targets that the variables choose.
    """
    return f"({expression}) and on ({TARGET}) {CHOSEN}"


def due(severity: str, *matchers: str) -> str:
    """
    Return the items whose time for an alert of this severity has come.
    """
    which = f'severity="{severity}"'
    return f"{of(families.ALERT, which, *matchers)} <= time()"


def words(expression: str, label: str, value: str, of_label: str = "") -> str:
    """
    Return the series with one more label; in its value `$1` stands for that of another label.
    """
    return f'label_replace({expression}, "{label}", "{value}", "{of_label}", "(.*)")'


def total(expression: str) -> str:
    """
    Return the number of series: 0 when there are none but there are targets, nothing without any target.

    Without targets nothing is known, and a 0 would be a false all-clear.
    """
    return f"count({expression}) or 0 * count({CHOSEN})"


class Sort(Enum):
    """
    The sort of series that a problem has.
    """

    END = auto()
    """Items whose end is near. A worse problem of this sort includes the lesser ones."""
    ITEM = auto()
    """Items with another problem."""
    UNSEEN = auto()
    """Endpoints whose last probe failed, with the `reason`."""
    ENDPOINT = auto()
    """Endpoints with another `reason`."""


@dataclass(frozen=True, slots=True)
class Problem:
    """
    A problem that a person has to solve, with the alert that fires for it.
    """

    rank: int
    """The most urgent has 1."""
    words: str
    """In capitals when it is urgent."""
    alert: str
    sort: Sort
    which: str
    """PromQL for the series that have the problem, or a worse one of the same sort."""


LOST = (Hazard.DOMAIN_HOLD, Hazard.DOMAIN_REDEMPTION, Hazard.DOMAIN_PENDING_DELETE)
UNPAID = (Hazard.DOMAIN_AUTO_RENEW,)
BLOCKED = (Hazard.CAA_FORBIDS_ISSUER, Hazard.NAME_NOT_RESOLVING)


def problems(*matchers: str) -> tuple[Problem, ...]:
    """
    Return all problems of the series that match, the most urgent first.

    Selecting ten thousand series takes Prometheus as long as any computation on them, so each problem selects
    as few series as possible.
    """
    ends = of(families.NOT_AFTER, OWN, *matchers)
    late = due("warning", OWN, *matchers)
    renewal_due = of(families.RENEWAL_DUE, *matchers)
    newer = f"{of(families.NEWEST, *matchers)} > on ({ITEM}) group_left () {ends}"
    refused = of(families.FAULT, 'reason!="expired"', *matchers)
    failed = of(families.FAILURE, *matchers)
    chain = of(families.ALERT, INTERMEDIATE, 'severity="warning"', *matchers)

    def hazard(reasons: Sequence[Hazard]) -> str:
        return of(families.HAZARD, f'reason=~"{"|".join(reasons)}"', *matchers)

    return (
        Problem(1, "EXPIRED", "ExpiryPassed", Sort.END, f"{ends} <= time()"),
        Problem(2, "CLIENTS REFUSE IT", "ExpiryNotTrusted", Sort.ENDPOINT, refused),
        Problem(3, "DOMAIN LOST", "ExpiryDomainStatus", Sort.ENDPOINT, hazard(LOST)),
        Problem(4, "ENDS SOON", "ExpirySoon", Sort.END, due("critical", OWN, *matchers)),
        Problem(
            5,
            "UNSEEN AND DUE",
            "ExpiryProbeFailing",
            Sort.UNSEEN,
            f"{failed} and on ({ENDPOINT}) {due('critical', *matchers)}",
        ),
        Problem(6, "not deployed", "ExpiryNotDeployed", Sort.ITEM, f"{newer} and on ({ITEM}) {late}"),
        Problem(
            7,
            "renewal overdue",
            "ExpiryRenewalOverdue",
            Sort.END,
            f"{late} > on ({ITEM}) group_left () {renewal_due}",
        ),
        Problem(8, "renew it now", "ExpirySoon", Sort.END, late),
        Problem(9, "chain ends first", "ExpiryChainEndsBeforeLeaf", Sort.ITEM, chain),
        Problem(10, "can't be seen", "ExpiryProbeFailing", Sort.UNSEEN, failed),
        Problem(11, "perhaps unpaid", "ExpiryDomainStatus", Sort.ENDPOINT, hazard(UNPAID)),
        Problem(12, "will fail later", "ExpiryRenewalBlocked", Sort.ENDPOINT, hazard(BLOCKED)),
    )


WORST = "target, item, kind, alert, reason, policy, owner"
"""The labels of a problem, without the endpoint."""


def urgent(limit: int) -> str:
    """
    Return the most urgent problems as rank * RANK + end. An item counts with its worst problem.
    """
    items = _worst(ITEM, [_ranked(one) for one in problems() if one.sort in {Sort.END, Sort.ITEM}])
    return (
        f"bottomk({limit}, min by ({WORST}) ((\n{_packed(items)}\n)"
        f" * on ({TARGET}) group_left (policy, owner) {OWNED}))"
    )


def diagnosis(limit: int) -> str:
    """
    Return all problems of the one target as rank * RANK + end. The label `advice` selects the advice.
    """
    found = problems(THIS)
    ends, others = (
        [words(_ranked(one), "advice", one.alert) for one in found if one.sort is sort]
        for sort in (Sort.END, Sort.ITEM)
    )
    nothing = f"{len(found) + 1} * {RANK} * max by (target) ({of(families.TARGET, THIS)})"
    by = "location, item, kind, alert, reason, advice"
    return (
        f"bottomk({limit}, min by ({by}) (\n{_packed(_all([_worst(ITEM, ends), *others]), THIS)}\n))"
        f"\nor on () {words(nothing, 'advice', 'none')}"
    )


def _packed(items: str, *matchers: str) -> str:
    """
    Return rank * RANK + end of these items and of endpoints, by one join, since joins are expensive.
    """
    found = problems(*matchers)
    fresh = f"{of(families.LAST_SEEN, *matchers)} >= time() - {UNSEEN_FOR}"
    unseen = _worst(ENDPOINT, [_ranked(one) for one in found if one.sort is Sort.UNSEEN])
    others = [_ranked(one) for one in found if one.sort is Sort.ENDPOINT]
    endpoints = _all([*others, f"({unseen}) unless on ({ENDPOINT}) {fresh}"])
    # Of what was never seen the end is not known: 0 says so.
    first_end = (
        f"min by ({ENDPOINT}) ({of(families.NOT_AFTER, SPEAKING, *matchers)})"
        f" or 0 * max by ({ENDPOINT}) ({of(families.FAILURE, *matchers)})"
    )
    with_ends = f"{RANK} * (\n{items}\n) + on ({ITEM}) group_left () {of(families.NOT_AFTER, *matchers)}"
    explained = words(f"(\n{endpoints}\n)", "advice", "$1", "reason")
    return f"{with_ends}\nor {RANK} * {explained} + on ({ENDPOINT}) group_left () ({first_end})"


def _worst(labels: str, parts: Sequence[str]) -> str:
    """
    Return, for each set of these labels, the series of the first part that has it.
    """
    return f"\n  or on ({labels}) ".join(parts)


def _all(parts: Sequence[str]) -> str:
    """
    Return the series of all parts.
    """
    return "\n  or ".join(parts)


def _ranked(problem: Problem) -> str:
    return words(f"0 * ({problem.which}) + {problem.rank}", "alert", problem.alert)


def numbered(expression: str, labels: str, order: str) -> str:
    """
    Return the series with a number as label `N`, in the order of the least values of `order`.

    `order` has the same labels, and its selectors are at the end of the graph (`@ end()`), so that a line
    keeps its number over the whole graph. Series that no longer exist, or are too many, have no number.
    """
    firsts = f"\n  or on ({labels}) ".join(
        words(f"bottomk({count}, {order})", "N", number) for count, number in enumerate(NTH, 1)
    )
    return (
        f"({expression}) + on ({labels}) group_left (N) 0 * (\n  {firsts}\n)"
        f"\nor on ({labels}) topk({LINES}, {expression})"
    )


def shortened(expression: str, label: str, length: int = 16) -> str:
    """
    Return the series with the first `length` characters of a label's value.
    """
    return f'label_replace({expression}, "{label}", "$1…", "{label}", "({"." * length})..+")'


def rank(packed: str) -> str:
    """
    Return the rank in values of the form rank * RANK + end.
    """
    return f"floor(({packed}) / {RANK})"


def rest(packed: str) -> str:
    """
    Return the end in values of the form rank * RANK + end.
    """
    return f"({packed}) % {RANK}"


def milliseconds(expression: str) -> str:
    """
    Return a time in seconds as milliseconds, Grafana's unit.
    """
    return f"1000 * ({expression})"
