"""
The runner: sources in the background, whose targets join those of the configuration.
"""

import asyncio
import json
import re
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from ipaddress import IPv4Address
from types import ModuleType
from typing import Any

import pytest
import yaml

from exporter import discovery
from exporter.config.reader import parse
from exporter.config.settings import Config
from exporter.discovery import resolving
from exporter.discovery import runner as module
from exporter.discovery.base import Context, Found, Listing, Source, SourceError
from exporter.discovery.runner import CONFIRMING_PAUSE, REST, Discovery
from exporter.discovery.targets import joined, made
from exporter.model.coverage import Nowhere
from exporter.model.errors import ProbeError
from exporter.model.hosts import IPAddress
from exporter.model.policies import DAY, Before
from exporter.model.reasons import Reason
from exporter.net.background import spread
from exporter.net.network import Network
from tests.support.resolvers import Names, asks


class FakeSource:
    """
    A fake source, for what no real one does at will. It stands in for `files`.
    """

    def __init__(self) -> None:
        self.answer: Listing | Exception = Listing()
        self.runs = 0
        self.contexts: list[Context] = []
        self.wait = False
        self.reached: list[object] | None = None
        """How far each run came, if it says so."""
        self.module = ModuleType("exporter.discovery.fake")
        self.is_steady(False)

    def is_steady(self, steady: bool) -> None:
        """
        Be a source that asks nobody else, or one that does.
        """
        self.module.SOURCE = Source("files", 0.02, self.run, steady=steady)  # type: ignore[attr-defined]

    async def run(self, _settings: Any, context: Context) -> Listing:
        """
        Give the answer of now.
        """
        self.contexts.append(context)
        self.runs += 1
        if (reached := self.reached) is not None:
            context.so_far(lambda: list(reached))
        if self.wait:
            await asyncio.sleep(3600)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeSource:
    """
    A source under the key `files`.
    """
    made = FakeSource()
    monkeypatch.setitem(discovery.MODULES, "files", "fake")
    monkeypatch.setattr(discovery, "import_module", lambda _: made.module)
    return made


def config(text: str) -> Config:
    """
    The configuration in a text.
    """
    return parse(text.encode(), "expiry.yml", {})


ONE = "discover: [{files: a.json}]"


@asynccontextmanager
async def running(of: Config, network: Network | None = None) -> AsyncIterator[Discovery]:
    """
    The runner at work.
    """
    network = network or Network(asyncio.get_running_loop())
    found = Discovery(network, of)
    found.start()
    try:
        yield found
    finally:
        await found.close()
        network.close()


async def until(condition: Callable[[], bool]) -> None:
    """
    Wait until it holds.
    """
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - of several threads
            await asyncio.sleep(0.005)


def names(found: Discovery) -> list[str]:
    """
    The names of all targets.
    """
    return [target.name for target in found.targets]


def found(*urls: str) -> Listing:
    """
    A list with these URLs.
    """
    return Listing(tuple(Found(url, "a list") for url in urls))


async def test_targets_join_those_of_the_configuration(fake: FakeSource) -> None:
    """
    With labels, policy and source; what is configured by hand goes before what is found.
    """
    fake.answer = Listing(
        (
            Found("https://www.example.com", "the same name"),
            Found("https://www.example.com:443", "the same place"),
            Found("https://new.example.com", "line 3", labels={"team": "a", "site": "b"}, policy="authority"),
            Found("https://new.example.com:443", "the same place again"),
            Found("https://192.0.2.1", "", settings={"server_name": "new.example.com"}),
        )
    )
    entry = "{files: a, policy: manual, labels: {team: x}, name: n}"
    text = f"targets: [https://www.example.com]\ndiscover: [{entry}]"
    async with running(config(text)) as runner:
        assert runner.pending
        await until(lambda: not runner.pending)
        assert names(runner) == ["https://www.example.com", "https://new.example.com", "https://192.0.2.1"]
        target = runner.targets[1]
        assert (target.source, target.policy.name, target.labels, target.why) == (
            *("n", "manual"),
            (("site", "b"), ("team", "x")),
            "line 3",
        )


async def test_https_and_tls_are_one_place(fake: FakeSource) -> None:
    """
    The same handshake with the same server; another protocol, port or name is another matter.
    """
    others = ["ldaps://a:8443", "quic://a:8443", "tls://a:8444"]
    fake.answer = found("tls://a:8443", *others, "tls://b:443", "https://b", "https://A:8443")
    sent = Found("tls://a:8443", "", settings={"server_name": "c"}, name="c")
    fake.answer = Listing((*fake.answer.found, sent))
    text = "targets: ['https://a:8443']\ndiscover: [{files: a}]"
    async with running(config(text)) as runner:
        await until(lambda: not runner.pending)
        assert names(runner) == ["https://a:8443", *others, "tls://b:443", "c"]


async def test_a_pattern_of_the_configuration_has_the_files_that_it_fits(fake: FakeSource) -> None:
    """
    They are no other targets, with other deadlines. Of a pattern that was found nothing is known.
    """
    fake.answer = found("file:///live/a/cert.pem", "file:///live/[*].b/cert.pem", "file:///live/a/key.pem")
    fake.answer = Listing((*fake.answer.found, *found("file:///live/x*/cert.pem").found))
    text = "targets: ['file:///live/*/cert.pem']\ndiscover: [{files: a}]"
    async with running(config(text)) as runner:
        await until(lambda: not runner.pending)
        assert names(runner) == [
            "file:///live/*/cert.pem",
            "file:///live/a/key.pem",
            "file:///live/x*/cert.pem",
        ]


async def test_the_first_entry_of_the_file_wins(fake: FakeSource) -> None:
    """
    Of two sources with one target; and a limit that leaves targets out is told.
    """
    fake.answer = found("https://a", "https://b")
    text = "discover:\n- {files: x, limit: 1, name: first}\n- {files: y, name: second}"
    async with running(config(text)) as runner:
        await until(lambda: not runner.pending)
        assert [(one.name, one.source) for one in runner.targets] == [
            ("https://a", "first"),
            ("https://b", "second"),
        ]
        assert [feed.left_out for feed in runner.feeds.values()] == [1, 0]


@pytest.mark.parametrize(
    ("first", "second", "due"),
    [("{}", "{}", Before(10 * DAY)), ("{policy: manual}", "{}", None), ("{}", "{policy: manual}", None)],
)
def test_who_renews_knows_when(first: str, second: str, due: Before | None) -> None:
    """
    A web server's configuration names a file that an ACME client keeps. The first one has the target, and the
    client's source says when it is renewed; unless the configuration decides the policy.
    """
    entries = [{"files": "a", **yaml.safe_load(one)} for one in (first, second)]
    of = config(json.dumps({"discover": entries}))
    plain, advised = (
        Found("file:///a.pem", "nginx"),
        Found("file:///a.pem", "a client", renew_before=10 * DAY),
    )
    lists = [made([one], entry, of) for one, entry in zip((plain, advised), of.discover, strict=True)]
    (target,) = joined(of, lists)
    assert target.why == "nginx"
    assert target.policy.renewal_due == (due or lists[0].targets[0].policy.renewal_due)
    (other,) = joined(of, lists[::-1])
    assert (other.why, other.policy) == ("a client", lists[1].targets[0].policy)


async def test_what_can_not_be_a_target_is_a_note(fake: FakeSource, caplog: pytest.LogCaptureFixture) -> None:
    """
    Bad URLs and names, policies that are not there, labels with a meaning: told once, a few of them.
    """
    bad = [
        *("nonsense", "http://a", f"https://{'a' * 63}.{'b' * 254}", "https://*.example.com", "https://a..b"),
        *("https://-", "file:relative", "https://a:99999", "\x00", "", "https://" + "x" * 5000),
    ]
    good = ["https://under_score.example.com", "https://bücher.example"]
    more = (
        Found("https://d", "", labels={"job": "x"}),
        Found("https://e", "", settings={"unknown": 1}),
        Found("https://f", "", settings={"timeout": "x"}),
    )
    fake.answer = Listing((*(Found(url, "w\x1bhy") for url in [*bad, *good]), *more))
    async with running(config(ONE)) as runner:
        await until(lambda: fake.runs > 3)
        assert names(runner) == good
        (feed,) = runner.feeds.values()
        assert feed.left_out == len(bad) + len(more)
    lines = [one for one in caplog.records if "passed" in one.message]
    assert len(lines) == 6
    assert not any("\x1b" in str(one.__dict__) for one in lines)


async def test_a_source_that_fails_keeps_its_list(fake: FakeSource, caplog: pytest.LogCaptureFixture) -> None:
    """
    Whatever it raises; it is told once, and tried again.
    """
    fake.answer = found("https://a")
    async with running(config(ONE)) as runner:
        (feed,) = runner.feeds.values()
        await until(lambda: feed.success is True)
        for error in (SourceError("the server said 500"), RuntimeError("a bug")):
            fake.answer = error
            await until(lambda: feed.success is False)
            assert names(runner) == ["https://a"]
            fake.answer = found("https://a")
            await until(lambda: feed.success is True)
    assert sum("can't be read" in one.message for one in caplog.records) == 1


async def test_a_source_that_is_read_in_part_gives_that_part(
    fake: FakeSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    It counts as failing, remembers what it said, and is left alone for as long as it asks.
    """
    pauses: list[float] = []
    sleep = asyncio.sleep

    async def paused(seconds: float) -> None:
        pauses.append(seconds)
        await sleep(min(seconds, 0.01))

    monkeypatch.setattr(asyncio, "sleep", paused)
    part = Listing(found("https://a").found, remember={"seen": 1})
    fake.answer = SourceError("the half of it", retry_after=7000.0, listing=part)
    async with running(config(ONE)) as runner:
        (feed,) = runner.feeds.values()
        await until(lambda: fake.runs > 1)
        assert (names(runner), feed.success, feed.succeeded_at) == (["https://a"], False, None)
        assert 7000.0 in pauses
        assert fake.contexts[-1].remembered == {"seen": 1}
        assert (fake.contexts[0].before, fake.contexts[-1].before) == ((), part.found)


really_sleep = asyncio.sleep


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """
    The pauses so far, in seconds, which end at once.
    """
    taken: list[float] = []

    async def paused(seconds: float) -> None:
        taken.append(seconds)
        await really_sleep(0)

    monkeypatch.setattr(asyncio, "sleep", paused)
    return taken


async def test_a_steady_source_keeps_its_pace_and_costs_little(fake: FakeSource, pauses: list[float]) -> None:
    """
    Also while it fails in part. After a list that took long to be taken it rests; one that is unchanged is
    not taken again, but for what it lost, and that not each time.
    """
    hosts = [f"https://host-{number}" for number in range(20)]
    fake.is_steady(True)
    fake.answer = SourceError("one kind", listing=replace(found(*hosts), took=0.25))
    clock, monotonic = 1e9, 0.0

    def passing() -> float:
        nonlocal monotonic
        monotonic += 0.5
        return monotonic

    network = Network(asyncio.get_running_loop(), lambda: clock, passing)
    runner = Discovery(network, config(ONE))
    runner.start()
    (feed,) = runner.feeds.values()

    async def runs(number: int) -> None:
        end = fake.runs + number
        while fake.runs < end:
            await really_sleep(0)

    await runs(3)
    assert (feed.success, len(runner.targets)) == (False, 20)
    assert pauses[0] == (0.25 + 0.5) * REST
    fake.answer = SourceError("one kind", listing=Listing(unchanged=True))
    await runs(2)
    pauses.clear()
    await runs(10)
    assert max(pauses) < 0.03
    fake.answer = found(*hosts[:5])
    await runs(2)
    fake.answer = Listing(unchanged=True)
    await runs(5)
    before = {one.runs for one in feed.kept.missing.values()}
    await runs(10)
    assert {one.runs for one in feed.kept.missing.values()} == before
    clock += CONFIRMING_PAUSE
    await runs(10)
    assert {one.runs for one in feed.kept.missing.values()} == {max(before) + 1}
    await runner.close()
    network.close()


@pytest.mark.parametrize(
    ("entry", "interval"),
    [
        ("files: /none/a.json", 30.0),
        ("stores: /none", 300.0),
        ("web_servers: /none/nginx.conf", 300.0),
    ],
)
async def test_what_asks_nobody_else_is_read_at_the_usual_pace_however_long_it_failed(
    entry: str, interval: float, pauses: list[float]
) -> None:
    """
    What a person mended, or mounted, is seen then, not up to an hour later.
    """
    async with running(config(f"discover: [{{{entry}}}]")) as runner:
        (feed,) = runner.feeds.values()
        async with asyncio.timeout(60):
            while len(pauses) < 12:
                await really_sleep(0.001)
        assert feed.success is False
        assert runner.failing == (feed.name,)
        assert set(pauses) == {interval * spread(feed.entry.identity)}


async def test_an_empty_answer_removes_nothing_at_once(fake: FakeSource) -> None:
    """
    All that a source listed is kept, and counted as kept.
    """
    fake.answer = found(*(f"https://host-{number}" for number in range(20)))
    async with running(config(ONE)) as runner:
        (feed,) = runner.feeds.values()
        await until(lambda: len(runner.targets) == 20)
        fake.answer = Listing()
        await until(lambda: len(feed.kept.missing) == 20)
        assert len(runner.targets) == 20


async def test_lists_survive_a_restart(fake: FakeSource) -> None:
    """
    They are there before the first run, with what the source remembers. A damaged one is told.
    """
    fake.answer = Listing(found("https://a").found, remember={"seen": 1})
    async with running(config(ONE)) as runner:
        await until(lambda: not runner.pending)
        saved = {identity: (at, text) for identity, at, text in await runner.saved()}
    network = Network(asyncio.get_running_loop())
    again = Discovery(network, config(ONE))
    again.restore(saved)
    assert names(again) == ["https://a"]
    assert again.pending
    fake.answer = SourceError("down")
    again.start()
    await until(lambda: not again.pending)
    assert fake.contexts[-1].remembered == {"seen": 1}
    assert names(again) == ["https://a"]
    again.configure(Config())
    again.configure(config(ONE))
    again.restore(dict.fromkeys(saved, (0.0, "{")))
    assert names(again) == []
    await again.close()
    network.close()


async def test_a_run_that_is_stopped_goes_on_where_it_was(fake: FakeSource) -> None:
    """
    By a restart, or by a change of other keys than those that choose what it looks at; and after a failure.
    """
    reached: list[object] = []
    fake.reached, fake.wait = reached, True
    fake.answer = Listing(remember="all of it")
    async with running(config(ONE)) as runner:
        await until(lambda: fake.runs == 1)
        reached.append("a")
        await runner.reconfigure(config("discover: [{files: a.json, labels: {team: x}}]"))
        await until(lambda: fake.runs == 2)
        assert fake.contexts[-1].remembered == ["a"]
        reached.append("b")
    saved = {identity: (at, text) for identity, at, text in await runner.saved()}
    network = Network(asyncio.get_running_loop())
    for text, remembered in ((ONE, ["a", "b"]), ("discover: [{files: a.json, exclude: x}]", None)):
        again = Discovery(network, config(text))
        again.restore(saved)
        again.start()
        await until(lambda: len(fake.contexts) == fake.runs)
        await asyncio.sleep(0)
        assert fake.contexts[-1].remembered == remembered
        await again.close()
    again = Discovery(network, config(ONE))
    again.restore(dict.fromkeys(saved, (0.0, "{")))
    fake.wait, fake.answer = False, SourceError("down")
    again.start()
    await until(lambda: fake.runs == 6)
    assert [one.remembered for one in fake.contexts[-2:]] == [None, ["a", "b"]]
    fake.answer = Listing(remember="all of it")
    await until(lambda: fake.contexts[-1].remembered == "all of it")
    await again.close()
    network.close()


async def test_how_far_a_run_came_is_kept_when_the_scrape_is_over(fake: FakeSource) -> None:
    """
    A save begins before the scrape is answered. Of ten thousand names it would hold that up.
    """
    fake.reached, fake.wait = [], True
    network = Network(asyncio.get_running_loop())
    network.calm.patience = 3600.0
    async with running(config(ONE), network) as runner:
        await until(lambda: fake.runs == 1)
        with network.calm.disturbed():
            saving = asyncio.ensure_future(runner.saved())
            await asyncio.sleep(0.05)
            assert not saving.done()
            fake.reached.append("a")
        ((_, _, text),) = await saving
    assert json.loads(text)[1] == ["a"]


@pytest.mark.parametrize("restarted", [True, False])
@pytest.mark.parametrize(("by_place", "given"), [(True, ["https://a"]), (False, ["https://a"]), (False, [])])
async def test_a_source_that_looks_elsewhere_keeps_its_targets_until_it_was_read(
    fake: FakeSource, restarted: bool, by_place: bool, given: list[str]
) -> None:
    """
    By a change of its paths, say. Then it has its own alone; what it lost by the change is kept only if that
    is all of it.
    """
    fake.module.SOURCE = replace(fake.module.SOURCE, by_place=by_place)  # type: ignore[attr-defined]
    fake.answer = Listing(found("https://a", "https://b", "https://c").found, remember="places")
    changed = config("discover: [{files: a.json}, {files: [b.json, c.json]}]")
    async with running(config("discover: [{files: a.json}, {files: b.json}]")) as runner:
        await until(lambda: not runner.pending)
        fake.answer = SourceError("down")
        runs = fake.runs
        if restarted:
            saved = {identity: (at, text) for identity, at, text in await runner.saved()}
            network = Network(asyncio.get_running_loop())
            runner = Discovery(network, changed)  # noqa: PLW2901 - the one after the restart
            runner.restore(saved)
            runner.start()
        else:
            await runner.reconfigure(changed)
        _, feed = runner.feeds.values()
        assert names(runner) == ["https://a", "https://b", "https://c"]
        assert runner.incomplete
        await until(lambda: feed.success is False and fake.runs > runs + 2)
        assert len(feed.made.targets) == 3
        assert len(await runner.saved()) == 1
        assert (None in {one.remembered for one in fake.contexts[runs:]}) is not by_place
        fake.answer = found(*given)
        await until(lambda: feed.success is True)
        assert len(feed.made.targets) == (len(given) or 3)
        assert len(feed.kept.missing) == (0 if given else 3)
        if restarted:
            await runner.close()
            network.close()


async def test_names_without_an_address_are_looked_up_again(
    fake: FakeSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    While nothing changes, and after a restart, before which they are known already.
    """
    monkeypatch.setattr(resolving, "AGAIN", 0.0)
    resolver = Names(unknown="a b")
    network = Network(asyncio.get_running_loop())
    asks(network, resolver)
    fake.answer = Listing(named=found("https://a", "https://b", "https://c").found)
    async with running(config(ONE), network) as runner:
        await until(lambda: names(runner) == ["https://c"])
        assert list(runner.nowhere) == [Nowhere(f"https://{host}", "files", "a list") for host in "ab"]
        fake.answer = Listing(unchanged=True)
        resolver.unknown = {"a"}
        await until(lambda: names(runner) == ["https://c", "https://b"])
        # While they know no more, the list is not even made into a text again.
        (feed,) = runner.feeds.values()
        text, asked = feed.text, len(resolver.asked)
        await until(lambda: len(resolver.asked) > asked + 2)
        assert feed.text is text
        saved = {identity: (at, text) for identity, at, text in await runner.saved()}
    network = Network(asyncio.get_running_loop())
    asks(network, resolver)
    again = Discovery(network, config(ONE))
    again.restore(saved)
    assert [one.url for one in again.nowhere] == ["https://a"]
    resolver.unknown = {"b", "c"}
    again.start()
    await until(lambda: sorted(names(again)) == ["https://a", "https://b", "https://c"])
    assert not list(again.nowhere)
    await again.close()
    network.close()


async def test_name_servers_that_do_not_answer_delay_no_change(
    fake: FakeSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Whatever they do, all that a source lists is a target soon. An answer that comes at last counts.
    """
    monkeypatch.setattr(resolving, "RESOLVE_TIMEOUT", 3600.0)
    monkeypatch.setattr(resolving, "PATIENCE", 0.05)
    monkeypatch.setattr(resolving, "BATCH", 0.05)
    answers = threading.Event()

    def ask(name: str, _: int) -> tuple[IPAddress, ...]:
        if name.startswith("silent"):
            answers.wait(300)
            raise ProbeError(Reason.DNS_NOT_FOUND, "no such name")
        return (IPv4Address("127.0.0.1"),)

    network = Network(asyncio.get_running_loop())
    asks(network, ask)
    silent = [f"https://silent-{number}" for number in range(500)]
    fake.answer = Listing(named=found(*silent, "https://a").found)
    async with running(config(ONE), network) as runner:
        try:
            await until(lambda: len(runner.targets) == 501)
            fake.answer = Listing(named=found(*silent, "https://a", "https://b").found)
            await until(lambda: names(runner)[-1] == "https://b")
        finally:
            answers.set()
        monkeypatch.setattr(resolving, "AGAIN", 0.0)
        fake.answer = Listing(unchanged=True)
        await until(lambda: set(names(runner)) == {"https://a", "https://b"})
        (feed,) = runner.feeds.values()
        assert (len(list(runner.nowhere)), feed.kept_targets) == (500, 0)


async def test_a_defect_in_what_answers_mean_is_told_and_costs_nothing_else(
    fake: FakeSource, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """
    The targets stay, and the names are looked up the next time.
    """

    async def broken(*given: Any, heard: Any, **more: Any) -> Any:
        if heard:
            raise RuntimeError("a bug")
        return await resolving.resolved(*given, heard=heard, **more)

    monkeypatch.setattr(resolving, "AGAIN", 0.0)
    monkeypatch.setattr(module, "resolved", broken)
    network = Network(asyncio.get_running_loop())
    asks(network, Names(unknown="b"))
    fake.answer = Listing(named=found("https://a", "https://b").found)
    async with running(config(ONE), network) as runner:
        await until(lambda: caplog.text.count("internal error in the look-ups of a source") > 1)
        assert names(runner) == ["https://a"]


async def test_what_was_left_out_at_the_limit_comes_when_there_is_room(
    fake: FakeSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Also of a source that has nothing new to say.
    """
    monkeypatch.setattr(resolving, "AGAIN", 0.0)
    resolver = Names()
    resolver.down = True
    network = Network(asyncio.get_running_loop())
    asks(network, resolver)
    whole = Listing(named=found("https://a", "https://b", "https://above").found)
    fake.answer = whole
    async with running(config("discover: [{files: x, limit: 2}]"), network) as runner:
        await until(lambda: names(runner) == ["https://a", "https://b"])
        fake.answer = Listing(unchanged=True)
        resolver.unknown, resolver.down = {"a"}, False
        await until(lambda: fake.contexts[-1].whole)
        fake.answer = whole
        await until(lambda: names(runner) == ["https://b", "https://above"])
        fake.answer = Listing(unchanged=True)
        runs = fake.runs
        await until(lambda: fake.runs > runs + 1)
        assert not fake.contexts[-1].whole


async def test_a_note_is_told_again_when_it_names_others_not_when_there_are_more_of_them(
    fake: FakeSource, caplog: pytest.LogCaptureFixture
) -> None:
    """
    A cluster that changes all the time fills no log.
    """
    network = Network(asyncio.get_running_loop())
    hosts = [f"host-{number:02}" for number in range(20)]
    asks(network, Names(unknown=" ".join(hosts)))
    async with running(config(ONE), network) as runner:
        (feed,) = runner.feeds.values()

        async def lists(listed: list[str]) -> None:
            fake.answer = Listing(named=found(*(f"https://{host}" for host in listed)).found)
            await until(lambda: len(feed.kept.names.nowhere) == len(listed))

        for some in (hosts[:4], hosts[:5], hosts[:9], hosts[1:]):
            await lists(some)
    causes = [str(vars(one)) for one in caplog.records if "passed something" in one.message]
    assert [re.findall(r"host-\d+", one)[0] for one in causes] == ["host-00", "host-01"]


async def test_what_another_list_has_as_a_target_is_not_told_as_none(fake: FakeSource) -> None:
    """
    However its URL is spelled there.
    """
    network = Network(asyncio.get_running_loop())
    asks(network, Names(unknown="a b c"))
    fake.answer = Listing(named=found("https://a", "https://b", "https://b:8443", "https://c").found)
    by_hand = "targets: ['https://A:443', {url: 'https://b', name: mine}]\n"
    async with running(config(by_hand + ONE), network) as runner:
        (feed,) = runner.feeds.values()
        await until(lambda: feed.success is True)
        assert [one.url for one in runner.nowhere] == ["https://b:8443", "https://c"]


async def test_at_the_limit_a_name_with_an_address_at_last_pushes_nothing_out(
    fake: FakeSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    And those that were left out before are counted still, while nothing changes.
    """
    monkeypatch.setattr(resolving, "AGAIN", 0.0)
    # All five at once: so the first two of the list are the targets.
    monkeypatch.setattr(resolving, "FEW", 5)
    resolver = Names(unknown="new gone")
    network = Network(asyncio.get_running_loop())
    asks(network, resolver)
    hosts = ("https://a", "https://b", "https://above", "https://new", "https://gone")
    fake.answer = Listing(named=found(*hosts).found)
    async with running(config("discover: [{files: x, limit: 2}]"), network) as runner:
        (feed,) = runner.feeds.values()
        await until(lambda: feed.left_out == 1)
        fake.answer = Listing(unchanged=True)
        resolver.unknown = {"gone"}
        await until(lambda: len(list(runner.nowhere)) == 1)
        assert (names(runner), feed.left_out) == (["https://a", "https://b"], 2)


async def test_a_reload_keeps_lists_and_pace(fake: FakeSource) -> None:
    """
    An unchanged entry is not even run again; one with other settings has its list with those, and is.
    """
    fake.answer = found("https://a", "https://b")
    text = "discover: [{files: a, interval: 1h}]"
    async with running(config(text)) as runner:
        await until(lambda: not runner.pending)
        await runner.reconfigure(config(text))
        assert names(runner) == ["https://a", "https://b"]
        assert fake.runs == 1
        fake.answer = SourceError("down")
        await runner.reconfigure(
            config("discover: [{files: a, interval: 1h, exclude: https://b, policy: manual}]")
        )
        assert [(one.name, one.policy.name) for one in runner.targets] == [("https://a", "manual")]
        await until(lambda: fake.runs == 2)
        await runner.reconfigure(config("policies: {x: {critical: 1d, warning: 2d}}\n" + text))
        assert names(runner) == ["https://a"]
        await runner.reconfigure(config("targets: [https://c]"))
        assert names(runner) == ["https://c"]
        assert runner.feeds == {}
    await until(lambda: not any("run_for_ever" in repr(one) for one in asyncio.all_tasks()))


@pytest.mark.parametrize(
    ("keys", "remembered"),
    [("labels: {team: b}", "what"), ("name: n", "what"), ("exclude: x", None), ("limit: 3", None)],
)
async def test_a_reload_with_other_labels_does_not_begin_again(
    fake: FakeSource, keys: str, remembered: str | None
) -> None:
    """
    What a source remembers is worth what its list is: only with other patterns it must say all of it again.
    """
    fake.answer = replace(found("https://a", "https://b"), remember="what")
    async with running(config("discover: [{files: a, interval: 1h, labels: {team: a}}]")) as runner:
        await until(lambda: not runner.pending)
        fake.answer = Listing(unchanged=True)
        await runner.reconfigure(config(f"discover: [{{files: a, interval: 1h, {keys}}}]"))
        await until(lambda: fake.runs == 2)
        assert fake.contexts[-1].remembered == remembered
        assert len(runner.targets) == 2


async def test_a_source_that_hangs_holds_up_nobody(fake: FakeSource) -> None:
    """
    Its run is cancelled when the runner is closed.
    """
    fake.wait = True
    async with running(config(ONE)) as runner:
        await until(lambda: fake.runs == 1)
        assert runner.pending == 1
        await runner.reconfigure(config("targets: [https://c]"))
        assert runner.pending == 0
    await until(lambda: not any("run_for_ever" in repr(one) for one in asyncio.all_tasks()))


async def test_a_run_that_is_not_done_in_time_is_ended(
    fake: FakeSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    What the source listed before stays, and the next run has its turn.
    """
    monkeypatch.setattr(module, "RUN_TIMEOUT", 0.05)
    fake.answer = found("https://a")
    async with running(config(ONE)) as runner:
        await until(lambda: names(runner) == ["https://a"])
        fake.wait = True
        (feed,) = runner.feeds.values()
        await until(lambda: feed.success is False)
        assert feed.failure == "it was not done within 0.05 s"
        assert names(runner) == ["https://a"]
        fake.wait = False
        await until(lambda: feed.success is True)


async def test_a_source_that_this_version_lacks_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """
    And waited for by nobody.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.delitem(discovery.MODULES, "networks", raising=False)
        async with running(config("discover: [{networks: {cidr: 127.0.0.1/32}}]")) as runner:
            await until(lambda: not runner.pending)
    assert "can't be used" in caplog.text


async def test_a_replica_takes_its_share(fake: FakeSource) -> None:
    """
    Of what is found, as of what is configured.
    """
    fake.answer = found("https://a", "https://b")
    one = config(ONE)
    object.__setattr__(one, "is_mine", lambda name: name == "https://b")
    async with running(one) as runner:
        await until(lambda: not runner.pending)
        assert names(runner) == ["https://b"]


async def test_a_million_targets_are_cut(fake: FakeSource) -> None:
    """
    At the limit, without holding up the event loop.
    """
    fake.answer = Listing(tuple(Found(f"https://host-{number}", "") for number in range(200_000)))
    async with running(config("discover: [{files: a, limit: 100, interval: 1h}]")) as runner:
        began = time.monotonic()
        await until(lambda: not runner.pending)
        assert time.monotonic() - began < 60
        assert len(runner.targets) == 100
        assert next(iter(runner.feeds.values())).left_out == 199_900
