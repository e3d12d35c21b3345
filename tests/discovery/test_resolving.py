"""
Names that somebody else wrote down: which of them are targets.
"""

import asyncio
from collections.abc import Sequence
from ipaddress import IPv4Address

from exporter.config.reader import parse
from exporter.discovery.base import Found, Listing
from exporter.discovery.lists import Kept, Names, from_text, settled, to_text
from exporter.discovery.resolving import AGAIN, DOWN, addressed, resolved
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
        self.now = NOW
        self.notes: tuple[str, ...] = ()

    def takes(self, listing: Listing, later: float = 0.0) -> list[str]:
        """
        Take a listing so many seconds later, and return the hosts that are targets.
        """
        self.now += later
        self.resolver.asked.clear()

        async def run() -> tuple[Listing, Names]:
            network = Network(asyncio.get_running_loop())
            resolvers.asks(network, self.resolver)
            try:
                return await resolved(listing, self.entry, self.kept, network, self.now)
            finally:
                network.close()

        taken, names = asyncio.run(run())
        self.notes = taken.notes
        kept = settled(self.kept, taken.found, 100_000, self.now, names)
        # As after a restart.
        self.kept, _ = from_text(to_text(kept, None))
        return self.hosts(self.kept.found)

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
    assert feed.takes(named("a b c", "meant"), AGAIN - 1) == ["a", "meant"]
    assert (feed.nowhere, resolver.asked) == (["b", "c"], [])
    # A new one is looked up at once.
    assert feed.takes(named("a b c f", "meant")) == ["a", "f", "meant"]
    assert resolver.asked == ["f"]
    assert feed.takes(named("a b c f", "meant"), 1) == ["a", "b", "f", "meant"]
    assert (feed.nowhere, sorted(resolver.asked)) == (["c"], ["b", "c"])


def test_a_list_without_changes_is_looked_up_again() -> None:
    """
    A cluster says most of the time that nothing changed in it: the name servers may know more meanwhile.
    """
    resolver = resolvers.Names(unknown="b c", silent="d")
    feed = Feed(LASTING, resolver)
    assert feed.takes(named("a b c d", "meant")) == ["a", "d", "meant"]
    resolver.unknown, resolver.silent = {"c", "d"}, set()
    assert sorted(feed.takes(Listing(unchanged=True), AGAIN)) == ["a", "b", "meant"]
    assert (feed.nowhere, sorted(resolver.asked)) == (["d", "c"], ["b", "c", "d"])


def test_the_name_of_a_target_that_vanishes_is_a_failure_of_the_target() -> None:
    """
    It stays one as long as it is listed.
    """
    resolver = resolvers.Names()
    feed = Feed(LASTING, resolver)
    assert feed.takes(named("a b")) == ["a", "b"]
    resolver.unknown = {"a", "b"}
    assert (feed.takes(named("a b"), AGAIN), feed.notes) == (["a", "b"], ())
    assert feed.takes(named("a"), AGAIN) == ["a"]


def test_while_no_name_server_answers_nothing_is_lost() -> None:
    """
    A target stays, what has no address stays out, and a new name is a target that fails: it may be one.
    """
    resolver = resolvers.Names(unknown="gone")
    feed = Feed(LASTING, resolver)
    assert feed.takes(named("a gone")) == ["a"]
    resolver.down = True
    for _ in range(2):
        assert feed.takes(named("a gone new other"), AGAIN) == ["a", "new", "other"]
        assert feed.nowhere == ["gone"]
        silent = "names for which no name server has an answer: gone, new, other"
        assert feed.notes[-1] == silent
    # Before it is time to ask again, that is as it was.
    assert (feed.takes(named("a gone new other"), 1), resolver.asked) == (["a", "new", "other"], [])
    resolver.down, resolver.unknown = False, {"new", "gone"}
    assert feed.takes(named("a gone new other"), AGAIN) == ["a", "other"]
    assert feed.nowhere == ["gone", "new"]
    # From now on it is known to have had an address.
    resolver.unknown.add("other")
    assert feed.takes(named("a other"), AGAIN) == ["a", "other"]


def test_what_name_servers_answer_at_last_is_no_loss_of_the_source() -> None:
    """
    However many names of the first list turn out to have no address, none of them is kept for a day.
    """
    resolver = resolvers.Names(unknown="b c d e f g")
    resolver.down = True
    feed = Feed(LASTING, resolver)
    assert len(feed.takes(named("a b c d e f g", "meant"))) == 8
    resolver.down = False
    assert sorted(feed.takes(Listing(unchanged=True), AGAIN)) == ["a", "meant"]
    assert (sorted(feed.nowhere), feed.kept.missing) == (["b", "c", "d", "e", "f", "g"], {})


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
    assert feed.notes[1] == "names for which no name server has an answer: lame"
    resolver.silent = {"a", "lame", "old"}
    resolver.unknown = {"b"}
    assert feed.takes(named("a b old lame"), AGAIN) == ["a"]
    assert feed.nowhere == ["b", "old"]


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
        work = asyncio.ensure_future(addressed(["a.example", "b.example"], network))
        await asyncio.sleep(0.05)
        assert (asked, work.done()) == ([], False)
    assert await work == {"a.example": True, "b.example": True}
    network.calm.patience = 0.01
    with network.calm.disturbed():
        assert await addressed(["c.example"], network) == {"c.example": True}
    network.close()
