"""
The shipped rules: what linters of Prometheus rules would say, and that rules and runbooks belong together.

The complaints are functions of a rule, and each is shown rules that it must complain of. They read the parsed
expressions; queries inside templates are text to them and are not looked at.
"""

import re
import subprocess
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from exporter.model.policies import Severity
from exporter.model.problems import MEANINGS
from exporter.report import families

ALERTS = Path(__file__).parents[2] / "alerts"
RULES = ALERTS / "rules.yml"
GROUPS: list[dict[str, Any]] = yaml.load(RULES.read_text(), yaml.CSafeLoader)["groups"]
ALL: list[dict[str, Any]] = [rule for group in GROUPS for rule in group["rules"]]
ALERTING = [rule for rule in ALL if "alert" in rule]
RUNBOOKS = "https://github.com/expiry-exporter/expiry-exporter/blob/main/alerts/runbooks/"


Rule = dict[str, Any]
Complaints = Callable[[Rule], list[str]]

USERS_LABELS = frozenset({"team", "cluster"})
"""Labels of targets, which are whatever users choose."""

OF_ONE_EXPORTER = "job, instance, pod, container, endpoint"
"""Labels in which two exporters of the same targets differ, those of the Prometheus Operator among them."""

COMPARISONS = frozenset({"==", "!=", "<", "<=", ">", ">="})
SETS = frozenset({"and", "or", "unless"})
WHOLE_SERIES = frozenset({"topk", "bottomk", "limitk", "limit_ratio"})
"""Aggregations whose results are series as they were."""


def name_of(rule: dict[str, Any]) -> str:
    """
    What a rule is called in a test's name.
    """
    return "-".join((rule["alert"], *severities(rule))) if "alert" in rule else str(rule["record"])


def severities(rule: dict[str, Any]) -> list[str]:
    """
    The severity that a rule states; of one that passes on those of a problem, all that the problem may have.
    """
    stated = rule.get("labels", {}).get("severity")
    if stated is not None:
        return [stated]
    (meaning,) = [one for one in MEANINGS.values() if one.alert == rule["alert"]]
    return sorted(meaning.summaries)


def test_promtool_finds_nothing_to_say() -> None:
    """
    No fault, no duplicate rule.
    """
    command = ["promtool", "check", "rules", "--lint=all", "--lint-fatal", str(RULES)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("rule", ALL, ids=name_of)
def test_a_parser_of_prometheus_3_takes_each_expression(rule: dict[str, Any]) -> None:
    """
    The grammar of PromQL grew; these expressions are in the old and in the new one.
    """
    promql_parser.parse(rule["expr"])


def test_only_metrics_that_exist_are_asked_for() -> None:
    """
    An alert on a metric that nobody exports could never fire.
    """
    recorded = {rule["record"] for rule in ALL if "record" in rule}
    ours = {family.name for family in families.FAMILIES}
    text = "\n".join(rule["expr"] for rule in ALL) + str([rule["annotations"] for rule in ALERTING])
    asked = set(re.findall(r"\bexpiry[_:][a-z_:]*[a-z]", text))
    assert asked <= ours | recorded
    assert recorded <= asked


@pytest.mark.parametrize("rule", ALERTING, ids=name_of)
def test_an_alert_has_all_that_a_person_needs(rule: dict[str, Any]) -> None:
    """
    One static sentence, a description that begins with the cause, the runbook, a severity of the list.
    """
    annotations = rule["annotations"]
    assert set(annotations) == {"summary", "description", "runbook_url"}
    assert "{{" not in annotations["summary"]
    assert re.search(r'\n|\{\{ "\\n" \}\}', annotations["description"])
    assert annotations["summary"].endswith(".")
    assert annotations["summary"].count(". ") == 0
    assert annotations["runbook_url"] == f"{RUNBOOKS}{rule['alert']}.md"
    assert set(severities(rule)) <= set(Severity)


def parts(expr: Any) -> list[Any]:
    """
    The expressions that an expression is made of; none for selectors and literals.
    """
    match expr:
        case promql_parser.BinaryExpr():
            return [expr.lhs, expr.rhs]
        case promql_parser.Call():
            return list(expr.args)
        case promql_parser.MatrixSelector():
            return [expr.vector_selector]
        case promql_parser.AggregateExpr() | promql_parser.ParenExpr() | promql_parser.UnaryExpr():
            return [expr.expr]
        case promql_parser.SubqueryExpr():
            return [expr.expr]
    return []


def compares(expr: Any) -> bool:
    """
    True when an expression leaves out some of what exists.
    """
    match expr:
        case promql_parser.BinaryExpr() if str(expr.op) in COMPARISONS:
            return expr.modifier is None or not expr.modifier.return_bool
        case promql_parser.BinaryExpr() if str(expr.op) == "or":
            return compares(expr.lhs) and compares(expr.rhs)
        case promql_parser.Call() if expr.func.name in {"absent", "absent_over_time"}:
            return True
    return any(compares(part) for part in parts(expr))


def without_comparison(rule: Rule) -> list[str]:
    """
    An expression without a comparison fires for whatever exists.
    """
    return [] if compares(promql_parser.parse(rule["expr"])) else ["it fires for whatever exists"]


def ranges(expr: Any, under: timedelta = timedelta(0)) -> Iterator[timedelta]:
    """
    For each selector of an expression, over how long it looks at most.
    """
    match expr:
        case promql_parser.VectorSelector():
            yield under
        case promql_parser.MatrixSelector() | promql_parser.SubqueryExpr():
            inner = expr.vector_selector if isinstance(expr, promql_parser.MatrixSelector) else expr.expr
            yield from ranges(inner, max(under, expr.range or under))
        case _:
            for part in parts(expr):
                yield from ranges(part, under)


def needless_for(rule: Rule) -> list[str]:
    """
    A waiting time of nothing, one that is no duration, or one that the expression has waited for already.
    """
    found = []
    for field in {"for", "keep_firing_for"} & rule.keys():
        written = re.fullmatch(r"(\d+)([smhd])", str(rule[field]))
        if written is None or int(written[1]) == 0:
            found.append(f"{field}: {rule[field]} is no waiting time")
        elif field == "for":
            unit = {"s": 1, "m": 60, "h": 3600, "d": 86400}[written[2]]
            wait = timedelta(seconds=int(written[1]) * unit)
            looked = list(ranges(promql_parser.parse(rule["expr"])))
            if looked and min(looked) >= wait:
                found.append(f"for: {rule['for']}, and all of the expression is over as long")
    return found


def selectors(expr: Any) -> Iterator[Any]:
    """
    All selectors of an expression.
    """
    if isinstance(expr, promql_parser.VectorSelector):
        yield expr
    for part in parts(expr):
        yield from selectors(part)


def needless_patterns(rule: Rule) -> list[str]:
    """
    Patterns without a pattern in them, those that fit everything, and anchors, which Prometheus adds itself.
    """
    found = []
    for selector in selectors(promql_parser.parse(rule["expr"])):
        for one in selector.matchers.matchers:
            if one.op not in (promql_parser.MatchOp.Re, promql_parser.MatchOp.NotRe):
                continue
            plain = not re.search(r"[.*+?()\[\]{}|\\^$]", one.value)
            anchored = one.value.startswith("^") or one.value.endswith("$")
            if plain or anchored or one.value in {".*", ".+"}:
                found.append(f"{one.name} is compared with the pattern {one.value!r}")
    return found


def labels_of(expr: Any, known: Mapping[str, frozenset[str]]) -> frozenset[str]:
    """
    The labels that the results of an expression can have; `known` has those of each metric.

    Too many rather than too few: which values a label has, and which series exist, is not considered.
    """
    match expr:
        case promql_parser.VectorSelector():
            return known[str(expr.name)]
        case promql_parser.AggregateExpr():
            return aggregated(expr, labels_of(expr.expr, known))
        case promql_parser.BinaryExpr():
            return combined(expr, known)
        case promql_parser.Call() if expr.func.name in {"absent", "absent_over_time", "vector", "scalar"}:
            equal = promql_parser.MatchOp.Equal
            return frozenset(
                one.name for found in selectors(expr) for one in found.matchers.matchers if one.op == equal
            )
        case promql_parser.Call():
            assert expr.func.name not in {"label_replace", "label_join"}, "not covered here"
    return frozenset[str]().union(*(labels_of(part, known) for part in parts(expr)))


def aggregated(expr: Any, inner: frozenset[str]) -> frozenset[str]:
    """
    The labels that an aggregation leaves.
    """
    if str(expr.op) in WHOLE_SERIES:
        return inner
    assert str(expr.op) != "count_values", "not covered here"
    if expr.modifier is None:
        return frozenset()
    named = frozenset(expr.modifier.labels)
    return inner & named if expr.modifier.type == promql_parser.AggModifierType.By else inner - named


def combined(expr: Any, known: Mapping[str, frozenset[str]]) -> frozenset[str]:
    """
    The labels that an operator between two vectors, or a vector and a number, leaves.
    """
    left, right = labels_of(expr.lhs, known), labels_of(expr.rhs, known)
    if str(expr.op) in SETS:
        return left | right if str(expr.op) == "or" else left
    if is_number(expr.lhs) or is_number(expr.rhs):
        return left | right
    modifier = expr.modifier
    matching = modifier.matching if modifier is not None else None
    cardinality = modifier.card if modifier is not None else None
    if cardinality == promql_parser.VectorMatchCardinality.ManyToOne:
        return left | (frozenset(modifier.group_labels) & right)
    if cardinality == promql_parser.VectorMatchCardinality.OneToMany:
        return right | (frozenset(modifier.group_labels) & left)
    if matching is None:
        return left & right
    named = frozenset(matching.labels)
    # One to one, a comparison too, leaves the labels that were compared.
    return left & named if matching.type == promql_parser.LabelModifierType.Include else left & right - named


def is_number(expr: Any) -> bool:
    """
    True for what has no labels at all, and matches everything.
    """
    match expr:
        case promql_parser.NumberLiteral():
            return True
        case promql_parser.Call():
            return expr.func.name in {"time", "scalar", "pi"}
        case promql_parser.BinaryExpr():
            return is_number(expr.lhs) and is_number(expr.rhs)
        case promql_parser.ParenExpr() | promql_parser.UnaryExpr():
            return is_number(expr.expr)
    return False


def labels_of_metrics() -> dict[str, frozenset[str]]:
    """
    The labels of each metric: the exporter's, those of `up`, and those that rules record.
    """
    scraped = frozenset({"job", "instance"})
    known = {family.name: scraped.union(family.labels) for family in families.FAMILIES}
    known["up"] = scraped
    for ruler in ("prometheus", "cortex_prometheus"):
        known[f"{ruler}_rule_evaluation_failures_total"] = scraped | {"rule_group"}
    for sort in ("alerting", "recording"):
        for name in ("errors_total", "error"):
            known[f"vmalert_{sort}_rules_{name}"] = scraped | {"group"}
    known["expiry_target_info"] |= USERS_LABELS
    known["expiry_problem_end_timestamp_seconds"] |= USERS_LABELS
    recording = [rule for rule in ALL if "record" in rule]
    known |= {rule["record"]: frozenset() for rule in recording}
    # Rules read one another and themselves: until nothing is added any more.
    while True:
        before = dict(known)
        for rule in recording:
            labels = labels_of(promql_parser.parse(rule["expr"]), known).union(rule.get("labels", {}))
            known[rule["record"]] |= labels
        if known == before:
            return known


METRICS = labels_of_metrics()


def missing_labels(rule: Rule) -> list[str]:
    """
    Labels that a template of the rule uses and its expression can't give.
    """
    text = str([rule.get("annotations", {}), rule.get("labels", {})])
    # What stands behind `or` may be missing.
    used = set(re.findall(r"(?<!\(or )(?:\.Labels|\$labels)\.(\w+)", text))
    return [
        f"{one} is not there" for one in sorted(used - labels_of(promql_parser.parse(rule["expr"]), METRICS))
    ]


@pytest.mark.parametrize("rule", ALERTING, ids=name_of)
@pytest.mark.parametrize("complaints", [without_comparison, needless_for, missing_labels])
def test_there_is_nothing_to_say_of_an_alert(complaints: Complaints, rule: Rule) -> None:
    """
    Each compares, waits only as long as that is of use, and names labels that its expression gives.
    """
    assert complaints(rule) == []


@pytest.mark.parametrize("rule", ALL, ids=name_of)
def test_no_pattern_is_needless(rule: Rule) -> None:
    """
    What is compared as a pattern is one.
    """
    assert needless_patterns(rule) == []


ITEM = 'expiry:problem:end_timestamp_seconds{kind="leaf"}'
TARGET = "{{ $labels.target }}"


@pytest.mark.parametrize(
    ("complaints", "expr", "rest"),
    [
        (without_comparison, ITEM, {}),
        (without_comparison, f"{ITEM} > bool 0", {}),
        (without_comparison, f"{ITEM} > 0 or {ITEM}", {}),
        (needless_for, f"{ITEM} > 0", {"for": "0s"}),
        (needless_for, f"{ITEM} > 0", {"for": "soon"}),
        (needless_for, f"{ITEM} > 0", {"keep_firing_for": "0m"}),
        (needless_for, "min_over_time(up[10m]) < 1", {"for": "10m"}),
        (needless_for, "avg_over_time((up == 0)[1h:1m]) < 1", {"for": "30m"}),
        (missing_labels, f"count({ITEM}) > 0", {"annotations": {"title": TARGET}}),
        (missing_labels, f"count by (item) ({ITEM}) > 0", {"annotations": {"title": TARGET}}),
        (missing_labels, f"max without (target) ({ITEM}) > 0", {"annotations": {"title": TARGET}}),
        (missing_labels, f"{ITEM} > on (item) {ITEM}", {"annotations": {"title": TARGET}}),
        (missing_labels, f"{ITEM} > ignoring (target) {ITEM}", {"annotations": {"title": TARGET}}),
        (missing_labels, f"up * on (job) group_left (item) {ITEM} > 0", {"annotations": {"title": TARGET}}),
        (missing_labels, f"up == 0 and on (job) {ITEM}", {"annotations": {"title": TARGET}}),
        (missing_labels, "vector(1) > 0", {"labels": {"of": "{{ .Labels.target }}"}}),
        (missing_labels, f"absent({ITEM})", {"annotations": {"title": TARGET}}),
        (needless_patterns, 'up{job=~"expiry"} == 0', {}),
        (needless_patterns, 'up{job!~"expiry"} == 0', {}),
        (needless_patterns, 'up{job=~"^expiry.*"} == 0', {}),
        (needless_patterns, 'max_over_time(up{job=~"expiry.+$"}[5m]) == 0', {}),
        (needless_patterns, 'up{job=~".+"} == 0', {}),
    ],
)
def test_a_bad_rule_is_complained_of(complaints: Complaints, expr: str, rest: Rule) -> None:
    """
    Once, and for the reason that is wrong with it.
    """
    assert len(complaints({"expr": expr, **rest})) == 1


@pytest.mark.parametrize(
    ("complaints", "expr", "rest"),
    [
        (without_comparison, f"count({ITEM} > 0)", {}),
        (without_comparison, f"absent({ITEM})", {}),
        (needless_for, "min_over_time(up[10m]) < 1", {"for": "15m"}),
        (needless_for, "up < 0.5 * max_over_time(up[10m])", {"for": "5m"}),
        (missing_labels, f"count by (target) ({ITEM}) > 0", {"annotations": {"title": TARGET}}),
        (missing_labels, f"up * on (job) group_left (target) {ITEM} > 0", {"annotations": {"title": TARGET}}),
        (missing_labels, f"up == 0 or {ITEM} > 0", {"annotations": {"title": TARGET}}),
        (missing_labels, f"{ITEM} - time() < Inf", {"annotations": {"title": TARGET}}),
        (missing_labels, 'absent(up{target="a"})', {"annotations": {"title": TARGET}}),
        (needless_patterns, 'up{job=~"expiry|other"} == 0', {}),
    ],
)
def test_a_good_rule_is_not(complaints: Complaints, expr: str, rest: Rule) -> None:
    """
    What resembles a bad one.
    """
    assert complaints({"expr": expr, **rest}) == []


def test_what_ended_is_told_at_once() -> None:
    """
    No waiting time and no rounding on what has run out.
    """
    (passed,) = [rule for rule in ALERTING if rule["alert"] == "ExpiryPassed"]
    assert "for" not in passed
    assert not re.search(r"round|floor|ceil|clamp", passed["expr"])


def test_alerts_and_runbooks_belong_together() -> None:
    """
    Every alert has a runbook, every runbook has an alert.
    """
    assert {path.stem for path in (ALERTS / "runbooks").glob("*.md")} == {rule["alert"] for rule in ALERTING}


def test_each_severity_has_its_heartbeat() -> None:
    """
    A broken route of one severity is noticed even while the other works.
    """
    beats = [rule for rule in ALERTING if rule["alert"] == "ExpiryHeartbeat"]
    assert sorted(rule["labels"]["severity"] for rule in beats) == sorted(Severity)


def test_no_alert_on_an_item_carries_what_replicas_differ_in() -> None:
    """
    Two exporters, or two Prometheus servers, must give one notification.
    """
    for rule in ALERTING:
        if "expiry:problem" in rule["expr"]:
            assert re.match(rf"min without \({OF_ONE_EXPORTER}(, problem)?\)", rule["expr"]), rule["alert"]


def test_the_file_can_be_read() -> None:
    """
    A few pages, few recorded expressions, and no more than one query in an annotation.
    """
    assert len(RULES.read_text(encoding="utf-8").splitlines()) <= 260
    assert sum("record" in rule for rule in ALL) <= 3
    for rule in ALERTING:
        assert all(len(re.findall(r"\bquery\b", text)) <= 1 for text in rule["annotations"].values())
        assert "\n" not in rule["expr"].strip()
