"""
The sweep: every endpoint is looked at, in time, and no fault of one harms another.

The probes here are fakes, registered under schemes of their own: they do what no real server can be
made to do on demand.
"""

import asyncio
import contextlib
import errno
import gc
import logging
import weakref
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from zlib import crc32

import pytest

from exporter.engine import sweep as engine_sweep
from exporter.engine.gates import USUAL, Limits
from exporter.engine.memory import Memory
from exporter.engine.results import ProbeResult, TargetResult
from exporter.engine.slices import in_slices
from exporter.engine.sweep import Sweeper
from exporter.engine.widening import BEGIN
from exporter.model.errors import LeftOut, ProbeError
from exporter.model.observation import Facts, Failed, Observed
from exporter.model.probers import WIRE
from exporter.model.reasons import Reason
from exporter.model.schemes import SCHEMES, Scheme
from exporter.model.targets import Target
from exporter.model.urls import Url
from exporter.net import event_loop
from exporter.net.connection import connect_error
from exporter.net.turns import Turns
from exporter.probes import PROBES
from exporter.probes.base import Endpoint, Endpoints, Probe, Trace
from exporter.probes.dependencies import Dependencies
from tests.golden.scenes import failed, seen
from tests.golden.values import certificate, facts
from tests.support.certificates import NOW

FACTS = facts(certificate())

FAKE, LOCAL = "fake", "local"


def fake_target(name: str) -> Target:
    """
    A target of the fake probe.
    """
    return Target(Url(f"{FAKE}://{name}:1", FAKE, name, 1, None), name)


def local_target(name: str) -> Target:
    """
    A target of the fake probe that needs no network.
    """
    return Target(Url(f"{LOCAL}://{name}:1", LOCAL, name, 1, None), name)


def in_turn(*names: str) -> list[str]:
    """
    These targets in the order in which they get their turn: that of a checksum of their names.
    """
    return sorted(names, key=lambda name: crc32(name.encode()))


Behaviour = Callable[[Target, Endpoint], Awaitable[Facts]]


class Fake:
    """
    A fake probe: what it finds and does is said by each test.
    """

    def __init__(self) -> None:
        """
        Each target has one endpoint, and looking at it gives facts.
        """
        self.looked: list[str] = []
        self.found: Callable[[Target], Endpoints] = lambda target: Endpoints((Endpoint(target.name),))
        self.behaviour: Behaviour = self.good
        PROBES[FAKE] = Probe(FAKE, self.endpoints, self.look)
        PROBES[LOCAL] = Probe(LOCAL, self.endpoints, self.look, local=True)
        SCHEMES[FAKE] = SCHEMES[LOCAL] = Scheme(WIRE)

    @staticmethod
    async def good(_: Target, __: Endpoint) -> Facts:
        """
        A look that goes well.
        """
        return FACTS

    async def endpoints(self, target: Target, _: Dependencies) -> Endpoints:
        """
        The places of a target.
        """
        return self.found(target)

    async def look(self, target: Target, endpoint: Endpoint, _: Dependencies, trace: Trace) -> Facts:
        """
        What is seen there.
        """
        self.looked.append(endpoint.label)
        trace.phase = "pretend"
        return await self.behaviour(target, endpoint)


@pytest.fixture
def fake() -> Iterator[Fake]:
    """
    The fake probe, gone afterwards.
    """
    yield Fake()
    for name in (FAKE, LOCAL):
        del PROBES[name], SCHEMES[name]


def sweep(
    *names: str, timeout: float = 5.0, concurrency: int = 8, memory: Memory | None = None
) -> dict[str, TargetResult]:
    """
    What one sweep of these targets gives, by name.
    """

    async def run() -> tuple[TargetResult, ...]:
        loop = asyncio.get_running_loop()
        network, known = Dependencies(loop), memory or Memory()
        try:
            sweeper = Sweeper(network, known, concurrency, lambda: NOW)
            assert sweeper.done == 0
            one = sweeper.sweep([fake_target(name) for name in names], loop.time() + timeout)
            await one.over
            assert one.complete == all(progress.done for progress in one.progress)
            return tuple(one.results(known, loop.time()))
        finally:
            network.close()

    return {result.target.name: result for result in asyncio.run(run())}


def reasons(result: TargetResult) -> dict[str, str]:
    """
    The reason of each endpoint; `seen` for what was.
    """
    return {
        look.label: look.observation.reason if isinstance(look.observation, Failed) else "seen"
        for look in result.looks
    }


def details(result: TargetResult) -> list[str]:
    """
    The words of each failure.
    """
    return [look.observation.detail for look in result.looks if isinstance(look.observation, Failed)]


def test_every_endpoint_of_every_target_is_looked_at(fake: Fake) -> None:
    """
    More targets than looks at a time.
    """
    fake.found = lambda target: Endpoints(
        (Endpoint(f"{target.name}-1"), Endpoint(f"{target.name}-2")), (LeftOut("left", "why"),)
    )
    results = sweep(*"abcdefgh", concurrency=3)
    assert sorted(fake.looked) == sorted(f"{name}-{n}" for name in "abcdefgh" for n in (1, 2))
    for name, result in results.items():
        assert result.located
        assert result.left_out == (LeftOut("left", "why"),)
        assert {look.label: look.observation for look in result.looks} == {
            f"{name}-1": Observed(FACTS),
            f"{name}-2": Observed(FACTS),
        }


@pytest.mark.parametrize(
    ("error", "reason", "detail"),
    [
        (ProbeError(Reason.NOT_TLS, "it is not"), Reason.NOT_TLS, "it is not"),
        (TimeoutError(), Reason.TIMEOUT, "the probe ran out of time"),
        (
            ConnectionResetError(104, "Connection reset by peer"),
            Reason.CONNECTION_RESET,
            "the connection broke: Connection reset by peer",
        ),
        (OSError("odd"), Reason.CONNECTION_RESET, "the connection broke: odd"),
    ],
)
def test_exceptions_of_a_look_become_reasons(
    fake: Fake, error: Exception, reason: Reason, detail: str
) -> None:
    """
    In one place, for all probes.
    """

    async def fail(_: Target, __: Endpoint) -> Facts:
        raise error

    fake.behaviour = fail
    result = sweep("a")["a"]
    assert (reasons(result), details(result)) == ({"a": reason}, [detail])
    assert result.located


def test_what_was_seen_before_a_failure_is_told(fake: Fake) -> None:
    """
    The failure carries it.
    """

    async def refuse(_: Target, __: Endpoint) -> Facts:
        raise ProbeError(Reason.CLIENT_CERTIFICATE_REQUIRED, "ours", FACTS)

    fake.behaviour = refuse
    (look,) = sweep("a")["a"].looks
    assert look.observation == Failed(Reason.CLIENT_CERTIFICATE_REQUIRED, "ours", FACTS)


def test_an_internal_error_is_logged_and_harms_no_other(fake: Fake, caplog: pytest.LogCaptureFixture) -> None:
    """
    With its traceback in the log, not in the words.
    """

    async def break_one(target: Target, _: Endpoint) -> Facts:
        if target.name == "b":
            raise ZeroDivisionError("secret of the implementation")
        return FACTS

    fake.behaviour = break_one
    results = sweep("a", "b", "c", concurrency=1)
    assert [reasons(results[name])[name] for name in "abc"] == ["seen", Reason.INTERNAL_ERROR, "seen"]
    assert details(results["b"]) == [
        "ZeroDivisionError: please report it with the traceback in the exporter's log"
    ]
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError
    assert record.__dict__["fields"] == {"target": "b"}


def test_a_target_without_a_place_keeps_its_endpoints(fake: Fake, caplog: pytest.LogCaptureFixture) -> None:
    """
    Each that was known fails for the reason; an unexpected error is one too.
    """
    memory = Memory()
    memory.update(
        TargetResult(
            fake_target("a"), (seen(FACTS, "192.0.2.1:1"), seen(FACTS, "192.0.2.2:1")), located=True
        ),
        NOW,
    )

    def nowhere(target: Target) -> Endpoints:
        if target.name == "a":
            raise ProbeError(Reason.DNS_NOT_FOUND, "no such name")
        raise KeyError(target.name)

    fake.found = nowhere
    results = sweep("a", "b", memory=memory)
    assert reasons(results["a"]) == dict.fromkeys(("192.0.2.1:1", "192.0.2.2:1"), Reason.DNS_NOT_FOUND)
    assert reasons(results["b"]) == {"b:1": Reason.INTERNAL_ERROR}
    assert not any(result.located for result in results.values())
    assert len(caplog.records) == 1


def test_the_time_of_a_failed_lookup_is_its_own(fake: Fake) -> None:
    """
    Not the time that the rest of the sweep took.
    """

    def nowhere(target: Target) -> Endpoints:
        if target.name == "quick":
            raise ProbeError(Reason.DNS_NOT_FOUND, "no such name")
        return Endpoints((Endpoint("slow"),))

    async def slow(_: Target, __: Endpoint) -> Facts:
        await asyncio.sleep(0.3)
        return FACTS

    fake.found, fake.behaviour = nowhere, slow
    results = sweep("quick", "slow")
    assert results["slow"].looks[0].duration >= 0.3
    assert results["quick"].looks[0].duration < 0.3


async def hang(*_: object) -> Facts:
    """
    A look that never ends.
    """
    await asyncio.Event().wait()
    raise AssertionError


def test_what_is_not_done_at_the_deadline_says_where_it_was(fake: Fake) -> None:
    """
    In the middle of a look, between its endpoints, or waiting for a turn.
    """
    fake.found = lambda target: Endpoints((Endpoint(f"{target.name}-1"), Endpoint(f"{target.name}-2")))
    fake.behaviour = hang
    results = sweep("a", "b", timeout=0.2, concurrency=1)
    first, second = in_turn(*results)
    assert reasons(results[first]) == {f"{first}-1": Reason.TIMEOUT, f"{first}-2": Reason.TIMEOUT}
    assert details(results[first]) == [
        "the scrape's time was over during this step: pretend",
        "the scrape's time was over during this step: waiting for its turn",
    ]
    assert reasons(results[second]) == {f"{second}:1": Reason.TIMEOUT}
    assert "raise --sweep.concurrency" in details(results[second])[0]
    assert results[first].looks[0].duration >= 0.15
    assert results[second].looks[0].duration == 0


def test_what_fails_or_is_cut_off_is_freed_at_once(fake: Fake) -> None:
    """
    Without the garbage collector, which stops everything while it looks for what holds itself.
    """
    left: list[weakref.ref[object]] = []

    async def fail_or_hang(target: Target, endpoint: Endpoint) -> Facts:
        # No name for it here: that would hold it, too.
        left.append(weakref.ref(asyncio.current_task()))
        if target.name == "silent":
            await hang(target, endpoint)
        error = ProbeError(Reason.NOT_TLS, "it held itself here")
        left.append(weakref.ref(error))
        raise error from OSError("the cause")

    fake.behaviour = fail_or_hang
    gc.disable()
    try:
        results = sweep("silent", "bad", timeout=0.2)
        assert [one() for one in left] == [None] * 3
    finally:
        gc.enable()
    assert {name: [*reasons(one).values()] for name, one in results.items()} == {
        "silent": ["timeout"],
        "bad": ["not_tls"],
    }


async def test_the_more_is_open_the_sooner_a_sweep_ends(fake: Fake) -> None:
    """
    What is cut off must be written anew: nine of ten silent ones leave less time than one of ten.
    """

    async def some_hang(target: Target, endpoint: Endpoint) -> Facts:
        return await hang(target, endpoint) if target.name.startswith("silent") else FACTS

    fake.behaviour = some_hang

    async def left(silent: int) -> float:
        loop = asyncio.get_running_loop()
        network, memory = Dependencies(loop), Memory()
        names = [*(f"silent{number}" for number in range(silent)), *map(str, range(10 - silent))]
        try:
            sweeper, deadline = Sweeper(network, memory, 10, lambda: NOW), loop.time() + 2
            targets = [fake_target(name) for name in names]
            one = sweeper.sweep(targets, deadline, reserved=lambda left: left * 0.15)
            await one.over
            assert (one.left, one.complete) == (silent, False)
            assert one.finished is not None
            return deadline - one.finished
        finally:
            network.close()

    assert await left(1) <= 0.15
    assert 0.5 < await left(9) <= 1.35


async def test_a_sweep_heeds_what_other_answers_took_since_it_began(fake: Fake) -> None:
    """
    Of two scrapes at the same time, the first answer shows how long that of the second takes.
    """
    fake.behaviour = hang
    loop = asyncio.get_running_loop()
    network, memory = Dependencies(loop), Memory()
    known = [0.0]
    try:
        sweeper, deadline = Sweeper(network, memory, 10, lambda: NOW), loop.time() + 4
        one = sweeper.sweep([fake_target("a")], deadline, reserved=lambda _: known[0])
        loop.call_later(0.1, known.__setitem__, 0, 3.0)
        await one.over
        assert one.finished is not None
        made = deadline - one.finished
    finally:
        network.close()
    assert made > 1.5


def test_a_lookup_that_is_not_done_at_the_deadline_says_so(fake: Fake) -> None:
    """
    The endpoints are then not known.
    """

    async def never(*_: object) -> Endpoints:
        await asyncio.Event().wait()
        raise AssertionError

    PROBES[FAKE] = Probe(FAKE, never, fake.look)
    result = sweep("a", timeout=0.1)["a"]
    assert details(result) == ["the scrape's time was over during this step: looking up the name"]
    assert not result.located


def test_what_answered_goes_first_and_of_the_rest_what_waited_longest(fake: Fake) -> None:
    """
    What never had a turn is ahead of what was silent; a place or two are for the rest in any case.
    """
    memory = Memory()
    for turn, name in enumerate("abcdefgh"):
        look = failed(Reason.TIMEOUT, name) if name in "aceg" else seen(FACTS, name)
        memory.update(TargetResult(fake_target(name), (replace(look, turn=float(-turn)),), located=True), NOW)

    async def others_meanwhile(*_: object) -> Facts:
        await asyncio.sleep(0)
        return FACTS

    fake.behaviour = others_meanwhile
    sweep(*"abcdefghi", concurrency=2, memory=memory)
    quick = [name for name in fake.looked if name in "bdfh"]
    rest = [name for name in fake.looked if name in "acegi"]
    assert quick == ["h", "f", "d", "b"]
    assert rest == ["i", "g", "e", "c", "a"]
    assert set(fake.looked[:2]) == {"h", "i"}


def test_a_first_look_takes_what_stands_together_apart(fake: Fake) -> None:
    """
    Else a thousand silent servers that stand first in the file would take all the time of the others. The
    order is the same each time, and results come in that of the file.
    """
    names = [f"{kind}-{number}" for kind in ("silent", "healthy") for number in range(50)]
    results = sweep(*names, concurrency=1)
    first, order = fake.looked[:30], fake.looked[:]
    assert 5 < sum(name.startswith("healthy") for name in first) < 25
    assert list(results) == names
    fake.looked.clear()
    sweep(*reversed(names), concurrency=1)
    assert fake.looked == order


async def test_what_needs_no_network_does_not_wait_for_its_turn_there(fake: Fake) -> None:
    """
    Files are seen though every server is silent.
    """

    async def hang_on_the_network(target: Target, endpoint: Endpoint) -> Facts:
        return FACTS if target.url.scheme == LOCAL else await hang(target, endpoint)

    fake.behaviour = hang_on_the_network
    loop = asyncio.get_running_loop()
    network, memory = Dependencies(loop), Memory()
    try:
        targets = [fake_target("silent"), fake_target("another"), local_target("file")]
        one = Sweeper(network, memory, 1, lambda: NOW).sweep(targets, loop.time() + 0.2)
        await one.over
        results = {result.target.name: result for result in one.results(memory, loop.time())}
    finally:
        network.close()
    assert {name: [*reasons(result).values()] for name, result in results.items()} == {
        "silent": ["timeout"],
        "another": ["timeout"],
        "file": ["seen"],
    }


def test_more_looks_are_under_way_while_all_wait_for_far_servers(fake: Fake) -> None:
    """
    Here none answers before twice as many are asked as a sweep begins with.
    """
    names = [f"far-{number}" for number in range(3 * BEGIN)]
    enough = asyncio.Event()

    async def far(_: Target, __: Endpoint) -> Facts:
        if len(fake.looked) > 2 * BEGIN:
            enough.set()
        await enough.wait()
        return FACTS

    async def run() -> bool:
        loop = asyncio.get_running_loop()
        with contextlib.closing(Dependencies(loop)) as network:
            sweeper = Sweeper(network, Memory(), 1024, lambda: NOW)
            one = sweeper.sweep([fake_target(name) for name in names], loop.time() + 60.0)
            await one.over
            return one.complete

    fake.behaviour = far
    assert event_loop.run(run())


def test_no_more_looks_are_under_way_than_allowed(fake: Fake) -> None:
    """
    Also when each target has many endpoints: those are bounded too.
    """
    under_way, most = 0, 0

    async def count(*_: object) -> Facts:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.001)
        under_way -= 1
        return FACTS

    fake.behaviour = count
    fake.found = lambda target: Endpoints(tuple(Endpoint(f"{target.name}-{n}") for n in range(10)))
    sweep(*"abcdefgh", concurrency=3)
    assert len(fake.looked) == 80
    assert most == Turns(3).most == 2


def busiest(
    fake: Fake, names: Sequence[str], limits: Limits, concurrency: int = 16
) -> tuple[Counter[str], int, bool]:
    """
    The most looks under way at each address, the sweep's results that were seen, and whether it was complete.

    The addresses are the first letters of the targets' names.
    """
    under_way, most = Counter[str](), Counter[str]()

    async def count(_: Target, endpoint: Endpoint) -> Facts:
        under_way[endpoint.address] += 1
        most[endpoint.address] = max(most[endpoint.address], under_way[endpoint.address])
        await asyncio.sleep(0.001)
        under_way[endpoint.address] -= 1
        return FACTS

    fake.behaviour = count
    fake.found = lambda target: Endpoints((Endpoint(target.name, target.name[0]),))

    async def run() -> tuple[Counter[str], int, bool]:
        loop = asyncio.get_running_loop()
        network, memory = Dependencies(loop), Memory()
        try:
            sweeper = Sweeper(network, memory, concurrency, lambda: NOW, None, limits, lambda _: False)
            one = sweeper.sweep([fake_target(name) for name in names], loop.time() + 60)
            await one.over
            found = [list(reasons(result).values()) for result in one.results(memory, loop.time())]
            return most, found.count(["seen"]), one.complete
        finally:
            network.close()

    return asyncio.run(run())


def test_no_more_are_under_way_at_one_address_than_allowed(fake: Fake) -> None:
    """
    All are seen in the end; other addresses have their places.
    """
    names = [*(f"a{number}" for number in range(200)), *(f"{letter}0" for letter in "bcdef")]
    most, count, complete = busiest(fake, names, Limits(3, 0))
    assert (most["a"], count, complete) == (3, len(names), True)


def test_new_ones_at_one_address_are_spread_over_time(fake: Fake) -> None:
    """
    Not all of them in one scrape's first moment; each comes.
    """
    most, count, complete = busiest(fake, [f"a{number}" for number in range(60)], Limits(0, 100))
    assert (count, complete) == (60, True)
    assert most["a"] <= 20


def test_two_thousand_at_one_host(fake: Fake) -> None:
    """
    Some at a time, each in the end, and what is elsewhere does not wait for them.
    """
    elsewhere = [f"b{number}" for number in range(20)]
    names = [f"a{number}" for number in range(2000)]
    limits = Limits(USUAL.most, 2000)
    most, count, complete = busiest(fake, [*names, *elsewhere], limits, concurrency=256)
    assert (count, complete) == (2020, True)
    assert most["a"] <= USUAL.most
    assert max(map(fake.looked.index, elsewhere)) < len(names)


async def test_what_waits_at_its_address_is_cut_off_with_its_scrape(fake: Fake) -> None:
    """
    It had no turn, and waits for the next scrape.
    """
    began: list[str] = []

    async def hang(_: Target, endpoint: Endpoint) -> Facts:
        began.append(endpoint.label)
        await asyncio.Event().wait()
        return FACTS

    fake.behaviour = hang
    fake.found = lambda target: Endpoints((Endpoint(target.name, "a"),))

    loop = asyncio.get_running_loop()
    network, memory = Dependencies(loop), Memory()
    try:
        sweeper = Sweeper(network, memory, 16, lambda: NOW, None, Limits(1, 0), lambda _: False)
        for _ in range(2):
            one = sweeper.sweep([fake_target(name) for name in "xyz"], loop.time() + 0.4)
            await one.over
            assert not one.complete
            results = list(one.results(memory, loop.time()))
            for result in results:
                memory.update(result, NOW)
            turns = [look.turn for result in results for look in result.looks]
            assert sum(turn is None for turn in turns) == 2
    finally:
        network.close()
    assert len(set(began)) == len(began) == 2


async def test_sweeps_at_the_same_time_share_the_places(fake: Fake) -> None:
    """
    Strangers may ask /probe for many targets at once: no more are looked at than allowed, and each is.
    """
    under_way, most = 0, 0

    async def count(*_: object) -> Facts:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.001)
        under_way -= 1
        return FACTS

    fake.behaviour = count

    loop = asyncio.get_running_loop()
    network = Dependencies(loop)
    try:
        sweeper = Sweeper(network, Memory(), 4, lambda: NOW)
        sweeps = [
            sweeper.sweep([fake_target(f"{number}")], loop.time() + 5, trace_steps=number % 2 == 0)
            for number in range(50)
        ]
        await asyncio.wait([one.over for one in sweeps])
        made = [one.complete for one in sweeps]
    finally:
        network.close()
    assert made == [True] * 50
    assert most <= 4


@pytest.mark.parametrize(
    "error",
    [
        connect_error(OSError(errno.EMFILE, "Too many open files"), "192.0.2.1", 443),
        OSError(errno.ENFILE, "Too many open files in system"),
    ],
)
def test_a_look_without_a_descriptor_waits_for_one(fake: Fake, error: Exception) -> None:
    """
    It is no failure as long as there is time; after that the words say what it waited for.
    """
    lacking = {"a": 2, "b": 1_000_000}

    async def need_one(target: Target, _: Endpoint) -> Facts:
        lacking[target.name] -= 1
        if lacking[target.name] >= 0:
            raise error
        return FACTS

    fake.behaviour = need_one
    results = sweep("a", "b", timeout=1.0)
    assert (reasons(results["a"]), reasons(results["b"])) == ({"a": "seen"}, {"b": Reason.TIMEOUT})
    assert "waiting for a free file descriptor (raise ulimit -n" in details(results["b"])[0]


def test_no_targets_are_done_at_once(fake: Fake) -> None:
    """
    Without a look.
    """
    assert sweep() == {}
    assert fake.looked == []


async def test_looks_under_way_are_shared_and_those_of_a_done_sweep_are_not(fake: Fake) -> None:
    """
    Scrapes that come together look once; the next one looks again.
    """
    loop = asyncio.get_running_loop()
    network = Dependencies(loop)
    try:
        sweeper = Sweeper(network, Memory(), 8, lambda: NOW)
        first = sweeper.sweep([fake_target("a")], loop.time() + 5)
        second = sweeper.sweep([fake_target("a")], loop.time() + 5)
        assert (first.complete, sweeper.done, first.finished) == (False, 0, None)
        await first.over
        await second.over
        assert first.complete
        assert second.complete
        assert sweeper.done == 1
        assert first.finished is not None
        assert len(fake.looked) == 1
        await sweeper.sweep([fake_target("a")], loop.time() + 5).over
    finally:
        network.close()
    assert len(fake.looked) == 2


async def test_each_probe_is_given_as_it_ends_and_nothing_is_remembered_by_the_sweep(fake: Fake) -> None:
    """
    With the time at which it ended. A target follows its probes, and then there is no more.
    """
    quick = asyncio.Event()

    async def one_after_the_other(_: Target, endpoint: Endpoint) -> Facts:
        if endpoint.label == "slow":
            await quick.wait()
        return FACTS

    fake.behaviour = one_after_the_other
    fake.found = lambda _: Endpoints((Endpoint("slow"), Endpoint("quick")))

    loop = asyncio.get_running_loop()
    network, memory, now = Dependencies(loop), Memory(), NOW
    try:
        sweeper = Sweeper(network, memory, 8, lambda: now)
        sweeper.sweep([fake_target("a")], loop.time() + 5)
        assert await sweeper.more()
        ((at, target, first),) = sweeper.given()
        assert isinstance(first, ProbeResult)
        assert (at, target.name, first.label, first.observation) == (NOW, "a", "quick", Observed(FACTS))
        now += 60
        quick.set()
        assert not await sweeper.more()
        (_, _, second), (at, _, together) = sweeper.given()
        assert isinstance(second, ProbeResult)
        assert at == NOW + 60
        assert together == TargetResult(fake_target("a"), (second, first), located=True)
        assert list(sweeper.given()) == []
        assert memory.known(fake_target("a")).endpoints == {}
    finally:
        network.close()


async def test_a_large_sweep_is_cut_off_in_slices(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Others have their turn meanwhile. What is under way ends first, nothing of it begins, and who comes then
    has probes of his own.
    """
    monkeypatch.setattr(engine_sweep, "in_slices", partial(in_slices, seconds=0.0))
    names = [f"{number}" for number in range(100)]
    turns, ended = 0, list[str]()

    async def never(target: Target, _: Endpoint) -> Facts:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ended.append(target.name)
        return FACTS

    fake.behaviour = never
    loop = asyncio.get_running_loop()
    network = Dependencies(loop)
    try:
        sweeper = Sweeper(network, Memory(), 8, lambda: NOW)
        first = sweeper.sweep([fake_target(name) for name in names], loop.time() + 0.5)
        while first.finished is None:  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0)
        begun = len(fake.looked)
        fake.behaviour = fake.good
        second = sweeper.sweep([fake_target(names[0])], loop.time() + 5)
        while not first.over.done():
            turns += 1
            await asyncio.sleep(0)
            if turns == 20:
                assert len(ended) == begun
        assert not first.complete
        assert all(one.final is not None for one in first.progress)
        await second.over
        assert second.complete
        assert len(fake.looked) == begun + 1
    finally:
        network.close()
    assert turns >= len(names)
