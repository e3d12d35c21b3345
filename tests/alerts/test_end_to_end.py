"""
From a certificate that runs out to the pager: nginx, the exporter, Prometheus and Alertmanager, all real.
"""

import contextlib
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from exporter.demo.minter import Minted, root
from tests.support.alertmanager import Inbox, alertmanager, inbox, local_configuration
from tests.support.certificates import DAY, write_pair
from tests.support.processes import Running, answers, free_port, listening, running, wait_until
from tests.support.prometheus import Prometheus, prometheus
from tests.support.servers import Site, nginx

PATIENCE = 60.0
RULES = Path(__file__).parents[2] / "alerts" / "rules.yml"
PAGER = "secret of pagerduty-on-call"

LIFETIME = 20.0
"""Seconds from the start of the test to the end of the certificate that runs out in it."""


@dataclass(frozen=True, slots=True)
class Stage:
    """
    What the test acts on.
    """

    directory: Path
    authority: Minted
    inbox: Inbox
    served: Running
    """Serves what runs out."""
    elsewhere: int
    """Port of another target for the same name, where nothing listens at first."""
    near: contextlib.ExitStack
    """Closing it stops the server whose certificate has two days left."""


def minted(authority: Minted, name: str, end: float) -> Minted:
    """
    A certificate of ninety days for the name.
    """
    return authority.issue(name, [name], not_before=end - 90 * DAY, not_after=end)


@contextlib.contextmanager
def serving_at(directory: Path, port: int, one: Minted) -> Iterator[Running]:
    """
    An nginx that serves the certificate in `served.pem` at this port, and reads it again when it is told to.

    It has a master process, as in production: without one nginx can't be told.
    """
    certificate, key = write_pair(directory, "served", [one])
    configuration = directory / "nginx.conf"
    temporary = "".join(
        f"{kind}_temp_path {directory}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    configuration.write_text(
        f"daemon off;\nerror_log stderr;\npid {directory}/nginx.pid;\nevents {{}}\n"
        f"http {{ access_log off;\n{temporary}server {{ listen 127.0.0.1:{port} ssl;"
        f" ssl_certificate {certificate}; ssl_certificate_key {key}; return 200; }} }}\n"
    )
    command: list[str | Path] = ["nginx", "-e", "stderr", "-p", directory, "-c", configuration]
    with running(command, ready=listening(port)) as process:
        yield process


@contextlib.contextmanager
def exporting(stage: Stage, port: int) -> Iterator[None]:
    """
    The exporter as a user starts it, with its state kept.
    """
    command = ["-m", "exporter", f"--config.file={stage.directory / 'expiry.yml'}"]
    flags = [f"--state.path={stage.directory / 'state.sqlite'}", f"--web.listen-address=127.0.0.1:{port}"]
    with running([sys.executable, *command, *flags], ready=answers(f"http://127.0.0.1:{port}/-/ready")):
        yield


@contextlib.contextmanager
def prometheus_of(stage: Stage, exporter_port: int, alertmanager_address: str) -> Iterator[Prometheus]:
    """
    A Prometheus with the shipped rules, which looks and judges every second.
    """
    configuration: Mapping[str, Any] = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(RULES)],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [alertmanager_address]}]}]},
        "scrape_configs": [
            {"job_name": "expiry", "static_configs": [{"targets": [f"127.0.0.1:{exporter_port}"]}]}
        ],
    }
    with prometheus(stage.directory, configuration) as made:
        yield made


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """
    Two servers, one of which serves what is about to run out; a place where its renewed certificate will be.
    """
    # Every program here has the machine's clock, so the certificates are minted around it.
    now = float(round(time.time()))
    above = root("Test Root", not_before=now - 900 * DAY, not_after=now + 900 * DAY)
    ca = tmp_path / "ca.pem"
    ca.write_bytes(above.pem)
    for name in ("served", "near", "elsewhere"):
        (tmp_path / name).mkdir()
    with contextlib.ExitStack() as stack:
        arriving = stack.enter_context(inbox())
        dying = minted(above, "lms.example.com", now + LIFETIME)
        port = free_port()
        served = stack.enter_context(serving_at(tmp_path / "served", port, dying))
        near = contextlib.ExitStack()
        stack.enter_context(near)
        soon = minted(above, "shop.example.com", now + 2 * DAY)
        soon_server = near.enter_context(nginx(tmp_path / "near", Site([[soon]], "shop.example.com")))
        elsewhere = free_port()
        (tmp_path / "expiry.yml").write_text(
            yaml.safe_dump(
                {
                    "defaults": {"ca_file": str(ca), "timeout": "500ms"},
                    "targets": [
                        {
                            "url": f"tls://127.0.0.1:{port}",
                            "name": "lms.example.com",
                            "server_name": "lms.example.com",
                            "labels": {"team": "learning"},
                        },
                        {
                            "url": f"tls://{soon_server.authority}",
                            "name": "shop.example.com",
                            "server_name": "shop.example.com",
                        },
                        {
                            "url": f"tls://127.0.0.1:{elsewhere}",
                            "name": "elsewhere",
                            "server_name": "lms.example.com",
                        },
                    ],
                }
            )
        )
        yield Stage(tmp_path, above, arriving, served, elsewhere, near)


def pages(stage: Stage, words: str, action: str = "trigger") -> list[str]:
    """
    The titles of the pages that arrived with these words in them.
    """
    return [
        page["payload"]["summary"] if action == "trigger" else page["dedup_key"]
        for page in stage.inbox.pages(PAGER)
        if page["event_action"] == action and words in str(page)
    ]


def firing(made: Prometheus) -> set[tuple[str, str, str]]:
    """
    Name, severity and target of each alert on a target that fires now.
    """
    return {
        (one.labels["alertname"], one.labels["severity"], one.labels.get("target", ""))
        for one in made.query('ALERTS{alertstate="firing",target!=""}')
    }


def told(made: Prometheus, alertname: str, severity: str, target: str) -> dict[str, str]:
    """
    The annotations of an alert that fires.
    """
    labels = {"alertname": alertname, "severity": severity, "target": target}
    (found,) = [one for one in made.api("alerts")["alerts"] if labels.items() <= one["labels"].items()]
    annotations: dict[str, str] = found["annotations"]
    return annotations


def test_a_certificate_that_runs_out_is_told_until_it_is_replaced_where_it_is_served(stage: Stage) -> None:
    """
    Told with its cause, not quiet when a new file lies on disk or the watcher restarts, and then over.
    """
    port = free_port()
    passed = ("ExpiryPassed", "critical", "lms.example.com")
    undeployed = ("ExpiryNotDeployed", "critical", "lms.example.com")
    soon = ("ExpirySoon", "critical", "shop.example.com")
    with contextlib.ExitStack() as stack:
        notifier = stack.enter_context(
            alertmanager(stage.directory, local_configuration(stage.directory, stage.inbox))
        )
        watcher = contextlib.ExitStack()
        stack.enter_context(watcher)
        watcher.enter_context(exporting(stage, port))
        seeing = contextlib.ExitStack()
        stack.enter_context(seeing)
        made = seeing.enter_context(prometheus_of(stage, port, notifier.address))

        # It runs out, and the pager says which and why.
        wait_until(lambda: passed in firing(made), deadline=PATIENCE, what="ExpiryPassed fires")
        wait_until(lambda: bool(pages(stage, "EXPIRED")), deadline=PATIENCE, what="the page arrives")
        (title, *_) = pages(stage, "EXPIRED")
        assert title.startswith("Certificate for lms.example.com EXPIRED ")
        assert "DNS and TCP fine, same key and issuer as before" in title
        assert {one.labels["team"] for one in made.query('ALERTS{alertname="ExpiryPassed"}')} == {"learning"}
        assert soon in firing(made)

        # The file is replaced and the server not told: the new one is known from another place.
        renewed = minted(stage.authority, "lms.example.com", float(round(time.time())) + 89 * DAY)
        write_pair(stage.directory / "served", "served", [renewed])
        stack.enter_context(serving_at(stage.directory / "elsewhere", stage.elsewhere, renewed))
        wait_until(lambda: undeployed in firing(made), deadline=PATIENCE, what="ExpiryNotDeployed fires")
        assert passed in firing(made)
        wait_until(
            lambda: "renewed but not deployed" in told(made, *passed)["description"].partition("\n")[0],
            deadline=PATIENCE,
            what="the title says that it was renewed but not deployed",
        )

        # The other server dies with two days left, then exporter and Prometheus restart: nothing goes quiet.
        stage.near.close()
        refused = 'expiry_probe_failure_info{target="shop.example.com",reason="connection_refused"}'
        made.await_query(refused)
        watcher.close()
        made.await_query('up{job="expiry"} == 0')
        assert {passed, soon} <= firing(made)
        watcher.enter_context(exporting(stage, port))
        made.await_query('up{job="expiry"} == 1')
        assert {passed, soon} <= firing(made)
        seeing.close()
        made = seeing.enter_context(prometheus_of(stage, port, notifier.address))
        wait_until(lambda: {passed, soon} <= firing(made), deadline=PATIENCE, what="both fire again")
        assert not [page for page in stage.inbox.pages(PAGER) if page["event_action"] == "resolve"]

        # The server is told: it is over, and the pager says so.
        stage.served.signal(signal.SIGHUP)
        wait_until(lambda: passed not in firing(made), deadline=PATIENCE, what="ExpiryPassed is over")
        assert soon in firing(made)
        wait_until(
            lambda: any(page["event_action"] == "resolve" for page in stage.inbox.pages(PAGER)),
            deadline=PATIENCE,
            what="the pager hears that it is over",
        )
