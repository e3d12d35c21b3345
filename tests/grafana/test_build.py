"""
The JSON comes from the builder, and says what the alerts and the exporter say.
"""

import json
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from exporter.model.policies import Severity
from exporter.model.problems import Problem
from exporter.model.reasons import Fault, Hazard, Reason
from grafana import meanings
from grafana import panels as palette
from grafana.__main__ import texts
from grafana.queries import UNCHECKED
from tests.grafana.written import DASHBOARDS, DIRECTORY, panels


@pytest.mark.parametrize("name", texts())
def test_building_again_gives_the_same_bytes(name: str) -> None:
    """
    If not: `python -m grafana`, and look at the difference.
    """
    assert (DIRECTORY / name).read_bytes() == texts()[name].encode("utf-8")


def test_nothing_else_is_shipped() -> None:
    """
    Every JSON file comes from a module.
    """
    assert {path.name for path in DIRECTORY.glob("*.json")} == set(texts())


def test_the_dashboards_keep_their_addresses() -> None:
    """
    Links and bookmarks go by the uid, and it must be short (40 characters) and unique.
    """
    assert {name: one["uid"] for name, one in DASHBOARDS.items()} == {
        name: f"expiry-{name}" for name in ("exporter", "fleet", "target")
    }


def words_of(mappings: Sequence[Any]) -> set[str]:
    """
    The values that have a word.
    """
    (only,) = mappings
    options = only.to_json()["options"]
    assert isinstance(options, dict)
    return set(options)


def test_every_problem_has_its_words_and_its_runbook() -> None:
    """
    A new one shall not stand there as a bare name. No alert tells of what is not checked.
    """
    assert words_of(meanings.RUNBOOKS) == set(Problem)
    assert words_of(meanings.PROBLEMS) == {*Problem, UNCHECKED}
    worst = {f"{severity} {problem}" for problem in Problem for severity in Severity}
    assert words_of(meanings.WORST) == worst | {f"unknown {UNCHECKED}", meanings.NOTHING}


def test_every_reason_has_advice() -> None:
    """
    A new one shall not be shown without saying what to do.
    """
    assert {*Reason, *Fault, *Hazard} <= words_of(meanings.ADVICE)


ROOM = 144
"""Characters in two lines of the column of advice, where a window has 1600 pixels: Grafana cuts others."""


def test_advice_about_a_reason_has_room_in_its_cell() -> None:
    """
    The first words of a third line are cut off, and so is the line.
    """
    (only,) = meanings.ADVICE
    options: Any = only.to_json()["options"]
    assert {value: one.text for value, one in options.items() if len(one.text) > ROOM} == {}


def test_what_clients_refuse_has_the_colour_of_a_warning() -> None:
    """
    As on the page and in alerts: whether it is critical is for the problem to say.
    """
    for mappings, value in ((meanings.SORTS, "refused"), (meanings.HEALTH, "2")):
        (only,) = mappings
        options: Any = only.to_json()["options"]
        assert options[value].color == palette.WARNING


def test_a_target_that_was_never_seen_has_words_in_each_graph() -> None:
    """
    "No data" would not say what to wait for.
    """
    graphs = [one for one in panels(DASHBOARDS["target"]) if one["type"] in {"state-timeline", "timeseries"}]
    words = {one["title"]: one["fieldConfig"]["defaults"]["noValue"] for one in graphs}
    assert set(words) == {"What is served: when it expires", "Probe results", "Time left", "Probe duration"}
    assert all(" in this time, or not yet: " in text for text in words.values())


@pytest.mark.parametrize("name", DASHBOARDS)
def test_every_panel_says_what_it_waits_for(name: str) -> None:
    """
    Words of its own, where it has room: "no data" would leave a newcomer to guess.
    """
    words = {one["title"]: one["fieldConfig"]["defaults"]["noValue"] for one in panels(DASHBOARDS[name])}
    assert [title for title, text in words.items() if text in {"no data", "nothing"}] == []
    large = {one["title"] for one in panels(DASHBOARDS[name]) if one["type"] != "stat"}
    assert [title for title in large if len(words[title].split()) < 3] == []


@pytest.mark.parametrize("name", DASHBOARDS)
def test_durations_in_tables_have_the_digits_that_grafana_chooses(name: str) -> None:
    """
    It turns seconds below one into milliseconds, of which decimals are noise.
    """
    for one in panels(DASHBOARDS[name]):
        for override in one["fieldConfig"].get("overrides", []):
            found = {each["id"]: each["value"] for each in override["properties"]}
            assert found.get("unit") != "s" or "decimals" not in found, one["title"]


SMALL_WORDS = {
    *("a", "all", "and", "are", "as", "by", "each", "from", "here", "how", "is", "it", "of", "on"),
    *("that", "the", "there", "they", "to", "what", "where", "who"),
}


def content(title: str) -> frozenset[str]:
    """
    The words of a title that say something, without their plural.
    """
    return frozenset(re.findall(r"[a-z]+", title.lower().replace("s ", " ").removesuffix("s"))) - SMALL_WORDS


@pytest.mark.parametrize("name", DASHBOARDS)
def test_no_title_is_said_twice(name: str) -> None:
    """
    No two panels differ by a plural only, and the heading of a row does not say what its panels say already.
    """
    titles = [content(one["title"]) for one in panels(DASHBOARDS[name])]
    assert [set(one) for one, count in Counter(titles).items() if count > 1] == []
    heading = ""
    for one in DASHBOARDS[name]["panels"]:
        if one["type"] == "row":
            heading = one["title"]
        elif heading and (mine := content(one["title"])) and (above := content(heading)):
            assert not mine <= above, (heading, one["title"])
            assert not above <= mine, (heading, one["title"])


def test_every_share_says_of_what() -> None:
    """
    In its title, which stands above the number: 4 % alone may be of anything.
    """
    shares = {
        one["title"]
        for dashboard in DASHBOARDS.values()
        for one in panels(dashboard)
        if one["fieldConfig"]["defaults"].get("unit") == "percentunit"
    }
    assert shares == {"Timeout used", "Endpoints that fail", "CPU, of one core", "Open files, of the limit"}


def test_bars_have_the_words_that_tables_have() -> None:
    """
    A kind of item is called the same in both.
    """
    (bars,) = (one for one in panels(DASHBOARDS["fleet"]) if one["title"] == "Items by kind")
    named = {
        one["matcher"]["options"]: one["properties"][0]["value"] for one in bars["fieldConfig"]["overrides"]
    }
    assert named == meanings.KIND_NAMES


def test_no_panel_needs_recorded_series() -> None:
    """
    The dashboards work without the alerting rules; only the annotations come from alerts.
    """
    for dashboard in DASHBOARDS.values():
        text = json.dumps(dashboard["panels"])
        assert "expiry:" not in text
        assert "ALERTS" not in text
        assert "ALERTS" in json.dumps(dashboard["annotations"])


@pytest.mark.parametrize("name", DASHBOARDS)
def test_the_json_imports_as_it_is(name: str) -> None:
    """
    Nothing to fill in, no number of another Grafana's database, and the least version is one that was tried.
    """
    one = DASHBOARDS[name]
    assert "__inputs" not in one
    assert one.get("id") is None
    needed = {(need["type"], need["id"]): need["version"] for need in one["__requires"]}
    used = {panel["type"] for panel in one["panels"]} - {"row"}
    assert {number for kind, number in needed if kind == "panel"} == used
    assert ("datasource", "prometheus") in needed
    package = json.loads((DIRECTORY.parent / "tests/grafana/render/web/package.json").read_bytes())
    assert needed["grafana", "grafana"] == package["dependencies"]["@grafana/ui"]
