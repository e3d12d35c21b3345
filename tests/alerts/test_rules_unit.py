"""
The alerts against `promtool test rules`, and that each of them is tested at both of its edges.
"""

import re
import subprocess
from typing import Any

import pytest
import yaml

from tests.alerts.test_rules import ALERTING, severities
from tests.support.readme import REPOSITORY

ALERTS = REPOSITORY / "alerts"

# With the loader in C: it is long.
TESTS: dict[str, Any] = yaml.load((ALERTS / "rules.test.yml").read_text(encoding="utf-8"), yaml.CSafeLoader)

HEARTBEAT = "ExpiryHeartbeat"

EVERY_ALERT = [(rule["alert"], severity) for rule in ALERTING for severity in severities(rule)]
"""Name and severity of each alert."""


def minute(duration: str) -> int:
    """
    The minute that an `eval_time` names. The file has them in minutes only, so that edges are easy to see.
    """
    found = re.fullmatch(r"(\d+)m", duration)
    assert found, f"eval_time {duration!r}: write it in minutes"
    return int(found[1])


def expectations(name: str, severity: str) -> list[dict[int, bool]]:
    """
    For each block of tests that asks for the alert: by minute, whether it is expected to fire.
    """
    return [
        {
            minute(test["eval_time"]): any(
                alert["exp_labels"]["severity"] == severity for alert in test["exp_alerts"]
            )
            for test in block.get("alert_rule_test", ())
            if test["alertname"] == name
        }
        for block in TESTS["tests"]
    ]


def has_edge(name: str, severity: str, *, begins: bool) -> bool:
    """
    Whether a block has the alert silent in one minute and firing in the next.

    If not `begins`, the other way round.
    """
    return any(
        fires is begins and block.get(at - 1) is (not begins)
        for block in expectations(name, severity)
        for at, fires in block.items()
    )


def test_promtool_finds_every_alert_as_expected() -> None:
    """
    All expectations of rules.test.yml hold for rules.yml.
    """
    done = subprocess.run(
        ["promtool", "test", "rules", "rules.test.yml"],
        cwd=ALERTS,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("name", "severity"), [one for one in EVERY_ALERT if one[0] != HEARTBEAT])
def test_alert_is_tested_at_both_edges(name: str, severity: str) -> None:
    """
    It is expected silent in one minute and firing in the next, and the reverse when its cause is gone.
    """
    assert has_edge(name, severity, begins=True), f"{name} ({severity}): no test of the minute it begins"
    assert has_edge(name, severity, begins=False), f"{name} ({severity}): no test of the minute it ends"


@pytest.mark.parametrize(("name", "severity"), [one for one in EVERY_ALERT if one[0] == HEARTBEAT])
def test_heartbeat_is_expected_always(name: str, severity: str) -> None:
    """
    It has no edge: it is expected in the first evaluation and an hour later, and nowhere silent.
    """
    expected = {at: fires for block in expectations(name, severity) for at, fires in block.items()}
    assert expected == {0: True, 60: True}


def test_every_tested_alert_exists() -> None:
    """
    No expectation of silence holds only because the alert's name is misspelt.
    """
    assert {test["alertname"] for block in TESTS["tests"] for test in block.get("alert_rule_test", ())} == {
        name for name, _ in EVERY_ALERT
    }
