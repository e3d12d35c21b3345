"""
The measurements. Each gives rows of the table; none fails because of a figure.
"""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median

from tests.benchmarks import fleet as fleets
from tests.benchmarks.clients import BenchmarkError, handshakes, probe_each, scrape
from tests.benchmarks.fleet import Fleet
from tests.benchmarks.row import Row, Sizes
from tests.support.processes import (
    Running,
    answers,
    cpu_seconds,
    free_port,
    peak_rss_bytes,
    rss_bytes,
    running,
)

COMMAND = (sys.executable, "-m", "exporter")
"""How the exporter is started, before its flags."""

DELAY = 0.2
"""Seconds after which the slow server answers each flight."""

PEER_CONNECTIONS = (4, 16, 64)
"""Kept connections to the peer; 4 is what its CPU is compared at, its throughput at whichever is best."""

BARE_CONCURRENT = 50
"""Bare handshakes under way at a time: more costs them more."""

MEGABYTE = 1_000_000


@contextlib.contextmanager
def exporter(command: Sequence[str], configuration: Path) -> Iterator[tuple[Running, int]]:
    """
    Our exporter with this configuration, healthy, and its port.
    """
    port = free_port()
    argv = [*command, f"--config.file={configuration}", f"--web.listen-address=127.0.0.1:{port}"]
    # Nothing is known from a run before.
    argv.append(f"--state.path={configuration}.{port}.sqlite")
    with running(argv, ready=answers(f"http://127.0.0.1:{port}/-/healthy"), cwd=fleets.REPOSITORY) as it:
        yield it, port


@contextlib.contextmanager
def blackbox(nginx: Fleet) -> Iterator[tuple[Running, int]]:
    """
    The peer, healthy, and its port.
    """
    port = free_port()
    configuration = fleets.blackbox_configuration(nginx.directory, nginx.ca_file)
    argv = [
        "prometheus-blackbox-exporter",
        f"--config.file={configuration}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with running(argv, ready=answers(f"http://127.0.0.1:{port}/-/healthy")) as it:
        yield it, port


def cost(command: Sequence[str], nginx: Fleet, sizes: Sizes) -> Iterator[Row]:
    """
    CPU for each target, and targets a second, side by side with the peer in interleaved rounds.
    """
    endpoints = nginx.endpoints(sizes.many)
    configuration = fleets.configuration(nginx.directory, endpoints, nginx.ca_file)
    with (
        exporter(command, configuration) as (ours, our_port),
        blackbox(nginx) as (peer, peer_port),
    ):

        def scraped() -> float:
            return all_succeeded(our_port, sizes.many)

        def probed(connections: int) -> Callable[[], float]:
            return lambda: probe_each(peer_port, endpoints, connections)

        cold_cpu, cold_seconds = _measured(ours, nginx, sizes.many, scraped)
        peer_cold_cpu, _ = _measured(peer, nginx, sizes.many, probed(PEER_CONNECTIONS[0]))
        our_rounds: list[tuple[float, float]] = []
        bare_rounds: list[float] = []
        peer_rounds: dict[int, list[tuple[float, float]]] = {number: [] for number in PEER_CONNECTIONS}
        for _ in range(sizes.rounds):
            our_rounds.append(_measured(ours, nginx, sizes.many, scraped))
            bare_rounds.append(_own_cpu(lambda: handshakes(endpoints, BARE_CONCURRENT)))
            for number, rounds in peer_rounds.items():
                rounds.append(_measured(peer, nginx, sizes.many, probed(number)))
    our_cpu = median(cpu for cpu, _ in our_rounds)
    our_speed = sizes.many / median(seconds for _, seconds in our_rounds)
    peer_cpu = median(cpu for cpu, _ in peer_rounds[PEER_CONNECTIONS[0]])
    bare_cpu = median(bare_rounds) / sizes.many * 1000
    best_cpu = min(median(cpu for cpu, _ in rounds) for rounds in peer_rounds.values())
    best_speed = max(sizes.many / median(seconds for _, seconds in rounds) for rounds in peer_rounds.values())
    each = f"CPU of a target, {sizes.many} targets"
    yield Row(each, our_cpu, "ms", peer_cpu, our_cpu / peer_cpu, at_most=0.52)
    yield Row(
        f"{each}, peer's best of {_words(PEER_CONNECTIONS)}", our_cpu, "ms", best_cpu, our_cpu / best_cpu
    )
    bare = f"{each}, bare handshakes without an exporter"
    yield Row(bare, our_cpu, "ms", bare_cpu, our_cpu / bare_cpu, at_most=1.18)
    yield Row(f"{each}, first scrape", cold_cpu, "ms", peer_cold_cpu, cold_cpu / peer_cold_cpu)
    yield Row("first scrape, wall time", cold_seconds, "s")
    yield Row(
        f"targets a second, peer's best of {_words(PEER_CONNECTIONS)}",
        our_speed,
        "/s",
        best_speed,
        our_speed / best_speed,
        at_least=1.3,
    )


def latency(command: Sequence[str], nginx: Fleet, sizes: Sizes) -> Iterator[Row]:
    """
    One scrape of servers that are far away, against what no client can avoid.
    """
    # The machine's own floor: the same handshakes with a near server, and nothing but handshakes.
    floor = median(
        _own_cpu(lambda: handshakes(nginx.endpoints(sizes.some), BARE_CONCURRENT))
        for _ in range(sizes.repeats)
    )
    with fleets.relay(nginx, DELAY) as port:
        endpoints = nginx.endpoints(sizes.some, port)
        single = min(handshakes(endpoints[:1], 1) for _ in range(3))
        # Whole flights: what is over is work, not waiting.
        flights = round(single / DELAY)
        waiting = flights * DELAY
        configuration = fleets.configuration(nginx.directory, endpoints, nginx.ca_file)
        with exporter(command, configuration) as (_, our_port):
            all_succeeded(our_port, sizes.some)
            ours: list[float] = []
            bare: list[float] = []
            for _ in range(sizes.repeats):
                bare.append(handshakes(endpoints, sizes.some))
                ours.append(all_succeeded(our_port, sizes.some))
    what = f"scrape of {sizes.some} targets {DELAY * 1000:.0f} ms away"
    seconds = median(ours)
    yield Row(f"{what}: round trips ({flights})", seconds, "s", waiting, seconds / waiting)
    least = waiting + floor
    yield Row(f"{what}: round trips + bare CPU", seconds, "s", least, seconds / least, at_most=1.2)
    yield Row(f"{what}: bare client, same servers", seconds, "s", median(bare), seconds / median(bare))


def robustness(command: Sequence[str], nginx: Fleet, sizes: Sizes) -> Iterator[Row]:
    """
    Silent servers among healthy ones: the scrape is in time, and the healthy ones are seen.
    """
    timeout = min(sizes.timeouts)
    healthy = {f"t{number}" for number in range(sizes.some)}
    with fleets.silence() as port:
        endpoints = nginx.endpoints(sizes.some) + [f"127.0.0.1:{port}"] * sizes.silent
        configuration = fleets.configuration(nginx.directory, endpoints, nginx.ca_file)
        with exporter(command, configuration) as (_, our_port):
            seconds: list[float] = []
            seen: list[int] = []
            for _ in range(sizes.repeats):
                try:
                    it = scrape(our_port, timeout)
                    seconds.append(it.seconds)
                    seen.append(len(it.succeeded() & healthy))
                except TimeoutError:
                    # Prometheus would have given up: it waits `timeout` and learns nothing.
                    seconds.append(float("inf"))
                    seen.append(0)
    what = f"{sizes.some} healthy and {sizes.silent} silent targets"
    yield Row(f"{what}: slowest answer", max(seconds), "s", at_most=timeout)
    yield Row(f"{what}: healthy ones seen", min(seen), "", at_least=sizes.some)


def memory(command: Sequence[str], nginx: Fleet, sizes: Sizes) -> Iterator[Row]:
    """
    Memory after some scrapes, and the time until the process is healthy.
    """
    endpoints = nginx.endpoints(sizes.some)
    configuration = fleets.configuration(nginx.directory, endpoints, nginx.ca_file)
    starts: list[float] = []
    for _ in range(sizes.repeats):
        started = time.perf_counter()
        with exporter(command, configuration):
            starts.append(time.perf_counter() - started)
    with exporter(command, configuration) as (ours, our_port):
        idle = rss_bytes(ours.pid)
        for _ in range(5):
            all_succeeded(our_port, sizes.some)
        resident, peak = rss_bytes(ours.pid), peak_rss_bytes(ours.pid)
    yield Row(f"memory after 5 scrapes of {sizes.some} targets", resident / MEGABYTE, "MB", at_most=120)
    yield Row(f"peak memory, {sizes.some} targets", peak / MEGABYTE, "MB", at_most=120)
    yield Row(f"memory before the first scrape, {sizes.some} targets", idle / MEGABYTE, "MB")
    yield Row(f"start until healthy, {sizes.some} targets", median(starts), "s")


def all_succeeded(port: int, count: int) -> float:
    """
    Seconds of one scrape in which every target was seen. Raises BenchmarkError when one was not.
    """
    it = scrape(port, timeout=60)
    succeeded = len(it.succeeded())
    if succeeded != count:
        failed = next((line for line in it.text.splitlines() if line.startswith("expiry_probe_failure")), "")
        raise BenchmarkError(f"{succeeded} of {count} targets were seen, not all; {failed}")
    return it.seconds


def _measured(it: Running, nginx: Fleet, count: int, work: Callable[[], float]) -> tuple[float, float]:
    """
    CPU of the process in milliseconds for each of `count` targets, and the seconds that `work` gave.

    Raises BenchmarkError unless nginx saw one connection for each target.
    """
    accepted, cpu = nginx.accepted(), cpu_seconds(it.pid)
    seconds = work()
    milliseconds = (settled_cpu(it) - cpu) / count * 1000
    if nginx.accepted() - accepted != count:
        raise BenchmarkError(f"{nginx.accepted() - accepted} connections were made for {count} targets")
    return milliseconds, seconds


def settled_cpu(it: Running) -> float:
    """
    CPU seconds once the process rests: what it tidies up after an answer belongs to the answer.
    """
    end = time.monotonic() + 2
    cpu = cpu_seconds(it.pid)
    while time.monotonic() < end:
        time.sleep(0.1)
        before, cpu = cpu, cpu_seconds(it.pid)
        if cpu == before:
            break
    return cpu


def _own_cpu(work: Callable[[], float]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def _words(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers[:-1])) + f" or {numbers[-1]} connections"
