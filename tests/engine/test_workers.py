"""
Worker processes: what is seen with them is what is seen without, and whatever becomes of them, all is probed.
"""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from exporter.engine.frames import Answer, Description, Frames, Orders, Request, Unable, pack
from exporter.engine.monitor import Monitor
from exporter.engine.worker import Prober
from exporter.engine.workers import FEWEST, MOST, Look, Workers, is_plain
from exporter.model.observation import Failed, Observation, Observed
from exporter.model.proxies import parse_proxy
from exporter.model.targets import Target
from exporter.model.urls import parse_url
from exporter.probes.base import Endpoint, Trace
from exporter.probes.dependencies import Dependencies
from exporter.probes.tls import wire
from exporter.probes.tls.wire import AnswerError
from tests.probes.tls.wire.probing import NAME, target
from tests.probes.tls.wire.test_failures import CASES
from tests.support import misbehaving
from tests.support.certificates import NOW, authority
from tests.support.misbehaving import serving
from tests.support.processes import free_port, listening, running, wait_until
from tests.support.servers import Site, nginx

DEADLINE = 60.0
"""Seconds within which what is waited for comes true, on a busy machine too."""


@pytest.fixture(autouse=True)
def _nothing_is_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Each scrape makes probes of its own, however soon it comes.
    """
    for module in ("sweep", "monitor"):
        monkeypatch.setattr(f"exporter.engine.{module}.FRESH", -1.0)


async def until(holds: Callable[[], bool]) -> None:
    """
    Return once this holds.
    """
    async with asyncio.timeout(DEADLINE):
        while not holds():  # noqa: ASYNC110 - what it waits for is another process
            await asyncio.sleep(0.01)


def is_there(pid: int) -> bool:
    """
    True while there is such a process, ended or not.
    """
    return Path(f"/proc/{pid}").exists()


@contextlib.asynccontextmanager
async def working(processes: int, *targets: Target) -> AsyncIterator[tuple[Monitor, Workers]]:
    """
    A monitor of these targets with workers that are ready.
    """
    network = Dependencies(asyncio.get_running_loop(), lambda: NOW)
    monitor = Monitor(network, 64, lambda: NOW, processes=processes)
    try:
        monitor.start(targets, restored=False)
        await until(lambda: monitor.workers.ready)
        yield monitor, monitor.workers
    finally:
        await monitor.close()
        network.close()


def observed(*targets: Target, processes: int, times: int = 1, timeout: float = 20.0) -> list[Observation]:
    """
    What the last of so many scrapes saw, in the order of the targets.
    """

    async def run() -> list[Observation]:
        async with working(processes, *targets) as (monitor, workers):
            assert len(workers.pids) == processes - 1
            for _ in range(times):
                scrape = await monitor.scrape(targets, timeout)
                by_name = {row.target.name: row.held.observation for row in scrape.endpoints}
            return [by_name[one.name] for one in targets]

    return asyncio.run(run())


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Callable[..., Target]]]:
    """
    Ways to look at an nginx: with one certificate, with two, with one that asks for client certificates.
    """
    ca = authority()
    ecdsa, rsa = ca.issue(NAME, [NAME]), ca.issue(NAME, [NAME], key="rsa-2048")
    other = ca.issue("other.example", ["other.example"])
    sites = (
        Site([[ecdsa, ca], [rsa, ca]], name=NAME),
        Site([[other, ca]], name="other.example", client_ca=ca),
    )
    with nginx(tmp_path_factory.mktemp("nginx"), *sites) as server:
        yield {
            "one": lambda **more: target(server, name="one", **more),
            "both kinds of keys": lambda **more: target(server, name="both", keys="both", **more),
            "asks for a client certificate": lambda **more: target(
                server, scheme="https", name="asks", server_name="other.example", **more
            ),
        }


def test_the_same_is_seen_with_workers_and_without(servers: dict[str, Callable[..., Target]]) -> None:
    """
    Facts, reasons and details are equal, over real servers and over those that do what none should.
    """
    with ExitStack() as stack:
        # A reset comes before or after the connection is noticed, as the kernel will.
        cases = {name: serve for name, (serve, *_) in CASES.items() if name != "reset"}
        bad = [target(stack.enter_context(serve()), name=name, timeout=2.0) for name, serve in cases.items()]
        starttls = target(
            stack.enter_context(serving(misbehaving.banner)), scheme="smtp", name="smtp", timeout=2.0
        )
        nobody = target("255.255.255.255:443", name="no route")
        targets = [*(make() for make in servers.values()), *bad, starttls, nobody]
        alone = observed(*targets, processes=1)
        helped = observed(*targets, processes=3)
        again = observed(*targets, processes=2, times=2)
    assert isinstance(alone[0], Observed)
    assert [one.key for one in alone[1].facts.chains] == ["rsa", "ecdsa"]  # type: ignore[union-attr]
    assert isinstance(alone[2], Failed)
    assert alone[2].facts is not None
    assert helped == alone
    assert again == alone


async def test_an_unchanged_server_gives_the_same_object(servers: dict[str, Callable[..., Target]]) -> None:
    """
    What did not change is told by one word, and nothing is parsed again.
    """
    one = servers["one"]()

    async with working(2, one) as (monitor, _):
        facts = []
        for _ in range(2):
            scrape = await monitor.probe(one, 20.0)
            observation = scrape.endpoints[0].held.observation
            assert isinstance(observation, Observed)
            facts.append(observation.facts)
        assert facts[0] is facts[1]


@pytest.mark.programs
def test_the_step_of_a_probe_that_is_cut_off() -> None:
    """
    It is the one that the worker is at.
    """
    with serving(misbehaving.hang) as port:
        (seen,) = observed(target(port, name="silent", timeout=30.0), processes=2, timeout=2.0)
    assert isinstance(seen, Failed)
    assert seen.detail == "the scrape's time was over during this step: handshake"


async def test_a_worker_that_is_killed_in_the_middle(
    servers: dict[str, Callable[..., Target]], caplog: pytest.LogCaptureFixture
) -> None:
    """
    Its probes are made by the first process, one line says so, and another worker is started later.
    """
    connected = threading.Event()

    def hold(connection: socket.socket, stop: threading.Event) -> None:
        connected.set()
        misbehaving.hang(connection, stop)

    with serving(hold) as port:
        targets = (target(port, name="slow", timeout=3.0), servers["one"]())
        async with working(2, *targets) as (monitor, workers):
            (pid,) = workers.pids
            scraping = asyncio.ensure_future(monitor.scrape(targets, 30.0))
            await until(connected.is_set)
            os.kill(pid, signal.SIGKILL)
            scrape = await scraping
            seen = {row.target.name: row.held.observation for row in scrape.endpoints}
            assert isinstance(seen["one"], Observed)
            assert isinstance(seen["slow"], Failed)
            assert seen["slow"].reason == "handshake_timeout"
            await until(lambda: not workers.pids)
            assert not is_there(pid)

            def is_back() -> bool:
                workers.serve(targets)
                return bool(workers.pids) and workers.ready

            await until(is_back)
            assert workers.pids != [pid]
            scrape = await monitor.probe(targets[1], 20.0)
            assert scrape.failures == 0
    lines = [one for one in caplog.records if "a worker process ended" in one.message]
    assert len(lines) == 1


async def test_a_worker_that_is_silent_costs_a_second(
    servers: dict[str, Callable[..., Target]], caplog: pytest.LogCaptureFixture
) -> None:
    """
    The first process then does what it was asked, and all that comes until the worker goes on.
    """
    targets = tuple(replace(servers["one"](), name=f"t{number}") for number in range(9))
    async with working(2, *targets) as (monitor, workers):
        (pid,) = workers.pids
        os.kill(pid, signal.SIGSTOP)
        for _ in range(2):
            scrape = await monitor.scrape(targets, DEADLINE)
            assert scrape.failures == 0
        assert not workers.ready
        os.kill(pid, signal.SIGCONT)
        await until(lambda: workers.ready)
        scrape = await monitor.scrape(targets, DEADLINE)
        assert scrape.failures == 0
        assert workers.pids == [pid]
    lines = [one for one in caplog.records if "a worker process is silent" in one.message]
    assert len(lines) == 1


async def test_a_worker_that_hangs_is_killed(
    servers: dict[str, Callable[..., Target]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    It is noticed by the deadline that it was given, at the next scrape after that.
    """
    monkeypatch.setattr("exporter.engine.worker_process.STUCK_AFTER", 0.0)
    one = replace(servers["one"](), timeout=0.5)

    async with working(2, one) as (monitor, workers):
        (pid,) = workers.pids
        os.kill(pid, signal.SIGSTOP)
        scrape = await monitor.scrape((one,), 1.0)
        assert scrape.failures == 1
        assert workers.pids == [pid]

        def is_gone() -> bool:
            workers.serve((one,))
            return pid not in workers.pids

        await until(is_gone)


async def test_targets_may_change(servers: dict[str, Callable[..., Target]]) -> None:
    """
    New ones are described, old ones forgotten, and too few need no worker.
    """
    one = servers["one"]()
    other = replace(one, name="other")

    async with working(3, one, other) as (monitor, workers):
        for targets in ((one, other), (other,), (one,), (replace(one, server_name="x.example"), other)):
            scrape = await monitor.scrape(targets, 20.0)
            assert [type(row.held.observation) for row in scrape.endpoints] == [Observed] * len(targets)
            assert len(workers.pids) == len(targets)
            workers.serve(())
        assert workers.pids == []


def test_which_targets_are_for_workers() -> None:
    """
    None with a secret, none that only a caller of /probe named, and no file.
    """
    plain = target(443)
    assert is_plain(plain)
    assert is_plain(target(25, scheme="smtp"))
    assert not is_plain(replace(plain, client_certificate_file="client.pem"))
    assert not is_plain(replace(plain, proxy=parse_proxy("http://proxy.example:3128")))
    assert not is_plain(replace(plain, forbids=lambda _: ""))
    assert not is_plain(Target(parse_url("file:///etc/x.pem"), "file"))


def test_a_worker_knows_of_a_target_all_that_a_conversation_reads(
    servers: dict[str, Callable[..., Target]],
) -> None:
    """
    What it is not told has its default there: a key would work for few targets, and do nothing for many.
    """
    read: set[str] = set()

    class Noted(Target):
        __slots__ = ()

        def __getattribute__(self, name: str) -> Any:
            read.add(name)
            return super().__getattribute__(name)

    async def converse(one: Target) -> None:
        noted = Noted(**{each.name: getattr(one, each.name) for each in fields(Target)})
        network = Dependencies(asyncio.get_running_loop(), lambda: NOW)
        endpoint, trace, until_then = Endpoint(one.name, one.url.host), Trace(network.loop.time), DEADLINE
        with contextlib.suppress(AnswerError):
            deadline = network.loop.time() + until_then
            await wire.converse(noted, endpoint, network, trace, "any", None, deadline, offer="usual")
        network.close()

    for make in servers.values():
        asyncio.run(converse(make()))
    assert {"url", "proxy"} < read
    without = {"proxy"}  # no worker has a target with one, see `is_plain`
    assert read & {each.name for each in fields(Target)} - without <= {*Description._fields}


async def test_how_many_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    None for few targets; one for each processor but the first, up to a limit; or as many as are wanted.
    """
    monkeypatch.setattr("exporter.engine.workers.processors", lambda: 2)
    loop = asyncio.get_running_loop()
    auto, two = Workers(loop), Workers(loop, 2)
    wanted = [auto._wanted(FEWEST - 1), auto._wanted(FEWEST), two._wanted(9), two._wanted(0)]
    monkeypatch.setattr("exporter.engine.workers.processors", lambda: 64)
    made = [*wanted, auto._wanted(FEWEST)]
    assert made == [0, 1, 1, 0, MOST]


@pytest.mark.programs
@pytest.mark.parametrize(("processes", "own"), [(2, 6), (3, 2), (4, 0)])
async def test_the_first_process_has_a_share_of_the_conversations(processes: int, own: int) -> None:
    """
    Always in the same targets, and the fewer the more others there are.
    """
    targets = [target(f"127.0.0.1:{port}", name=str(port)) for port in range(1, 19)]
    async with working(processes, *targets) as (_, workers):
        mine = [one for one in targets if workers.look(one) is None]
        assert len(mine) == own
        workers.serve(tuple(targets))
        assert [one for one in targets if workers.look(one) is None] == mine
        assert None not in [workers.look(one, shared=False) for one in targets]


@pytest.mark.programs
async def test_the_first_process_takes_its_share_of_what_it_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    It takes none of what is new, which it has to judge, and none while sweeps overlap: its time is for the
    answer of the one that ends first.
    """
    release = threading.Event()
    asked: list[tuple[str, bool]] = []
    ask = Workers.look

    def hold(_: socket.socket, __: threading.Event) -> None:
        release.wait(DEADLINE)

    def noted(workers: Workers, one: Target, *, shared: bool) -> Look | None:
        asked.append((one.name, shared))
        return ask(workers, one, shared=shared)

    monkeypatch.setattr(Workers, "look", noted)
    with serving(hold) as port:
        one, other = (target(port, name=name, timeout=DEADLINE) for name in ("one", "other"))
        async with working(2, one, other) as (monitor, _):
            await monitor.probe(one, 0.1)
            await monitor.probe(other, 0.1)
            first = asyncio.ensure_future(monitor.probe(one, DEADLINE))
            await until(lambda: len(asked) == 3)
            await monitor.probe(other, 0.1)
            release.set()
            await first
            await monitor.probe(other, 0.1)
    assert asked == [("one", False), ("other", False), ("one", True), ("other", False), ("other", True)]


class Written(asyncio.Transport):
    """
    A transport that keeps what a worker says.
    """

    def __init__(self) -> None:
        super().__init__()
        self.answers: list[tuple[int, Answer]] = []
        self._frames = Frames()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """
        Keep the answers in these frames.
        """
        for news in self._frames.take(bytes(data)):
            self.answers += news.answers


async def test_a_request_that_is_cancelled_before_it_begins_is_answered() -> None:
    """
    Both may come at once where the worker was busy. Without an answer it would count as one that hangs.
    """
    network = Dependencies(asyncio.get_running_loop(), lambda: NOW)
    prober, said = Prober(network), Written()
    prober.connection_made(said)
    of = Description(parse_url("tls://127.0.0.1:443"), None, "none")
    request: Request = (7, 0, of, ("127.0.0.1", "any", "usual", False), network.loop.time() + DEADLINE)
    prober.data_received(pack(Orders([request], [], [])) + pack(Orders([], [7], [])))
    await until(lambda: said.answers == [(7, Unable())])
    network.close()


def children(pid: int) -> list[int]:
    """
    The processes whose parent this one is.
    """
    return [
        int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    ]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_worker_outlives_the_first_process(tmp_path: Path, number: signal.Signals) -> None:
    """
    Whichever way it ends.
    """
    port = free_port()
    configuration = tmp_path / "expiry.yml"
    configuration.write_text(
        f"targets: ['tls://127.0.0.1:{port}', 'tls://127.0.0.2:{port}']", encoding="utf-8"
    )
    command = [sys.executable, "-m", "exporter", f"--config.file={configuration}", "--state.path=none"]
    command += [f"--web.listen-address=127.0.0.1:{port}", "--sweep.processes=3"]
    with running(command, ready=listening(port), deadline=DEADLINE) as it:
        wait_until(lambda: len(children(it.pid)) == 2, deadline=DEADLINE)
        pids = children(it.pid)
        it.signal(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            it.wait(DEADLINE)
        wait_until(lambda: not any(map(is_there, pids)), deadline=DEADLINE)
