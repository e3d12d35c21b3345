"""
Every query of every dashboard, asked of a real Prometheus that scraped a real exporter.
"""

import re
import time
from collections.abc import Mapping, Sequence

import pytest

from grafana import queries as builder
from tests.grafana.conftest import DEMO, UNUSUAL
from tests.grafana.worlds import NAMES
from tests.grafana.written import ALL, DASHBOARDS, Query, interpolated, queries
from tests.support.demo import STATES
from tests.support.prometheus import Prometheus

QUERIES = [query for name in DASHBOARDS for query in queries(name)]

EMPTY = {
    "fleet / Ends by week, a year ahead / B": "all targets of the demo renew themselves",
    "target / Items and their deadlines / G": "no certificate of the demo was renewed yet",
    "target / Items and their deadlines / H": "the demo's issuer says nothing about renewals",
    "target / Items and their deadlines / I": "the demo's issuer says nothing about renewals",
    "exporter / State saved / A": "the demo keeps no state",
}
"""Queries that give nothing for the demo, and why."""

TARGETS: dict[str, Sequence[str]] = {DEMO: sorted(STATES), UNUSUAL: NAMES}

Chosen = Mapping[str, str | Sequence[str]]


def asked(world: Prometheus, query: Query, chosen: Chosen) -> list[Mapping[str, str]]:
    """
    The labels of the series that a panel gets. Raises ProcessError for an error or a warning.
    """
    expression = interpolated(query.expression, DASHBOARDS[query.dashboard], chosen)
    if query.instant:
        return [one.labels for one in world.query(expression)]
    now = time.time()
    result = world.api("query_range", query=expression, start=str(now - 60), end=str(now), step="1")["result"]
    return [one["metric"] for one in result]


def found(world: Prometheus, query: Query, job: str) -> bool:
    """
    Whether the query gives anything for a job; if it is about one target, for one of them at least.
    """
    if "$target" not in query.expression:
        return bool(asked(world, query, {"job": job}))
    return any(asked(world, query, {"job": job, "target": target}) for target in TARGETS[job])


@pytest.mark.parametrize("query", [one for one in QUERIES if str(one) not in EMPTY], ids=str)
def test_a_query_gives_data_of_the_demo(world: Prometheus, query: Query) -> None:
    """
    Without warnings; for one target or another where it is about one.
    """
    assert found(world, query, DEMO)


@pytest.mark.parametrize("query", [one for one in QUERIES if str(one) in EMPTY], ids=str)
def test_what_the_demo_does_not_have_is_shown_where_it_is(world: Prometheus, query: Query) -> None:
    """
    Nothing for the demo, as expected, and something for a target that has it.
    """
    assert not found(world, query, DEMO)
    assert found(world, query, UNUSUAL)


def test_the_list_of_empty_queries_names_queries() -> None:
    """
    An entry for a query that is gone would hide the next of that name.
    """
    assert set(EMPTY) <= {str(one) for one in QUERIES}
    assert len({str(one) for one in QUERIES}) == len(QUERIES)


@pytest.mark.parametrize("query", QUERIES, ids=str)
def test_a_prometheus_without_data_comforts_nobody(world: Prometheus, query: Query) -> None:
    """
    Where nothing is known there is no zero and no "nothing is wrong", and no error either.
    """
    assert asked(world, query, {"job": "nowhere", "target": "nothing"}) == []


@pytest.mark.parametrize("query", [one for one in QUERIES if one.dashboard == "fleet"], ids=str)
def test_a_fleet_query_takes_values_with_special_characters(world: Prometheus, query: Query) -> None:
    """
    Chosen one by one, several of them, and by another label than the first.
    """
    instance = world.query(f'up{{job="{DEMO}"}}')[0].labels["instance"]
    if str(query) not in EMPTY:
        some: Chosen = {"job": [DEMO, "a|b(c"], "instance": [instance, "d\\e"], "value": ["demo", "f.g"]}
        assert asked(world, query, some)
        assert asked(world, query, {**some, "label": "policy", "value": "automatic"})


@pytest.mark.parametrize("dashboard", DASHBOARDS)
def test_variables_find_values(world: Prometheus, dashboard: str) -> None:
    """
    Each asks for a label's values of series that there are.
    """
    for variable in DASHBOARDS[dashboard]["templating"]["list"]:
        if variable["type"] == "query":
            text = interpolated(variable["query"], DASHBOARDS[dashboard], {})
            ((selector, label),) = re.findall(r"^label_values\((.+), (\w+)\)$", text)
            assert world.api(f"label/{label}/values", **{"match[]": selector}), variable["name"]


@pytest.mark.parametrize("dashboard", DASHBOARDS)
def test_annotations_are_asked_without_an_error(world: Prometheus, dashboard: str) -> None:
    """
    Those of fleet and target find the alert of what has expired.
    """
    (annotation,) = DASHBOARDS[dashboard]["annotations"]["list"]
    result = world.query(interpolated(annotation["expr"], DASHBOARDS[dashboard], {"target": "expired"}))
    names = {one.labels["alertname"] for one in result}
    assert ("ExpiryPassed" in names) is (dashboard != "exporter")
    assert "ExpiryHeartbeat" not in names


def urgent(world: Prometheus, job: str) -> list[tuple[int, str, str]]:
    """
    Rank, target and alert of each row of the fleet's first table, in their order.
    """
    (query,) = (one for one in queries("fleet") if (one.panel, one.name) == ("What needs a person", "A"))
    result = world.query(interpolated(query.expression, DASHBOARDS["fleet"], {"job": job}))
    return sorted((int(one.value), one.labels["target"], one.labels.get("alert", "")) for one in result)


def test_the_most_urgent_comes_first(world: Prometheus) -> None:
    """
    Each target of the demo with what is wrong with it. The one that wants our certificate was seen.
    """
    assert urgent(world, DEMO) == [
        (1, "expired", "ExpiryPassed"),
        (2, "missing-intermediate", "ExpiryNotTrusted"),
        (2, "not-yet-valid", "ExpiryNotTrusted"),
        (2, "untrusted", "ExpiryNotTrusted"),
        (2, "wrong-name", "ExpiryNotTrusted"),
        (4, "two-days-left", "ExpirySoon"),
        (7, "renewal-late", "ExpiryRenewalOverdue"),
        (10, "refused", "ExpiryProbeFailing"),
        (10, "silent", "ExpiryProbeFailing"),
    ]


def test_every_other_problem_is_recognised(world: Prometheus) -> None:
    """
    Those that the demo does not show; a worse one hides the others of the same item.
    """
    rows = [(rank, target) for rank, target, _ in urgent(world, UNUSUAL)]
    assert rows == [
        (3, "lost"),
        (4, "unseen-and-due"),
        (5, "unseen-and-due"),
        (6, "not-deployed"),
        (8, "by-people"),
        (9, "chain-first"),
        (11, "unpaid"),
        (12, "will-fail"),
    ]
    seen = {rank for rank, _ in rows} | {1, 2, 7, 10}
    assert seen == {one.rank for one in builder.problems()}


@pytest.mark.parametrize(
    ("target", "ranks"),
    [
        ("healthy", [13]),
        ("expired", [1]),
        ("wrong-name", [2]),
        ("two-days-left", [4]),
        ("silent", [10]),
        ("client-certificate", [13]),
        ("not-deployed", [6, 7]),
        ("unseen-and-due", [4, 5]),
        ("lost", [3]),
        ("unpaid", [11]),
        ("will-fail", [12]),
    ],
)
def test_a_diagnosis_has_all_that_is_wrong_and_what_to_do(
    world: Prometheus, target: str, ranks: list[int]
) -> None:
    """
    And says so when nothing is.
    """
    (query,) = (one for one in queries("target") if (one.panel, one.name) == ("Diagnosis", "A"))
    rows = world.query(interpolated(query.expression, DASHBOARDS["target"], {"target": target}))
    assert sorted(int(one.value) for one in rows) == ranks
    assert all(one.labels["advice"] for one in rows)


def test_replicas_are_counted_once(world: Prometheus) -> None:
    """
    Two jobs, of which one is not chosen, and all: the number of targets is that of different names.
    """
    (query,) = (one for one in queries("fleet") if one.panel == "Targets")
    for job, wanted in (([DEMO], 11), ([UNUSUAL], 9), (ALL, 20)):
        (only,) = world.query(interpolated(query.expression, DASHBOARDS["fleet"], {"job": job}))
        assert only.value == wanted


def test_targets_without_the_label_are_shown_unless_a_value_is_chosen(world: Prometheus) -> None:
    """
    Nobody configures labels first and looks afterwards.
    """
    (query,) = (one for one in queries("fleet") if one.panel == "Targets")
    for chosen, wanted in (({}, 20.0), ({"value": "demo"}, 11.0), ({"label": "no_such_label"}, 20.0)):
        (only,) = world.query(interpolated(query.expression, DASHBOARDS["fleet"], chosen))
        assert only.value == wanted


def test_an_exporter_has_one_number_in_all_panels(world: Prometheus) -> None:
    """
    And so one colour; two of them have two.
    """
    lines = [
        labels
        for query in queries("exporter")
        if query.name == "A" and '"N"' in query.expression
        for labels in asked(world, query, {})
        if "instance" in labels
    ]
    numbers = {(labels["instance"], labels["N"]) for labels in lines}
    assert {number for _, number in numbers} == {"①", "②"}
    assert len(numbers) == len({instance for instance, _ in numbers})


def test_of_many_lines_those_with_the_least_values_are_numbered(world: Prometheus) -> None:
    """
    As many as there are colours, and the others are there without a number.
    """
    ends = "min by (target) (expiry_not_after_timestamp_seconds{})"
    found = world.query(builder.numbered(ends, "target", ends.replace("{}", "@ end()")))
    numbered = {one.labels["N"]: one.value for one in found if "N" in one.labels}
    assert list(dict(sorted(numbered.items()))) == list(builder.NTH)
    assert [numbered[number] for number in builder.NTH] == sorted(one.value for one in found)[: len(numbered)]
    assert len({one.labels["target"] for one in found}) == len(found) > len(numbered)


@pytest.mark.parametrize(("serial", "shown"), [("0123456789", "0123…"), ("01234", "01234")])
def test_a_long_value_is_shortened(world: Prometheus, serial: str, shown: str) -> None:
    """
    With a sign of that, unless the sign takes the room of what it stands for.
    """
    made = builder.words("vector(1)", "serial", serial)
    (only,) = world.query(builder.shortened(made, "serial", 4))
    assert only.labels["serial"] == shown
