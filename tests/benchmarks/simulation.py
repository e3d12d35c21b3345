"""
Fleets beyond one machine, by arithmetic from what is measured: rows are replayed without handshakes.

    python -m tests.benchmarks simulation
    python -m tests.benchmarks simulation --quick

The exporter's own code sweeps, remembers, judges and renders; only the probe is a fake, which gives the bytes
that a handshake would have given. What it tells is then scraped by a real Prometheus with our rules. Figures
for each target are measured at some sizes, and multiplied for the fleets of the manual.
"""

import asyncio
import gc
import json
import os
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median

from exporter.demo.minter import new_key, root
from exporter.engine.collector import calm_collector, fit_collector
from exporter.engine.monitor import Monitor
from exporter.model.caches import BUDGET
from exporter.model.observation import Facts
from exporter.model.targets import Target
from exporter.model.urls import parse_url
from exporter.probes import PROBES
from exporter.probes.base import Endpoint, Endpoints, Probe, Trace
from exporter.probes.dependencies import Dependencies
from exporter.probes.tls.handshake import seen_from
from exporter.probes.tls.refusals import facts
from exporter.report.exposition import Exposition
from tests.benchmarks.fleet import REPOSITORY, Fleet
from tests.benchmarks.row import Row, Sizes
from tests.benchmarks.rules import RULES
from tests.support.certificates import DAY
from tests.support.exposed import exposed
from tests.support.processes import cpu_seconds, rss_bytes, wait_until
from tests.support.prometheus import Prometheus, prometheus

FLEETS = (100_000, 1_000_000)
"""Targets of the fleets that the manual lays out."""

SHARE = 5_000
"""Targets of one exporter there."""

DUE = 100
"""One of so many targets is due and has a problem."""

INTERVAL = 15
"""Seconds between two scrapes of Prometheus, and between two evaluations; for a small fleet it is one."""

SMALL = 1000

SCRAPES = 4
"""Scrapes after which Prometheus's memory is taken, at most."""

LONG = 3600.0


@dataclass(frozen=True, slots=True)
class Replayed:
    """
    What one exporter of so many targets costs, without handshakes. CPU in seconds for all of its targets.
    """

    targets: int
    series: int
    text: int
    """Bytes of an answer."""
    zipped: int
    memory: int
    """Bytes that the process has more than before it had targets."""
    probed: float
    """CPU of a sweep in which each target is seen unchanged, remembered and judged."""
    held: float
    """CPU of a sweep in which no target is due: what is known is judged again."""
    rendered: float
    """CPU of rendering and compressing."""


def replay(count: int, repeats: int, written: Path) -> Replayed:
    """
    Measure in this process, whose probes are others from then on, and write the last answer to a file.
    """
    now = time.time()
    authority = root("Replay Root", not_before=now - 900 * DAY, not_after=now + 900 * DAY)
    issuer, key = authority.issue("Replay Issuer", ca=True), new_key("ecdsa-256")
    trust = written.with_suffix(".pem")
    trust.write_bytes(authority.pem)
    targets = []
    presented: dict[str, tuple[bytes, ...]] = {}
    for number in range(count):
        host = f"host-{number}.example.com"
        end = now + (2 if number % DUE == 0 else 60) * DAY
        leaf = issuer.issue(host, [host], not_before=end - 90 * DAY, not_after=end, key=key)
        url = f"https://{host}"
        targets.append(
            Target(parse_url(url), url, ca_file=str(trust), labels=(("team", f"team-{number % 20}"),))
        )
        presented[url] = leaf.der, issuer.der

    async def endpoints(target: Target, _: Dependencies) -> Endpoints:
        return Endpoints((Endpoint(f"192.0.2.{hash(target.name) % 250}:443", "192.0.2.1"),))

    async def look(target: Target, _: Endpoint, __: Dependencies, ___: Trace) -> Facts:
        said = ("TLSv1.3", "TLS_AES_256_GCM_SHA384", target.url.host, False, None)
        return facts(seen_from(presented[target.name], *said))

    PROBES["https"] = Probe("wire", endpoints, look)
    figures, parts = asyncio.run(_replayed(targets, repeats))
    written.write_bytes(b"".join(parts))
    return figures


async def _replayed(targets: list[Target], repeats: int) -> tuple[Replayed, list[bytes]]:
    BUDGET.fit(len(targets))
    gc.collect()
    before = _own_memory()
    loop = asyncio.get_running_loop()
    monitor, exposition = Monitor(Dependencies(loop), 256, time.time), Exposition()
    calm_collector()
    fit_collector(len(targets))
    kept = [replace(one, interval=365 * DAY) for one in targets]
    probed: list[float] = []
    held: list[float] = []
    rendered: list[float] = []
    for _ in range(repeats + 1):
        for of, seconds in ((targets, probed), (kept, held)):
            # The first sweep after a change of settings probes: it is the second one that holds.
            for _ in range(2):
                began = time.process_time()
                scrape = await monitor.scrape(of, LONG)
                took = time.process_time() - began
                assert scrape.complete
                assert not scrape.failures
            seconds.append(took)
        began = time.process_time()
        compressor = zlib.compressobj(1, zlib.DEFLATED, 31)
        parts = [one.encode() for one in exposition.parts(scrape, {})]
        zipped = sum(len(compressor.compress(one)) for one in parts) + len(compressor.flush())
        rendered.append(time.process_time() - began)
    memory = _own_memory() - before
    series = sum(line[:1] != b"#" for one in parts for line in one.splitlines())
    # What is measured first is parsed and rendered for the first time.
    last = (median(one[1:]) for one in (probed, held, rendered))
    return Replayed(len(targets), series, sum(map(len, parts)), zipped, memory, *last), parts


def _own_memory() -> int:
    return rss_bytes(os.getpid())


@dataclass(frozen=True, slots=True)
class Collected:
    """
    What a Prometheus costs that scrapes so many series and evaluates our rules over them.
    """

    series: int
    memory: int
    """Bytes that it has more than an empty one, after some scrapes."""
    rules: float
    """Seconds of one evaluation."""
    cpu: float
    """CPU seconds of one scrape and one evaluation."""


def collect(directory: Path, body: str, interval: int, scrapes: int) -> Collected:
    """
    Measure a real Prometheus over this exposition.
    """
    directory.mkdir()
    with exposed(body) as address:
        configuration = {
            "global": {"scrape_interval": f"{interval}s", "evaluation_interval": f"{interval}s"},
            "rule_files": [str(RULES)],
            "scrape_configs": [{"job_name": "expiry", "static_configs": [{"targets": [address]}]}],
        }
        with prometheus(directory, configuration) as made:
            empty = rss_bytes(made.process.pid)
            _wait_scrapes(made, 2, interval)
            began = cpu_seconds(made.process.pid)
            _wait_scrapes(made, 2 + scrapes, interval)
            cpu = (cpu_seconds(made.process.pid) - began) / scrapes
            memory = rss_bytes(made.process.pid) - empty
            rules = made.own("prometheus_rule_group_last_duration_seconds")
            series = int(made.own("prometheus_tsdb_head_series"))
    return Collected(series, memory, rules, cpu)


def _wait_scrapes(made: Prometheus, count: int, interval: int) -> None:
    wait_until(
        lambda: sum(one.value for one in made.query("sum_over_time(up[1h])")) >= count,
        deadline=(count + 10) * interval * 2,
        what=f"{count} scrapes",
    )


def replayed(count: int, repeats: int, written: Path) -> Replayed:
    """
    Measure in a process of its own, and write the last answer to a file.
    """
    argv = [sys.executable, "-m", "tests.benchmarks.simulation", str(count), str(repeats), str(written)]
    said = subprocess.run(argv, cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout
    return Replayed(**json.loads(said))


def simulation(_command: Sequence[str], nginx: Fleet, sizes: Sizes) -> Iterator[Row]:
    """
    Costs of a target and of a series at two sizes, and the fleets of the manual from those of the larger one.
    """
    found: list[tuple[Replayed, Collected]] = []
    for count in (sizes.fleet // 4, sizes.fleet):
        written = nginx.directory / f"replay-{count}.txt"
        ours = replayed(count, sizes.repeats, written)
        theirs = collect(
            nginx.directory / f"replay-{count}",
            written.read_text(encoding="utf-8"),
            INTERVAL if sizes.fleet > SMALL else 1,
            min(SCRAPES, sizes.scrapes),
        )
        found.append((ours, theirs))
        yield from _each(ours, theirs)
    for fleet in FLEETS:
        yield from _laid_out(fleet, *found[-1])


def _each(ours: Replayed, theirs: Collected) -> Iterator[Row]:
    what = f"{ours.targets} targets replayed, each"
    count = ours.targets
    yield Row(f"{what}: probed and judged, no handshake", ours.probed / count * 1000, "ms")
    yield Row(f"{what}: held and judged", ours.held / count * 1000, "ms")
    yield Row(f"{what}: rendered and compressed", ours.rendered / count * 1000, "ms")
    yield Row(f"{what}: series", ours.series / count, "")
    yield Row(
        f"{what}: bytes of an answer, as text and compressed", ours.text / count, "B", ours.zipped / count
    )
    yield Row(f"{what}: memory of the exporter", ours.memory / count / 1000, "kB")
    yield Row(f"{what}: Prometheus's memory of a series", theirs.memory / theirs.series / 1000, "kB")
    yield Row(f"{what}: Prometheus's CPU, a scrape and an evaluation", theirs.cpu / count * 1000, "ms")
    yield Row(f"{what}: one evaluation of the rules", theirs.rules / count * 1000, "ms")


def _laid_out(fleet: int, ours: Replayed, theirs: Collected) -> Iterator[Row]:
    times: Callable[[float], float] = lambda figure: figure * fleet / ours.targets  # noqa: E731
    what = f"{fleet} targets, by arithmetic"
    yield Row(f"{what}: exporters of {SHARE}", fleet / SHARE, "")
    yield Row(f"{what}: series", times(theirs.series) / 1e6, "M")
    yield Row(f"{what}: memory of Prometheus", times(theirs.memory) / 1e9, "GB")
    yield Row(f"{what}: CPU of Prometheus, a scrape and an evaluation", times(theirs.cpu), "s")
    yield Row(f"{what}: one evaluation of the rules", times(theirs.rules), "s")


if __name__ == "__main__":
    size, rounds, file = sys.argv[1:]
    print(json.dumps(asdict(replay(int(size), int(rounds), Path(file)))))
