"""
What files cost that do not change: ten thousand of them, as one pattern and as so many targets.
"""

import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

from exporter.demo.minter import root
from tests.benchmarks.clients import BenchmarkError, scrape
from tests.benchmarks.fleet import Fleet
from tests.benchmarks.row import Row, Sizes
from tests.benchmarks.scenarios import MEGABYTE, exporter, settled_cpu
from tests.support.certificates import DAY
from tests.support.processes import cpu_seconds, peak_rss_bytes, rss_bytes, wait_until

SETTLED = 3.0
"""Seconds after which the times of a file tell for certain whether it changed."""


def write(directory: Path, count: int) -> None:
    """
    So many PEM files, each with a certificate of its own.
    """
    now = time.time()
    authority = root("Benchmark Root", not_before=now - DAY, not_after=now + 3650 * DAY)
    issuer = authority.issue("Benchmark Issuer", ca=True)
    directory.mkdir()
    for number in range(count):
        name = f"host-{number}.example.com"
        leaf = issuer.issue(name, [name], not_before=now - 10 * DAY, not_after=now + 80 * DAY)
        (directory / f"{name}.pem").write_bytes(leaf.pem)


def files(command: Sequence[str], nginx: Fleet, sizes: Sizes) -> Iterator[Row]:
    """
    CPU of the whole process, HTTP answer and state on disk included, and its memory.
    """
    directory = nginx.directory / "files"
    write(directory, sizes.fleet)
    written = time.monotonic()
    wait_until(lambda: time.monotonic() > written + SETTLED, deadline=2 * SETTLED, what="the files to settle")
    patterns = [f"file://{directory}/*.pem"]
    paths = [f"file://{path}" for path in sorted(directory.iterdir())]
    for shape, targets, bound in (("one pattern", patterns, 2), ("so many targets", paths, 2.5)):
        configuration = nginx.directory / "files.yml"
        configuration.write_text(json.dumps({"targets": targets}), encoding="utf-8")
        state = nginx.directory / f"files-{len(targets)}.sqlite"
        with exporter([*command, f"--state.path={state}"], configuration) as (ours, port):
            cpu: list[float] = []
            for _ in range(1 + sizes.rounds):
                before = cpu_seconds(ours.pid)
                seen = scrape(port, timeout=60)
                cpu.append(settled_cpu(ours) - before)
                succeeded = seen.text.count("\nexpiry_probe_success{")
                if succeeded != sizes.fleet or "\nexpiry_probe_failure_info{" in seen.text:
                    raise BenchmarkError(f"{succeeded} files were told of, not {sizes.fleet}, or some failed")
            resident, peak = rss_bytes(ours.pid), peak_rss_bytes(ours.pid)
        first, *others = cpu
        what = f"{sizes.fleet} unchanged PEM files as {shape}"
        yield Row(f"{what}: CPU of a scrape", median(others), "s", at_most=0.5)
        yield Row(f"{what}: CPU of the first", first, "s", at_most=bound)
        yield Row(f"{what}: memory", resident / MEGABYTE, "MB", at_most=150)
        yield Row(f"{what}: peak memory", peak / MEGABYTE, "MB")
