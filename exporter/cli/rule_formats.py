"""
The shipped rule file in other formats, and the comparison of an installed one with it.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from exporter.passwords import shown
from exporter.yaml_lines import dumped

NEAREST = -1e15
"""Bound of Grafana's threshold: less than every value of an alert, since a rule gives only what fires."""


GRAFANA_QUERY = {
    "expiry:problem:end_timestamp_seconds": "expiry_problem_end_timestamp_seconds",
    "expiry:exporter:seen_timestamp_seconds": (
        "time() * group by (job, instance, cluster) (last_over_time(expiry_build_info[1d]))"
    ),
}
"""
By name of a recorded series, the expression that stands in where nobody records it, without the carrying
forward. A recorded series that is not here has no such expression.
"""


_ACTION = re.compile(r"\{\{-?\s*(.*?)\s*-?\}\}", re.DOTALL)
"""One action of a Go template."""


_VERSION = re.compile(r"expiry-exporter (\d[\w.+-]*)")


_FIRST_LINE = "# Alerts of expiry-exporter"


Rules = Mapping[tuple[str, str], Mapping[str, Any]]
"""Rules by name and severity; the severity is empty where the rule sets none."""


class FormatError(Exception):
    """
    A text that holds no rules. The message says why.
    """


def stamped(text: str, version: str) -> str:
    """
    Return the shipped rule file with this version of the exporter in its first line.
    """
    return text.replace(_FIRST_LINE, f"{_FIRST_LINE} {version}", 1)


def operator(text: str, labels: Mapping[str, str], version: str) -> str:
    """
    Return the rule file as a PrometheusRule of the Prometheus Operator (monitoring.coreos.com/v1).

    `text` is the rule file; `labels` are those by which a Prometheus of the operator selects rules.
    """
    named = {"app.kubernetes.io/name": "expiry-exporter", "app.kubernetes.io/version": version, **labels}
    head = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "expiry-exporter", "labels": named},
    }
    indented = re.sub(r"^(?=.)", "  ", text, flags=re.MULTILINE)
    return f"{_dumped(head)}spec:\n{indented}"


def grafana_alerts(text: str, datasource: str, external_url: str | None, version: str) -> str:
    """
    Return the alerts of the rule file as a provisioning file for alert rules that Grafana evaluates itself.

    `datasource` is the UID of the Prometheus data source; `external_url` the address of the exporter's pages,
    None: it is not known.
    """
    alerts = [rule for rule in _rules(text) if "alert" in rule]
    names = Counter(rule["alert"] for rule in alerts)
    rules = [
        _grafana_alert(rule, datasource, external_url, unique=names[rule["alert"]] == 1) for rule in alerts
    ]
    return _grafana_file(
        f"{_FIRST_LINE} {version}, for alert rules that Grafana evaluates.\n", "expiry", rules
    )


def grafana_recording(text: str, datasource: str, version: str) -> str:
    """
    Return the recorded expressions of the rule file as a provisioning file for Grafana's recording rules.

    `datasource` is the UID of the Prometheus data source that is both read and written.
    """
    rules = [
        {
            "uid": _uid(rule["record"]),
            "title": rule["record"],
            "data": [_query(rule["expr"], datasource)],
            "record": {"metric": rule["record"], "from": "A", "targetDatasourceUid": datasource},
        }
        for rule in _rules(text)
        if "record" in rule
    ]
    head = (
        f"{_FIRST_LINE} {version}: the recorded expressions, for Grafana with recording rules enabled.\n"
        "# Leave this file out where Prometheus records them from rules.yml, or where nobody does.\n"
    )
    return _grafana_file(head, "expiry-recording", rules)


def differences(installed: str, wanted: str) -> list[str]:
    """
    Return one line for each rule of the two texts that is missing, differs or is not known, each text in any
    of the formats. Links to runbooks may differ. Raises FormatError when there are no rules in one of them.
    """
    found, ours = _by_name(installed), _by_name(wanted)
    lines = [f"{_words(key)}: missing" for key in ours if key not in found]
    for key, rule in ours.items():
        there = found.get(key, rule)
        fields = sorted(name for name in {*rule, *there} if rule.get(name) != there.get(name))
        if fields:
            lines.append(f"{_words(key)}: {', '.join(fields)} {'differs' if len(fields) == 1 else 'differ'}")
    lines += [f"{_words(key)}: not in the rules of this version" for key in found if key not in ours]
    if not lines and _layout(installed) != _layout(wanted):
        # Recorded expressions need each other's result, and an alert theirs, in the same evaluation.
        lines.append("groups: their names, intervals or order differ, or that of the rules in them")
    return lines


def version_of(text: str) -> str:
    """
    Return the version of the exporter that wrote the text; empty when it names none.
    """
    first = _VERSION.search(text.partition("\n")[0])
    if first is not None:
        return first[1]
    document = _document(text)
    labels = (document.get("metadata") or {}).get("labels") or {} if "kind" in document else {}
    return str(labels.get("app.kubernetes.io/version", ""))


def format_of(text: str) -> str:
    """
    Return the format of a rule file: `prometheus`, `operator` or `grafana`. Raises FormatError for others.
    """
    document = _document(text)
    if document.get("kind") == "PrometheusRule":
        return "operator"
    return "grafana" if document.get("apiVersion") == 1 else "prometheus"


def _document(text: str) -> dict[str, Any]:
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise FormatError(f"it is no YAML: {error}") from error
    if not isinstance(document, dict):
        raise FormatError("it has no rules")
    return document


def _groups(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    inside = document.get("spec") if document.get("kind") == "PrometheusRule" else document
    groups = inside.get("groups") if isinstance(inside, dict) else None
    if not isinstance(groups, list) or not all(isinstance(one, dict) for one in groups):
        raise FormatError("it has no groups of rules")
    yield from groups


def _rules(text: str) -> list[dict[str, Any]]:
    return [rule for group in _groups(_document(text)) for rule in _rules_of(group)]


def _rules_of(group: Mapping[str, Any]) -> list[dict[str, Any]]:
    rules = group.get("rules") or []
    if not isinstance(rules, list) or not all(isinstance(rule, dict) for rule in rules):
        raise FormatError(f"{shown(str(group.get('name')))} is no group of rules")
    for rule in rules:
        for part in ("labels", "annotations"):
            if not isinstance(rule.get(part) or {}, dict):
                raise FormatError(f"{part} of {shown(_name(rule))} are no names with values")
    return rules


def _by_name(text: str) -> Rules:
    found: dict[tuple[str, str], Mapping[str, Any]] = {}
    for rule in _rules(text):
        name = _name(rule)
        severity = str((rule.get("labels") or {}).get("severity", ""))
        notes = {key: text for key, text in (rule.get("annotations") or {}).items() if key != "runbook_url"}
        plain = {key: value for key, value in rule.items() if key not in {"annotations", "alert", "record"}}
        # A manifest that was read back from a cluster has its texts without the line end.
        if isinstance(expression := plain.get("expr"), str):
            plain["expr"] = expression.strip()
        found[name, severity] = {**plain, **notes}
    if not found:
        raise FormatError("it has no rules")
    return found


def _layout(text: str) -> list[tuple[object, object, list[str]]]:
    """
    Return name and interval of each group, with the names of its rules in their order.
    """
    return [
        (group.get("name"), group.get("interval"), [_name(rule) for rule in _rules_of(group)])
        for group in _groups(_document(text))
    ]


def _name(rule: Mapping[str, Any]) -> str:
    return str(rule.get("alert") or rule.get("record") or rule.get("title") or "rule without a name")


def _words(key: tuple[str, str]) -> str:
    name, severity = key
    return f"{name} ({severity})" if severity else name


def _grafana_alert(
    rule: dict[str, Any], datasource: str, external_url: str | None, *, unique: bool
) -> dict[str, Any]:
    labels = rule.get("labels", {})
    # Grafana makes `alertname` of the title, and wants each title once in a folder.
    title = rule["alert"] if unique else f"{rule['alert']} {labels['severity']}"
    return {
        "uid": _uid(title),
        "title": title,
        "condition": "C",
        "data": [
            _query(_alone(rule["expr"]), datasource),
            _expression("B", {"type": "reduce", "expression": "A", "reducer": "last"}),
            _expression("C", {"type": "threshold", "expression": "B", "conditions": [_ANY]}),
        ],
        # No series is no problem; an error is told as an alert of its own, DatasourceError.
        "noDataState": "OK",
        "execErrState": "Error",
        "for": rule.get("for", "0s"),
        **({"labels": labels} if labels else {}),
        "annotations": {name: _for_grafana(text, external_url) for name, text in rule["annotations"].items()},
    }


_ANY = {"evaluator": {"type": "gt", "params": [NEAREST]}}


def _query(expression: str, datasource: str) -> dict[str, Any]:
    model = {"refId": "A", "expr": expression.strip(), "instant": True, "range": False}
    return {
        "refId": "A",
        "relativeTimeRange": {"from": 600, "to": 0},
        "datasourceUid": datasource,
        "model": model,
    }


def _expression(name: str, model: dict[str, Any]) -> dict[str, Any]:
    source = {"type": "__expr__", "uid": "__expr__"}
    return {
        "refId": name,
        "relativeTimeRange": {"from": 600, "to": 0},
        "datasourceUid": "__expr__",
        "model": {"refId": name, "datasource": source, **model},
    }


def _alone(expression: str) -> str:
    """
    Return the expression so that it works, without the carrying forward, where nothing is recorded.
    """
    for recorded, instead in GRAFANA_QUERY.items():
        used = rf"{re.escape(recorded)}(\{{[^}}]*\}})?"
        expression = re.sub(used, rf"(\g<0> or {instead}\g<1>)", expression)
    return expression


def _for_grafana(template: str, external_url: str | None) -> str:
    """
    Return the template of an annotation for Grafana.

    Grafana's `query` gives nothing, its `$value` is a text, a missing label is no empty one, and `$NAME` in
    a provisioning file may be a variable of the environment.
    """
    page = "\nPlace, cause and first step stand on the exporter's page of this target."
    if external_url is not None:
        address = f'{external_url}/targets/{{{{ urlquery (index .Labels "target") }}}}'
        page = f"\nPlace, cause and first step: {address}"
    return _ACTION.sub(lambda found: _grafana_names(found[0]), _without_query(template, page))


def _grafana_names(action: str) -> str:
    action = re.sub(r"(?:\.L|\$l)abels\.(\w+)", r'(index .Labels "\1")', action)
    return action.replace("$value", ".Values.B.Value")


def _without_query(template: str, instead: str) -> str:
    """
    Return the template with `instead` in place of what is said with the result of a query.
    """
    depth, begin = 0, None
    for action in _ACTION.finditer(template):
        word = action[1].partition(" ")[0]
        if begin is None and action[1].startswith("with query"):
            begin, depth = action.start(), 0
        if word in {"if", "with", "range"}:
            depth += 1
        elif word == "end":
            depth -= 1
            if begin is not None and depth == 0:
                rest = _without_query(template[action.end() :], instead)
                return template[:begin] + instead + rest
    return template


def _uid(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower())[:40]


def _grafana_file(head: str, name: str, rules: list[dict[str, Any]]) -> str:
    group = {"orgId": 1, "name": name, "folder": "expiry-exporter", "interval": "1m", "rules": rules}
    return head + _dumped({"apiVersion": 1, "groups": [group]})


def _dumped(document: dict[str, Any]) -> str:
    # Values that JSON can't have, such as a date without quotes, would be read back as something else.
    json.dumps(document)
    return dumped(document)
