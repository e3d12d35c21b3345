"""
The shipped rules: what linters of Prometheus rules would say, and that rules and runbooks belong together.
"""

import re
import subprocess
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from exporter import metrics
from exporter.policies import Severity

ALERTS = Path(__file__).parents[2] / "alerts"
RULES = ALERTS / "rules.yml"
GROUPS: list[dict[str, Any]] = yaml.safe_load(RULES.read_text())["groups"]
ALL: list[dict[str, Any]] = [rule for group in GROUPS for rule in group["rules"]]
ALERTING = [rule for rule in ALL if "alert" in rule]
RUNBOOKS = "https://github.com/expiry-exporter/expiry-exporter/blob/main/alerts/runbooks/"


def name_of(rule: dict[str, Any]) -> str:
    """
    What a rule is called in a test's name.
    """
    return f"{rule['alert']}-{rule['labels']['severity']}" if "alert" in rule else str(rule["record"])


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
    ours = {family.name for family in metrics.FAMILIES}
    text = "\n".join(rule["expr"] for rule in ALL) + str([rule["annotations"] for rule in ALERTING])
    asked = set(re.findall(r"\bexpiry[_:][a-z_:]*[a-z]", text))
    assert asked <= ours | recorded
    assert recorded <= asked


@pytest.mark.parametrize("rule", ALERTING, ids=name_of)
def test_an_alert_has_all_that_a_person_needs(rule: dict[str, Any]) -> None:
    """
    One static sentence, a title with the cause, what to do first, the runbook, a severity of the list.
    """
    annotations = rule["annotations"]
    assert set(annotations) == {"summary", "title", "description", "runbook_url"}
    assert "{{" not in annotations["summary"]
    assert annotations["summary"].endswith(".")
    assert annotations["summary"].count(". ") == 0
    assert annotations["runbook_url"] == f"{RUNBOOKS}{rule['alert']}.md"
    assert rule["labels"]["severity"] in set(Severity)


@pytest.mark.parametrize("rule", ALERTING, ids=name_of)
def test_an_alert_compares(rule: dict[str, Any]) -> None:
    """
    An expression without a comparison fires for whatever exists.
    """
    assert re.search(r"(<|>|==|!=)", rule["expr"])


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
        if "expiry:item_alert" in rule["expr"] or "expiry:target_alert" in rule["expr"]:
            assert re.match(r"(min|max) without \(job, instance, condition\)", rule["expr"]), rule["alert"]
