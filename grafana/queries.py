"""
PromQL that several panels share.

Every selector is limited to the exporters that the dashboard's variables choose; metrics are named by
the exporter's own families, so that none can be misspelled.
"""

from collections.abc import Iterable

from exporter.report import advice, families
from exporter.report.families import Family
from exporter.report.status import CHECKS, NOT_KNOWN, URGENCY, Level

EXPORTERS = 'job=~"$job", instance=~"$instance"'

TARGET = "job, instance, target"
ENDPOINT = f"{TARGET}, location"
ITEM = f"{ENDPOINT}, item"

NTH = "①②③④⑤⑥"
"""Numbers of the lines with a colour of their own: as many as people with any colour vision distinguish."""

LINES = 12
"""Lines of one graph beside those."""


def of(metric: Family | str, *matchers: str) -> str:
    """
    Return a selector of the chosen exporters' series, with these matchers.
    """
    name = metric if isinstance(metric, str) else metric.name
    return f"{name}{{{', '.join((EXPORTERS, *matchers))}}}"


THIS = 'target="$target"'
"""The matcher of the one chosen target."""

OWN = 'kind!="intermediate"'
SPEAKING = 'kind!~"intermediate|ocsp|crl"'
"""The kinds of items whose end is the endpoint's own."""

NOT_ABOVE = 'item!~"chain-.+"'
"""Without the certificates above a leaf: half of the series, since joins of certificates are expensive."""

SEEN, UNSEEN = 'seen="yes"', 'seen=""'
"""Matchers of failed probes that saw all the same what expires, and of those that saw nothing."""

CHOSEN = of(families.TARGET, '$label=~"$value"')
"""The targets that the variables choose."""

OTHERS = of(families.TARGET, '$label!~"$value"')
"""Those that they do not choose: none while all values are chosen, which costs Prometheus nothing."""


def chosen(expression: str) -> str:
    """
    Return the series of the targets that the variables choose.
    """
    return f"(({expression}) unless on ({TARGET}) {OTHERS})"


def words(expression: str, label: str, value: str, of_label: str = "") -> str:
    """
    Return the series with one more label; in its value `$1` stands for that of another label.
    """
    return f'label_replace({expression}, "{label}", "{value}", "{of_label}", "(.*)")'


def total(expression: str) -> str:
    """
    Return the number of series: 0 when there are none but there are targets, nothing without any target.

    Without targets nothing is known, and a 0 would be a false all-clear. Exporters say how many they have,
    but for those that are only asked for single targets.
    """
    return f"count({expression}) or 0 * count({_with_targets()})"


NOW = " @ ${__to:date:seconds}"
"""The end of the dashboard's time. A graph's own, `end()`, is up to a step before it."""


def _with_targets(at: str = "") -> str:
    swept, build = (f"{of(family)}{at}" for family in (families.SWEEP_TARGETS, families.BUILD))
    return f"{swept} > 0 or {build} unless on (job, instance) {swept}"


MATTER = "target, item, problem, severity"
"""The labels by which a problem is one, however many exporters report it."""


WARNING, UNKNOWN, CRITICAL = map(URGENCY.index, (Level.WARNING, Level.UNKNOWN, Level.CRITICAL))
"""How urgent an endpoint is, as exported."""

UNCHECKED = "unchecked"
"""Stands for a problem where a look-up about an endpoint failed. No alert goes by it."""


def told(*matchers: str) -> str:
    """
    Return the problems that match: when each ends, as the exporter exports it.

    Those that another problem of the same item hides are left out, so that each matter is there once. What
    can't be seen is one from the first failed probe on, and what can't be checked is one with the value 0,
    though nobody is told of these.
    """
    shown = of(families.PROBLEM_INFO, 'hidden_by=""')
    lasting = f"{of(families.PROBLEM, *matchers)} and on (job, instance, {MATTER}) {shown}"
    return f"({lasting} or {of(families.PROBLEM_PENDING, *matchers)} or {_unchecked(*matchers)})"


NO_PROBLEM = 'problem=""'


def _unchecked(*matchers: str) -> str:
    unknown = f"{of(families.URGENCY, NO_PROBLEM, *matchers)} == {UNKNOWN}"
    asked = of(families.LOOKUP_FAILURE, one_of("lookup", CHECKS))
    gone = of(families.FAILURE, UNSEEN)
    return _as_problem(f"0 * ({unknown} and on ({ENDPOINT}) {asked} unless on ({ENDPOINT}) {gone})")


def _as_problem(expression: str) -> str:
    return words(words(expression, "problem", UNCHECKED), "severity", "unknown")


def told_in_words(which: str, *matchers: str) -> str:
    """
    Return the series with the words of these problems, among those that match; `alert` names what tells of
    each, if anything does.
    """
    told_of = " or ".join(of(one, *matchers) for one in (families.PROBLEM_INFO, families.PROBLEM_PENDING))
    texts = [words(told_of, "alert", "$1", "problem")]
    for one in CHECKS:
        failed = words(of(families.LOOKUP_FAILURE, f'lookup="{one}"', *matchers), "where", "$1", "location")
        cause = words(_as_problem(failed), "cause", f"{NOT_KNOWN[one]}: $1", "reason")
        texts.append(words(cause, "advice", advice.LOOKUPS[one].replace('"', "'")))
    return f"({' or '.join(texts)}) and on (job, instance, {MATTER}) {which}"


def problems(*matchers: str) -> str:
    """
    Return the problems of the chosen targets that match.
    """
    return chosen(told(*matchers))


def _worst(endpoints: str) -> str:
    """
    Return one series for each of these endpoints that are not OK, however many exporters probe it.
    """
    return f"topk by (target, location) (1, {endpoints})"


def _standing(endpoints: str, urgency: int, *matchers: str) -> str:
    """
    Return those of this urgency; with matchers, those whose worst problem matches.
    """
    those = f"{_worst(endpoints)} == {urgency}"
    return f"{those} and {of(families.URGENCY, *matchers)}" if matchers else those


def number(urgency: int, *matchers: str) -> str:
    """
    Return the number of endpoints of this urgency, as the status page counts them: 0 when there are none but
    there are targets. With matchers, of those whose worst problem matches.
    """
    return total(_standing(chosen(of(families.URGENCY)), urgency, *matchers))


def trend(urgency: int, *matchers: str) -> str:
    """
    Return the same number for the small graph behind it: nothing at all where the number has nothing now.

    Else an earlier point of the graph would be shown as the number.
    """
    return f"({number(urgency, *matchers)}) and on () ({_with_targets(NOW)})"


def number_over_time(urgency: int) -> str:
    """
    Return the same number for a graph of many points, in which selecting all targets would be slow: endpoints
    that are not OK have the labels of their targets.
    """
    endpoints = of(families.URGENCY, '$label=~"$value"')
    return f"count({_standing(endpoints, urgency)}) or 0 * count({of(families.BUILD)})"


SAME = "same, problem, severity"
"""The labels by which problems of one certificate on many targets are one row."""

_ROW = f"target, item, kind, owner, {SAME}"


def ends_and_starts(each: str) -> tuple[str, str]:
    """
    Return of these problems those whose value is when their item ends, and those without an item: since when
    each is there, if that is known.
    """
    # A vector without labels has no item either.
    return f"{each} unless on (item) vector(0)", f"({each} and on (item) vector(0)) > 0"


def first_of_each(limit: int) -> str:
    """
    Return one problem for each certificate, of the target where it ends first, and so many by severity.

    What has no certificate stands for itself. The label `same` tells them apart, `owner` has the value of the
    chosen label.
    """
    return f"bottomk by (severity) ({limit}, bottomk by ({SAME}) (1, {_alike()}))"


def rows(first: str) -> str:
    """
    Return these problems with the labels that a table shows.
    """
    return f"min by ({_ROW}) ({first})"


def targets_of_each(first: str) -> str:
    """
    Return the number of targets with each of these problems.
    """
    targets = f"count by ({SAME}) (count by ({SAME}, target) ({_alike()}))"
    return f"0 * {rows(first)} + on ({SAME}) group_left () {targets}"


def words_of_each(first: str) -> str:
    """
    Return the words of each of these problems.
    """
    texts = f"max by ({MATTER}, cause, where, advice, alert) ({told_in_words(first)})"
    return f"topk by ({MATTER}) (1, {texts})"


def _alike() -> str:
    alike = f'label_join({problems()}, "same", "/", "target", "item")'
    return words(
        f'label_replace({alike}, "same", "$1", "fingerprint_sha256", "(.+)")', "owner", "$1", "$label"
    )


def most(label: str, limit: int, unwell: str, whole: str) -> tuple[str, str]:
    """
    Return two columns of a table with a row for each value of a label: how many are unwell, and of how many.

    So many rows with the most that are unwell, and as many of those where none is: an empty cell means none.
    """
    first = f"topk({limit}, {unwell})"
    return first, f"{whole} and on ({label}) {first} or topk({limit}, {whole} unless on ({label}) {unwell})"


def one_of(label: str, values: Iterable[str]) -> str:
    """
    Return the matcher of these values.
    """
    return f'{label}=~"{"|".join(values)}"'


def none_of(label: str, values: Iterable[str]) -> str:
    """
    Return the matcher of all values but these.
    """
    return f'{label}!~"{"|".join(values)}"'


def days_left(ends: str) -> str:
    """
    Return the days from now to these times in seconds; negative when they have passed.
    """
    return f"(({ends}) - time()) / 86400"


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


def milliseconds(expression: str) -> str:
    """
    Return a time in seconds as milliseconds, Grafana's unit.
    """
    return f"1000 * ({expression})"
