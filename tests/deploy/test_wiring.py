"""
What compose starts, on loopback: the same files, with Debian's Prometheus and Alertmanager.
"""

from pathlib import Path
from typing import Any

import yaml

from exporter.cli import main
from tests.support.alertmanager import alertmanager
from tests.support.processes import wait_until
from tests.support.prometheus import exporter, prometheus

MOST_SECONDS = 120
"""From an empty directory to an alert."""

MOUNTED = "/etc/expiry-exporter"


def test_from_an_empty_directory_to_a_firing_alert(tmp_path: Path) -> None:
    """
    One command writes the files; with nothing but the addresses replaced, the alert of the example fires.
    """
    assert main.main(["deploy", "compose", f"--output-dir={tmp_path}"]) == 0
    configuration = tmp_path / "expiry-exporter" / "expiry.yml"
    configuration.write_text(configuration.read_text().replace(MOUNTED, str(configuration.parent)))
    wiring = (tmp_path / "prometheus" / "prometheus.yml").read_text()
    own = tmp_path / "alertmanager"
    with (
        exporter(configuration, "--state.path=none") as ours,
        alertmanager(own, own / "alertmanager.yml") as receiver,
    ):
        wiring = wiring.replace("expiry-exporter:10119", ours.address)
        wiring = wiring.replace("alertmanager:9093", receiver.address)
        with prometheus(tmp_path / "prometheus", yaml.safe_load(wiring)):
            found: list[dict[str, Any]] = []

            def fires() -> bool:
                found[:] = [one for one in receiver.alerts() if one["labels"]["alertname"] == "ExpiryPassed"]
                return bool(found)

            wait_until(fires, deadline=MOST_SECONDS, what="the example's alert is in Alertmanager")
    assert {one["labels"]["target"] for one in found} == {"example-that-has-run-out"}
    assert {one["status"]["state"] for one in found} == {"active"}
