"""
Relabelling against Prometheus's own: `promtool check service-discovery` does what a server does.
"""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from exporter.moving.relabelling import DroppedError, FollowError, relabelled

ADDRESS = {"source_labels": ["__address__"]}

STEPS: list[dict[str, Any]] = [
    {
        **ADDRESS,
        "regex": "(?i)(?P<host>[a-z.0-9]+);(.*)",
        "target_label": "two",
        "replacement": "${host}-$2-$2x$$",
    },
    {**ADDRESS, "regex": "nothing", "target_label": "team", "replacement": "never"},
    {"source_labels": ["none"], "target_label": "team"},
    {"source_labels": ["dc", "none", "job"], "separator": "/", "target_label": "joined"},
    {"source_labels": ["dc"], "regex": "(.+)", "target_label": "in_$1", "replacement": "yes"},
    {"target_label": "always", "replacement": "constant"},
    {"target_label": "always_dc", "replacement": "a${1}b${9}c"},
    {"source_labels": ["dc"], "target_label": "upper", "action": "uppercase"},
    {"source_labels": ["upper"], "target_label": "lower", "action": "Lowercase"},
    {**ADDRESS, "modulus": 7, "target_label": "share", "action": "hashmod"},
    {"regex": "in_(.+)", "replacement": "mapped_${1}", "action": "labelmap"},
    {"target_label": "mapped_none", "replacement": "there"},
    {"target_label": "mapped_none", "replacement": None},
    {"source_labels": ["dc", "job"], "separator": None, "target_label": "mapped_glued"},
    {"source_labels": ["none"], "regex": None, "target_label": "mapped_empty", "replacement": "yes"},
    {**ADDRESS, "regex": "(.).*", "target_label": "mapped_zero", "replacement": "[$01${1}$1é$0]"},
    {**ADDRESS, "target_label": "mapped_upper", "action": "uppercase"},
    {"regex": "joined|al.*c", "action": "labeldrop"},
    {**ADDRESS, "regex": "drop", "action": "drop"},
    {**ADDRESS, "regex": ".*\\.example.*|drop.*|\\d+|a\nb", "action": "keep"},
    {"source_labels": ["dc"], "target_label": "other", "action": "dropequal"},
    {"source_labels": ["same"], "target_label": "dc", "action": "keepequal"},
    {"regex": "__.*|job|instance|dc|two|upper|lower|share|mapped_.*|always", "action": "labelkeep"},
    {"source_labels": ["__param_target", "__address__"], "target_label": "__param_target"},
]

GROUPS = [
    {
        "targets": ["a.example.com;shop", "drop", "dropped.not", "no", "17", "é.example.com"],
        "labels": {"dc": "North", "same": "North", "team": "x"},
    },
    {"targets": ["equal.example.com"], "labels": {"dc": "s", "other": "s", "same": "s"}},
    {"targets": ["unequal.example.com"], "labels": {"dc": "s", "same": "t"}},
]


def test_each_action_is_that_of_prometheus(tmp_path: Path) -> None:
    """
    The labels of targets that stay, and which are dropped.
    """
    job = {
        "job_name": "probe",
        "metrics_path": "/probe",
        "params": {"target": ["t"]},
        "static_configs": GROUPS,
        "relabel_configs": STEPS,
    }
    file = tmp_path / "prometheus.yml"
    file.write_text(json.dumps({"scrape_configs": [job]}), encoding="utf-8")
    # It waits for the whole time, in case that more is found.
    command = ["promtool", "check", "service-discovery", "--timeout=1s", str(file), "probe"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
    theirs = json.loads(done.stdout)
    assert len(theirs) == 8
    dropped = 0
    for one in theirs:
        try:
            ours = relabelled(one["discoveredLabels"], STEPS)
        except DroppedError:
            ours = {}
            dropped += 1
        # Some versions add the port afterwards, and the instance is made of it.
        for label in ("__address__", "instance"):
            one["labels"].pop(label, None)
            ours.pop(label, None)
        assert ours == one["labels"], one["discoveredLabels"]
    assert dropped == 4


@pytest.mark.parametrize(
    "regex",
    [
        *("(", "[[:alpha:]]+", r"\pL", r"\Qa\E", r"a\Z", r"(a)\1", r"\u0061", r"\é|a", r"[\b]|a"),
        *("(?U)a", "(?u)a", "(?x)a", "(?a)a", "(?L)a", "(?<n>a)", "(?P<é>a)", "(?i)É|a", "(?i:É)|a"),
        *("(?!b)a", "(?=a)a", "(?<=b)a", "(?<!b)a", "(?>a)", "(?#b)a", "()(?(1)a|b)"),
        *("a++", "a*+", "a?+", "a{1}+", "a{,2}", "a{01}", "a{1,1001}", "a**", "[a&&b]"),
    ],
)
def test_an_expression_that_python_reads_in_another_way_is_refused(regex: str) -> None:
    """
    With what the step is.
    """
    with pytest.raises(FollowError, match=r"^keep of __address__: its expression"):
        relabelled({"__address__": "a"}, [{**ADDRESS, "regex": regex, "action": "keep"}])


@pytest.mark.parametrize(
    "regex", ["(a|)+", "(?:(?P<n>|a)+)", "([^a]?|(?i:a))*", "(a?){2}", "(?:(a){0})+a", "(?i)(a*)+", "((a)*)*"]
)
def test_a_group_that_matches_nothing_more_than_once_is_refused(regex: str) -> None:
    """
    What is kept of it, a replacement would have.
    """
    with pytest.raises(FollowError, match=r"^replace of __address__ to x: what the groups"):
        relabelled({"__address__": "a"}, [{**ADDRESS, "regex": regex, "target_label": "x"}])


@pytest.mark.parametrize(
    "regex",
    [
        *(r"\*+\{,\\Z|a", "(?P<n>a)", "(?i-s:A)", "(?im)^A$", r"a\b", "a{1,2}?", "[^b]"),
        *("(a)*", "(?:(a|b))+", "(a*)?", "((a?)b){1}|a", "(?i)([(|)]|A)+", "(a*?)"),
    ],
)
def test_what_both_read_alike_is_followed(regex: str) -> None:
    """
    Also where a sign stands for itself that would else be refused.
    """
    labels = {"__address__": "a"}
    assert relabelled(labels, [{**ADDRESS, "regex": regex, "action": "keep"}]) == labels


@pytest.mark.parametrize(
    ("value", "step"),
    [
        ("\N{KELVIN SIGN}", {"regex": "(?i)k", "action": "keep"}),
        ("a\n", {"regex": "a$.*", "action": "keep"}),
        ("\v", {"regex": r"\s", "action": "keep"}),
        ("", {"regex": r"\B", "action": "keep"}),
        ("straße", {"target_label": "x", "action": "uppercase"}),
        ("İ", {"target_label": "x", "action": "lowercase"}),
    ],
)
def test_a_value_that_python_takes_in_another_way_is_refused(value: str, step: dict[str, Any]) -> None:
    """
    With the value.
    """
    with pytest.raises(FollowError, match=r"^\w+ of __address__.* is not known here$"):
        relabelled({"__address__": value}, [{**ADDRESS, **step}])
