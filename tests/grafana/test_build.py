"""
The JSON comes from the builder, and says what the alerts and the exporter say.
"""

import json

import pytest

from exporter.model.reasons import Fault, Hazard, Reason
from grafana import meanings, queries
from grafana.__main__ import texts
from tests.grafana.written import DASHBOARDS, DIRECTORY


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


def test_every_alert_of_a_problem_has_a_runbook() -> None:
    """
    A click on it must lead somewhere.
    """
    alerts = {one.alert for one in queries.problems()}
    assert alerts
    assert [
        name for name in alerts if not (DIRECTORY.parent / "alerts/runbooks" / f"{name}.md").is_file()
    ] == []


def test_ranks_are_in_order() -> None:
    """
    What sorts the table is what the words are looked up by.
    """
    ranks = [one.rank for one in queries.problems()]
    assert ranks == list(range(1, len(ranks) + 1))


def test_every_reason_has_advice() -> None:
    """
    A new one shall not be shown without saying what to do.
    """
    advice = meanings.ADVICE[0].to_json()["options"]
    assert isinstance(advice, dict)
    assert {*Reason, *Fault, *Hazard} <= set(advice)
    items = {one.alert for one in queries.problems() if one.sort in {queries.Sort.END, queries.Sort.ITEM}}
    assert items <= set(advice)


def test_no_panel_needs_recorded_series() -> None:
    """
    The dashboards work without the alerting rules; only the annotations come from alerts.
    """
    for dashboard in DASHBOARDS.values():
        text = json.dumps(dashboard["panels"])
        assert "expiry:" not in text
        assert "ALERTS" not in text
        assert "ALERTS" in json.dumps(dashboard["annotations"])
