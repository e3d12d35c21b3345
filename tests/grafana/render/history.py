"""
A Prometheus that has known the fleet for a week: with what the exporter would have exported at each scrape.

The past is made with the exporter's own memory, judgement and exposition and an injected clock, and is
written to Prometheus's database before it starts. What an exporter says of its own process, and Prometheus
of a scrape, is made up.
"""

import contextlib
import http.server
import math
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from exporter.engine.results import TargetResult
from exporter.model.policies import DAY, HOUR
from tests.grafana.render.fleet import PAST, Fleet
from tests.grafana.written import DIRECTORY
from tests.replay.timeline import JOB, Exporter, Place
from tests.support.processes import answers, free_port, running
from tests.support.prometheus import LOOPBACK, Prometheus
from tests.support.readme import REPOSITORY

KEPT = 7.2 * DAY
"""How far back Prometheus knows the fleet: what the longest graph of a dashboard shows."""

STEP = 15 * 60.0
"""Seconds between scrapes of the past. Few, so that the past is made in seconds."""

CLOSE_FOR = 25 * HOUR
CLOSE_STEP = 60.0
"""What exporters say of themselves is scraped more often in the last day: rates need that."""

GRAPH_STEP = "15s"
"""The least that is between two points of a graph."""

BLOCK = 18 * HOUR
"""What one run of promtool makes of the past: one of the spans that Prometheus itself makes of two hours."""

DEMO = "demo"
"""The job of the real exporter."""

DATABASE = "database"

INSTANCES = ("exporter-1.example.com:10119", "exporter-2.example.com:10119")


def wave(seed: object, now: float) -> float:
    """
    Something between 0 and 1 that goes up and down with the day, for each seed in another way.
    """
    number = zlib.crc32(repr(seed).encode())
    day = 2 * math.pi * (now / DAY + number % 1000 / 4000)
    noise = zlib.crc32(f"{number} {now // STEP}".encode()) / 2**32
    return 0.5 + 0.28 * math.sin(day) + 0.1 * math.sin(3 * day + number % 7) + 0.12 * (2 * noise - 1)


class Simulated(Exporter):
    """
    An exporter whose looks take their time, and which tells of its process.
    """

    def __init__(self, places: Sequence[Place], instance: str, began: float) -> None:
        super().__init__(places, instance)
        self._began = began

    def _result(self, one: Place, now: float) -> TargetResult:
        result = super()._result(one, now)
        looks = tuple(
            replace(look, duration=0.012 + 0.05 * wave((one.target.name, look.label), now) ** 2)
            for look in result.looks
        )
        return replace(result, looks=looks)

    def sweep(self, now: float) -> float:
        """
        Seconds that a sweep takes.
        """
        return 0.6 + 0.9 * wave(self.instance, now)

    def of_itself(self, now: float) -> list[str]:
        """
        What it says of its sweeps and its process, without the families that `scrape` has.
        """
        busy = wave(self.instance, now)
        number = INSTANCES.index(self.instance)
        loaded = self._began + 0.4 * DAY * number
        values = {
            "expiry_sweep_duration_seconds": self.sweep(now),
            "expiry_sweep_timeout_seconds": 9.5,
            "expiry_config_last_reload_success_timestamp_seconds": now - (now - loaded) % (2.7 * DAY),
            "expiry_state_last_save_successful": 1.0,
            "process_resident_memory_bytes": 61e6 + 4e6 * busy,
            "process_cpu_seconds_total": 0.004 * (now - self._began)
            + 12 * math.sin(2 * math.pi * now / DAY + number),
            "process_open_fds": round(14 + 9 * busy),
            "process_max_fds": 1024.0,
            "process_start_time_seconds": self._began,
        }
        return [f"{series} {float(value)!r}" for series, value in values.items()]

    def of_its_scrape(self, now: float, samples: int) -> list[str]:
        """
        What Prometheus adds.
        """
        return [
            "up 1.0",
            f"scrape_duration_seconds {self.sweep(now) + 0.01!r}",
            f"scrape_samples_scraped {samples}",
            f"scrape_samples_post_metric_relabeling {samples}",
        ]


def exporters(now: float) -> list[Simulated]:
    """
    Two that share the fleet, and have just started.
    """
    places = Fleet(now).places()
    return [
        Simulated(places[number :: len(INSTANCES)], instance, now - PAST)
        for number, instance in enumerate(INSTANCES)
    ]


def lines(exporter: Simulated, now: float) -> list[str]:
    """
    The samples of one scrape.
    """
    return [line for line in exporter.scrape(now).splitlines() if line[0] != "#"]


def past(exporter: Simulated, now: float) -> Iterator[tuple[float, list[str]]]:
    """
    The samples of each moment that Prometheus is to know, in their order.
    """
    # What came before is remembered by the exporter only.
    for hours in range(int((PAST - KEPT) / (12 * HOUR))):
        exporter.scrape(now - PAST + hours * 12 * HOUR)
    for number in range(int(KEPT / STEP) + 1):
        at = now - KEPT + number * STEP
        found = lines(exporter, at)
        yield at, found
        step = STEP if at < now - CLOSE_FOR else CLOSE_STEP
        yield from between(exporter, at, min(at + STEP, now), step, len(found))


def between(
    exporter: Simulated, begin: float, end: float, step: float, samples: int
) -> Iterator[tuple[float, list[str]]]:
    """
    What an exporter and Prometheus say of themselves from one moment until before another.
    """
    for number in range(math.ceil((end - begin) / step)):
        at = begin + number * step
        itself = exporter.of_itself(at)
        yield at, [*itself, *exporter.of_its_scrape(at, samples + len(itself))]


def _labelled(line: str, instance: str, at: float) -> str:
    series, _, value = line.rpartition(" ")
    name, _, labels = series.partition("{")
    more = f",{labels}" if labels else "}"
    return f'{name}{{job="{JOB}",instance="{instance}"{more} {value} {at:.3f}\n'


def write(found: Iterable[tuple[str, float, list[str]]], directory: Path) -> None:
    """
    The samples as blocks of a database of Prometheus.
    """
    # promtool reads a file anew for each block, so each of these has a file of its own.
    blocks: dict[int, list[str]] = {}
    for instance, at, samples in found:
        block = blocks.setdefault(int(at // BLOCK), [])
        block += [_labelled(line, instance, at) for line in samples]

    def convert(number: int) -> None:
        file = directory / f"{number}.txt"
        file.write_text("".join(blocks[number]) + "# EOF\n", encoding="utf-8")
        command = [
            "promtool",
            "tsdb",
            "create-blocks-from",
            "openmetrics",
            # Its help does not show this.
            f"--max-block-duration={BLOCK:.0f}s",
            str(file),
            str(directory / DATABASE),
        ]
        subprocess.run(command, check=True, capture_output=True)
        file.unlink()

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(convert, sorted(blocks)))


@contextlib.contextmanager
def serving(simulated: Sequence[Simulated]) -> Iterator[int]:
    """
    The port of a server where the exporters go on: the path is the number of one.
    """
    lock = threading.Lock()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            exporter = simulated[int(self.path[1:])]
            time.sleep(exporter.sweep(time.time()))
            with lock:
                now = time.time()
                body = "\n".join([*lines(exporter, now), *exporter.of_itself(now), ""]).encode("utf-8")
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            # At the end Prometheus does not wait for the answer.
            with contextlib.suppress(OSError):
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer((LOOPBACK, 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@contextlib.contextmanager
def _started(directory: Path, configuration: Mapping[str, Any]) -> Iterator[Prometheus]:
    file = directory / "prometheus.yml"
    file.write_text(yaml.safe_dump(configuration), encoding="utf-8")
    port = free_port()
    command = [
        "prometheus",
        f"--config.file={file}",
        f"--storage.tsdb.path={directory / DATABASE}",
        f"--web.listen-address={LOOPBACK}:{port}",
        # The past is scraped rarely, so it looks back for longer than the usual five minutes.
        f"--query.lookback-delta={int(STEP) + 60}s",
    ]
    with running(command, ready=answers(f"http://{LOOPBACK}:{port}/-/ready")) as process:
        yield Prometheus(port, process)


@contextlib.contextmanager
def world(directory: Path) -> Iterator[Prometheus]:
    """
    A Prometheus that knows the fleet's past, scrapes its exporters and a real one that shows the demo, and
    has evaluated the rules.
    """
    now = time.time()
    simulated = exporters(now)
    write(((one.instance, at, samples) for one in simulated for at, samples in past(one, now)), directory)
    demo = free_port()
    command = [sys.executable, "-m", "exporter", "demo", f"--web.listen-address={LOOPBACK}:{demo}"]
    ready = answers(f"http://{LOOPBACK}:{demo}/-/ready")
    with running(command, ready=ready, cwd=REPOSITORY), serving(simulated) as port:
        fleet = [
            {
                "job_name": f"{JOB}-{number}",
                "metrics_path": f"/{number}",
                "static_configs": [
                    {"targets": [f"{LOOPBACK}:{port}"], "labels": {"job": JOB, "instance": instance}}
                ],
            }
            for number, instance in enumerate(INSTANCES)
        ]
        configuration = {
            "global": {"scrape_interval": "5s", "scrape_timeout": "5s", "evaluation_interval": "3s"},
            "rule_files": [str(DIRECTORY.parent / "alerts" / "rules.yml")],
            "scrape_configs": [
                *fleet,
                {"job_name": DEMO, "static_configs": [{"targets": [f"{LOOPBACK}:{demo}"]}]},
            ],
        }
        # Up to this moment, so that rates have no gap.
        write(
            (
                (one.instance, at, samples)
                for one in simulated
                for at, samples in between(one, now, time.time(), 5.0, len(lines(one, now)))
            ),
            directory,
        )
        with _started(directory, configuration) as made:
            for job in (JOB, DEMO):
                made.await_query(f'rate(process_cpu_seconds_total{{job="{job}"}}[1m])')
            made.await_query('ALERTS{alertname="ExpiryPassed", alertstate="firing"}')
            # A graph has a point every so often, and the demo is to have one.
            made.await_query(f'up{{job="{DEMO}"}} offset {GRAPH_STEP}')
            yield made
