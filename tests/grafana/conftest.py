"""
A Prometheus with the alerting rules that scrapes a real exporter with the demo's states, and what it lacks.
"""

import sys
import time
from collections.abc import Iterator

import pytest

from tests.grafana.worlds import unusual
from tests.grafana.written import DIRECTORY
from tests.support.exposed import exposed
from tests.support.processes import answers, free_port, running
from tests.support.prometheus import LOOPBACK, Prometheus, prometheus
from tests.support.readme import REPOSITORY

DEMO = "demo"
UNUSUAL = "unusual"
"""Names of the jobs."""


@pytest.fixture(scope="package")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """
    Both jobs scraped several times, and the rules evaluated.
    """
    port = free_port()
    command = [sys.executable, "-m", "exporter", "demo", f"--web.listen-address={LOOPBACK}:{port}"]
    ready = answers(f"http://{LOOPBACK}:{port}/-/ready")
    # The demo and Prometheus have the machine's clock, so what is added is made around it.
    with running(command, ready=ready, cwd=REPOSITORY), exposed(unusual(time.time())) as more:
        configuration = {
            "global": {"scrape_interval": "3s", "scrape_timeout": "3s", "evaluation_interval": "3s"},
            "rule_files": [str(DIRECTORY.parent / "alerts" / "rules.yml")],
            "scrape_configs": [
                {"job_name": DEMO, "static_configs": [{"targets": [f"{LOOPBACK}:{port}"]}]},
                {"job_name": UNUSUAL, "static_configs": [{"targets": [more]}]},
            ],
        }
        with prometheus(tmp_path_factory.mktemp("prometheus"), configuration) as made:
            # A rate needs two scrapes; an alert that has fired shows that the rules ran over them.
            made.await_query(f'rate(process_cpu_seconds_total{{job="{DEMO}"}}[1m])')
            made.await_query('ALERTS{alertname="ExpiryPassed", alertstate="firing"}')
            made.await_query(f'expiry_target_info{{job="{UNUSUAL}"}}')
            yield made
