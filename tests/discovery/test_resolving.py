"""
Names that somebody else wrote down: which of them are targets.
"""

import asyncio
import threading
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address

import pytest

from exporter.config.reader import parse
from exporter.discovery import resolving
from exporter.discovery.base import NOTHING, Found, Listing
from exporter.discovery.lists import Kept, Names, from_text, settled, to_text
from exporter.discovery.resolving import AT_ONCE, DOWN, FEW, LookUps, addressed, is_history, resolved
from exporter.model.hosts import IPAddress
from exporter.net.network import Network
from exporter.net.resolver import Resolver
from tests.support import resolvers

NOW = 1_800_000_000.0


LASTING, HISTORY = "kubernetes: {}", "certificate_transparency: {domains: example.com}"


class Feed:
    """
    A source's list, as the runner keeps it.
    """

    def __init__(self, entry: str, resolver: resolvers.Names) -> None:
        (self.entry,) = parse(f"discover: [{{{entry}}}]".encode(), "expiry.yml", {}).discover
        self.resolver = resolver
        self.kept = Kept()
        self.notes: tuple[str, ...] = ()

    def takes(self, listing: Listing, *, again: bool = False) -> list[str]:
        """
        Take a listing, and return the hosts that are targets, with `again` after look-ups beside the runs.
        """
        self.resolver.asked.clear()

        async def run() -> None:
            network = Network(asyncio.get_running_loop())
            resolvers.asks(network, self.resolver)
            try:
                await self._take(listing, network)
                if again:
                    await self._look_up(network)
            finally:
                network.close()

        asyncio.run(run())
        # As after a restart.
        self.kept, _ = from_text(to_text(self.kept, None))
        return self.hosts(self.kept.found)

    async def _take(self, listing: Listing, network: Network, heard: Mapping[str, bool] = NOTHING) -> None:
        taken, names = await resolved(listing, self.entry, self.kept, network, heard=heard)
        if not heard:
            self.notes = taken.notes
        self.kept = settled(self.kept, taken.found, self.entry.limit, NOW, names, counts=not heard)

    async def _look_up(self, network: Network) -> None:
        async def hear(answers: Mapping[str, bool]) -> None:
            await self._take(Listing(unchanged=True), network, answers)

        look_ups = LookUps(network, hear, history=is_history(self.entry))
        look_ups.go_on(self.kept, self.kept)
        if look_ups.task is not None:
            await look_ups.task

    @property
    def nowhere(self) -> list[str]:
        """
        The hosts that are no targets, since they have no address.
        """
        return self.hosts(self.kept.names.nowhere)

    @staticmethod
    def hosts(found: Sequence[Found]) -> list[str]:
        """
        The hosts of what was found.
        """
        return [one.url.removeprefix("https://") for one in found]


def named(hosts: str, found: str = "") -> Listing:
    """
    A listing of hosts that somebody else wrote down, and of those that are meant.
    """
    first, second = (
        tuple(Found(f"https://{host}", "a list") for host in some.split()) for some in (hosts, found)
    )
    return Listing(second, named=first)


def test_a_name_that_the_resolver_does_not_know_is_no_target_before_it_does() -> None:
    """
    It is told instead, and looked up again after some time. What is meant as a target is not even looked up.
    """
    resolver = resolvers.Names(unknown="b c d e meant")
    feed = Feed(LASTING, resolver)
    assert feed.takes(named("e d c b a", "meant")) == ["a", "meant"]
    assert (feed.nowhere, sorted(resolver.asked)) == (["e", "d", "c", "b"], ["a", "b", "c", "d", "e"])
    words = "names that this host's resolver does not know, so they are no targets: b, c, d and 1 more"
    assert feed.notes == (words,)
    resolver.unknown = {"c", "d", "e"}
    assert feed.takes(named("a b c", "meant")) == ["a", "meant"]
    assert (feed.nowhere, resolver.asked) == (["b", "c"], [])
    # A new one is looked up at once.
    assert feed.takes(named("a b c f", "meant")) == ["a", "meant", "f"]
    assert resolver.asked == ["f"]
    assert feed.takes(named("a b c f", "meant"), again=True) == ["a", "meant", "f", "b"]
    assert (feed.nowhere, sorted(resolver.asked)) == (["c"], ["b", "c"])


def test_a_list_without_changes_is_looked_up_again() -> None:
    """
    A cluster says most of the time that nothing changed in it: the name servers may know more meanwhile.
    """
    resolver = resolvers.Names(unknown="b c", silent="d")
    feed = Feed(LASTING, resolver)
    assert feed.takes(named("a b c d", "meant")) == ["a", "meant", "d"]
    resolver.unknown, resolver.silent = {"c", "d"}, set()
    assert sorted(feed.takes(Listing(unchanged=True), again=True)) == ["a", "b", "meant"]
    assert (feed.nowhere, sorted(resolver.asked)) == (["d", "c"], ["b", "c", "d"])


def test_the_name_of_a_target_that_vanishes_is_a_failure_of_the_target() -> None:
    """
    It stays one as long as it is listed.
    """
    resolver = resolvers.Names()
    feed = Feed(LASTING, resolver)
    assert feed.takes(named("a b")) == ["a", "b"]
    resolver.unknown = {"a", "b"}
    assert (feed.takes(named("a b"), again=True), feed.notes) == (["a", "b"], ())
    assert feed.takes(named("a"), again=True) == ["a"]


def test_while_no_name_server_answers_nothing_is_lost() -> None:
    """
    A target stays, what has no address stays out, and a new name is a target that fails: it may be one.
    """
    resolver = resolvers.Names(unknown="gone")
    feed = Feed(LASTING, resolver)
    assert feed.takes(named("a gone")) == ["a"]
    resolver.down = True
    for _ in range(2):
        assert feed.takes(named("a gone new other"), again=True) == ["a", "new", "other"]
        assert feed.nowhere == ["gone"]
        assert feed.notes[-1] == "names for which no name server has an answer yet: new, other"
    # A run does not ask for them again.
    assert (feed.takes(named("a gone new other")), resolver.asked) == (["a", "new", "other"], [])
    resolver.down, resolver.unknown = False, {"new", "gone"}
    assert feed.takes(named("a gone new other"), again=True) == ["a", "other"]
    assert sorted(feed.nowhere) == ["gone", "new"]
    # From now on it is known to have had an address.
    resolver.unknown.add("other")
    assert feed.takes(named("a other"), again=True) == ["a", "other"]


def test_what_name_servers_answer_at_last_is_no_loss_of_the_source() -> None:
    """
    However many names of the first list turn out to have no address, none of them is kept for a day.
    """
    resolver = resolvers.Names(unknown="b c d e f g")
    resolver.down = True
    feed = Feed(LASTING, resolver)
    assert len(feed.takes(named("a b c d e f g", "meant"))) == 8
    resolver.down = False
    assert sorted(feed.takes(Listing(unchanged=True), again=True)) == ["a", "meant"]
    assert (sorted(feed.nowhere), feed.kept.missing) == (["b", "c", "d", "e", "f", "g"], {})


def test_at_the_limit_only_as_many_names_are_looked_up_as_there_is_room_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    A change of a cluster far above it asks for none. What is a target stays one, wherever a new name stands.
    """
    monkeypatch.setattr(resolving, "AT_ONCE", 1)
    monkeypatch.setattr(resolving, "FEW", 1)
    resolver = resolvers.Names(unknown="gone")
    feed = Feed(f"{LASTING}, limit: 3", resolver)
    first = feed.takes(named("b c d e f", "meant"))
    assert (len(first), feed.kept.above, len(resolver.asked)) == (3, 3, 3)
    assert set(first) < {*"bcdef"}
    assert (feed.takes(named("a b c d e f", "meant")), feed.kept.above) == (first, 4)
    assert resolver.asked == []
    # One of them goes.
    left = " ".join(sorted({*"abcdef"} - {first[0]}))
    assert feed.takes(named(left, "meant"))[:2] == first[1:]
    assert (len(feed.kept.found), len(resolver.asked)) == (3, 1)


def test_names_for_which_nobody_had_an_answer_take_no_place_of_others() -> None:
    """
    At the limit they are left out, and not looked up again.
    """
    feed = Feed(f"{LASTING}, limit: 2", resolvers.Names(silent="a b"))
    assert feed.takes(named("a b c", "meant")) == ["c", "meant"]
    assert (feed.kept.above, feed.kept.names.open) == (2, frozenset())


def test_a_cluster_does_not_wait_for_look_ups_and_who_runs_once_an_hour_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    Its new names are targets meanwhile, and none any more as soon as there is an answer.
    """
    monkeypatch.setattr(resolving, "PATIENCE", 0.0)
    resolver = resolvers.Names(unknown="gone")
    cluster, zone = Feed(LASTING, resolver), Feed("zone: {name: example.com, file: /x}", resolver)
    assert (cluster.takes(named("a gone")), resolver.asked) == (["a", "gone"], [])
    assert cluster.takes(named("a gone"), again=True) == ["a"]
    assert zone.takes(named("a gone")) == ["a"]


def test_names_of_the_past_that_all_vanish_at_once_stay_for_a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A resolver that lost its way has no address of any. So all answers are used together, not some by some.
    """
    monkeypatch.setattr(resolving, "BATCH", 0.0)
    hosts = [f"host-{number}" for number in range(40)]
    resolver = resolvers.Names()
    feed = Feed(HISTORY, resolver)
    feed.takes(named(" ".join(hosts)))
    resolver.unknown = set(hosts)
    assert feed.takes(Listing(unchanged=True), again=True) == hosts
    assert len(feed.kept.missing) == 40


async def test_look_ups_beside_the_runs_are_of_what_is_open_and_of_all_after_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    A new name without an answer is looked up at once, one without an address after five minutes.
    """
    resolver = resolvers.Names(unknown="nowhere", silent="new old")
    network = Network(asyncio.get_running_loop())
    resolvers.asks(network, resolver)
    heard: list[Mapping[str, bool]] = []

    async def hear(answers: Mapping[str, bool]) -> None:
        heard.append(answers)

    def names(*unsure: str) -> Kept:
        nowhere = named("nowhere").named
        return Kept(names=Names(nowhere, frozenset(f"https://{host}" for host in unsure)))

    async def asked() -> list[str]:
        resolver.asked.clear()
        look_ups.go_on(names("new", "old"), names("old"))
        # A second run meanwhile begins none.
        task = look_ups.task
        look_ups.go_on(names("new", "old"), names("new", "old"))
        assert look_ups.task is task
        assert task is not None
        await task
        return sorted(resolver.asked)

    look_ups = LookUps(network, hear, history=False)
    assert await asked() == ["new", "nowhere", "old"]
    assert heard == [{"nowhere": False}]
    assert await asked() == ["new"]
    # No name server answers: nothing is heard.
    assert len(heard) == 1
    monkeypatch.setattr(resolving, "AGAIN", 0.0)
    assert await asked() == ["new", "nowhere", "old"]
    network.close()


def test_a_resolver_that_is_down_is_not_asked_for_all_names() -> None:
    """
    Each would take seconds, and the first list of a large cluster half an hour.
    """
    resolver = resolvers.Names()
    resolver.down = True
    feed = Feed(LASTING, resolver)
    assert len(feed.takes(named(" ".join(f"host-{number}" for number in range(1000))))) == 1000
    assert DOWN <= len(resolver.asked) < DOWN + 16


def test_what_a_log_has_goes_with_its_address() -> None:
    """
    Nobody can take a name out of a log. Without an answer, a new one is not known to be more than the past.
    """
    resolver = resolvers.Names(unknown="old", silent="lame")
    feed = Feed(HISTORY, resolver)
    assert (feed.takes(named("a b old lame")), feed.nowhere) == (["a", "b"], ["old"])
    assert feed.notes[1] == "names for which no name server has an answer yet: lame"
    resolver.silent = {"a", "old", "lame"}
    resolver.unknown = {"b"}
    assert feed.takes(named("a b old lame"), again=True) == ["a"]
    assert feed.nowhere == ["b", "old"]
    # It is one as soon as there is an answer, whatever the next run of its source brings.
    resolver.silent = set()
    assert feed.takes(Listing(unchanged=True), again=True) == ["a", "old", "lame"]


def test_what_is_not_wanted_is_not_looked_up() -> None:
    """
    By `exclude`.
    """
    resolver = resolvers.Names(unknown="a.test b.example")
    feed = Feed(f"{LASTING}, exclude: '*.test'", resolver)
    assert feed.takes(named("a.test b.example c.test")) == []
    assert (feed.nowhere, resolver.asked) == (["b.example"], ["b.example"])


def test_what_is_no_url_is_left_to_the_check_of_targets() -> None:
    """
    It says why.
    """
    assert Feed(LASTING, resolvers.Names()).takes(named("a..b")) == ["a..b"]


@pytest.mark.parametrize(("quick", "at_once"), [(3600.0, FEW), (-1.0, AT_ONCE)])
async def test_only_slow_answers_are_waited_for_many_at_a_time(
    quick: float, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Quick ones cost this host's processors, and the more of them are under way, the longer a scrape waits.
    """
    monkeypatch.setattr(resolving, "QUICK", quick)
    loop = asyncio.get_running_loop()
    network = Network(loop)
    under_way: set[str] = set()
    most, asked, lock, full = 0, 0, threading.Lock(), threading.Event()

    def ask(name: str, _: int) -> tuple[IPAddress, ...]:
        nonlocal most, asked
        with lock:
            asked += 1
            under_way.add(name)
            most = max(most, len(under_way))
            late = asked > 2 * AT_ONCE
        if most >= at_once:
            full.set()
        if late:
            full.wait(30)
        with lock:
            under_way.discard(name)
        return (IPv4Address("127.0.0.1"),)

    resolvers.asks(network, ask)
    waiting = dict.fromkeys(f"{number}.example" for number in range(100))
    assert len(await addressed(waiting, network, 60.0)) == 100
    assert most == at_once
    network.close()


async def test_a_look_up_gives_way_to_a_scrape() -> None:
    """
    But not for ever: scrapes may follow each other without a pause. The resolver is a fake.
    """
    loop = asyncio.get_running_loop()
    network = Network(loop)
    asked: list[str] = []

    def ask(name: str, _: int) -> tuple[IPAddress, ...]:
        asked.append(name)
        return (IPv4Address("127.0.0.1"),)

    network.resolver.close()
    network.resolver = Resolver(loop, ask=ask)
    network.calm.patience = 3600.0
    with network.calm.disturbed():
        waiting = dict.fromkeys(["a.example", "b.example"])
        work = asyncio.ensure_future(addressed(waiting, network, 60.0))
        await asyncio.sleep(0.05)
        assert (asked, work.done()) == ([], False)
    assert await work == {"a.example": True, "b.example": True}
    network.calm.patience = 0.01
    with network.calm.disturbed():
        assert await addressed({"c.example": None}, network, 60.0) == {"c.example": True}
    network.close()
