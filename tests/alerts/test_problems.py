"""
The table of problems and the shipped files say the same: alerts, severities, summaries, waits, inhibitions.
"""

import functools
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from exporter.model.policies import Severity
from exporter.model.problems import MEANINGS, Meaning, Problem

ALERTS = Path(__file__).parents[2] / "alerts"

OF_THE_EXPORTER = {
    *("ExpiryTargetsShrunk", "ExpiryExporterDown", "ExpirySweepIncomplete", "ExpiryConfigReloadFailed"),
    *("ExpiryClockSkew", "ExpiryDiscoveryFailing", "ExpiryRulesFailing", "ExpiryHeartbeat"),
    "ExpiryNothingWatched",
}
"""Alerts that are about no target."""

OTHER = {Severity.WARNING: Severity.CRITICAL, Severity.CRITICAL: Severity.WARNING}

UNITS = {"s": 1, "m": 60, "h": 3600}


@functools.cache
def rules() -> list[dict[str, Any]]:
    """
    The shipped alerts about targets.
    """
    document = yaml.load((ALERTS / "rules.yml").read_text(encoding="utf-8"), yaml.CSafeLoader)
    found = [rule for group in document["groups"] for rule in group["rules"] if "alert" in rule]
    return [rule for rule in found if rule["alert"] not in OF_THE_EXPORTER]


def of(meaning: Meaning, severity: Severity) -> dict[str, Any]:
    """
    The one rule that sends this alert with this severity: its own, or that of the problem.
    """
    (found,) = [
        rule
        for rule in rules()
        if rule["alert"] == meaning.alert
        and rule.get("labels", {}).get("severity", severity) == severity
        and f'severity="{OTHER[severity]}"' not in rule["expr"]
    ]
    return found


def inhibited(*equal: str) -> set[tuple[str, str]]:
    """
    Pairs of alerts of which the example inhibits the second, where these labels are the same.
    """
    document = yaml.safe_load((ALERTS / "alertmanager.yml").read_text(encoding="utf-8"))
    found = set()
    for rule in document["inhibit_rules"]:
        if rule["equal"] != list(equal):
            continue
        source, hidden = (_matched(rule[side]) for side in ("source_matchers", "target_matchers"))
        found |= {
            (one, other)
            for one in source["alertname"].split("|")
            for other in hidden.get("alertname", "").split("|")
        }
    return found


def _matched(matchers: list[str]) -> dict[str, Any]:
    pairs = [re.fullmatch(r'(\w+)=~?"([^"]*)"', one) for one in matchers]
    return {found[1]: found[2] for found in pairs if found}


def test_every_problem_has_its_row() -> None:
    """
    And each row at least one severity, and an alert of its own.
    """
    assert MEANINGS.keys() == set(Problem)
    assert all(meaning.summaries for meaning in MEANINGS.values())
    assert len({meaning.alert for meaning in MEANINGS.values()}) == len(MEANINGS)


def test_the_rules_send_what_the_table_has() -> None:
    """
    One alert for each problem, none besides, and each asks for its problem.
    """
    assert {rule["alert"] for rule in rules()} == {meaning.alert for meaning in MEANINGS.values()}
    for problem, meaning in MEANINGS.items():
        for severity in meaning.summaries:
            assert re.search(rf'problem=~?"(\w+\|)*{problem}(\|\w+)*"', of(meaning, severity)["expr"])


@pytest.mark.parametrize("problem", Problem)
def test_an_alert_says_and_waits_as_the_table_does(problem: Problem) -> None:
    """
    Its summary, how long it must last, and that it has a runbook.
    """
    meaning = MEANINGS[problem]
    for severity, summary in meaning.summaries.items():
        rule = of(meaning, severity)
        assert rule["annotations"]["summary"] == summary
        waits = rule.get("for", "0s")
        assert float(waits[:-1]) * UNITS[waits[-1]] == meaning.lasts.get(severity, 0.0)
    assert (ALERTS / "runbooks" / f"{meaning.alert}.md").is_file()


def test_the_example_inhibits_what_the_table_hides() -> None:
    """
    Each pair of alerts in it is one that the table has, of the same item or of the target, and vice versa.
    """
    pairs = [(meaning, MEANINGS[other]) for meaning in MEANINGS.values() for other in meaning.hides]
    assert inhibited("cluster", "target", "item") == {
        (meaning.alert, other.alert) for meaning, other in pairs
    }
    pairs = [(meaning, MEANINGS[other]) for meaning in MEANINGS.values() for other in meaning.covers]
    assert inhibited("cluster", "target") == {(meaning.alert, other.alert) for meaning, other in pairs}


def test_the_templates_say_what_the_table_does_when_it_is_over() -> None:
    """
    Of each problem its own words, and of each alert about an exporter some.
    """
    text = (ALERTS / "templates" / "expiry.tmpl").read_text(encoding="utf-8")
    said = dict(re.findall(r'eq \.Labels\.alertname "(\w+)" }}: (.+)', text))
    for meaning in MEANINGS.values():
        assert said.pop(meaning.alert) == meaning.mended
    # A heartbeat that is over is not told.
    assert said.keys() == OF_THE_EXPORTER - {"ExpiryHeartbeat"}


def test_the_manual_has_the_table() -> None:
    """
    Each problem with its alert, severities, meaning and what it hides.
    """
    chapter = (ALERTS.parent / "exporter" / "manual" / "alerting.md").read_text(encoding="utf-8")
    for problem, meaning in MEANINGS.items():
        hidden = ", ".join(f"`{one}`" for one in sorted(meaning.hides | meaning.covers))
        said = " ".join(dict.fromkeys(meaning.summaries.values()))
        severities = ", ".join(sorted(meaning.summaries))
        assert f"| `{problem}` | `{meaning.alert}` | {severities} | {said} | {hidden} |" in chapter
