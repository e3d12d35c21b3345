"""
The service: what lives as long as the process.
"""

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from exporter.config.reader import parse
from exporter.config.settings import Config
from exporter.demo import endpoints
from exporter.engine.reserve import SHARE
from exporter.engine.scrape import EndpointRow
from exporter.model.observation import Observed
from exporter.model.policies import MANUAL
from exporter.model.targets import Target
from exporter.net.pools import Pool
from exporter.report.inventory import Rhythm
from exporter.server import service
from exporter.server.service import RHYTHM_GAPS, Options, Service
from exporter.yaml_lines import ConfigError, ConfigFault
from tests.support.certificates import DAY, NOW
from tests.support.clock import Clock


@contextlib.asynccontextmanager
async def shown(directory: Path) -> AsyncIterator[dict[str, Target]]:
    """
    The demo's targets by name.
    """
    running = await endpoints.start(NOW, str(directory))
    try:
        yield {one.name: one for one in running.targets}
    finally:
        await running.close()


@contextlib.asynccontextmanager
async def serving(config: Config, state: Path | None = None, at: float = NOW) -> AsyncIterator[Service]:
    """
    A service with this configuration.
    """
    options = Options(state_path=None if state is None else str(state))
    one = Service(lambda: config, options, asyncio.get_running_loop(), lambda: at)
    one.start()
    try:
        yield one
    finally:
        await one.close()


def by_name(rows: tuple[EndpointRow, ...]) -> dict[str, EndpointRow]:
    """
    The row of each target, all of which have one endpoint.
    """
    return {row.target.name: row for row in rows}


async def test_what_was_seen_is_held_over_a_restart(tmp_path: Path) -> None:
    """
    A second service tells what the first one saw of a server that is down, and nothing of other targets.
    """
    state = tmp_path / "state.sqlite"
    async with shown(tmp_path) as targets:
        healthy, expired = targets["healthy"], targets["expired"]
        async with serving(Config((healthy, expired)), state) as first:
            seen = by_name((await first.scrape(5.0)).endpoints)
    # The demo is over: nothing listens at these ports.
    async with serving(Config((healthy,)), state, NOW + 60) as second:
        (row,) = (await second.scrape(5.0)).endpoints
        text = second.text(await second.scrape(5.0))
    assert not isinstance(row.held.observation, Observed)
    assert (row.held.facts, row.held.seen_at) == (seen["healthy"].held.facts, NOW)
    assert row.verdict == seen["healthy"].verdict
    assert 'target="expired"' not in text
    assert "expiry_state_last_save_successful 1.0\n" in text
    # What is no longer configured is no longer in the file.
    async with serving(Config((healthy, expired)), state, NOW + 120) as third:
        found = by_name((await third.scrape(5.0)).endpoints)
    assert found["healthy"].held.facts is not None
    assert found["expired"].held.facts is None


async def test_a_service_that_never_looked_does_not_touch_what_is_saved(tmp_path: Path) -> None:
    """
    Started and stopped at once, as by a restart loop.
    """
    state = tmp_path / "state.sqlite"
    async with shown(tmp_path) as targets:
        config = Config((targets["healthy"],))
        async with serving(config, state) as first:
            await first.scrape(5.0)
    async with serving(Config(()), state):
        pass
    async with serving(config, state, NOW + 60) as again:
        (row,) = (await again.scrape(5.0)).endpoints
    assert row.held.seen_at == NOW


async def test_a_reload_forgets_removed_targets_only(tmp_path: Path) -> None:
    """
    What stays configured stays known, and a bad configuration changes nothing.
    """
    async with shown(tmp_path) as targets:
        configs: list[Config | ConfigError] = [
            Config((targets["healthy"], targets["expired"])),
            Config((targets["expired"],)),
            ConfigError([ConfigFault("expiry.yml", 1, "", "is bad")]),
        ]

        def load() -> Config:
            config = configs.pop(0)
            if isinstance(config, ConfigError):
                raise config
            return config

        one = Service(load, Options(), asyncio.get_running_loop(), lambda: NOW)
        try:
            await one.scrape(5.0)
            await one.reload()
            assert one.last is None
            assert [name for name, _ in one._configured.memory] == ["expired"]
            with pytest.raises(ConfigError, match="is bad"):
                await one.reload()
            scrape = await one.scrape(5.0)
            assert set(by_name(scrape.endpoints)) == {"expired"}
            assert "expiry_config_last_reload_successful 0.0\n" in one.text(scrape)
        finally:
            await one.close()


async def test_a_reload_that_changes_nothing_makes_no_new_targets() -> None:
    """
    Whatever was made for them, in this process and in those that help, is still of use.
    """

    def load() -> Config:
        return parse(b"targets: [https://a.example, https://b.example]\n", "expiry.yml", {})

    one = Service(load, Options(), asyncio.get_running_loop(), lambda: NOW)
    try:
        before = one.discovery.targets
        await one.reload()
        assert [id(target) for target in one.discovery.targets] == [id(target) for target in before]
    finally:
        await one.close()


async def test_the_first_configuration_must_be_good() -> None:
    """
    There is none before it.
    """

    def load() -> Config:
        raise ConfigError([ConfigFault("expiry.yml", 0, "", "can't be read: No such file or directory")])

    with pytest.raises(ConfigError, match="No such file"):
        Service(load, Options(), asyncio.get_running_loop())


async def test_the_first_answer_has_more_time_where_reading_the_configuration_took_long(
    tmp_path: Path,
) -> None:
    """
    By a clock that goes on much faster than the processor works.
    """
    async with shown(tmp_path) as targets:
        now = 0.0

        def load() -> Config:
            nonlocal now
            now += 1e6
            return Config((targets["healthy"],))

        one = Service(load, Options(), asyncio.get_running_loop(), lambda: NOW, lambda: now)
        first = await one.scrape(10.0)
        assert first.timeout == 10.0 * (1 - SHARE)
        await one.note_answer(first, first.ended, first.ended)
        assert (await one.scrape(10.0)).timeout > 9.0
        await one.close()


async def test_a_probe_of_a_configured_target_is_remembered_with_it(tmp_path: Path) -> None:
    """
    Other targets have a memory of their own, so that /metrics shows none of them.
    """
    async with shown(tmp_path) as targets:
        healthy, other = targets["healthy"], replace(targets["healthy"], name="other", policy=MANUAL)
        async with serving(Config((healthy,))) as one:
            assert "expiry_sweep_targets" not in one.probe_text(await one.probe(healthy, 5.0))
            assert 'policy="manual"' in one.probe_text(await one.probe(other, 5.0))
            assert [name for name, _ in one._configured.memory] == ["healthy"]
            assert [name for name, _ in one._asked.memory] == ["other"]


def test_targets_that_are_only_asked_for_are_bounded() -> None:
    """
    Whoever may ask can't make the exporter remember without end.
    """
    assert 0 < service.ASKED_TARGETS <= 100_000


async def test_warnings_of_the_configuration_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    """
    With the number of targets.
    """
    caplog.set_level(logging.INFO)
    async with serving(Config((), warnings=("expiry.yml:3: x.pem is not there",))):
        pass
    assert caplog.messages == ["expiry.yml:3: x.pem is not there", "configuration loaded"]


def ticking(
    test: Callable[[Service, Clock], Awaitable[None]],
    options: Options | None = None,
    day: Clock | None = None,
) -> None:
    """
    Run the test against a service without targets. The time of day is the test's clock, or one of its own.
    """

    async def run() -> None:
        clock = Clock()
        one = Service(Config, options or Options(), asyncio.get_running_loop(), day or clock, clock)
        try:
            await test(one, clock)
        finally:
            await one.close()

    asyncio.run(run())


def test_people_get_the_last_scrape_unless_it_is_old() -> None:
    """
    A minute, or two scrapes' time where they are farther apart; what people make it look at is no scrape.
    """

    async def test(one: Service, clock: Clock) -> None:
        first = await one.recent()
        clock.now += 60
        assert await one.recent() is first
        clock.now += 1
        assert await one.recent() is not first
        assert one.rhythm is None
        for _ in range(RHYTHM_GAPS + 1):
            clock.now += 300
            scraped = await one.scrape(5.0)
        clock.now += 600
        assert await one.recent() is scraped
        clock.now += 1
        assert await one.recent() is not scraped

    ticking(test)


def test_the_rhythm_is_the_longest_gap_of_the_last_few() -> None:
    """
    Two Prometheus servers scrape at two times of the same minute.
    """

    async def test(one: Service, clock: Clock) -> None:
        await one.scrape(5.0)
        for gap in (900, 7, 53, 7):
            assert one.rhythm is None
            clock.now += gap
            await one.scrape(5.0)
        clock.now += 53
        await one.scrape(5.0)
        assert one.rhythm == Rhythm(clock.now, 53)

    ticking(test)


def test_a_person_who_asks_by_hand_makes_no_rhythm() -> None:
    """
    However often: nobody is missed when no more requests come.
    """

    async def test(one: Service, clock: Clock) -> None:
        for gap in (0, 6, 3, 240, 2, 15, 600, 4):
            clock.now += gap
            await one.scrape(5.0)
            assert one.rhythm is None

    ticking(test)


@pytest.mark.parametrize("gaps", [(6, 15, 6, 6, 6), (3, 9, 5, 8), (5, 6, 7, 8)])
def test_requests_at_about_the_same_pace_make_no_rhythm(gaps: tuple[float, ...]) -> None:
    """
    A person who reloads a page a few times waits nearly as long each time, and is no Prometheus.
    """

    async def test(one: Service, clock: Clock) -> None:
        for gap in (0, *gaps):
            clock.now += gap
            await one.scrape(5.0)
            assert one.rhythm is None

    ticking(test)


@pytest.mark.parametrize("gaps", [(14.2, 15.8, 15, 15), (3, 12, 3.9, 11.1), (0, 15, 0.4, 14.6)])
def test_scrapes_that_come_a_little_late_keep_the_rhythm(gaps: tuple[float, ...]) -> None:
    """
    One server or two, also at nearly the same time.
    """

    async def test(one: Service, clock: Clock) -> None:
        for gap in (0, *gaps):
            clock.now += gap
            await one.scrape(5.0)
        assert one.rhythm is not None
        assert one.rhythm.every == pytest.approx(max(gaps))

    ticking(test)


def test_a_loop_in_a_shell_makes_no_rhythm() -> None:
    """
    Each request comes when the one before is answered, which is regular where a server is silent for long.
    """

    async def test(one: Service, clock: Clock) -> None:
        for _ in range(3 * RHYTHM_GAPS):
            clock.now += 2.1
            await one.scrape(5.0)
            assert one.rhythm is None

    ticking(test)


def test_setting_the_clock_makes_no_rhythm_and_keeps_no_old_scrape() -> None:
    """
    When it was last scraped is told by the time of day; how often, and how old that is, by one that goes on.
    """
    day = Clock()

    async def test(one: Service, clock: Clock) -> None:
        day.now += 30 * DAY
        await one.scrape(5.0)
        day.now -= 30 * DAY
        for _ in range(RHYTHM_GAPS):
            clock.now += 60
            day.now += 60
            scraped = await one.scrape(5.0)
        assert one.rhythm == Rhythm(day.now, 60)
        day.now -= DAY
        assert await one.recent() is scraped
        clock.now += 121
        assert await one.recent() is not scraped

    ticking(test, day=day)


def test_a_fleet_is_made_once_for_each_scrape() -> None:
    """
    What was compared for one page is there for the next.
    """

    async def test(one: Service, _: Clock) -> None:
        scrape = await one.scrape(5.0)
        assert one.fleet_of(scrape) is one.fleet_of(scrape)
        assert one.fleet_of(await one.scrape(5.0)).scrape is one.last

    ticking(test)


@pytest.mark.parametrize("external_url", [None, "https://expiry.example.com"])
def test_the_external_url_is_a_metric_when_it_is_known(external_url: str | None) -> None:
    """
    Alerts make their links of it.
    """

    async def test(one: Service, _: Clock) -> None:
        text = one.text(await one.scrape(5.0))
        line = 'expiry_web_info{external_url="https://expiry.example.com"} 1.0\n'
        assert (line in text) == (external_url is not None)
        assert ("expiry_web_info" in text) == (external_url is not None)

    ticking(test, Options(external_url=external_url))


class Disk:
    """
    A configuration on a disk that answers when the test says so.
    """

    def __init__(self) -> None:
        self.config = Config()
        self.answers = threading.Event()
        self.answers.set()
        self.reading = threading.Event()
        self.loads = 0

    def load(self) -> Config:
        """
        Read the configuration, which takes until the disk answers.
        """
        self.loads += 1
        config = self.config
        self.reading.set()
        assert self.answers.wait(30)
        if config.warnings:
            raise ConfigError([ConfigFault("expiry.yml", 1, "", config.warnings[0])])
        return config


@contextlib.asynccontextmanager
async def loading(disk: Disk, load_timeout: float = 30) -> AsyncIterator[Service]:
    """
    A service with the configuration of this disk, which is read anew and does not answer.
    """
    one = Service(disk.load, Options(), asyncio.get_running_loop(), lambda: NOW, load_timeout=load_timeout)
    disk.answers.clear()
    disk.reading.clear()
    first = asyncio.create_task(one.reload())
    await Pool("test", 1).run(disk.reading.wait)
    try:
        yield one
        await asyncio.wait([first])
    finally:
        disk.answers.set()
        await one.close()


async def test_reloads_are_one_at_a_time_and_shared(tmp_path: Path) -> None:
    """
    Five hundred who ask while one goes on share the next one, which begins after they asked.
    """
    disk = Disk()
    async with shown(tmp_path) as targets, loading(disk) as one:
        # What is written now, the load under way has not read.
        disk.config = Config((targets["healthy"],))
        asked = [asyncio.create_task(one.reload()) for _ in range(500)]
        await asyncio.sleep(0)
        assert disk.loads == 2
        disk.answers.set()
        await asyncio.gather(*asked)
        assert disk.loads == 3
        assert one.config.targets == (targets["healthy"],)
        await one.reload()
        assert disk.loads == 4


async def test_loads_that_follow_each_other_rest_between(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Twice as long as the one before took, up to a limit. Who asks when none is under way waits for nothing.
    """
    rest = 0.05
    monkeypatch.setattr(service, "LOAD_REST", rest)
    began: list[float] = []
    ended: list[float] = []

    def load() -> Config:
        began.append(time.monotonic())
        time.sleep(rest / 2)
        ended.append(time.monotonic())
        return Config()

    one = Service(load, Options(), asyncio.get_running_loop())
    asked = asyncio.create_task(one.reload())
    while len(began) < 2:  # noqa: ASYNC110 - there is no event for it
        await asyncio.sleep(0)
    await asyncio.gather(asked, one.reload())
    assert began[2] - ended[1] >= rest
    monkeypatch.setattr(asyncio, "sleep", None)
    await one.reload()
    assert len(began) == 4
    await one.close()


async def test_all_who_asked_are_told_what_is_wrong(caplog: pytest.LogCaptureFixture) -> None:
    """
    And the log once. The next good one is taken.
    """
    disk = Disk()
    async with loading(disk) as one:
        disk.config = Config(warnings=("no such key",))
        asked = [asyncio.create_task(one.reload()) for _ in range(3)]
        await asyncio.sleep(0)
        disk.answers.set()
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
        assert [str(outcome) for outcome in outcomes] == ["expiry.yml:1: no such key"] * 3
        assert bool(one.load_succeeded) is False
        disk.config = Config()
        await one.reload()
        assert one.load_succeeded
    assert sum("not usable" in record.message for record in caplog.records) == 1


async def test_a_configuration_on_a_disk_that_does_not_answer_is_told_in_time() -> None:
    """
    And read again once there is one that answers, while the first one still hangs.
    """
    disk = Disk()
    async with loading(disk, 0.1) as one:
        with pytest.raises(ConfigError, match=r"was not read within 0.1 s: is it, or a file that it names"):
            await one.reload()
        assert "expiry_config_last_reload_successful 0.0" in one.text(await one.scrape(1))
        hanging, disk.answers = disk.answers, threading.Event()
        disk.answers.set()
        await one.reload()
        assert one.load_succeeded
        hanging.set()
