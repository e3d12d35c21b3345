"""
Every dashboard in Chromium, drawn by Grafana's front-end libraries, over a real Prometheus.
"""

import json

import pytest

from tests.grafana.render.__main__ import CHOSEN, THEMES
from tests.grafana.render.browser import SOURCES, Renderer
from tests.grafana.render.history import DEMO, INSTANCES
from tests.grafana.written import DASHBOARDS, Json, panels
from tests.support.prometheus import Prometheus
from tests.support.readme import REPOSITORY

# A week of scrapes repeats what a few reach, and any of these tests may be the first to ask for it.
pytestmark = pytest.mark.no_cover

PICTURES = REPOSITORY / ".tests" / "pictures"

EMPTY_OF_DEMO = {
    "target": {"Targets with the same certificate": "each endpoint of the demo has its own"},
    "exporter": {"State saved": "the demo keeps no state", "Sources": "its targets are not discovered"},
}
"""Panels without data for the demo, and why."""

EMPTY_OF_FLEET = {
    "target": {"Targets with the same certificate": "the chosen one shares it with none"},
    "exporter": {"Sources": "its targets are not discovered"},
}
"""Panels without data for the fleet, and why."""

WORDLESS = {"target": {"Policy": "it shows the name of a series, and there is none"}}
"""Panels that say nothing when there is no data, and why."""

HEIGHTS_OF_HEADERS = """
[...document.querySelectorAll('[role=row]:has([role=columnheader])')].map((row) => new Set(
  [...row.querySelectorAll('[role=columnheader]')].map((cell) => cell.getBoundingClientRect().top)
).size)
"""
"""Of each table, at how many heights the headers of its columns stand."""

LARGEST = 400_000
"""Bytes of a picture in the README."""


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("name", DASHBOARDS)
def test_every_panel_shows_the_fleet(renderer: Renderer, known: Prometheus, name: str, theme: str) -> None:
    """
    Each has data and shows it, nothing is refused or complained about, and there is a picture of it.
    """
    chosen_theme = next(one for one in THEMES if one == theme)
    with renderer.show(DASHBOARDS[name], f"http://{known.address}", chosen_theme, CHOSEN) as shown:
        picture = shown.small_picture()
        PICTURES.mkdir(parents=True, exist_ok=True)
        (PICTURES / f"{name}-{theme}.png").write_bytes(picture)
        assert shown.errors == []
        assert shown.empty == set(EMPTY_OF_FLEET.get(name, {}))
        assert shown.blank == set()
        assert {panel.title for panel in shown.panels} == {one["title"] for one in panels(DASHBOARDS[name])}
        # Without the styles of the libraries everything is there, and one below the other.
        heights = shown.page.evaluate(HEIGHTS_OF_HEADERS)
        assert heights
        assert set(heights) == {1}
    assert len(picture) < LARGEST


def test_each_exporter_tells_once_what_it_is(known: Prometheus) -> None:
    """
    As real ones do: two such series would be two rows of one exporter, the one without its version.
    """
    found = known.query("count by (job, instance) (expiry_build_info)")
    assert {one.value for one in found} == {1.0}
    assert len(found) == len(INSTANCES) + 1
    assert {"", None} & {one.labels.get("version") for one in known.query("expiry_build_info")} == set()


@pytest.mark.parametrize("name", DASHBOARDS)
def test_every_panel_shows_the_demo(renderer: Renderer, known: Prometheus, name: str) -> None:
    """
    Of a real exporter, whose demo has been scraped for moments only.
    """
    chosen = {"job": DEMO, "target": "expired"}
    dashboard = {**DASHBOARDS[name], "time": {"from": "now-2m", "to": "now"}}
    with renderer.show(dashboard, f"http://{known.address}", "dark", chosen) as shown:
        assert shown.errors == []
        assert shown.empty == set(EMPTY_OF_DEMO.get(name, {}))
        assert shown.blank == set()


def test_the_year_ahead_has_its_words_where_all_renews_itself(renderer: Renderer, known: Prometheus) -> None:
    """
    One of the panel's two queries gives nothing then.
    """
    with renderer.show(DASHBOARDS["fleet"], f"http://{known.address}", "dark", {"job": DEMO}) as shown:
        assert shown.page.get_by_text("renews itself", exact=True).count() == 1
        assert shown.page.get_by_text("Value", exact=True).count() == 1, "the variable's label"


@pytest.mark.parametrize("name", DASHBOARDS)
def test_without_data_every_panel_says_so(renderer: Renderer, ignorant: Prometheus, name: str) -> None:
    """
    Nothing is known, nothing breaks, and nothing is left white.
    """
    with renderer.show(DASHBOARDS[name], f"http://{ignorant.address}", "light") as shown:
        assert shown.errors == []
        assert shown.empty == {one["title"] for one in panels(DASHBOARDS[name])}
        assert {panel.title for panel in shown.panels if not panel.drawn} == set(WORDLESS.get(name, {}))


def test_the_lock_file_says_nothing_of_where_packages_come_from() -> None:
    """
    Each machine has its own registry; what a package has to be is said by its hash.
    """
    lock = json.loads((SOURCES / "package-lock.json").read_text(encoding="utf-8"))
    packages = {name: package for name, package in lock["packages"].items() if name}
    assert packages
    assert [name for name, package in packages.items() if "resolved" in package] == []
    assert [name for name, package in packages.items() if "integrity" not in package] == []


def small(*made: Json) -> Json:
    """
    A dashboard of these panels, one below the other.
    """
    variables = [
        {"name": "datasource", "type": "datasource", "query": "prometheus"},
        {"name": "word", "type": "constant", "query": "constant"},
    ]
    placed = [
        {
            "id": number,
            "datasource": {"type": "prometheus", "uid": "$datasource"},
            "fieldConfig": {"defaults": {}, "overrides": []},
            "gridPos": {"x": 0, "y": 6 * number, "w": 12, "h": 6},
            "options": {},
            "title": f"Panel {number}",
            **one,
        }
        for number, one in enumerate(made)
    ]
    return {
        "title": "Small",
        "time": {"from": "now-5m", "to": "now"},
        "templating": {"list": variables},
        "panels": placed,
    }


def asking(expression: str, kind: str = "table", **more: object) -> Json:
    """
    A panel with this query.
    """
    return {"type": kind, "targets": [{"refId": "A", "expr": expression, "instant": True}], **more}


def test_text_has_the_values_of_variables(renderer: Renderer, ignorant: Prometheus) -> None:
    """
    Markdown, and a variable that is a constant.
    """
    text = {"type": "text", "options": {"mode": "markdown", "content": "**One** $word"}}
    with renderer.show(small(text), f"http://{ignorant.address}", "dark") as shown:
        assert shown.errors == []
        assert shown.page.locator("strong").inner_text() == "One"
        assert shown.page.get_by_text("One constant").count() == 1


def test_what_is_wrong_is_found(renderer: Renderer, ignorant: Prometheus) -> None:
    """
    A query that Prometheus refuses, and a property of fields that no such panel has: each with its panel.
    """
    override = {
        "matcher": {"id": "byName", "options": "Value"},
        "properties": [{"id": "custom.colour", "value": "red"}],
    }
    dashboard = small(
        asking("sum("),
        asking("vector(1)", fieldConfig={"defaults": {}, "overrides": [override]}),
        asking("nothing_of_that_name"),
    )
    with renderer.show(dashboard, f"http://{ignorant.address}", "dark") as shown:
        refused, unknown, console = shown.errors
        assert refused.startswith("Panel 0: ")
        assert "parse error" in refused
        assert unknown == "Panel 1: fields of this panel have no property custom.colour"
        assert "400 (Bad Request)" in console
        assert shown.empty == {"Panel 0", "Panel 2"}
