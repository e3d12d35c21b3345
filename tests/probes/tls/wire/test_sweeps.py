"""
Sweeps over real servers: shared by scrapes, ended at the deadline, leaving nothing behind.
"""

import asyncio
import json
import re
import socket
import ssl
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from exporter.demo.minter import Minted
from exporter.engine.descriptors import probe_slots
from exporter.engine.monitor import Monitor
from exporter.engine.scrape import Scrape
from exporter.engine.sightings import CERTAIN
from exporter.model.targets import Target
from exporter.net import event_loop
from exporter.net.turns import Turns
from exporter.probes.dependencies import Dependencies
from exporter.probes.tls import openssl
from exporter.report.problems import SEVERAL, reach, words
from tests.probes.tls.wire.probing import NAME, Names, look, scrape, target, tls_server, told, watching
from tests.support import misbehaving
from tests.support.certificates import DAY, NOW
from tests.support.clock import Clock
from tests.support.misbehaving import serving
from tests.support.processes import answers, free_port, running, wait_until
from tests.support.servers import Server, Site, nginx, s_server


@dataclass(slots=True)
class Gate:
    """
    A TLS server that counts its connections and makes handshakes only when it is open.
    """

    port: int = 0
    connections: int = 0
    open: threading.Event = field(default_factory=threading.Event)


@contextmanager
def gated(chain: tuple[Minted, ...]) -> Iterator[Gate]:
    """
    Such a server, closed at first.
    """
    context = tls_server(chain)
    gate = Gate()

    def answer(connection: socket.socket, _stop: threading.Event) -> None:
        gate.connections += 1
        gate.open.wait()
        with suppress(ssl.SSLError), context.wrap_socket(connection, server_side=True) as session:
            session.recv(1)

    with serving(answer) as gate.port:
        try:
            yield gate
        finally:
            gate.open.set()


@dataclass(slots=True)
class Backends:
    """
    TLS servers that take turns behind one address.
    """

    chains: list[tuple[Minted, ...]]
    """One for each connection in turn."""
    port: int = 0
    connections: int = 0


@contextmanager
def taking_turns(*chains: tuple[Minted, ...]) -> Iterator[Backends]:
    """
    One server that stands for all of them: which chain it shows is said by the number of the connection.
    """
    backends = Backends([*chains])

    def answer(connection: socket.socket, _stop: threading.Event) -> None:
        chain = backends.chains[backends.connections % len(backends.chains)]
        backends.connections += 1
        with suppress(ssl.SSLError), tls_server(chain).wrap_socket(connection, server_side=True) as session:
            session.recv(1)

    with serving(answer) as backends.port:
        yield backends


async def until(gate: Gate, connections: int) -> None:
    """
    Return when so many connections came.
    """
    await asyncio.to_thread(
        wait_until, lambda: gate.connections >= connections, what=f"connection number {connections}"
    )


def reasons(made: Scrape) -> list[str]:
    """
    `seen` or the reason of the failure of each row, sorted.
    """
    return sorted(told(row)[0] for row in made.endpoints)


async def settled() -> None:
    """
    Return when this task is the only one and no wait is left over.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + 5
    while len(asyncio.all_tasks()) > 1:
        assert loop.time() < end, asyncio.all_tasks()
        await asyncio.sleep(0.001)


def old_and_new(ca: Minted) -> list[tuple[Minted, ...]]:
    """
    The chains with a leaf whose renewal is overdue and whose end is near, and with its successor.
    """
    return [
        (ca.issue(NAME, [NAME], not_before=NOW + begin * DAY, not_after=NOW + end * DAY), ca)
        for begin, end in ((-88, 2), (-0.01, 89.99))
    ]


def problems(made: Scrape) -> set[str]:
    """
    The names of the problems of a scrape.
    """
    return {str(row.found.onset.problem) for row in made.problems}


async def test_one_of_several_that_was_left_behind_is_found_in_the_scrape_after_the_renewal(
    ca: Minted, anchors: str
) -> None:
    """
    All showed a certificate near its end for long. Four of five have a new one now, and one of these answers
    first: they are asked again until the fifth has its turn, so that the alert does not resolve.
    """
    old, new = old_and_new(ca)

    with taking_turns(old) as backends:
        one = target(backends.port, ca_file=anchors)
        async with watching() as watch:
            made = [await watch.scrape([one], 10.0) for _ in range(40)]
            backends.chains, backends.connections = [new, new, new, old, new], 0
            made.append(await watch.scrape([one], 10.0))
            asked = backends.connections
            made += [await watch.scrape([one], 10.0) for _ in range(4)]
    found = [problems(one) for one in made]
    assert asked == 4
    assert all("soon" in one for one in found)
    assert "not_deployed" in found[-1]


async def test_a_renewal_of_all_is_over_in_the_next_scrape(ca: Minted, anchors: str) -> None:
    """
    One of them could have been left behind, so they are asked as often as makes it certain; and only once.
    """
    old, new = old_and_new(ca)

    with taking_turns(old) as backends:
        one = target(backends.port, ca_file=anchors)
        async with watching() as watch:
            made = [await watch.scrape([one], 10.0) for _ in range(40)]
            backends.chains, backends.connections = [new], 0
            made.append(await watch.scrape([one], 10.0))
            asked = [backends.connections]
            made.append(await watch.scrape([one], 10.0))
            asked.append(backends.connections)
    found = [problems(one) for one in made]
    assert found[-3:] == [{"soon", "renewal_overdue"}, set(), set()]
    assert asked == [1 + CERTAIN, 2 + CERTAIN]


async def test_a_rollback_is_over_in_the_next_scrape(ca: Minted, anchors: str) -> None:
    """
    A wrong certificate was there for some minutes: all are asked until it is certain that none has it.
    """
    _, good = old_and_new(ca)
    wrong = (
        ca.issue("other.example.com", ["other.example.com"], not_before=NOW, not_after=NOW + 90 * DAY),
        ca,
    )

    with taking_turns(good) as backends:
        clock, found = Clock(), []
        network = Dependencies(asyncio.get_running_loop())
        watch = Monitor(network, 8, clock)
        one = target(backends.port, ca_file=anchors)
        for chain, pause in (*[(good, DAY / 20)] * 40, (wrong, 60), (wrong, 60), (good, 60)):
            backends.chains = [chain]
            clock.now += pause
            found.append(problems(await watch.scrape([one], 10.0)))
        network.close()
    assert [bool(one) for one in found] == [*[False] * 40, True, True, False]


@pytest.mark.parametrize(("number", "told"), [(2, False), (1000, True)])
async def test_another_identity_is_told_when_more_probes_at_once_do_not_find_the_earlier_one(
    ca: Minted, anchors: str, number: int, *, told: bool
) -> None:
    """
    Two certificates of two authorities that take turns are those of a content delivery network. The probe of
    this number is the next that sees the earlier one.
    """
    _, good = old_and_new(ca)
    assert ca.issuer is not None
    other = ca.issuer.issue("Other Authority", ca=True)
    theirs = (other.issue(NAME, [NAME], not_before=NOW, not_after=NOW + 90 * DAY), other)

    with taking_turns(good) as backends:
        one = target(backends.port, ca_file=anchors)
        async with watching() as watch:
            made = [await watch.scrape([one], 10.0) for _ in range(40)]
            backends.chains, backends.connections = [*[theirs] * (number - 1), good], 0
            made.append(await watch.scrape([one], 10.0))
            asked = backends.connections
            made += [await watch.scrape([one], 10.0) for _ in range(4)]
    found = [problems(one) for one in made]
    assert asked == (2 if not told else 1 + CERTAIN)
    assert found == [*[set()] * 40, *[{"identity_changed"} if told else set()] * 5]


def one_wrong(ca: Minted, anchors: str, number: int) -> tuple[list[bool], int]:
    """
    Whether something is wrong in each scrape, and the probes made since one saw a wrong certificate after two
    days of a good one. The probe of this number is the next that sees it.
    """
    _, good = old_and_new(ca)
    other = "other.example.com"
    wrong = (ca.issue(other, [other], not_before=NOW, not_after=NOW + 90 * DAY), ca)

    async def run(backends: Backends) -> list[bool]:
        clock, found = Clock(), list[bool]()
        network = Dependencies(asyncio.get_running_loop())
        watch = Monitor(network, 8, clock)
        one = target(backends.port, ca_file=anchors)
        for pause in [DAY / 20] * 40 + [300] * 10:
            if len(found) == 40:
                backends.chains = [wrong, *[good] * (number - 2), wrong, *[good] * 1000]
                backends.connections = 0
            clock.now += pause
            found.append(bool(problems(await watch.scrape([one], 10.0))))
        network.close()
        return found

    with taking_turns(good) as backends:
        return asyncio.run(run(backends)), backends.connections


def test_one_of_many_that_one_probe_saw_is_looked_for_until_it_is_found(ca: Minted, anchors: str) -> None:
    """
    It looks like a mistake that was put right. The next scrapes make more probes, and its alert stays.
    """
    found, probes = one_wrong(ca, anchors, 60)
    assert found == [step >= 40 for step in range(50)]
    assert probes < 10 + 2 * CERTAIN


def test_a_mistake_that_one_probe_saw_is_over_after_some_scrapes(ca: Minted, anchors: str) -> None:
    """
    Then it is certain that it is not one of many, and no more probes are made.
    """
    found, probes = one_wrong(ca, anchors, 1000)
    assert found == [40 <= step < 43 for step in range(50)]
    assert probes == 10 + 3 * CERTAIN


async def test_one_of_several_is_said_once_one_of_them_came_back(ca: Minted, anchors: str) -> None:
    """
    At the first change nobody knows whether there are two, or one that was changed.
    """
    old, new = old_and_new(ca)

    with taking_turns(new) as backends:
        one = target(backends.port, ca_file=anchors)
        said = []
        async with watching() as watch:
            for chain, scrapes in ((new, 40), (old, 1), (new, 1)):
                backends.chains = [chain]
                for _ in range(scrapes):
                    made = await watch.scrape([one], 10.0)
                causes = [words(row, reach(made.problems)).cause for row in made.problems]
                said.append({SEVERAL in cause for cause in causes})
        assert said == [set(), {False}, {True}]


async def test_scrapes_at_the_same_time_share_a_sweep(leaf: Minted) -> None:
    """
    Two scrapes that overlap make one connection and both have its result; the next one makes its own.
    """
    with gated(leaf.chain) as gate:
        one = target(gate.port)
        async with watching() as watch:
            first = asyncio.create_task(watch.scrape([one], 10.0))
            await until(gate, 1)
            second = asyncio.create_task(watch.scrape([one], 10.0))
            # Not open before the second one waits, too.
            await asyncio.sleep(0)
            gate.open.set()
            made = [await first, await second]
            assert gate.connections == 1
            made.append(await watch.scrape([one], 10.0))
        assert [(reasons(scraped), scraped.complete) for scraped in made] == [(["seen"], True)] * 3
        assert gate.connections == 2


async def test_a_scrape_with_less_time_gets_what_is_known(leaf: Minted, healthy: Server) -> None:
    """
    It says `timeout` for the rest, with the step that is under way, and the longer one goes on to the end.
    """
    with gated(leaf.chain) as gate:
        targets = [target(healthy), target(gate.port)]
        async with watching() as watch:
            longer = asyncio.create_task(watch.scrape(targets, 10.0))
            await until(gate, 1)
            short = await watch.scrape(targets, 0.3)
            # Rows show what is held at the moment: look before the longer scrape changes it.
            assert reasons(short) == ["seen", "timeout"]
            steps = [str(one.observation) for result in short.results for one in result.looks]
            assert any("this step: handshake" in step for step in steps)
            gate.open.set()
            long, connections = await longer, gate.connections
    assert not short.complete
    assert short.duration < 5
    assert long.complete
    assert reasons(long) == ["seen", "seen"]
    assert connections == 1


def test_the_deadline_holds_with_silent_servers(healthy: Server) -> None:
    """
    Two hundred servers that accept and say nothing: the answer is there in time, with the healthy one.

    They are more than are probed at a time at first, until the event loop has nothing to do.
    """

    async def scraped(targets: list[Target]) -> tuple[Scrape, float]:
        async with watching() as watch:
            loop = asyncio.get_running_loop()
            began = loop.time()
            return await watch.scrape(targets, 0.5), loop.time() - began

    with socket.create_server(("127.0.0.1", 0), backlog=1024) as silent:
        targets = [target(silent.getsockname()[1], name=f"silent-{number}") for number in range(200)]
        made, took = event_loop.run(scraped([*targets, target(healthy)]))
    assert reasons(made) == ["seen"] + ["timeout"] * 200
    assert not made.complete
    # The rest is room for a busy machine; silent targets alone would take five seconds.
    assert took < 2


PLACES = 32
"""Looks at a time where more targets are silent than that."""


async def test_each_target_has_its_turn_among_silent_ones(
    tmp_path: Path, healthy: Server, ca: Minted
) -> None:
    """
    Healthy targets among more silent ones than there are looks at a time are seen within the number of
    scrapes that the manual states, and from then on in every one. So is a certificate that expired.
    """
    expired = ca.issue(NAME, [NAME], not_before=NOW - 90 * DAY, not_after=NOW - DAY)
    with (
        nginx(tmp_path, Site([expired.chain])) as bad,
        socket.create_server(("127.0.0.1", 0), backlog=2048) as silent,
    ):
        port = silent.getsockname()[1]
        targets = [target(port, name=f"silent-{number}", timeout=60.0) for number in range(4 * PLACES)]
        targets += [target(healthy, name=f"healthy-{number}") for number in range(7)]
        targets += [target(bad, name="healthy-but-expired")]
        turns = Turns[str](PLACES)
        scrapes = -(-len(targets) // turns.most)
        network = Dependencies(asyncio.get_running_loop(), lambda: NOW)
        watch = Monitor(network, PLACES, lambda: NOW)
        made = []
        for _ in range(scrapes + 3):
            scraped = await watch.scrape(targets, 1.0)
            made.append({row.target.name: row for row in scraped.endpoints})
        network.close()
    for rows in made[scrapes:]:
        assert [name for name, row in rows.items() if told(row)[0] == "seen"] == [
            one.name for one in targets if one.name.startswith("healthy")
        ]
        assert told(rows["healthy-but-expired"])[:2] == ("seen", "expired")
    # All have said why they are not seen, and none of them for lack of a turn: each had one.
    assert all(row.held.turn > 0 for row in made[-1].values())


async def test_what_was_seen_has_the_time_of_its_look(healthy: Server, leaf: Minted, anchors: str) -> None:
    """
    Not that of the scrape, which waits for another one.
    """
    with gated(leaf.chain) as gate:
        network, clock = Dependencies(asyncio.get_running_loop()), Clock()
        watch = Monitor(network, 8, clock)
        targets = [target(healthy, name="quick", ca_file=anchors), target(gate.port, name="slow")]
        made = asyncio.create_task(watch.scrape(targets, 10.0))
        while watch.done < 1:  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.001)
        clock.now += 100
        short = await watch.scrape(targets, 0.3)
        clock.now += 100
        gate.open.set()
        long = await made
        network.close()
    for one in (short, long):
        (quick,) = (row for row in one.endpoints if row.target.name == "quick")
        assert quick.held.seen_at == quick.held.past.trusted_at == NOW
    assert (short.at, long.at) == (NOW + 100, NOW + 200)
    (slow,) = (row for row in long.endpoints if row.target.name == "slow")
    assert slow.held.seen_at == NOW + 200
    # A scrape's answer is not changed by what is seen after it.
    assert reasons(short) == ["seen", "timeout"]


async def test_a_scrape_of_long_patience_is_no_answer_to_the_others(
    tmp_path: Path, leaf: Minted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    While it waits for a silent target, others look anew, and see that a server went down.
    """
    monkeypatch.setattr("exporter.engine.sweep.FRESH", -1.0)

    with gated(leaf.chain) as gate:
        clock = Clock()
        network = Dependencies(asyncio.get_running_loop())
        watch = Monitor(network, 8, clock)
        with s_server(tmp_path, leaf.chain) as server:
            targets = [target(server, name="goes down"), target(gate.port, name="silent", timeout=600.0)]
            waiting = asyncio.create_task(watch.scrape(targets, 100.0))
            while watch.done < 1:  # noqa: ASYNC110 - there is no event for it
                await asyncio.sleep(0.001)
        later = []
        for _ in range(2):
            clock.now += 60
            later.append(await watch.scrape(targets, 0.5))
        gate.open.set()
        patient = await waiting
        network.close()
    assert gate.connections == 1
    assert reasons(patient) == ["connection_refused", "seen"]
    for made in later:
        assert reasons(made) == ["connection_refused", "timeout"]
        assert [row.held.seen_at for row in made.endpoints] == [NOW, None]


async def test_a_longer_scrape_has_its_time_after_a_shorter_one(leaf: Minted) -> None:
    """
    The look goes on for it when the first scrape's time is over.
    """
    with gated(leaf.chain) as gate:
        one = target(gate.port)
        async with watching() as watch:
            short = asyncio.create_task(watch.scrape([one], 0.3))
            await until(gate, 1)
            long = asyncio.create_task(watch.scrape([one], 10.0))
            first = reasons(await short)
            gate.open.set()
            made = first, reasons(await long)
        assert made == (["timeout"], ["seen"])
        assert gate.connections == 1


async def test_one_address_that_is_silent_takes_no_time_of_another(leaf: Minted, tmp_path: Path) -> None:
    """
    Of names with several addresses, each address waits for a turn of its own.
    """
    names = Names(**{f"two_{number}": ["127.0.0.1", "127.0.0.2"] for number in range(10)})
    with nginx(tmp_path, Site([leaf.chain])) as server, socket.socket() as silent:
        silent.bind(("127.0.0.2", server.port))
        silent.listen(2048)
        targets = [target(f"two-{number}.example:{server.port}", timeout=60.0) for number in range(10)]
        network = Dependencies(asyncio.get_running_loop())
        object.__setattr__(network, "resolver", names)
        watch = Monitor(network, 8, lambda: NOW)
        made = [reasons(await watch.scrape(targets, 1.0)) for _ in range(4)]
        network.close()
    assert made[-1] == ["seen"] * 10 + ["timeout"] * 10


def test_looks_fit_below_the_limit_of_open_files(tmp_path: Path, healthy: Server) -> None:
    """
    With `ulimit -n 256` and many more targets, each is probed; the log says that fewer are at a time.
    """
    names = [f"t{number}" for number in range(600)]
    config = tmp_path / "expiry.yml"
    entries = [{"url": f"tls://{healthy.authority}", "name": name, "timeout": "30s"} for name in names]
    config.write_text(json.dumps({"targets": entries}), encoding="utf-8")
    port = free_port()
    argv = [
        "prlimit",
        "--nofile=256:256",
        sys.executable,
        "-m",
        "exporter",
        f"--config.file={config}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    base = f"http://127.0.0.1:{port}"
    with running(argv, ready=answers(f"{base}/-/healthy")) as exporter:
        asked = Request(f"{base}/metrics", headers={"X-Prometheus-Scrape-Timeout-Seconds": "60"})
        with urlopen(asked, timeout=60) as answer:
            text = answer.read().decode()
        log = exporter.output()
    assert len(re.findall(r"^expiry_probe_success\{.*\} 1\.0$", text, re.MULTILINE)) == len(names)
    assert "expiry_probe_failure_info{" not in text
    assert "the limit of open files allows fewer looks" in log
    assert f"looks_at_a_time={probe_slots(256)}" in log


def descriptors() -> int:
    """
    Open file descriptors of this process.
    """
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def other_threads() -> int:
    """
    Threads besides those of pools, which live as long as their network.
    """
    return sum(thread.name not in {"resolver", "named files"} for thread in threading.enumerate())


async def test_sweeps_leave_nothing_behind(tmp_path: Path, leaf: Minted, ca: Minted, healthy: Server) -> None:
    """
    Twenty sweeps with every kind of end: no task, thread, descriptor or note more than after the first.
    """
    (tmp_path / "plain").mkdir()

    with (
        s_server(tmp_path, leaf.chain, client_ca=ca) as demanding,
        nginx(tmp_path, Site([leaf.chain], client_ca=ca)) as asking,
        misbehaving.refusing() as refused,
        misbehaving.unanswering() as unanswered,
        socket.create_server(("127.0.0.1", 0), backlog=1024) as silent,
    ):
        targets = [
            target(healthy),
            target(asking, scheme="https"),
            target(demanding),
            target(refused),
            target(unanswered, timeout=0.1),
            target(silent.getsockname()[1], timeout=0.1),
            target("127.0.0.1:1", keys="both"),
            target(f"localhost:{healthy.port}"),
        ]
        async with watching() as watch:
            counts = []
            for number in range(21):
                # Each second sweep ends before its looks do.
                rows = await scrape(watch, *targets, timeout=0.05 if number % 2 else 5.0)
                assert len(rows) >= len(targets)
                await settled()
                counts.append((descriptors(), other_threads(), len(openssl._requested)))
            assert counts[1:] == [counts[0]] * 20
            assert not watch._dependencies.readiness._waiting


async def test_a_certificate_that_did_not_change_is_the_same_object(healthy: Server) -> None:
    """
    A second look parses nothing anew and judges nothing anew.
    """
    async with watching() as watch:
        (first,) = await scrape(watch, target(healthy))
        facts, verdict = first.held.facts, first.verdict
        (second,) = await scrape(watch, target(healthy))
    assert second.held.facts is facts
    assert second.verdict is verdict


async def test_facts_are_held_when_the_server_goes_down(tmp_path: Path, leaf: Minted, anchors: str) -> None:
    """
    The look fails, the facts and their verdict stay.
    """
    async with watching() as watch:
        with s_server(tmp_path, leaf.chain) as server:
            one = target(server, ca_file=anchors)
            (up,) = await scrape(watch, one)
            before, held = told(up), up.held.facts
        (down,) = await scrape(watch, one)
        made = before, told(down), down.held.facts is held
    assert made == (("seen",), ("connection_refused",), True)


def test_one_look_for_each_target_of_the_same_place(leaf: Minted) -> None:
    """
    Targets are independent, even when their URLs are the same.
    """
    with gated(leaf.chain) as gate:
        gate.open.set()
        rows = look(*(target(gate.port, name=f"name-{number}") for number in range(3)))
        assert gate.connections == 3
    assert [told(row)[0] for row in rows] == ["seen"] * 3
