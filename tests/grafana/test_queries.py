"""
Every query of every dashboard, asked of a real Prometheus that scraped a real exporter.
"""

import json
import re
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import pytest

from exporter.engine.lasting import problem_rows
from exporter.engine.scrape import Scrape
from exporter.model.policies import Severity
from exporter.model.problems import Problem
from exporter.model.reasons import Lookup, Reason
from exporter.report import advice
from exporter.report.families import URGENCY
from exporter.report.forecast import forecast
from exporter.report.inventory import Inventory
from exporter.report.status import Level
from grafana import queries as builder
from grafana.fleet import NO_OWNER
from tests.golden.values import Scene
from tests.grafana.conftest import DEMO, UNUSUAL
from tests.grafana.worlds import NAMES, large, text
from tests.grafana.written import ALL, DASHBOARDS, Query, interpolated, panels, queries
from tests.replay.promtool import ask
from tests.replay.timeline import Recording
from tests.support.demo import STATES
from tests.support.exposed import exposed
from tests.support.prometheus import Prometheus, Sample, prometheus

QUERIES = [query for name in DASHBOARDS for query in queries(name)]

EMPTY = {
    "fleet / Expiring by week / B": "all targets of the demo renew themselves",
    "target / Everything that expires here / F": "nothing newer is known of what the demo serves",
    "target / Everything that expires here / G": "no certificate of the demo was renewed yet",
    "target / Everything that expires here / H": "the demo's issuer says nothing about renewals",
    "target / Everything that expires here / I": "the demo's issuer says nothing about renewals",
    "target / Targets with the same certificate / A": "each endpoint of the demo has its own",
    "exporter / State saved / A": "the demo keeps no state",
    **{f"exporter / Sources / {query}": "the demo's targets are written down" for query in "ABCDE"},
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


def rows(world: Prometheus, dashboard: str, panel: str, name: str, chosen: Chosen) -> list[Sample]:
    """
    What a query of a panel gives.
    """
    (query,) = (one for one in queries(dashboard) if (one.panel, one.name) == (panel, name))
    return world.query(interpolated(query.expression, DASHBOARDS[dashboard], chosen))


def urgent(world: Prometheus, job: str) -> list[tuple[str, str, str]]:
    """
    Severity, problem and target of each row of the fleet's first table.
    """
    found = (one.labels for one in rows(world, "fleet", "Problems", "D", {"job": job}))
    return sorted((one["severity"], one["problem"], one["target"]) for one in found)


def test_each_matter_of_the_demo_is_one_row(world: Prometheus) -> None:
    """
    Each target of the demo with what is wrong with it, also where it is too early for an alert.
    """
    assert urgent(world, DEMO) == [
        ("critical", "passed", "expired"),
        ("critical", "soon", "two-days-left"),
        ("warning", "not_trusted", "missing-intermediate"),
        ("warning", "not_trusted", "not-yet-valid"),
        ("warning", "not_trusted", "untrusted"),
        ("warning", "not_trusted", "wrong-name"),
        ("warning", "probe_failing", "refused"),
        ("warning", "probe_failing", "silent"),
        ("warning", "renewal_overdue", "renewal-late"),
    ]


def test_the_exporter_s_page_says_the_same(world: Prometheus) -> None:
    """
    In the demo's first minutes, when what can't be seen is unknown to the page and no alert yet.
    """
    address = world.query(f'up{{job="{DEMO}"}}')[0].labels["instance"]
    with urllib.request.urlopen(f"http://{address}/api/v1/items", timeout=15) as answer:
        items = json.load(answer)["items"]
    levels = {one["target"]: one["level"] for one in items if one["level"] != "ok"}
    assert levels == {
        target: "unknown" if problem == Problem.PROBE_FAILING else severity
        for severity, problem, target in urgent(world, DEMO)
    }
    # Each of its targets has one endpoint.
    counts = Counter(levels.values())
    assert by_level(tiles(world, DEMO)) == counts == {"critical": 2, "unknown": 2, "warning": 5}
    alerts = [one.labels for one in world.query('ALERTS{alertname=~"Expiry.+", target!="", cluster=""}')]
    told = {
        one["target"]: one["severity"]
        for one in sorted(alerts, key=lambda one: one["severity"] == "critical")
    }
    assert {target: severity for target, severity in told.items() if target in STATES} == {
        target: level for target, level in levels.items() if level != "unknown"
    }


def test_a_server_that_wants_a_client_certificate_is_well(world: Prometheus) -> None:
    """
    As on the page: it was seen, and its reason is none of what is wrong.
    """
    target = "client-certificate"
    for panel, name, value in (("Last probe", "A", 0), ("Endpoints side by side", "A", 3)):
        (found,) = rows(world, "target", panel, name, {"target": target})
        assert found.value == value
    (why,) = rows(world, "target", "Endpoints side by side", "E", {"target": target})
    assert why.labels["reason"] == Reason.CLIENT_CERTIFICATE_REQUIRED
    wrong = rows(world, "fleet", "What is wrong, by reason", "A", {"job": DEMO})
    assert {(one.labels["sort"], one.labels["reason"]) for one in wrong} == {
        *(("failed", "handshake_timeout"), ("failed", "connection_refused"), ("refused", "expired")),
        *(("refused", "name_mismatch"), ("refused", "untrusted_root")),
        *(("refused", "missing_intermediate"), ("refused", "not_yet_valid")),
    }
    (failures,) = world.query(f'expiry_sweep_failures{{job="{DEMO}"}}')
    assert failures.value == tiles(world, DEMO)["Unknown"]


def test_every_other_problem_is_shown(world: Prometheus) -> None:
    """
    Those that the demo does not have.
    """
    assert urgent(world, UNUSUAL) == [
        ("critical", "domain_status", "lost"),
        ("critical", "probe_failing", "unseen-and-due"),
        ("critical", "soon", "unseen-and-due"),
        ("unknown", "unchecked", "unchecked"),
        ("warning", "chain_ends_first", "chain-first"),
        ("warning", "domain_status", "unpaid"),
        ("warning", "not_deployed", "not-deployed"),
        ("warning", "renewal_blocked", "will-fail"),
        ("warning", "soon", "by-people"),
    ]


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("healthy", [("nothing", "")]),
        ("expired", [("critical", "passed")]),
        ("client-certificate", [("nothing", "")]),
        ("silent", [("warning", "probe_failing")]),
        ("not-deployed", [("warning", "not_deployed")]),
        ("unseen-and-due", [("critical", "probe_failing"), ("critical", "soon")]),
        ("lost", [("critical", "domain_status")]),
        ("unchecked", [("unknown", "unchecked")]),
    ],
)
def test_a_diagnosis_has_each_matter_once_and_what_to_do(
    world: Prometheus, target: str, expected: list[tuple[str, str]]
) -> None:
    """
    And says so when nothing is wrong. The worst problem is one of them.
    """
    found = rows(world, "target", "Diagnosis", "A", {"target": target})
    assert sorted((one.labels["severity"], one.labels.get("problem", "")) for one in found) == expected
    assert all(one.labels["advice"] for one in found if "problem" in one.labels)
    (worst,) = rows(world, "target", "Worst problem", "A", {"target": target})
    assert worst.labels["worst"] in {" ".join(one).strip() for one in expected}


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Prometheus, Scene, float]]:
    """
    A Prometheus that scrapes an exporter with 3,000 targets, what that knows, and the time of it.
    """
    now = time.time()
    scene = large(3000, now)
    with exposed(text(scene, now)) as address:
        configuration = {
            "global": {"scrape_interval": "5s"},
            "scrape_configs": [{"job_name": DEMO, "static_configs": [{"targets": [address]}]}],
        }
        with prometheus(tmp_path_factory.mktemp("many"), configuration) as made:
            made.await_query("count(expiry_target_info) == 3000")
            yield made, scene, now


WARNINGS = ("Renewal late", "Renew by hand", "Not deployed", "Other warnings")
TILES = ("Critical", "Unknown", *WARNINGS)


def tiles(world: Prometheus, job: str) -> dict[str, int]:
    """
    The number in each tile that counts endpoints.
    """
    return {title: int(rows(world, "fleet", title, "A", {"job": job})[0].value) for title in TILES}


def by_level(counted: Mapping[str, int]) -> Mapping[str, int]:
    """
    The numbers in the tiles by level.
    """
    warnings = sum(counted[title] for title in WARNINGS)
    return {"critical": counted["Critical"], "unknown": counted["Unknown"], "warning": warnings}


def page_of(scene: Scene, now: float) -> Inventory:
    """
    What the status page is made of.
    """
    rows = tuple(scene.rows())
    found = problem_rows(scene.memory, scene.faults, rows, now)
    return Inventory(
        Scrape(tuple(scene.targets()), rows, (), 1.0, 9.5, complete=True, at=now, problems=found)
    )


GROUPS = {
    "Renewal late": (Problem.RENEWAL_OVERDUE, Problem.SIGNATURE_STALE),
    "Renew by hand": (
        *(Problem.SOON, Problem.AUTHORITY_ENDING, Problem.DOMAIN_ENDING),
        Problem.CHAIN_ENDS_FIRST,
    ),
    "Not deployed": (Problem.NOT_DEPLOYED, Problem.WENT_BACKWARDS),
}
"""The problems of a warning that each tile counts; the last tile counts the others."""


def test_each_endpoint_of_many_targets_is_in_one_tile(many: tuple[Prometheus, Scene, float]) -> None:
    """
    As many are critical, unknown and late as on the status page, which lists each by its worst problem.
    """
    world, scene, now = many
    inventory = page_of(scene, now)
    worst = {
        (entry.row.target.name, entry.row.label): (entry.level, first.problem)
        for entry in inventory.entries(now)
        for first in inventory.status(entry.row, now).findings[:1]
        if entry.level
    }
    counts = Counter(level for level, _ in worst.values())
    warned = Counter(problem for level, problem in worst.values() if level is Level.WARNING)
    expected = {
        "Critical": counts[Level.CRITICAL],
        "Unknown": counts[Level.UNKNOWN],
        **{title: sum(warned[one] for one in group) for title, group in GROUPS.items()},
    }
    expected["Other warnings"] = len(worst) - sum(expected.values())
    shown = tiles(world, DEMO)
    assert shown == expected
    assert by_level(shown) == {
        level.name.lower(): count for level, count in inventory.counts(now).items() if level
    }
    assert {title for title, number in shown.items() if not number} == {"Not deployed"}


def test_table_alerts_and_forecast_of_many_targets_agree_with_the_tiles(
    many: tuple[Prometheus, Scene, float],
) -> None:
    """
    Each problem of the table is an alert that the forecast has, and the worst of a target is in its tile.
    """
    world, scene, now = many
    labels = ("target", "item", "problem", "severity")
    table = {
        tuple(one.labels.get(label, "") for label in labels)
        for one in world.query(interpolated(builder.problems(), DASHBOARDS["fleet"], {"job": DEMO}))
    }
    found = forecast(page_of(scene, now).scrape.endpoints, now, 0)
    told = {one.key for sent in found.notifications for one in sent.alerts if found.firing(one)}
    assert table == told
    critical = {target for target, _, _, severity in table if severity == Severity.CRITICAL}
    endpoints = builder.of(URGENCY)
    urgent = world.query(interpolated(f"{endpoints} == 3", DASHBOARDS["fleet"], {"job": DEMO}))
    assert {one.labels["target"] for one in urgent} == critical
    others = world.query(interpolated(f"{endpoints} < 3", DASHBOARDS["fleet"], {"job": DEMO}))
    # Each of these targets has one endpoint.
    assert {one.labels["target"] for one in others} == {target for target, *_ in table} - critical


@pytest.mark.parametrize(
    ("panel", "label"), [("Certificates by issuer", "issuer"), ("Targets by label", "owner")]
)
def test_who_has_a_problem_has_a_whole_in_the_same_row(
    many: tuple[Prometheus, Scene, float], panel: str, label: str
) -> None:
    """
    Also where there are more than the table has rows: an empty cell would say that there are none.
    """
    world, *_ = many
    unwell, whole = (
        {one.labels[label] for one in rows(world, "fleet", panel, name, {"job": DEMO})} for name in ("A", "B")
    )
    assert len(unwell) >= 20
    assert unwell <= whole


@pytest.mark.parametrize(
    ("job", "expected"), [(DEMO, (2, 2, 1, 0, 0, 4)), (UNUSUAL, (2, 1, 0, 2, 1, 2))], ids=(DEMO, UNUSUAL)
)
def test_nothing_is_counted_in_two_tiles(world: Prometheus, job: str, expected: Sequence[int]) -> None:
    """
    Each target of these has one endpoint, and each that is in the table is in one tile. What can't be checked
    is in the table of reasons too.
    """
    assert tiles(world, job) == dict(zip(TILES, expected, strict=True))
    wrong = rows(world, "fleet", "What is wrong, by reason", "A", {"job": job})
    unchecked = {
        (one.labels["reason"], one.labels["advice"]): one.value
        for one in wrong
        if one.labels["sort"] == "unchecked"
    }
    assert unchecked == ({("connect_timeout", "crl"): 1} if job == UNUSUAL else {})
    assert sum(expected) == len({target for _, _, target in urgent(world, job)})


def test_what_can_not_be_checked_says_why_and_what_to_do(world: Prometheus) -> None:
    """
    On both boards, of which one was fine while the other counted an endpoint as unknown. No alert tells of
    it, so it has no runbook, and it has neither an end nor a beginning.
    """
    for found in (
        rows(world, "fleet", "Problems", "E", {"job": UNUSUAL}),
        rows(world, "target", "Diagnosis", "A", {"target": "unchecked"}),
    ):
        (why,) = (one.labels for one in found if one.labels.get("problem") == builder.UNCHECKED)
        assert why["cause"] == "revocation is not known from its list: connect_timeout"
        assert why["advice"] == advice.LOOKUPS[Lookup.CRL]
        assert "alert" not in why
    for panel in (("fleet", "Problems", "ABC"), ("target", "Diagnosis", "BCD")):
        board, title, columns = panel
        for name in columns:
            values = rows(world, board, title, name, {"job": UNUSUAL, "target": "unchecked"})
            assert builder.UNCHECKED not in {one.labels["problem"] for one in values}


@pytest.mark.parametrize(
    ("label", "value", "counts"),
    [
        ("policy", "manual", {"warning"}),
        ("policy", "automatic", {"critical", "unknown", "warning"}),
        ("prober", "wire", {"critical", "unknown", "warning"}),
        ("prober", "domain", set()),
    ],
)
def test_the_graph_of_what_is_not_ok_ends_where_the_tiles_are(
    world: Prometheus, label: str, value: str, counts: set[str]
) -> None:
    """
    Also where targets are chosen by a label that the exporter gives them, and not the configuration. So are
    the numbers by label.
    """
    chosen = {"job": UNUSUAL, "label": label, "value": value}
    expected = by_level({title: int(rows(world, "fleet", title, "A", chosen)[0].value) for title in TILES})
    shown = {
        level: int(rows(world, "fleet", "Not OK over time", name, chosen)[0].value)
        for name, level in zip("ABC", ("critical", "unknown", "warning"), strict=True)
    }
    assert shown == expected
    assert {level for level, count in shown.items() if count} == counts
    by_label = {
        one.labels["owner"]: one.value for one in rows(world, "fleet", "Targets by label", "A", chosen)
    }
    assert by_label == ({value: sum(shown.values())} if counts else {})


def test_an_endpoint_that_two_exporters_watch_is_counted_once() -> None:
    """
    By what is worse: one of them may not reach it, or not have the state that tells how it was before.
    """
    series = {
        f'expiry_endpoint_urgency{{job="{RECORDED}", instance="{instance}", {endpoint}}}': f"{value}x10"
        for instance, endpoint, value in (
            ("a", 'target="shop", location="1", problem="soon"', 3),
            ("b", 'target="shop", location="1", problem="probe_failing"', 2),
            ("a", 'target="shop", location="2", problem="not_trusted"', 1),
            ("b", 'target="shop", location="2", problem="renewal_overdue"', 1),
            ("a", 'target="shop", location="3", problem="not_trusted"', 1),
            ("b", 'target="shop", location="3"', 2),
        )
    }
    texts = [
        (interpolated(query.expression, DASHBOARDS["fleet"], {"job": RECORDED}), 600.0)
        for title in TILES
        for query in queries("fleet")
        if (query.panel, query.name) == (title, "A")
    ]
    numbers = [sum(samples.values()) for samples in ask(Recording(series, 600.0, 600.0), texts)]
    assert numbers[:2] == [1, 1]
    assert sum(numbers[2:]) == 1


TRENDS = ("Critical", "Unknown", "Renewal late")
"""The tiles with a small graph."""


@pytest.mark.parametrize("chosen", [{}, {"value": "team-3"}, {"label": "policy", "value": "manual"}], ids=str)
@pytest.mark.parametrize("title", TRENDS)
def test_the_graph_in_a_tile_leads_to_its_number(
    many: tuple[Prometheus, Scene, float], title: str, chosen: Chosen
) -> None:
    """
    Whatever is chosen: else its end would be a step that nothing made.
    """
    world, _, _ = many
    (number,) = rows(world, "fleet", title, "A", {"job": DEMO, **chosen})
    (end,) = rows(world, "fleet", title, "B", {"job": DEMO, **chosen})
    assert end.value == number.value


RECORDED = "recorded"


def recorded(urgent: str, others: str) -> Recording:
    """
    An exporter of a critical endpoint, with the values of that series and of what else it exports.
    """
    exporter = f'job="{RECORDED}", instance="exporter"'
    series = {
        f'expiry_endpoint_urgency{{{exporter}, target="shop", location="1", problem="passed"}}': urgent,
        f'expiry_target_info{{{exporter}, target="shop"}}': others,
        f"expiry_build_info{{{exporter}}}": others,
        f"expiry_sweep_targets{{{exporter}}}": others,
    }
    return Recording(series, 600.0, 6000.0)


@pytest.mark.parametrize(
    ("urgent", "others", "points", "number"),
    [
        ("3x10", "1x10", [1, 1, 1, 1], 1),
        ("3x4 stale", "1x10", [1, 1, 0, 0], 0),
        ("_x10 3", "1x10", [0, 0, 0, 0], 1),
        ("3x9 stale", "1x9 stale", [], None),
        ("3x9 stale", "1x9 0", [], None),
    ],
    ids=["lasts", "is over", "is new", "the exporter is gone", "no target is left"],
)
def test_a_tile_with_a_graph_shows_the_number_of_now(
    urgent: str, others: str, points: Sequence[float], number: float | None
) -> None:
    """
    Nothing of what was, neither a problem that is over nor the last points of an exporter that is gone.

    The last point of the graph is at a multiple of its step, the number is behind it: at 100 minutes here.
    """
    times = [0.0, 1800.0, 3600.0, 5400.0]
    now = 6000.0
    tile = {query.name: query for query in queries("fleet") if query.panel == "Critical"}
    asking = [(tile["B"], at) for at in times] + [(tile["A"], now)]
    texts = [
        (interpolated(query.expression, DASHBOARDS["fleet"], {"job": RECORDED}, end=now), at)
        for query, at in asking
    ]
    *graph, shown = [list(samples.values()) for samples in ask(recorded(urgent, others), texts)]
    assert [value for one in graph for value in one] == points
    assert shown == ([] if number is None else [number])


def test_a_tile_with_a_graph_puts_its_number_behind_the_points() -> None:
    """
    Both queries are one series by time, whose last value is shown; a graph costs few points.
    """
    tiles = [one for one in panels(DASHBOARDS["fleet"]) if one["type"] == "stat"]
    drawn = [one for one in tiles if one["options"]["graphMode"] == "area"]
    assert {one["title"] for one in drawn} == set(TRENDS)
    for tile in drawn:
        number, graph = tile["targets"]
        assert (number["instant"], number["range"]) == (True, False)
        assert (graph["instant"], graph["range"]) == (False, True)
        assert [one["id"] for one in tile["transformations"]] == ["merge", "sortBy"]
        assert tile["transformations"][1]["options"]["sort"] == [{"field": "Time", "desc": False}]
        assert tile["options"]["reduceOptions"]["calcs"] == ["lastNotNull"]
        assert tile["maxDataPoints"] <= 24
    # With less Grafana leaves the graph away; side by side all are as high.
    assert {one["gridPos"]["h"] for one in tiles} == {5}


def test_a_certificate_on_many_targets_is_one_row(many: tuple[Prometheus, Scene, float]) -> None:
    """
    With the number of its targets, in the table of problems and in that of everything that ends.
    """
    world, _, _ = many
    found = rows(world, "fleet", "Problems", "D", {"job": DEMO})
    expired = [one for one in found if one.labels["problem"] == "passed"]
    assert expired
    assert len({one.labels["same"] for one in expired}) == len(expired)
    assert max(one.value for one in expired) == 3
    everything = "Certificates and other items by days left"
    ends = rows(world, "fleet", everything, "A", {"job": DEMO, "within": "30"})
    assert max(one.value for one in ends) < 30
    assert len({one.labels["fingerprint_sha256"] for one in ends}) == len(ends)
    targets = rows(world, "fleet", everything, "C", {"job": DEMO, "within": "30"})
    assert max(one.value for one in targets) == 3
    # Where there are more than are shown, all columns are of the same.
    columns = [
        {
            one.labels["fingerprint_sha256"]
            for one in rows(world, "fleet", everything, column, {"job": DEMO, "within": "4000"})
        }
        for column in "ABC"
    ]
    assert len(columns[0]) == 200
    assert columns[0] == columns[1] == columns[2]


WELL: Mapping[str, Chosen] = {
    "fleet": {"job": UNUSUAL, "label": "target", "value": "deployed"},
    "target": {"job": DEMO, "target": "healthy"},
    "exporter": {"job": DEMO},
}
"""Where all is well, so that tables have the fewest columns."""


@pytest.mark.parametrize("dashboard", DASHBOARDS)
def test_values_have_a_heading_where_one_query_alone_has_an_answer(world: Prometheus, dashboard: str) -> None:
    """
    Grafana calls them `Value #B`, but `Value` where there are no others. Both are shown as the same, or not.
    """
    tables = {one["title"]: one for one in panels(DASHBOARDS[dashboard]) if one["type"] == "table"}
    alone = set()
    for title, table in tables.items():
        answering = [
            one.name
            for one in queries(dashboard)
            if one.panel == title and asked(world, one, WELL[dashboard])
        ]
        if len(answering) == 1 < len(table["targets"]):
            alone.add(title)
            (organized,) = (one for one in table["transformations"] if one["id"] == "organize")
            names = (f"Value #{answering[0]}", "Value")
            for option in organized["options"].values():
                assert option.get(names[0]) == option.get(names[1]), title
    expected = {"fleet": {"Certificates by issuer", "Targets by label"}, "target": {"Diagnosis"}}
    assert alone == expected.get(dashboard, set())


def test_targets_without_the_label_have_a_row_of_their_own(world: Prometheus) -> None:
    """
    Also where no target has it: a column of numbers alone says nothing.
    """
    for name in "AB":
        (only,) = rows(world, "fleet", "Targets by label", name, {"job": UNUSUAL})
        assert only.labels == {"owner": NO_OWNER}


def test_replicas_are_counted_once(world: Prometheus) -> None:
    """
    Two jobs, of which one is not chosen, and all: the number of targets is that of different names.
    """
    (query,) = (one for one in queries("fleet") if one.panel == "Targets")
    for job, wanted in (([DEMO], 11), ([UNUSUAL], 11), (ALL, 22)):
        (only,) = world.query(interpolated(query.expression, DASHBOARDS["fleet"], {"job": job}))
        assert only.value == wanted


def test_targets_without_the_label_are_shown_unless_a_value_is_chosen(world: Prometheus) -> None:
    """
    Nobody configures labels first and looks afterwards.
    """
    (query,) = (one for one in queries("fleet") if one.panel == "Targets")
    for chosen, wanted in (({}, 22.0), ({"value": "demo"}, 11.0), ({"label": "no_such_label"}, 22.0)):
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
