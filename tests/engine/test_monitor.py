"""
A watch: what it logs, and that what it exports follows what it saw.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from exporter.demo import endpoints
from exporter.engine.failure_log import FAILURE_LINES, log_changes
from exporter.engine.memory import NOT_LOOKED_AT, EndpointMemory, Memory
from exporter.engine.monitor import Monitor
from exporter.engine.results import ProbeResult, TargetResult, seen_facts
from exporter.engine.scrape import EndpointRow, Scrape
from exporter.lookups import enrich
from exporter.lookups.merge import added
from exporter.model.observation import Facts, Failed, FoundHazard, Observed
from exporter.model.reasons import Fault, Hazard, Reason
from exporter.model.targets import Target
from exporter.net.network import Network
from exporter.pki.authorities import Authorities
from exporter.probes.dependencies import Dependencies
from tests.golden.scenes import failed, seen
from tests.golden.values import certificate, facts, target
from tests.support.certificates import NOW, authority, write_pair
from tests.support.clock import Clock

FACTS = facts(certificate())
NOTHING = Facts(())
REFUSED = Reason.CONNECTION_REFUSED


class Log:
    """
    What sweeps over one target made the watch log.
    """

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        """
        Begins with an empty memory.
        """
        caplog.set_level(logging.DEBUG)
        self._caplog = caplog
        self.memory = Memory()

    def after(self, *results: TargetResult) -> list[tuple[str, str, dict[str, object]]]:
        """
        Level, message and fields of each line.
        """
        self._caplog.clear()
        for result in results:
            self.memory.update(result, NOW)
        asyncio.run(log_changes(results, self.memory))
        return [
            (record.levelname, record.message, record.__dict__["fields"])
            for record in self._caplog.records
            if record.name == log_changes.__module__
        ]

    def looks(self, *looks: ProbeResult) -> list[tuple[str, str]]:
        """
        Level and message of each line after a sweep of the one target.
        """
        return [line[:2] for line in self.after(TargetResult(target(), looks, located=True))]


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Log:
    """
    A log that is looked at.
    """
    return Log(caplog)


def test_a_failure_is_news_once(log: Log) -> None:
    """
    Then it is said at level debug, until the endpoint is seen again.
    """
    assert log.looks(failed(REFUSED)) == [("WARNING", "probe failed")]
    assert log.looks(failed(REFUSED)) == [("DEBUG", "probe failed")]
    assert log.looks(failed(REFUSED)) == [("DEBUG", "probe failed")]
    assert log.looks(seen(FACTS)) == [("INFO", "seen again")]
    assert log.looks(seen(FACTS)) == []
    assert log.looks(failed(REFUSED)) == [("WARNING", "probe failed")]


def test_another_reason_is_news(log: Log) -> None:
    """
    The same endpoint fails differently.
    """
    log.looks(failed(REFUSED))
    assert log.looks(failed(Reason.HANDSHAKE_TIMEOUT)) == [("WARNING", "probe failed")]


def test_a_line_says_what_where_and_why(log: Log) -> None:
    """
    For a person who has nothing else.
    """
    ((_, _, fields),) = log.after(TargetResult(target(), (failed(REFUSED, "192.0.2.1:443"),), located=True))
    assert fields == {
        "target": "https://lms.example.com",
        "location": "192.0.2.1:443",
        "reason": "connection_refused",
        "cause": "words about connection_refused",
        "duration": 1.0,
    }


@pytest.mark.parametrize("count", [FAILURE_LINES, FAILURE_LINES + 1, FAILURE_LINES + 30])
def test_many_that_are_seen_again_are_counted(log: Log, count: int) -> None:
    """
    A network that comes back does not flood the log either.
    """
    names = [f"{number}" for number in range(count)]
    for _ in range(0, count, FAILURE_LINES):
        log.after(*(TargetResult(target(name=name), (failed(REFUSED),), located=True) for name in names))
    lines = log.after(*(TargetResult(target(name=name), (seen(FACTS),), located=True) for name in names))

    assert [line[1] for line in lines[:FAILURE_LINES]] == ["seen again"] * FAILURE_LINES
    assert [line[1:] for line in lines[FAILURE_LINES:]] == [
        ("more were seen again, not logged one by one", {"count": count - FAILURE_LINES})
    ] * (count > FAILURE_LINES)


@pytest.mark.parametrize("count", [FAILURE_LINES, FAILURE_LINES + 1, FAILURE_LINES + 30])
def test_many_failures_are_counted(log: Log, count: int) -> None:
    """
    Twenty lines, and one more for all the rest with their reasons, which wait for their turn.
    """
    reasons = [REFUSED if number % 2 else Reason.TIMEOUT for number in range(count)]
    lines = log.after(
        *(
            TargetResult(target(name=f"{number}"), (failed(reason),), located=True)
            for number, reason in enumerate(reasons)
        )
    )
    assert [message for _, message, _ in lines[:FAILURE_LINES]] == ["probe failed"] * FAILURE_LINES
    if count == FAILURE_LINES:
        assert len(lines) == FAILURE_LINES
        return
    ((level, message, fields),) = lines[FAILURE_LINES:]
    assert (level, message) == ("WARNING", "more probes failed, logged after the next scrapes")
    assert fields["count"] == count - FAILURE_LINES
    assert "timeout: " in str(fields["reasons"])


def failing(log: Log, reasons: dict[str, Reason | None]) -> list[tuple[str, str]]:
    """
    Target and reason of each warning that names one, after each target failed so, or was seen.
    """
    lines = log.after(
        *(
            TargetResult(
                target(name=name), (seen(FACTS) if reason is None else failed(reason),), located=True
            )
            for name, reason in reasons.items()
        )
    )
    return [
        (str(fields["target"]), str(fields["reason"]))
        for level, message, fields in lines
        if (level, message) == ("WARNING", "probe failed")
    ]


def test_each_failure_has_its_line_once(log: Log) -> None:
    """
    Those for which there was no room have it after the next scrapes, with their words.
    """
    reasons: dict[str, Reason | None] = {f"{number}": REFUSED for number in range(2 * FAILURE_LINES + 5)}
    told = [failing(log, reasons) for _ in range(4)]
    assert [len(lines) for lines in told] == [FAILURE_LINES, FAILURE_LINES, 5, 0]
    assert sorted(one for lines in told for one in lines) == sorted((name, str(REFUSED)) for name in reasons)


def test_those_that_wait_longest_go_first(log: Log) -> None:
    """
    Others that change their reason at each scrape do not keep them from the log for ever.
    """
    restless = [f"restless-{number}" for number in range(FAILURE_LINES)]
    by_turns = (REFUSED, Reason.TIMEOUT)
    told = [
        failing(log, {**dict.fromkeys(restless, by_turns[number % 2]), "steady": Reason.SERVER_REFUSED})
        for number in range(3)
    ]
    assert ("steady", "server_refused") not in told[0]
    assert told[1][0] == ("steady", "server_refused")
    assert ("steady", "server_refused") not in told[2]


def test_what_changes_while_it_waits_is_told_as_it_is(log: Log) -> None:
    """
    The latest reason has the line; what was well again before its line came has none.
    """
    first: dict[str, Reason | None] = {f"{number}": REFUSED for number in range(FAILURE_LINES)}
    failing(log, {**first, "changed": REFUSED, "well": REFUSED})
    assert failing(log, {**first, "changed": Reason.TIMEOUT, "well": None}) == [("changed", "timeout")]
    assert log.after(TargetResult(target(name="well"), (seen(FACTS),), located=True)) == []


def test_what_was_held_over_a_restart_is_not_seen_again(log: Log) -> None:
    """
    A healthy fleet starts quietly; what fails is news, also when it timed out.
    """
    known = log.memory.known(target())
    known.endpoints["a"] = EndpointMemory(NOT_LOOKED_AT, 0.0, FACTS, NOW)
    known.endpoints["b"] = EndpointMemory(NOT_LOOKED_AT, 0.0, FACTS, NOW)
    assert log.looks(seen(FACTS, "a"), failed(Reason.TIMEOUT, "b")) == [("WARNING", "probe failed")]


@contextlib.asynccontextmanager
async def watching(
    directory: Path, *names: str, clock: Callable[[], float] = lambda: NOW
) -> AsyncIterator[tuple[Monitor, tuple[Target, ...]]]:
    """
    A watch and some targets of the demo, whose certificates have their ages at the test's time.
    """
    network = Dependencies(asyncio.get_running_loop())
    shown = await endpoints.start(NOW, str(directory))
    try:
        by_name = {one.name: one for one in shown.targets}
        yield Monitor(network, 8, clock), tuple(by_name[name] for name in names)
    finally:
        network.close()
        await shown.close()


async def test_a_scrape_tells_what_every_target_is(tmp_path: Path) -> None:
    """
    Observations, verdicts and the sweep's own figures.
    """
    async with watching(tmp_path, "healthy", "expired", "refused") as (watch, targets):
        scrape = await watch.scrape(targets, 5.0)
    rows = {row.target.name: row for row in scrape.endpoints}
    assert isinstance(rows["healthy"].held.observation, Observed)
    verdicts = {name: row.verdict for name, row in rows.items()}
    assert verdicts["healthy"] is not None
    assert verdicts["healthy"].faults == ()
    assert verdicts["expired"] is not None
    assert [one.fault for one in verdicts["expired"].faults] == [Fault.EXPIRED]
    assert verdicts["refused"] is None
    assert (scrape.complete, scrape.failures, scrape.timeout, scrape.at) == (True, 1, 5.0, NOW)
    assert 0 < scrape.duration < 5
    assert watch.done == 3


async def test_what_was_restored_is_judged_without_a_probe(tmp_path: Path) -> None:
    """
    So that the first scrape need not judge all of it.
    """
    async with watching(tmp_path, "expired") as (watch, targets):
        known = watch.memory.known(targets[0])
        known.endpoints["a"] = EndpointMemory(NOT_LOOKED_AT, 0.0, FACTS, NOW)
        known.endpoints["never seen"] = EndpointMemory(NOT_LOOKED_AT, 0.0)
        await watch.judge_restored(targets)
        assert known.endpoints["a"].judged is not None
        assert known.endpoints["never seen"].judged is None
        assert watch.done == 0


async def test_scrapes_at_once_share_a_sweep(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """
    Both have everything; the failure is logged once.
    """
    async with watching(tmp_path, "healthy", "refused") as (watch, targets):
        one, two = await asyncio.gather(*(watch.scrape(targets, 5.0) for _ in range(2)))
    assert one.results == two.results
    assert [row.held for row in one.endpoints] == [row.held for row in two.endpoints]
    assert caplog.messages == ["probe failed"]


async def test_a_scrape_that_has_less_time_joins_and_tells_what_is_known(tmp_path: Path) -> None:
    """
    The other one goes on to its own end.
    """
    async with watching(tmp_path, "healthy", "silent") as (watch, targets):
        long = asyncio.create_task(watch.scrape(targets, 10.0))
        await asyncio.sleep(0)
        short = await watch.scrape(targets, 0.4)
        assert short.complete is False
        reasons = {
            row.target.name: row.held.observation.reason
            for row in short.endpoints
            if isinstance(row.held.observation, Failed)
        }
        assert reasons == {"silent": Reason.TIMEOUT}
        complete = await long
    assert complete.complete
    (silent,) = (row for row in complete.endpoints if row.target.name == "silent")
    assert isinstance(silent.held.observation, Failed)
    assert silent.held.observation.reason is Reason.HANDSHAKE_TIMEOUT


async def test_a_target_that_is_not_wanted_any_more_is_left_out_and_forgotten(tmp_path: Path) -> None:
    """
    The configuration changed while the sweep was under way.
    """
    async with watching(tmp_path, "healthy", "expired") as (watch, targets):
        await watch.scrape(targets, 5.0)
        scrape = await watch.scrape(targets, 5.0, {"expired"})
        assert [row.target.name for row in scrape.targets] == ["expired"]
        assert [row.target.name for row in scrape.endpoints] == ["expired"]
        assert [name for name, _ in watch.memory] == ["expired"]


async def test_nothing_to_watch_is_no_error(tmp_path: Path) -> None:
    """
    An exporter for /probe only has no targets.
    """
    async with watching(tmp_path) as (watch, _):
        assert watch.done == 0
        scrape = await watch.scrape((), 5.0)
        assert (scrape.targets, scrape.endpoints, scrape.complete, scrape.failures) == ((), (), True, 0)


async def test_a_probe_can_tell_its_steps(tmp_path: Path) -> None:
    """
    When somebody asks.
    """
    async with watching(tmp_path, "healthy") as (watch, (healthy,)):
        quiet = await watch.probe(healthy, 5.0)
        told = await watch.probe(healthy, 5.0, trace_steps=True)
    assert quiet.results[0].looks[0].steps == ()
    words = [words for _, words in told.results[0].looks[0].steps]
    assert words[0].startswith("connecting to 127.0.0.1 port")
    assert words[-1].startswith("handshake done: TLSv1.3")


async def test_a_fault_of_ours_in_a_look_up_is_that_of_its_target_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """
    It has its reason, and a traceback in the log; the others are seen.
    """

    def broken(facts: Facts, target: Target, _: Network, __: Authorities) -> Facts:
        if target.name == "expired":
            raise ZeroDivisionError
        return facts

    monkeypatch.setattr(enrich, "STEPS", (enrich.Step(lambda *_: True, broken),))
    async with watching(tmp_path, "healthy", "expired") as (watch, targets):
        healthy, expired = (await watch.scrape(targets, 5.0)).endpoints
    assert isinstance(healthy.held.observation, Observed)
    assert isinstance(expired.held.observation, Failed)
    assert expired.held.observation.reason is Reason.INTERNAL_ERROR
    assert "ZeroDivisionError" in caplog.text


async def test_results_are_what_a_probe_saw_and_rows_have_what_is_known_besides(tmp_path: Path) -> None:
    """
    Here the certificate that we show. A probe that fails before it sees anything has it, too.
    """
    client, _ = write_pair(tmp_path, "client", authority("Clients").issue("client").chain)

    async with watching(tmp_path, "healthy", "refused") as (watch, targets):
        shown = [replace(one, client_certificate_file=str(client)) for one in targets]
        await watch.scrape(shown, 5.0)
        scrape = await watch.look_once(shown, 5.0)
    rows = {row.target.name: row.held.facts for row in scrape.endpoints}
    raw = {result.target.name: seen_facts(result.looks[0].observation) for result in scrape.results}
    assert [item.name for item in (rows["healthy"] or NOTHING).items] == ["leaf", "chain-1", "client"]
    assert [item.name for item in (rows["refused"] or NOTHING).items] == ["client"]
    assert [item.name for item in (raw["healthy"] or NOTHING).items] == ["leaf", "chain-1"]
    assert raw["refused"] is None


def test_a_scrape_is_written_down_without_its_rows() -> None:
    """
    When its loop ends, asyncio writes down what a task gave: with 20,000 rows that took a minute.
    """
    row = EndpointRow(target(), "10.0.0.1:443", EndpointMemory(Observed(FACTS), 0.1), None)
    scrape = Scrape((), (row,) * 1000, (), 1.0, 10.0, complete=True, at=NOW)
    assert len(repr(scrape)) < 200


async def test_what_nobody_waits_for_any_more_is_remembered_at_once(tmp_path: Path) -> None:
    """
    Who asked may go away meanwhile: the probe goes on to its end.
    """
    async with watching(tmp_path, "healthy") as (watch, (healthy,)), asyncio.timeout(10):
        asked = asyncio.create_task(watch.probe(healthy, 5.0))
        await asyncio.sleep(0)
        asked.cancel()
        while not watch.memory.known(healthy).endpoints:  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.01)
        (held,) = watch.memory.known(healthy).endpoints.values()
        assert isinstance(held.observation, Observed)
        assert held.judged is not None


def seen_at(scrape: Scrape) -> dict[str, float | None]:
    """
    When each target was last seen, in seconds since the test began.
    """
    return {
        row.target.name: None if row.held.seen_at is None else row.held.seen_at - NOW
        for row in scrape.endpoints
    }


async def test_a_target_with_an_interval_is_held_in_between(tmp_path: Path) -> None:
    """
    With the time of its probe, in the order of the configuration, and in a complete sweep.
    """
    clock = Clock()
    async with watching(tmp_path, "healthy", "expired", "refused", clock=clock) as (watch, targets):
        rare = tuple(replace(one, interval=3600.0) if one.name != "expired" else one for one in targets)
        scrapes: list[Scrape] = []
        for _ in range(61):
            scrapes.append(await watch.scrape(rare, 5.0))
            clock.now += 60
    names = ["healthy", "expired", "refused"]
    for number, scrape in enumerate(scrapes):
        assert [row.target.name for row in scrape.targets] == names
        assert [row.target.name for row in scrape.endpoints] == names
        assert (scrape.complete, scrape.failures) == (True, 1)
        assert seen_at(scrape)["expired"] == number * 60
    times = [seen_at(scrape)["healthy"] for scrape in scrapes]
    assert times[0] == 0
    # Once more in the hour, at a time that its name decides.
    assert len(set(times)) == 2
    # What failed is probed in each of them.
    probed = [[one.target.name for one in scrape.results if one.looks] for scrape in scrapes]
    assert all({"expired", "refused"} <= set(one) for one in probed)
    assert sum("healthy" in one for one in probed) == 2


async def test_probe_ignores_the_interval(tmp_path: Path) -> None:
    """
    So does a scrape after the target's settings have changed.
    """
    clock = Clock()
    async with watching(tmp_path, "healthy", clock=clock) as (watch, (healthy,)):
        rare = replace(healthy, interval=30 * 86400.0)
        await watch.scrape([rare], 5.0)
        clock.now += 1
        assert seen_at(await watch.probe(rare, 5.0)) == {"healthy": 1}
        clock.now += 1
        assert seen_at(await watch.scrape([rare], 5.0)) == {"healthy": 1}
        changed = replace(rare, timeout=4.0)
        assert seen_at(await watch.scrape([changed], 5.0)) == {"healthy": 2}


async def test_what_no_look_up_has_to_do_with_is_not_asked_of_them_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Until the settings of the target change.
    """
    asked: list[bool] = []

    def concerns(_: Facts, target: Target) -> bool:
        asked.append(target.crl)
        return target.crl

    def answered(facts: Facts, *_: object) -> Facts:
        return added(facts, hazards=(FoundHazard(Hazard.NAME_NOT_RESOLVING, "an answer"),))

    monkeypatch.setattr(enrich, "STEPS", (enrich.Step(concerns, answered),))
    async with watching(tmp_path, "healthy") as (watch, (healthy,)):
        await watch.scrape([healthy], 5.0)
        await watch.probe(healthy, 5.0)
        before = len(asked)
        await watch.probe(healthy, 5.0)
        assert len(asked) == before
        for _ in range(2):
            (row,) = (await watch.probe(replace(healthy, crl=True), 5.0)).endpoints
            assert row.held.facts is not None
            assert [one.detail for one in row.held.facts.hazards] == ["an answer"]


async def test_what_an_address_that_was_away_shows_is_asked_of_look_ups_after_a_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The settings changed while the name led elsewhere.
    """

    def answered(facts: Facts, *_: object) -> Facts:
        return added(facts, hazards=(FoundHazard(Hazard.NAME_NOT_RESOLVING, "an answer"),))

    step = enrich.Step(lambda _, target: target.crl, answered)
    monkeypatch.setattr(enrich, "STEPS", (step,))
    async with watching(tmp_path, "healthy") as (watch, (healthy,)):
        for _ in range(2):
            await watch.scrape([healthy], 5.0)
        known = watch.memory.known(healthy)
        ((label, held),) = known.endpoints.items()
        assert held.unconcerned is not None
        del known.endpoints[label]
        known.absent[label] = held
        wanted = replace(healthy, crl=True)
        for _ in range(3):
            (row,) = (await watch.scrape([wanted], 5.0)).endpoints
            assert row.held is not held
            assert row.held.facts is not None
            assert [one.detail for one in row.held.facts.hazards] == ["an answer"]


async def test_each_probe_that_tells_its_steps_tells_what_look_ups_know(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Also where no look-up has to do with it: others than these know the time of a renewal.
    """
    monkeypatch.setattr("exporter.engine.monitor.told", lambda *_: ["what is known"])
    async with watching(tmp_path, "healthy") as (watch, (healthy,)):
        for _ in range(3):
            ((result,)) = (await watch.probe(healthy, 5.0, trace_steps=True)).results
            (look,) = result.looks
            assert "what is known" in [words for _, words in look.steps]


async def test_answers_of_look_ups_are_added_between_probes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    They come after the probe that asked for them, and keep their own pace.
    """
    answers: list[FoundHazard] = []

    def answered(facts: Facts, *_: object) -> Facts:
        return added(facts, hazards=tuple(answers))

    monkeypatch.setattr(enrich, "STEPS", (enrich.Step(lambda *_: True, answered),))
    clock = Clock()
    async with watching(tmp_path, "healthy", clock=clock) as (watch, (healthy,)):
        rare = replace(healthy, interval=30 * 86400.0)
        await watch.scrape([rare], 5.0)
        known = watch.memory.known(rare)
        (held,) = known.endpoints.values()
        before = held.looks, known.looks
        clock.now += 60
        answers.append(FoundHazard(Hazard.NAME_NOT_RESOLVING, "an answer"))
        scrape = await watch.scrape([rare], 5.0)
        assert seen_at(scrape) == {"healthy": 0}
        (row,) = scrape.endpoints
        assert row.held.facts is not None
        assert row.held.facts.hazards == tuple(answers)
        assert (held.looks, known.looks) == before
        answers.clear()
        (row,) = (await watch.scrape([rare], 5.0)).endpoints
        assert row.held.facts is not None
        assert row.held.facts.hazards == ()
