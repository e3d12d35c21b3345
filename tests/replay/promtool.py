"""
The shipped alerts, evaluated by promtool over a recording.

promtool only compares. So it is told to expect nothing, and what it got instead is
read out of its complaints.
"""

import ast
import functools
import json
import os
import re
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import yaml

from tests.replay.timeline import Recording

RULES = Path(__file__).parents[2] / "alerts" / "rules.yml"

_PAIRS = r'(?:\w+="(?:[^"\\]|\\.)*"(?:, )?)*'
_PAIR = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_SAMPLE = re.compile(rf"\{{({_PAIRS})\}} (\S+?)(?=, |$)")
_EXPRESSION = re.compile(
    r'^    expr: "(?:[^"\\]|\\.)* # (\d+)", time: .*\n        exp: .*\n        got: (.*)$', re.MULTILINE
)
_ALERTS = re.compile(
    r"^    alertname: (\w+), time: (\w+), \n        exp:\[\], \n        got:\[\n(.*?)^            \]",
    re.MULTILINE | re.DOTALL,
)
_ALERT = re.compile(rf"Labels:\{{({_PAIRS})\}}\s+Annotations:\{{({_PAIRS})\}}")
_DURATION = re.compile(r"(\d+)(ms|[ywdhms])")
_SECONDS = {"y": 31536000.0, "w": 604800.0, "d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}

Samples = Mapping[tuple[tuple[str, str], ...], float]
"""Values by labels."""


@dataclass(frozen=True, slots=True, order=True)
class Name:
    """
    What an alert is about. Its other labels may change while it fires; that would be another notification.
    """

    alert: str
    severity: str
    target: str
    """Empty for alerts that are not about a target."""
    item: str


@dataclass(frozen=True, slots=True)
class Firing:
    """
    When an alert fired.
    """

    first: float
    last: float
    complete: bool
    """True when it fired at every evaluation between the first and the last."""


@dataclass(frozen=True, slots=True)
class Alert:
    """
    An alert as Alertmanager would get it.
    """

    labels: Mapping[str, str]
    annotations: Mapping[str, str]

    @property
    def name(self) -> Name:
        """
        What it is about.
        """
        return _name(self.labels)

    @property
    def title(self) -> str:
        """
        The line that people read first.
        """
        return re.split(r"\n(?=Where: |Like this |This is )", self.annotations["description"])[0]


def firings(recording: Recording) -> dict[Name, Firing]:
    """
    When each alert fired, heartbeats aside. An alert that never did is not there.
    """
    return told(recording)[0]


def told(
    recording: Recording, *names: str
) -> tuple[dict[Name, Firing], dict[tuple[str, float], list[Alert]]]:
    """
    When each alert fired, and the alerts of these names at each evaluation, by name and time, from one run.
    """
    moments = [step * recording.interval for step in range(int(recording.until // recording.interval) + 1)]
    expression = (
        "count by (alertname, severity, target, item) "
        '(ALERTS{alertstate="firing",alertname!="ExpiryHeartbeat"})'
    )
    wanted = [(name, when) for name in names for when in moments]
    # Asked at each evaluation by itself: promtool refuses queries over more than 10,000 samples.
    questions = [(expression, when) for when in moments]
    output = _run(recording, _expression_tests(questions) | _alert_tests(wanted))
    fired: dict[Name, list[float]] = {}
    for when, samples in zip(moments, _samples(output, len(moments)), strict=True):
        for labels in samples:
            fired.setdefault(_name(dict(labels)), []).append(when)
    found = {
        name: Firing(
            times[0], times[-1], complete=len(times) == (times[-1] - times[0]) / recording.interval + 1
        )
        for name, times in fired.items()
    }
    return found, _alerts(output, wanted)


def ask(recording: Recording, questions: Sequence[tuple[str, float]]) -> list[Samples]:
    """
    The samples that each expression gives at its time.
    """
    return _samples(_run(recording, _expression_tests(questions)), len(questions))


def alerts(recording: Recording, wanted: Iterable[tuple[str, float]]) -> dict[tuple[str, float], list[Alert]]:
    """
    The alerts of these names that fire at these times, with labels and annotations.
    """
    wanted = sorted(set(wanted))
    return _alerts(_run(recording, _alert_tests(wanted)), wanted)


def _expression_tests(questions: Sequence[tuple[str, float]]) -> dict[str, object]:
    return {
        "promql_expr_test": [
            # promtool repeats the expression in its complaint: the comment tells which it was.
            {"expr": f"{expression} # {number}", "eval_time": _duration(when), "exp_samples": []}
            for number, (expression, when) in enumerate(questions)
        ]
    }


def _samples(output: str, count: int) -> list[Samples]:
    got = {int(number): samples for number, samples in _EXPRESSION.findall(output)}
    return [
        {
            tuple(_pairs(labels).items()): float(value)
            for labels, value in _SAMPLE.findall(got.get(number, ""))
        }
        for number in range(count)
    ]


def _alert_tests(wanted: Iterable[tuple[str, float]]) -> dict[str, object]:
    return {
        "alert_rule_test": [
            {"alertname": name, "eval_time": _duration(when), "exp_alerts": []} for name, when in wanted
        ]
    }


def _alerts(output: str, wanted: Iterable[tuple[str, float]]) -> dict[tuple[str, float], list[Alert]]:
    found: dict[tuple[str, float], list[Alert]] = {one: [] for one in wanted}
    for name, when, got in _ALERTS.findall(output):
        found[name, _seconds(when)] = [
            Alert(_pairs(labels), _pairs(annotations)) for labels, annotations in _ALERT.findall(got)
        ]
    return found


def _name(labels: Mapping[str, str]) -> Name:
    return Name(labels["alertname"], labels["severity"], labels.get("target", ""), labels.get("item", ""))


def _run(recording: Recording, tests: Mapping[str, object]) -> str:
    """
    What promtool says of the tests. Raises AssertionError when it can't run them.
    """
    interval = _duration(recording.interval)
    series = [{"series": name, "values": values} for name, values in recording.series.items()]
    document = {
        "evaluation_interval": interval,
        "tests": [{"interval": interval, "input_series": series, **tests}],
    }
    with tempfile.TemporaryDirectory() as directory:
        rules = Path(directory) / "rules.yml"
        rules.write_text(_rules_with_words_of(_asked(tests)), encoding="utf-8")
        document["rule_files"] = [str(rules)]
        path = Path(directory) / "replay.test.yml"
        # JSON is YAML, and much faster to write.
        path.write_text(json.dumps(document), encoding="utf-8")
        done = subprocess.run(
            ["promtool", "test", "rules", str(path)],
            capture_output=True,
            text=True,
            check=False,
            # Over days promtool's storage compacts beside the rules, and on a busy host with several
            # processors it then loses the first sample of a new series now and then.
            # Collecting garbage rarely saves a fifth of its processor time.
            env={**os.environ, "GOMAXPROCS": "1", "GOGC": "400"},
        )
    output = done.stdout + done.stderr
    # A fault of the file or of a rule is told in other words than a difference.
    assert done.returncode == 0 or re.search(r"^        got:", output, re.MULTILINE), output[:4000]
    assert " error" not in re.sub(r'"(?:[^"\\]|\\.)*"', "", output), output[:4000]
    return output


def _asked(tests: Mapping[str, object]) -> frozenset[str]:
    """
    The names of the alerts whose labels and annotations are asked for.
    """
    asked = cast("list[dict[str, str]]", tests.get("alert_rule_test", []))
    return frozenset(one["alertname"] for one in asked)


@functools.cache
def _rules_with_words_of(names: frozenset[str]) -> str:
    """
    The rules, with the annotations of the alerts of these names only. To write annotations, for each alert at
    each evaluation, takes up to half of promtool's time.
    """
    rules = yaml.load(RULES.read_text(encoding="utf-8"), yaml.CSafeLoader)
    for group in rules["groups"]:
        for rule in group["rules"]:
            if rule.get("alert") not in names:
                rule.pop("annotations", None)
    return json.dumps(rules)


def _pairs(text: str) -> dict[str, str]:
    # Go's quoting is read as Python's: the escapes that occur are the same.
    return {name: ast.literal_eval(f'"{value}"') for name, value in _PAIR.findall(text)}


def _duration(seconds: float) -> str:
    return f"{seconds:.0f}s"


def _seconds(text: str) -> float:
    return sum(int(count) * _SECONDS[unit] for count, unit in _DURATION.findall(text))
