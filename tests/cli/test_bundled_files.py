"""
The files that ship: written where they are asked for, with the user's labels, and never over the user's own.
"""

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from exporter import __version__
from exporter.cli.bundled_files import BundleError, RuleStyle, Written, write_alerts, write_dashboards
from exporter.model.targets import RESERVED_LABELS
from exporter.server.documents import runbooks

ALERTS = Path(__file__).parents[2] / "alerts"
GRAFANA = Path(__file__).parents[2] / "grafana"


def test_all_files_are_written_as_they_are(tmp_path: Path) -> None:
    """
    Rules, example, templates and runbooks; not the rules' own tests.
    """
    written = write_alerts(tmp_path / "new" / "alerts", force=False)
    shipped = sorted(
        path for path in ALERTS.rglob("*") if path.is_file() and not path.name.endswith(".test.yml")
    )
    assert [path.relative_to(tmp_path / "new" / "alerts") for path in written.paths] == [
        path.relative_to(ALERTS) for path in shipped
    ]
    assert [path.read_bytes() for path in written.paths] == [as_written(path) for path in shipped]


def as_written(path: Path) -> bytes:
    """
    A shipped file; the rules name the version that wrote them.
    """
    text = path.read_text(encoding="utf-8")
    if path.name == "rules.yml":
        assert text.startswith("# Alerts of expiry-exporter, ")
        text = text.replace("expiry-exporter", f"expiry-exporter {__version__}", 1)
    return text.encode()


def test_the_rules_link_to_the_runbooks_that_are_named(tmp_path: Path) -> None:
    """
    Each alert to its own file there, and the rules are still rules.
    """
    url = "https://wiki.example.com:8443/it's/~ops/[run]books;a=1,%20b"
    write_alerts(tmp_path, runbooks_url=url, force=False)
    text = (tmp_path / "rules.yml").read_text()
    alerts = [rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"] if "alert" in rule]
    links = {rule["alert"]: rule["annotations"]["runbook_url"] for rule in alerts}
    assert links == {path.stem: f"{url}/{path.name}" for path in (tmp_path / "runbooks").iterdir()}
    assert "github.com" not in text
    checked = subprocess.run(
        ["promtool", "check", "rules", tmp_path / "rules.yml"], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_rules_link_to_the_runbooks_that_the_exporter_serves(tmp_path: Path) -> None:
    """
    Each alert to its page there, and the rules are still rules.
    """
    write_alerts(tmp_path, RuleStyle(external_url="https://expiry.example.com/pages"), force=False)
    text = (tmp_path / "rules.yml").read_text()
    alerts = [rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"] if "alert" in rule]
    for rule in alerts:
        page = f"https://expiry.example.com/pages/runbooks/{rule['alert']}"
        assert rule["annotations"]["runbook_url"] == page
        assert rule["alert"] in runbooks().documents
    assert "github.com" not in text


def test_another_place_of_the_runbooks_is_another_file(tmp_path: Path) -> None:
    """
    Rules with other links are replaced by --force only; the rest is the same with and without them.
    """
    write_alerts(tmp_path, force=False)
    with pytest.raises(BundleError, match=r"are there and differ:\n  .*rules\.yml\n--force"):
        write_alerts(tmp_path, runbooks_url="https://wiki.example.com", force=False)
    written = write_alerts(tmp_path, runbooks_url="https://wiki.example.com", force=True)
    assert written == Written((tmp_path / "rules.yml",))


def test_no_label_of_a_target_takes_the_place_of_one_of_the_rules() -> None:
    """
    Whatever the rules set, leave out or join on is refused as a target's label, but for that of a ruler.
    """
    text = (ALERTS / "rules.yml").read_text()
    rules = [rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]
    used = {name for rule in rules for name in rule.get("labels", ())}
    # The one about rulers reads their series, which are of no target.
    for rule in (one for one in rules if one.get("alert") != "ExpiryRulesFailing"):
        for names in re.findall(r"\b(?:on|by|without) \(([a-z_0-9, ]+)\)", rule["expr"]):
            used |= set(names.split(", "))
    assert {"heartbeat", "severity", "job", "target", "endpoint", "pod", "problem"} <= used
    assert "location" in RESERVED_LABELS
    # The exporter's own series have it, and no target's.
    assert used - {"cluster", "shard"} <= RESERVED_LABELS


def test_writing_again_writes_nothing(tmp_path: Path) -> None:
    """
    Files that are the same already are no conflict, and are not touched.
    """
    write_alerts(tmp_path, force=False)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert write_alerts(tmp_path, force=False) == Written(())
    assert write_alerts(tmp_path, force=True) == Written(())
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_files_that_differ_are_kept(tmp_path: Path) -> None:
    """
    Nothing is written, each has a line of its own; --force replaces them, and only them.
    """
    write_alerts(tmp_path, force=False)
    (tmp_path / "runbooks" / "ExpirySoon.md").unlink()
    own = [tmp_path / "rules.yml", tmp_path / "runbooks" / "ExpiryPassed.md"]
    for path in own:
        path.write_bytes(b"mine \xff")
    with pytest.raises(BundleError) as raised:
        write_alerts(tmp_path, force=False)
    assert str(raised.value).splitlines() == [
        "nothing was written, these files are there and differ:",
        *(f"  {path}" for path in own),
        "--force replaces them; alertmanager.yml is never replaced",
    ]
    assert [path.read_bytes() for path in own] == [b"mine \xff"] * 2
    assert not (tmp_path / "runbooks" / "ExpirySoon.md").exists()
    written = write_alerts(tmp_path, force=True)
    assert written.paths == (*own, tmp_path / "runbooks" / "ExpirySoon.md")
    for path in written.paths:
        assert path.read_bytes() == as_written(ALERTS / path.relative_to(tmp_path))


@pytest.mark.parametrize("force", [False, True])
def test_the_example_is_the_users_once_it_is_written(tmp_path: Path, *, force: bool) -> None:
    """
    Receivers and routes are theirs: another alertmanager.yml is never replaced, and nothing waits for that.
    """
    own = tmp_path / "alertmanager.yml"
    own.write_text("mine")
    written = write_alerts(tmp_path, force=force)
    assert own.read_text() == "mine"
    assert written.kept == (own,)
    assert own not in written.paths
    assert tmp_path / "rules.yml" in written.paths


def test_a_directory_in_the_place_of_a_file_is_said(tmp_path: Path) -> None:
    """
    It can't be compared, and is not replaced.
    """
    (tmp_path / "rules.yml").mkdir()
    with pytest.raises(BundleError, match=r"can't read what is at .*rules\.yml"):
        write_alerts(tmp_path, force=True)


def test_a_place_that_can_not_be_written_is_said(tmp_path: Path) -> None:
    """
    Here a file stands where the directory should be.
    """
    (tmp_path / "file").write_text("")
    with pytest.raises(BundleError, match="can't write"):
        write_alerts(tmp_path / "file" / "alerts", force=False)


def test_the_dashboards_are_written_as_they_are(tmp_path: Path) -> None:
    """
    Each under a name that says whose it is, and not what they are built with.
    """
    written = write_dashboards(tmp_path / "new", None, force=False)
    names = ["expiry-exporter.json", "expiry-fleet.json", "expiry-target.json"]
    assert written == Written(tuple(tmp_path / "new" / name for name in names))
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == names
    for path in written.paths:
        assert path.read_bytes() == (GRAFANA / path.name.removeprefix("expiry-")).read_bytes()


def test_the_dashboards_link_to_the_status_page_that_is_named(tmp_path: Path) -> None:
    """
    It stands in the text box from the beginning, whatever characters it has.
    """
    url = 'https://expiry.example.com/"quoted"\\path'
    for path in write_dashboards(tmp_path, url, force=False).paths:
        variables = json.loads(path.read_text())["templating"]["list"]
        (status,) = (one for one in variables if one["name"] == "status")
        assert status["query"] == url
        assert status["current"]["value"] == url


def test_the_dashboards_link_to_the_runbooks_that_are_named(tmp_path: Path) -> None:
    """
    Every link to a runbook, and nothing else, is another.
    """
    url = "https://wiki.example.com/runbooks"
    usual = "https://github.com/expiry-exporter/expiry-exporter/blob/main/alerts/runbooks"
    for path in write_dashboards(tmp_path, None, runbooks_url=url, force=False).paths:
        shipped = (GRAFANA / path.name.removeprefix("expiry-")).read_text()
        written = path.read_text()
        assert url in written
        assert usual not in written
        assert written.replace(url, usual) == shipped


def test_the_dashboards_link_to_the_runbooks_that_the_exporter_serves(tmp_path: Path) -> None:
    """
    To the list of all, to one that is named, and to that of the alert in a cell. A place that is named for
    runbooks goes before.
    """
    links = set()
    for path in write_dashboards(tmp_path, "https://e.example", force=False).paths:
        text = path.read_text()
        assert "github.com/expiry-exporter/expiry-exporter/blob/main/alerts" not in text
        links |= set(re.findall(r"https://e\.example/runbooks/[^\"]*", text))
    assert {"", "ExpiryExporterDown", "ExpiryNotDeployed"} <= {link.rpartition("/")[2] for link in links}
    assert not any(link.endswith(".md") for link in links)
    wiki = "https://wiki.example.com"
    for path in write_dashboards(tmp_path / "b", "https://e.example", runbooks_url=wiki, force=False).paths:
        assert "https://e.example/runbooks" not in path.read_text()


def test_dashboards_that_differ_are_kept(tmp_path: Path) -> None:
    """
    Somebody may have changed them; --force replaces them, and those that are the same are left alone.
    """
    write_dashboards(tmp_path, None, force=False)
    own = tmp_path / "expiry-fleet.json"
    own.write_text("mine")
    with pytest.raises(BundleError) as raised:
        write_dashboards(tmp_path, None, force=False)
    assert str(raised.value).splitlines() == [
        "nothing was written, these files are there and differ:",
        f"  {own}",
        "--force replaces them",
    ]
    assert own.read_text() == "mine"
    assert write_dashboards(tmp_path, None, force=True) == Written((own,))
    assert own.read_bytes() == (GRAFANA / "fleet.json").read_bytes()
