"""
Large sweeps: in time whatever is silent, how long ten thousand targets take, and what each size costs.

The processes that help are counted with the first one, in CPU and memory.
"""

from collections.abc import Iterator, Sequence
from statistics import median

from tests.benchmarks import fleet as fleets
from tests.benchmarks.clients import scrape
from tests.benchmarks.fleet import Fleet
from tests.benchmarks.row import Row, Sizes
from tests.benchmarks.scenarios import MEGABYTE, all_succeeded, exporter, settled_cpu
from tests.support.processes import cpu_seconds, peak_rss_bytes, rss_bytes

LATER = 5
"""Scrapes after the first whose median is given."""


def in_time(command: Sequence[str], nginx: Fleet, sizes: Sizes) -> Iterator[Row]:
    """
    Ten thousand targets with silent ones among them: each answer comes before Prometheus hangs up.
    """
    silent = sizes.fleet // 20
    healthy = {f"t{number}" for number in range(sizes.fleet - silent)}
    with fleets.silence() as port:
        endpoints = nginx.endpoints(len(healthy)) + [f"127.0.0.1:{port}"] * silent
        configuration = fleets.configuration(nginx.directory, endpoints, nginx.ca_file)
        for timeout in sizes.timeouts:
            late, slowest, seen = 0, 0.0, []
            with exporter(command, configuration) as (_, our_port):
                for _ in range(sizes.scrapes):
                    try:
                        it = scrape(our_port, timeout)
                    except TimeoutError:
                        late += 1
                    else:
                        slowest = max(slowest, it.seconds)
                        seen.append(len(it.succeeded() & healthy))
            what = f"{len(healthy)} healthy and {silent} silent targets, timeout {timeout:g} s"
            yield Row(f"{what}: late answers of {sizes.scrapes}", late, "", at_most=0)
            yield Row(f"{what}: slowest answer in time", slowest, "s", at_most=timeout)
            yield Row(f"{what}: healthy ones seen, fewest", min(seen, default=0), "")
            yield Row(f"{what}: healthy ones seen, median", median(seen or [0]), "", at_least=len(healthy))


def reach(command: Sequence[str], nginx: Fleet, sizes: Sizes) -> Iterator[Row]:
    """
    Wall time of the first and of later scrapes of a large fleet, and the memory of all processes.
    """
    configuration = fleets.configuration(nginx.directory, nginx.endpoints(sizes.fleet), nginx.ca_file)
    with exporter(command, configuration) as (ours, port):
        first = all_succeeded(port, sizes.fleet)
        later = [all_succeeded(port, sizes.fleet) for _ in range(min(LATER, sizes.scrapes))]
        peak = peak_rss_bytes(ours.pid)
    yield Row(f"{sizes.fleet} targets, first scrape", first, "s", at_most=7)
    yield Row(f"{sizes.fleet} targets, later scrape", median(later), "s", at_most=5)
    yield Row(f"{sizes.fleet} targets, peak memory of all processes", peak / MEGABYTE, "MB", at_most=250)


def curve(command: Sequence[str], nginx: Fleet, sizes: Sizes) -> Iterator[Row]:
    """
    CPU of a target, from ten targets to the whole fleet.
    """
    for count in [size for size in (10, 100, 500, 1000, 2000, 5000) if size < sizes.fleet] + [sizes.fleet]:
        configuration = fleets.configuration(nginx.directory, nginx.endpoints(count), nginx.ca_file)
        with exporter(command, configuration) as (ours, port):
            all_succeeded(port, count)
            before = settled_cpu(ours)
            for _ in range(rounds := max(1, min(LATER, sizes.scrapes), 200 // count)):
                all_succeeded(port, count)
            cpu = (settled_cpu(ours) - before) / rounds / count
        yield Row(f"CPU of a target, one of {count}", cpu * 1000, "ms")


def idle(command: Sequence[str], nginx: Fleet, sizes: Sizes) -> Iterator[Row]:
    """
    Memory with one target, and the CPU until the process is healthy.
    """
    configuration = fleets.configuration(nginx.directory, nginx.endpoints(1), nginx.ca_file)
    started = []
    for _ in range(sizes.repeats):
        with exporter(command, configuration) as (ours, port):
            started.append(cpu_seconds(ours.pid))
            all_succeeded(port, 1)
            memory = rss_bytes(ours.pid)
    yield Row("CPU until healthy, one target", median(started), "s", at_most=0.6)
    yield Row("memory after a scrape of one target", memory / MEGABYTE, "MB", at_most=45)
