"""
The files that ship: written where they are asked for, with the user's labels, and never over the user's own.
"""

import json
from pathlib import Path

import pytest
import yaml

from exporter.bundle import BundleError, write_alerts, write_dashboards

ALERTS = Path(__file__).parents[1] / "alerts"
GRAFANA = Path(__file__).parents[1] / "grafana"


def test_all_files_are_written_as_they_are(tmp_path: Path) -> None:
    """
    Rules, example, templates and runbooks; not the rules' own tests.
    """
    written = write_alerts(tmp_path / "new" / "alerts", (), force=False)
    shipped = sorted(
        path for path in ALERTS.rglob("*") if path.is_file() and not path.name.endswith(".test.yml")
    )
    assert [path.relative_to(tmp_path / "new" / "alerts") for path in written] == [
        path.relative_to(ALERTS) for path in shipped
    ]
    assert [path.read_bytes() for path in written] == [path.read_bytes() for path in shipped]


def test_the_rules_carry_the_labels_that_are_named(tmp_path: Path) -> None:
    """
    Every join with the targets' labels has them, and the rules are still rules.
    """
    write_alerts(tmp_path, ("squad", "cost_centre"), force=False)
    text = (tmp_path / "rules.yml").read_text()
    assert text.count("group_left (squad, cost_centre)") == 2
    assert "group_left (team" not in text
    assert yaml.safe_load(text)["groups"]


def test_files_that_exist_are_kept(tmp_path: Path) -> None:
    """
    Nothing is written when one of them exists, and the message names it; --force replaces it.
    """
    own = tmp_path / "alertmanager.yml"
    own.write_text("mine")
    with pytest.raises(BundleError, match=r"alertmanager\.yml"):
        write_alerts(tmp_path, (), force=False)
    assert own.read_text() == "mine"
    assert not (tmp_path / "rules.yml").exists()
    write_alerts(tmp_path, (), force=True)
    assert own.read_text() == (ALERTS / "alertmanager.yml").read_text()


@pytest.mark.parametrize("label", ["a-b", "", "1st", "team)", "ü"])
def test_what_is_no_label_name_is_refused(tmp_path: Path, label: str) -> None:
    """
    It would make rules that Prometheus refuses.
    """
    with pytest.raises(BundleError, match="label name"):
        write_alerts(tmp_path, (label,), force=False)


def test_a_place_that_can_not_be_written_is_said(tmp_path: Path) -> None:
    """
    Here a file stands where the directory should be.
    """
    (tmp_path / "file").write_text("")
    with pytest.raises(BundleError, match="can't write"):
        write_alerts(tmp_path / "file" / "alerts", (), force=False)


def test_the_dashboards_are_written_as_they_are(tmp_path: Path) -> None:
    """
    Each under a name that says whose it is, and not what they are built with.
    """
    written = write_dashboards(tmp_path / "new", None, force=False)
    names = ["expiry-exporter.json", "expiry-fleet.json", "expiry-target.json"]
    assert written == [tmp_path / "new" / name for name in names]
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == names
    for path in written:
        assert path.read_bytes() == (GRAFANA / path.name.removeprefix("expiry-")).read_bytes()


def test_the_dashboards_link_to_the_status_page_that_is_named(tmp_path: Path) -> None:
    """
    It stands in the text box from the beginning, whatever characters it has.
    """
    url = 'https://expiry.example.com/"quoted"\\path'
    for path in write_dashboards(tmp_path, url, force=False):
        variables = json.loads(path.read_text())["templating"]["list"]
        (status,) = (one for one in variables if one["name"] == "status")
        assert status["query"] == url
        assert status["current"]["value"] == url


def test_dashboards_that_exist_are_kept(tmp_path: Path) -> None:
    """
    Somebody may have changed them; --force replaces them.
    """
    own = tmp_path / "expiry-fleet.json"
    own.write_text("mine")
    with pytest.raises(BundleError, match=r"expiry-fleet\.json"):
        write_dashboards(tmp_path, None, force=False)
    assert own.read_text() == "mine"
    assert not (tmp_path / "expiry-target.json").exists()
    write_dashboards(tmp_path, None, force=True)
    assert own.read_bytes() == (GRAFANA / "fleet.json").read_bytes()
