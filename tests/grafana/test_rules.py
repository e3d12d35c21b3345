"""
Every dashboard keeps every rule, and every rule can be broken.
"""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from tests.grafana.rules import RULES
from tests.grafana.written import DASHBOARDS, Json

Break = Callable[[Json], object]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", DASHBOARDS)
def test_the_dashboards_keep_the_rules(name: str, rule: str) -> None:
    """
    All of them, without an exception.
    """
    assert list(RULES[rule](DASHBOARDS[name])) == []


def variable(dashboard: Json, name: str) -> Json:
    """
    A variable by its name.
    """
    found: Json = next(one for one in dashboard["templating"]["list"] if one["name"] == name)
    return found


def panel(dashboard: Json, type_name: str = "stat") -> Json:
    """
    The first panel of a type.
    """
    found: Json = next(one for one in dashboard["panels"] if one["type"] == type_name)
    return found


def asked(dashboard: Json, text: str) -> object:
    """
    The first query, now another.
    """
    return panel(dashboard)["targets"][0].update(expr=text)


BROKEN: list[tuple[str, str, Break]] = [
    (
        "template_datasource",
        "no such variable",
        lambda one: variable(one, "datasource").update(name="source"),
    ),
    ("template_datasource", "another label", lambda one: variable(one, "datasource").update(label="Source")),
    ("template_job", "one only", lambda one: variable(one, "job").update(multi=False)),
    ("template_job", "no all", lambda one: variable(one, "job").update(includeAll=False)),
    ("template_job", "all is .*", lambda one: variable(one, "job").update(allValue=".*")),
    ("template_job", "a fixed list", lambda one: variable(one, "job").update(type="custom")),
    ("template_instance", "another label", lambda one: variable(one, "instance").update(label="Exporter")),
    (
        "template_instance",
        "a fixed source",
        lambda one: variable(one, "instance").update(datasource="default"),
    ),
    (
        "template_promql",
        "no selector",
        lambda one: variable(one, "job").update(query="label_values(up{, job)"),
    ),
    (
        "template_promql",
        "another function",
        lambda one: variable(one, "job").update(query="query_result(up)"),
    ),
    ("template_reload", "on load only", lambda one: variable(one, "job").update(refresh=1)),
    ("uneditable", "editable", lambda one: one.update(editable=True)),
    (
        "panel_datasource",
        "a panel",
        lambda one: panel(one).update(datasource={"type": "prometheus", "uid": "x"}),
    ),
    ("panel_datasource", "a query", lambda one: panel(one)["targets"][0].pop("datasource")),
    ("panel_datasource", "an annotation", lambda one: one["annotations"]["list"][0].pop("datasource")),
    ("panel_words", "no title", lambda one: panel(one).update(title="")),
    ("panel_words", "no description", lambda one: panel(one).pop("description")),
    ("panel_unit", "none", lambda one: panel(one)["fieldConfig"]["defaults"].pop("unit")),
    ("panel_unit", "unknown", lambda one: panel(one)["fieldConfig"]["defaults"].update(unit="fortnights")),
    ("panel_targets", "no query", lambda one: panel(one).update(targets=[])),
    ("panel_targets", "one name", lambda one: panel(one)["targets"].append(panel(one)["targets"][0])),
    ("panel_type", "a plugin", lambda one: panel(one).update(type="flowchart")),
    ("panel_ids", "one number", lambda one: one["panels"][1].update(id=1)),
    ("panel_places", "overlap", lambda one: one["panels"][1].update(gridPos=one["panels"][0]["gridPos"])),
    ("panel_places", "too wide", lambda one: one["panels"][-1]["gridPos"].update(w=25)),
    ("target_promql", "no PromQL", lambda one: asked(one, "sum(up{")),
    ("target_job", "no job", lambda one: asked(one, 'sum(up{instance=~"$instance"})')),
    ("target_job", "a fixed job", lambda one: asked(one, 'sum(up{job="expiry", instance=~"$instance"})')),
    ("target_job", "no braces", lambda one: asked(one, "sum(up)")),
    ("target_instance", "no instance", lambda one: asked(one, 'sum(up{job=~"$job"})')),
    ("target_rate_interval", "fixed", lambda one: asked(one, "rate(process_cpu_seconds_total[5m])")),
    ("target_counter", "bare", lambda one: asked(one, "sum(process_cpu_seconds_total)")),
    ("target_metrics", "unknown", lambda one: asked(one, "sum(expiry_not_after)")),
    ("links", "elsewhere", lambda one: one["links"].append({"url": "https://example.com"})),
    (
        "links",
        "no runbook",
        lambda one: one["links"].append({"url": one["links"][2]["url"] + "/ExpiryNothing.md"}),
    ),
    ("links", "nothing kept", lambda one: one["links"].append({"url": "/d/expiry-target?var-target=x"})),
    ("table_columns", "unknown", lambda one: columns(one).update({"issuer_name": "Issuer"})),
    ("table_columns", "no such query", lambda one: columns(one).update({"Value #Z": "Last"})),
]


def columns(dashboard: Json) -> dict[str, Any]:
    """
    What the first table renames.
    """
    change = next(one for one in panel(dashboard, "table")["transformations"] if one["id"] == "organize")
    found: dict[str, Any] = change["options"]["renameByName"]
    return found


@pytest.mark.parametrize(
    ("rule", "spoil"),
    [(rule, spoil) for rule, _, spoil in BROKEN],
    ids=[f"{rule}: {how}" for rule, how, _ in BROKEN],
)
def test_a_broken_dashboard_is_noticed(rule: str, spoil: Break) -> None:
    """
    One change, and the rule has something to say.
    """
    dashboard = copy.deepcopy(DASHBOARDS["exporter"])
    spoil(dashboard)
    assert list(RULES[rule](dashboard))


def test_every_rule_has_a_broken_dashboard() -> None:
    """
    A rule that can't fail is none.
    """
    assert {rule for rule, _, _ in BROKEN} == set(RULES)
