"""
A real Prometheus that scrapes a real exporter, and questions to it.
"""

import contextlib
import http.client
import json
import re
import sys
import urllib.parse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.support.processes import ProcessError, Running, answers, running, wait_until
from tests.support.readme import REPOSITORY

LOOPBACK = "127.0.0.1"
SHOWN_ADDRESS = "localhost:10119"
"""Where the manual's configurations expect the exporter."""

SCRAPE_INTERVAL = "1s"
PATIENCE = 20.0
"""Seconds in which what a test waits for has to come true: many scrapes' worth."""


@dataclass(frozen=True, slots=True)
class Listening:
    """
    A process that answers HTTP.
    """

    port: int
    process: Running

    @property
    def address(self) -> str:
        """
        `host:port` as in a configuration of Prometheus.
        """
        return f"{LOOPBACK}:{self.port}"

    def ask(self, method: str, path: str, headers: Mapping[str, str] | None = None) -> tuple[int, str, str]:
        """
        Status, content type and text of the answer.
        """
        connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=PATIENCE)
        try:
            connection.request(method, path, headers=dict(headers or {}))
            answer = connection.getresponse()
            return answer.status, answer.headers["Content-Type"] or "", answer.read().decode("utf-8")
        finally:
            connection.close()


@dataclass(frozen=True, slots=True)
class Sample:
    """
    One series of an instant query's result.
    """

    labels: Mapping[str, str]
    value: float

    @property
    def name(self) -> str:
        """
        The metric's name; empty for what an operator made.
        """
        return self.labels.get("__name__", "")


@dataclass(frozen=True, slots=True)
class Prometheus(Listening):
    """
    A Prometheus that is ready.
    """

    def api(self, path: str, **parameters: str) -> Any:
        """
        The `data` of an answer of the HTTP API. Raises ProcessError when it is an error.
        """
        _, _, text = self.ask("GET", f"/api/v1/{path}?{urllib.parse.urlencode(parameters)}")
        answer = json.loads(text)
        if answer["status"] != "success" or answer.get("warnings"):
            raise ProcessError(f"Prometheus answered to {path} {parameters}: {text}")
        return answer["data"]

    def query(self, expression: str) -> list[Sample]:
        """
        The series that an expression has now.
        """
        result = self.api("query", query=expression)["result"]
        return [Sample(one["metric"], float(one["value"][1])) for one in result]

    def await_query(
        self, expression: str, good: Callable[[list[Sample]], bool] = bool, what: str = ""
    ) -> list[Sample]:
        """
        The series that an expression has once they are good: at least one, if not said otherwise.
        """
        found: list[Sample] = []

        def true() -> bool:
            found[:] = self.query(expression)
            return good(found)

        try:
            wait_until(true, deadline=PATIENCE, what=what or expression)
        except TimeoutError as error:
            error.add_note(f"the last result was {found}")
            raise
        return found

    def own(self, name: str) -> float:
        """
        The sum of a metric of Prometheus's own, over its labels. Raises ProcessError when it has none.
        """
        _, _, text = self.ask("GET", "/metrics")
        values = re.findall(rf"^{name}(?:\{{.*\}})? (\S+)$", text, re.MULTILINE)
        if not values:
            raise ProcessError(f"this Prometheus has no metric {name}")
        return sum(map(float, values))


@contextlib.contextmanager
def exporter(configuration: Path, *flags: str, module: Sequence[str] = ("exporter",)) -> Iterator[Listening]:
    """
    The exporter as users start it, with this configuration, listening on a free port.

    `module` is what starts it, with arguments of its own before the flags.
    """
    command = [sys.executable, "-m", *module, f"--config.file={configuration}"]
    with running([*command, f"--web.listen-address={LOOPBACK}:0", *flags], cwd=REPOSITORY) as process:
        yield Listening(_port(process, r"msg=listening address=\S+:(\d+)"), process)


@contextlib.contextmanager
def prometheus(directory: Path, configuration: Mapping[str, Any], *flags: str) -> Iterator[Prometheus]:
    """
    A Prometheus with this configuration and an empty database, ready, listening on a free port.
    """
    file = directory / "prometheus.yml"
    file.write_text(yaml.safe_dump(dict(configuration), sort_keys=False), encoding="utf-8")
    data = directory / "prometheus"
    command = ["prometheus", f"--config.file={file}", f"--storage.tsdb.path={data}", *flags]
    with running([*command, f"--web.listen-address={LOOPBACK}:0"]) as process:
        port = _port(process, r'msg="Listening on".* address=\S+:(\d+)')
        wait_until(
            answers(f"http://{LOOPBACK}:{port}/-/ready"), deadline=PATIENCE, what="Prometheus is ready"
        )
        yield Prometheus(port, process)


def job(block: str, exporter_address: str, targets: list[str] | None = None) -> dict[str, Any]:
    """
    The one scrape configuration in a block of the manual, with our addresses, targets and interval.
    """
    document = yaml.safe_load(block.replace(SHOWN_ADDRESS, exporter_address))
    (found,) = document["scrape_configs"]
    configuration: dict[str, Any] = {**found, "scrape_interval": SCRAPE_INTERVAL}
    for discovery in configuration.get("http_sd_configs", ()):
        discovery["refresh_interval"] = SCRAPE_INTERVAL
    if targets is not None:
        configuration["static_configs"] = [{"targets": targets}]
    return configuration


def _port(process: Running, pattern: str) -> int:
    """
    The port that the process chose, once its log says so. Raises ProcessError when it ends before.
    """
    found: list[str] = []

    def said() -> bool:
        if process.process.poll() is not None:
            raise ProcessError("it ended before it listened")
        found[:] = re.findall(pattern, process.output())
        return bool(found)

    wait_until(said, deadline=PATIENCE, what="the process listens")
    return int(found[0])
