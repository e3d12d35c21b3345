"""
The files that ship: written where they are asked for, with the user's labels, and never over the user's own.
"""

from pathlib import Path

import pytest
import yaml

from exporter.bundle import BundleError, write_alerts

ALERTS = Path(__file__).parents[1] / "alerts"


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
