"""
A real exporter with worker processes, scraped as nobody should: too often, by clients that hang up, with
different timeouts at once, and while a worker is killed.
"""

import http.client
import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.benchmarks.clients import Scrape, scrape
from tests.benchmarks.fleet import Fleet, configuration, fleet, silence
from tests.support.processes import family, wait_until
from tests.support.prometheus import Listening, exporter

HEALTHY = 600
"""Targets, all at one address."""

SILENT = 5

ENOUGH = 30.0
"""A scrape timeout in which all are seen, on a busy machine too."""

DEADLINE = 60.0
"""Seconds within which what is waited for comes true."""

ALL = {f"t{number}" for number in range(HEALTHY)}


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Fleet, Listening]]:
    """
    An nginx, and an exporter that has seen all of its targets there; a few others are silent.
    """
    directory = tmp_path_factory.mktemp("rough")
    with fleet(directory) as server, silence() as silent:
        endpoints = [f"127.0.0.1:{server.port}"] * HEALTHY + [f"127.0.0.1:{silent}"] * SILENT
        path = configuration(directory, endpoints, server.ca_file)
        with exporter(path, "--state.path=none", "--sweep.processes=2") as ours:
            wait_until(lambda: len(family(ours.process.pid)) == 2, deadline=DEADLINE, what="a worker")
            wait_until(lambda: seen(ours, ENOUGH) >= ALL, deadline=DEADLINE, what="all were seen")
            yield server, ours


def seen(ours: Listening, timeout: float) -> set[str]:
    """
    Names of the targets that a scrape saw.
    """
    return scraped(ours, timeout).succeeded()


def scraped(ours: Listening, timeout: float) -> Scrape:
    """
    A scrape with this timeout, for whose answer we wait longer: what is tested is not the machine.
    """
    return scrape(ours.port, timeout, patience=timeout + DEADLINE)


def test_a_scrape_every_second_has_what_there_was_time_for(servers: tuple[Fleet, Listening]) -> None:
    """
    Each is answered with every target; probes that had no time go on in the next ones, so that all were made.
    """
    server, ours = servers
    before = server.accepted()
    told: list[str] = []
    end = time.monotonic() + DEADLINE
    while len(told) < 5 or (server.accepted() - before < HEALTHY and time.monotonic() < end):
        began = time.monotonic()
        told.append(scraped(ours, 1.0).text)
        time.sleep(max(0.0, began + 1.0 - time.monotonic()))

    leaf = re.compile(r'^expiry_not_after_timestamp_seconds\{[^}]*item="leaf"', re.MULTILINE)
    for text in told:
        names = re.findall(r'^expiry_target_info\{target="([^"]+)"', text, re.MULTILINE)
        assert len(names) == len(set(names)) == HEALTHY + SILENT
        assert len(leaf.findall(text)) == HEALTHY
    assert HEALTHY <= server.accepted() - before <= HEALTHY * len(told)


def test_clients_that_hang_up_in_the_middle_harm_nobody(servers: tuple[Fleet, Listening]) -> None:
    """
    Before the answer, and with the first bytes of it: the next scrape has all, and no descriptor is left.
    """
    _, ours = servers
    descriptors = open_files(ours)
    for read in (0, 1, 1000):
        connection = http.client.HTTPConnection("127.0.0.1", ours.port, timeout=DEADLINE)
        connection.request("GET", "/metrics", headers={"X-Prometheus-Scrape-Timeout-Seconds": "3"})
        if read:
            connection.getresponse().read(read)
        connection.close()

    assert seen(ours, ENOUGH) >= ALL
    wait_until(lambda: open_files(ours) <= descriptors, deadline=DEADLINE, what="no descriptor is left")


def open_files(ours: Listening) -> int:
    """
    Descriptors of the first process.
    """
    return len(list(Path(f"/proc/{ours.process.pid}/fd").iterdir()))


def test_scrapes_with_different_timeouts_at_once(servers: tuple[Fleet, Listening]) -> None:
    """
    The short one does not wait for the silent servers that the long one waits for, and the probes are shared.
    """
    server, ours = servers
    before = server.accepted()
    answers: dict[float, tuple[float, Scrape]] = {}

    def ask(timeout: float) -> None:
        answer = scraped(ours, timeout)
        answers[timeout] = time.monotonic(), answer

    threads = [threading.Thread(target=ask, args=(timeout,)) for timeout in (8.0, 4.0)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()

    assert answers[4.0][0] < answers[8.0][0]
    assert answers[8.0][1].succeeded() >= ALL
    assert server.accepted() - before <= 2 * HEALTHY


def test_a_worker_killed_in_the_middle_of_a_sweep(servers: tuple[Fleet, Listening]) -> None:
    """
    The sweep sees all the same, the log has a line, and another worker is there for a later one.
    """
    server, ours = servers
    (worker,) = family(ours.process.pid)[1:]
    before = server.accepted()
    found: list[set[str]] = []
    sweeping = threading.Thread(target=lambda: found.append(seen(ours, ENOUGH)))
    sweeping.start()
    wait_until(lambda: server.accepted() > before, deadline=DEADLINE, what="the sweep has begun")
    os.kill(worker, signal.SIGKILL)
    sweeping.join()

    assert found[0] >= ALL
    assert ours.process.output().count("a worker process ended") == 1

    def is_back() -> bool:
        return seen(ours, ENOUGH) >= ALL and len(family(ours.process.pid)) == 2

    wait_until(is_back, deadline=DEADLINE, what="another worker")
