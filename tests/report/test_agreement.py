"""
One judgement: metrics, status page, `check`, the API and the forecast say the same of a fleet.
"""

import asyncio
import io
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from random import Random
from typing import Any, cast

import pytest

from exporter.cli import check
from exporter.demo import endpoints
from exporter.engine.lasting import problem_rows
from exporter.engine.memory import ProblemRow
from exporter.engine.results import TargetResult
from exporter.engine.scrape import Scrape
from exporter.judgement.problems import pending
from exporter.model.policies import BUILT_IN, DAY, Severity
from exporter.model.problems import MEANINGS, Problem
from exporter.model.reasons import Fault, Reason
from exporter.report import calendar, families
from exporter.report.exposition import Exposition
from exporter.report.filters import Selection
from exporter.report.forecast import forecast
from exporter.report.inventory import Entry, Inventory
from exporter.report.json_items import items
from exporter.report.status import URGENCY, Level
from exporter.report.status import worst as worst_level
from tests.golden.scenes import failed, seen
from tests.golden.values import Scene, certificate, facts, intermediate, target
from tests.probes.tls.wire.probing import watching
from tests.report.test_exposition import values
from tests.support.certificates import NOW

LEVELS = {Severity.CRITICAL: Level.CRITICAL, Severity.WARNING: Level.WARNING}

ENDS = {
    *(Problem.PASSED, Problem.SOON, Problem.AUTHORITY_ENDING, Problem.DOMAIN_ENDING),
    *(Problem.SIGNATURE_STALE, Problem.CHAIN_ENDS_FIRST),
}
"""The problems that an end near by may be."""


PAGE = 1000
"""The most endpoints on a page of the API."""

FLEETS = (
    "the demo",
    # So many reach hardly a line more than the small ones.
    pytest.param("more than a page", marks=pytest.mark.no_cover),
    *(f"seed {seed}" for seed in range(10)),
)


def fleet(draw: Random, targets: int) -> Scene:
    """
    So many targets with one to three endpoints each, well and ill in every way.
    """
    scene = Scene()
    for number in range(targets):
        policy = draw.choice(list(BUILT_IN.values()))
        of = target(f"https://{number}.example.com", policy=policy)
        for at in (NOW - 40 * DAY, NOW - DAY, NOW):
            looks = []
            for place in range(draw.randint(1, 3)):
                lifetime, left = draw.choice((6, 90, 398)) * DAY, draw.choice((-3, 1, 5, 20, 60)) * DAY
                end = NOW + left
                name = f"{draw.randint(0, number)}.example.com"
                leaf = certificate(name, begin=end - lifetime, end=end, issuer=draw.choice(("CN=A", "CN=B")))
                above = intermediate(end=NOW + draw.choice((30, 4000)) * DAY)
                label = f"192.0.2.{place}:443"
                if draw.random() < 0.2:
                    looks.append(failed(draw.choice(list(Reason)), label))
                else:
                    looks.append(seen(facts(leaf, above), label))
            scene.see(of, *looks, found=draw.sample(list(Fault), draw.choice((0, 0, 0, 1, 2))), at=at)
    return scene


def scrape(scene: Scene) -> Scrape:
    """
    The fleet as a scrape, with its problems.
    """
    rows = scene.rows()
    found = problem_rows(scene.memory, scene.faults, rows, NOW)
    results = tuple(TargetResult(of, (), located=True) for of in scene.faults)
    targets = tuple(scene.targets())
    return Scrape(targets, tuple(rows), results, 0.1, 9.5, complete=True, at=NOW, problems=found)


async def demonstrated(directory: Path) -> Scrape:
    """
    The demo's endpoints as they are scraped.
    """
    demo = await endpoints.start(NOW, str(directory))
    try:
        async with watching() as monitor:
            return await monitor.scrape(demo.targets, 5.0)
    finally:
        await demo.close()


@pytest.fixture(scope="module", params=FLEETS)
def found(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Scrape:
    """
    A scrape of each fleet.
    """
    name: str = request.param
    if name == "the demo":
        return asyncio.run(demonstrated(tmp_path_factory.mktemp("demo")))
    if name == "more than a page":
        made = scrape(fleet(Random(3000), 600))
        assert PAGE < len(made.endpoints) < 2 * PAGE
        return made
    return scrape(fleet(Random(int(name.removeprefix("seed "))), 40))


def all_items(inventory: Inventory) -> Iterator[Mapping[str, Any]]:
    """
    What the API lists on all of its pages.
    """
    page, pages = 1, 1
    while page <= pages:
        head, documents = items(inventory, Selection(limit=PAGE, page=page), NOW)
        pages = cast("int", head["pages"])
        page += 1
        yield from documents


def worst(found: list[ProblemRow]) -> Level:
    """
    The level of a target as its exported problems have it.
    """
    levels = [
        Level.UNKNOWN
        if row.found.onset.problem is Problem.PROBE_FAILING and row.found.onset.severity is Severity.WARNING
        else LEVELS[row.found.onset.severity]
        for row in found
    ]
    return worst_level(levels)


def test_a_target_is_as_urgent_on_the_page_as_its_worst_problem(found: Scrape) -> None:
    """
    And every finding that is urgent is a problem, or a probe that failed a moment ago.
    """
    inventory = Inventory(found)
    problems: dict[str, list[ProblemRow]] = {}
    for row in found.problems:
        problems.setdefault(row.found.onset.known.target.name, []).append(row)
    entries: dict[str, list[Entry]] = {}
    for entry in inventory.entries(NOW):
        entries.setdefault(entry.row.target.name, []).append(entry)
    for name, shown_there in entries.items():
        there = problems.get(name, [])
        failing = any(
            one.problem is None and one.level is Level.UNKNOWN
            for entry in shown_there
            for one in inventory.status(entry.row, NOW).findings
        )
        shown = worst_level(entry.level for entry in shown_there)
        assert shown is worst_level([worst(there), *[Level.UNKNOWN] * failing])
        for entry in shown_there:
            for one in inventory.status(entry.row, NOW).findings:
                assert one.problem is not None or one.level in {Level.OK, Level.UNKNOWN}


def test_page_table_api_and_forecast_name_the_same_problems(found: Scrape) -> None:
    """
    Those that are exported, without those that others of the same endpoint and item hide.
    """
    inventory = Inventory(found)
    exported = {row.found.onset.key for row in found.problems}
    firing = {
        (one.target, one.item, one.name, one.severity) for one in forecast(found.endpoints, NOW, 0).alerts
    }
    assert firing == {(name, item, MEANINGS[problem].alert, level) for name, item, problem, level in exported}
    shown = {
        (row.target.name, one.item or "", one.problem)
        for row in found.endpoints
        for one in inventory.status(row, NOW).findings
        if one.problem is not None
    }
    assert shown <= {(name, item, problem) for name, item, problem, _ in exported}
    hidden = {(name, item, problem) for name, item, problem, _ in exported} - shown
    hiding = {(name, item, other) for name, item, problem in shown for other in MEANINGS[problem].hides}
    covering = {(name, other) for name, _, problem in shown for other in MEANINGS[problem].covers}
    assert {one for one in hidden - hiding if (one[0], one[2]) not in covering} == set()
    documents = list(all_items(inventory))
    listed = {
        (one["target"], what["item"] or "", what["problem"])
        for one in documents
        for what in one["findings"]
        if what["problem"] is not None
    }
    assert listed == shown
    lines = {
        (entry.row.target.name, what.item or "", what.problem)
        for entry in check.entries(inventory, NOW)
        for line in entry.lines
        for what in line.findings
        if what.problem is not None
    }
    assert lines == shown


def urgencies(found: Scrape) -> dict[tuple[str, ...], float]:
    """
    How urgent each endpoint is that is not OK, by target, location and problem, as it is exported. All other
    series of many endpoints take the reference library seconds to read, and are not looked at.
    """
    text = Exposition().text(found.targets, found.endpoints, {}, found.problems, found.at)
    name = families.URGENCY.name
    lines = [
        line
        for line in text.splitlines(keepends=True)
        if line.startswith((name, f"# HELP {name} ", f"# TYPE {name} "))
    ]
    return values("".join(lines), name, "target", "location", "problem")


def test_each_endpoint_is_counted_once_and_everywhere_the_same(found: Scrape) -> None:
    """
    By its worst problem: in the metrics, from which dashboards count, on the page, in the API and by `check`.
    """
    inventory = Inventory(found)
    entries = inventory.entries(NOW)
    assert urgencies(found) == {
        (entry.row.target.name, entry.row.label, first.problem or ""): float(URGENCY.index(entry.level))
        for entry in entries
        if entry.level
        for first in inventory.status(entry.row, NOW).findings[:1]
    }
    counts = Counter(entry.level for entry in entries)
    assert +Counter(inventory.counts(NOW)) == counts
    assert Counter(one.level for one in check.entries(inventory, NOW)) == counts
    listed = {(one["target"], one["location"]): one["level"] for one in all_items(inventory)}
    assert Counter(listed.values()) == {level.name.lower(): count for level, count in counts.items()}
    summary = io.StringIO()
    check.print_table(inventory, NOW, summary)
    told = ", ".join(f"{counts[level]} {level.name.lower()}" for level in reversed(URGENCY))
    assert summary.getvalue().splitlines()[-1] == told


def test_deadlines_in_the_calendar_that_have_passed_are_urgent_on_the_page(found: Scrape) -> None:
    """
    And the other way round: what ends too soon is past its moment in the calendar.
    """
    inventory = Inventory(found)
    entries = inventory.entries(NOW)
    moments = [one for one in calendar.moments(entries) if one.key == "critical" and one.when <= NOW]
    passed = {(one.place.row.target.name, one.place.judged.item.name) for one in moments}
    ending = {*ENDS, Problem.NOT_DEPLOYED}
    critical = {
        (name, item)
        for name, item, problem, severity in (row.found.onset.key for row in found.problems)
        if problem in ending and severity is Severity.CRITICAL
    }
    assert critical == passed
    urgent = {entry.row.target.name for entry in entries if entry.level is Level.CRITICAL}
    assert {name for name, _ in passed} <= urgent


def test_what_dashboards_count_as_not_seen_is_so_on_the_page(found: Scrape) -> None:
    """
    From the first failed probe on: as a problem, or as one that is told if it lasts. Never as both.
    """
    inventory = Inventory(found)
    waiting = [one.onset.key for one in pending((row.known for row in found.endpoints), NOW)]
    failing = Problem.PROBE_FAILING
    lasting = {row.found.onset.key[0] for row in found.problems if row.found.onset.problem is failing}
    assert {(problem, severity) for _, _, problem, severity in waiting} <= {(failing, Severity.WARNING)}
    names = [name for name, *_ in waiting]
    assert len(names) == len(set(names))
    assert lasting & set(names) == set()
    assert lasting | set(names) == {
        row.target.name
        for row in found.endpoints
        for one in inventory.status(row, NOW).findings
        if one.reason in list(Reason) and one.level is not Level.OK
    }
