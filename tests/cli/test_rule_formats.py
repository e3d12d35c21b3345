"""
The one rule file in its three formats, and what is said of rules that are older.
"""

import re
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import promql_parser
import pytest
import yaml

from exporter import __version__
from exporter.cli.main import main
from exporter.cli.rule_formats import GRAFANA_QUERY, NEAREST
from tests.support import prometheus_rule

SHIPPED = Path(__file__).parents[2] / "alerts" / "rules.yml"

RULES: list[dict[str, Any]] = [
    rule
    for group in yaml.load(SHIPPED.read_text(encoding="utf-8"), yaml.CSafeLoader)["groups"]
    for rule in group["rules"]
]


def written(directory: Path, *flags: str) -> Path:
    """
    The directory, once the files are in it.
    """
    assert main(["alerts", "--output-dir", str(directory), *flags]) == 0
    return directory


def grafana(directory: Path, *flags: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """
    The alert rules and the recording rules for Grafana.
    """
    written(directory, "--format", "grafana", *flags)
    both = []
    for name in ("grafana-alerts.yml", "grafana-recording.yml"):
        document = yaml.safe_load((directory / name).read_text(encoding="utf-8"))
        assert document["apiVersion"] == 1
        (group,) = document["groups"]
        assert group.items() >= {"orgId": 1, "folder": "expiry-exporter", "interval": "1m"}.items()
        both.append(group["rules"])
    return both[0], both[1]


def test_the_manifest_has_the_same_rules(tmp_path: Path) -> None:
    """
    Each template as it is, beside the labels by which an operator's Prometheus selects; promtool takes them.
    """
    written(tmp_path, "--format", "operator")
    text = (tmp_path / "prometheusrule.yml").read_text(encoding="utf-8")
    document = yaml.safe_load(text)
    assert document["apiVersion"] == "monitoring.coreos.com/v1"
    assert document["kind"] == "PrometheusRule"
    assert document["metadata"]["name"] == "expiry-exporter"
    assert document["metadata"]["labels"]["release"] == "kube-prometheus-stack"
    assert document["spec"] == yaml.load(SHIPPED.read_text(encoding="utf-8"), yaml.CSafeLoader)
    inner = tmp_path / "inner.yml"
    inner.write_text(yaml.safe_dump(document["spec"]))
    done = subprocess.run(
        ["promtool", "check", "rules", inner], capture_output=True, text=True, check=False, timeout=20
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "alertmanager.yml").is_file()
    assert not (tmp_path / "rules.yml").exists()


def test_the_manifest_is_what_the_definition_asks_for(tmp_path: Path) -> None:
    """
    No field that an API server drops or refuses: durations, texts, names of groups.
    """
    written(tmp_path, "--format", "operator")
    text = (tmp_path / "prometheusrule.yml").read_text(encoding="utf-8")
    prometheus_rule.check(yaml.load(text, yaml.CSafeLoader))


@pytest.mark.parametrize(
    "rule",
    [
        {"alert": "A"},
        {"alert": "A", "expr": "up == 0", "for": "1.5m"},
        {"alert": "A", "expr": "up == 0", "for": 60},
        {"alert": "A", "expr": "up == 0", "labels": {"heartbeat": True}},
        {"alert": "A", "expr": "up == 0", "annotation": {"summary": "It is down."}},
    ],
    ids=["no expression", "fraction", "number", "no text", "misspelt"],
)
def test_the_definition_refuses_other_manifests(rule: dict[str, Any]) -> None:
    """
    So that the test above can fail.
    """
    head = {"apiVersion": "monitoring.coreos.com/v1", "kind": "PrometheusRule", "metadata": {"name": "a"}}
    with pytest.raises(jsonschema.ValidationError):
        prometheus_rule.check({**head, "spec": {"groups": [{"name": "a", "rules": [rule]}]}})


def test_the_manifest_has_the_labels_that_are_named(tmp_path: Path) -> None:
    """
    Instead of that of the chart.
    """
    labels = ("--metadata-label", "prometheus=main", "--metadata-label", "example.com/role=alert-rules")
    written(tmp_path, "--format", "operator", *labels)
    document = yaml.safe_load((tmp_path / "prometheusrule.yml").read_text(encoding="utf-8"))
    named = document["metadata"]["labels"]
    assert named["prometheus"] == "main"
    assert named["example.com/role"] == "alert-rules"
    assert "release" not in named


def test_each_alert_is_one_of_grafana(tmp_path: Path) -> None:
    """
    With its own title and UID, its waiting time and its labels; whatever its query gives fires.
    """
    rules, _ = grafana(tmp_path, "--grafana-datasource", "P1809F7CD0C75ACF3")
    shipped = [rule for rule in RULES if "alert" in rule]
    assert [rule["title"].split()[0] for rule in rules] == [rule["alert"] for rule in shipped]
    for name in ("title", "uid"):
        assert len({rule[name] for rule in rules}) == len(rules)
    for rule, ours in zip(rules, shipped, strict=True):
        assert re.fullmatch(r"[a-z0-9-]{1,40}", rule["uid"])
        assert rule["for"] == ours.get("for", "0s")
        assert rule.get("labels", {}) == ours.get("labels", {})
        assert rule["noDataState"] == "OK"
        query, reduce, threshold = rule["data"]
        assert query["datasourceUid"] == "P1809F7CD0C75ACF3"
        assert query["model"]["instant"] is True
        promql_parser.parse(query["model"]["expr"])
        assert (reduce["model"]["expression"], threshold["model"]["expression"]) == ("A", "B")
        assert rule["condition"] == threshold["refId"]
        assert threshold["model"]["conditions"] == [{"evaluator": {"type": "gt", "params": [NEAREST]}}]
    assert not (tmp_path / "alertmanager.yml").exists()
    assert (tmp_path / "runbooks" / "ExpirySoon.md").is_file()


def test_alerts_of_grafana_work_where_nothing_is_recorded(tmp_path: Path) -> None:
    """
    What was recorded is asked first, then the exporter's own series with the same selector.
    """
    rules, recording = grafana(tmp_path)
    for rule in rules:
        expression = rule["data"][0]["model"]["expr"]
        for name in set(re.findall(r"expiry:\w+:\w+", expression)) & GRAFANA_QUERY.keys():
            assert f" or {GRAFANA_QUERY[name]}" in expression
    (soon,) = (rule for rule in rules if rule["title"] == "ExpirySoon")
    assert 'or expiry_problem_end_timestamp_seconds{problem="soon"})' in soon["data"][0]["model"]["expr"]
    assert [rule["record"]["metric"] for rule in recording] == [
        rule["record"] for rule in RULES if "record" in rule
    ]
    for rule, ours in zip(recording, [rule for rule in RULES if "record" in rule], strict=True):
        assert rule["data"][0]["model"]["expr"] == ours["expr"].strip()
        assert rule["record"]["from"] == rule["data"][0]["refId"]


def test_templates_are_those_that_grafana_has(tmp_path: Path) -> None:
    """
    Without queries, whose place the exporter's page takes, and without `$`, which may name a variable.
    """
    rules, _ = grafana(tmp_path, "--web.external-url", "https://expiry.example.com")
    texts = {(rule["title"], name): text for rule in rules for name, text in rule["annotations"].items()}
    for (title, name), text in texts.items():
        assert "$" not in text
        assert not re.search(r"\bquery\b|\blabel \"|[.$][lL]abels\.|\(\)", text), title
        opened = len(re.findall(r"\{\{-? ?(?:if|with|range) ", text))
        assert opened == len(re.findall(r"\{\{-? ?end ?-?\}\}", text)), (title, name)
    page = 'https://expiry.example.com/targets/{{ urlquery (index .Labels "target") }}'
    assert page in texts["ExpirySoon", "description"]
    title = texts["ExpirySoon", "description"].partition("\n")[0]
    assert 'humanizeDuration (printf "%.0f" .Values.B.Value)' in title
    assert texts["ExpirySoon", "runbook_url"] == "https://expiry.example.com/runbooks/ExpirySoon"


@pytest.mark.parametrize("flags", [["--format", "operator"], ["--format", "grafana"], []])
def test_rules_of_this_version_are_the_same(
    tmp_path: Path, flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Whatever the format, and wherever their links lead.
    """
    written(tmp_path, *flags)
    capsys.readouterr()
    for path in tmp_path.glob("*rule*.yml"):
        assert main(["alerts", "--check", str(path)]) == 0
        assert capsys.readouterr().out == f"{path} has the rules of this version, {__version__}\n"


def test_older_rules_are_said_with_what_differs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    The version that wrote them, and each rule that is missing, changed or not known.
    """
    path = written(tmp_path) / "rules.yml"
    document = yaml.safe_load(path.read_text())
    rules = document["groups"][0]["rules"]
    document["groups"][0]["rules"] = [one for one in rules if one.get("alert") != "ExpiryRulesFailing"]
    changed = next(one for one in rules if one.get("alert") == "ExpiryProbeFailing")
    changed["for"], changed["annotations"]["summary"] = "1h", "Old words."
    rules[-1]["alert"] = "ExpiryOfOld"
    rules[0]["expr"] += "  "
    path.write_text("# Alerts of expiry-exporter 0.0.1, old.\n" + yaml.safe_dump(document))
    capsys.readouterr()
    assert main(["alerts", "--check", str(path)]) == 1
    first, *lines = capsys.readouterr().out.splitlines()
    assert first == (
        f"{path} differs from the rules of this version, {__version__}; it was written by version 0.0.1:"
    )
    assert sorted(lines) == [
        "  ExpiryHeartbeat (critical): missing",
        "  ExpiryOfOld (critical): not in the rules of this version",
        "  ExpiryProbeFailing: for, summary differ",
        "  ExpiryRulesFailing (warning): missing",
    ]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"groups: [", "it is no YAML"),
        (b"\xff", "can't decode"),
        (b"a text", "it has no rules"),
        (b"kind: PrometheusRule\nspec: 3", "it has no groups of rules"),
        (b"groups: [3]", "it has no groups of rules"),
        (b"groups: []", "it has no rules"),
        (b"groups: [{name: mine, rules: 3}]", "'mine' is no group of rules"),
        (b"groups: [{name: mine, rules: [3]}]", "'mine' is no group of rules"),
        (b"groups: [{rules: [{alert: ExpirySoon, labels: critical}]}]", "labels of 'ExpirySoon'"),
        (b"groups: [{rules: [{alert: ExpirySoon, annotations: [x]}]}]", "annotations of 'ExpirySoon'"),
    ],
)
def test_what_holds_no_rules_is_said(
    tmp_path: Path, content: bytes, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    In one message, with an exit code of its own.
    """
    path = tmp_path / "rules.yml"
    path.write_bytes(content)
    assert main(["alerts", "--check", str(path)]) == 2
    assert reason in capsys.readouterr().err


@pytest.mark.parametrize(
    "flags", [["--metadata-label", "a b=c"], ["--metadata-label", "a"], ["--grafana-datasource", "{{ x }}"]]
)
def test_a_flag_that_would_break_the_file_is_refused(flags: list[str], tmp_path: Path) -> None:
    """
    Before anything is written.
    """
    with pytest.raises(SystemExit, match="2"):
        main(["alerts", "--output-dir", str(tmp_path / "new"), *flags])
    assert not (tmp_path / "new").exists()


def test_vmalert_takes_the_rules() -> None:
    """
    Its parser for expressions and its functions for templates are others than Prometheus's.
    """
    done = subprocess.run(
        ["vmalert", "-dryRun", f"-rule={SHIPPED}"], capture_output=True, text=True, check=False, timeout=20
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("broken", ["order", "interval", "name", "halves"])
def test_rules_in_another_layout_differ(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], broken: str
) -> None:
    """
    One group, one after the other: else an alert misses what was recorded, or its failures are not told.
    """
    path = written(tmp_path) / "rules.yml"
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    (group,) = document["groups"]
    match broken:
        case "order":
            group["rules"].reverse()
        case "interval":
            group["interval"] = "10m"
        case "name":
            group["name"] = "certificates"
        case "halves":
            document["groups"].append({"name": "rest", "rules": group["rules"][5:]})
            del group["rules"][5:]
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    capsys.readouterr()
    assert main(["alerts", "--check", str(path)]) == 1
    assert capsys.readouterr().out.splitlines()[1:] == [
        "  groups: their names, intervals or order differ, or that of the rules in them"
    ]
