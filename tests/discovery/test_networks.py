"""
Source `networks`: loopback addresses with real servers, at a bounded rate, each tried once a day.
"""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from exporter.config.reader import parse
from exporter.config.sources import NetworksSource
from exporter.discovery import source, trying
from exporter.discovery.base import Context, Listing
from exporter.discovery.lists import wanting
from exporter.discovery.networks import ROUND, planned
from exporter.discovery.trying import LIVES, Place, names_at, tried
from exporter.net.network import Network
from tests.support import misbehaving
from tests.support.certificates import DAY, NOW, authority
from tests.support.servers import Site, nginx


def run(
    settings: NetworksSource, remembered: Any = None, now: float = NOW, exclude: Sequence[str] = ()
) -> tuple[Listing, list[str]]:
    """
    One run, and what it told meanwhile.
    """
    told: list[str] = []

    async def work() -> Listing:
        network = Network(asyncio.get_running_loop())
        try:
            context = Context(network, now, remembered, wanted=wanting((), exclude), progress=told.append)
            return await source("networks").run(settings, context)
        finally:
            network.close()

    listing = asyncio.run(work())
    return listing, told


def test_what_speaks_tls_becomes_a_target_and_is_tried_again_after_a_day(tmp_path: Path) -> None:
    """
    A round over a network; the next run tries nothing; what is gone is found gone a day later.
    """
    leaf = authority().issue("www", ["www"], not_before=NOW - DAY, not_after=NOW + DAY)
    with nginx(tmp_path, Site([[leaf]]), host="127.0.0.3") as server:
        settings = NetworksSource(cidr=["127.0.0.0/28"], ports=[server.port], rate=1000)
        listing, told = run(settings)
        assert [one.url for one in listing.found] == [f"tls://127.0.0.3:{server.port}"]
        assert (
            listing.found[0].why == f"port {server.port} of 127.0.0.3 in the network 127.0.0.0/28 speaks TLS"
        )
        assert told[-1] == "networks: 14 of 14 places are tried"
        kept = json.loads(json.dumps(listing.remember))
    again, told = run(settings, kept, NOW + ROUND - 1)
    assert (again.found, told) == (listing.found, [])
    # One that is down when it is tried is no reason to watch it no longer.
    for day in range(1, LIVES):
        again, told = run(settings, json.loads(json.dumps(again.remember)), NOW + day * ROUND)
        assert (again.found, len(told)) == (listing.found, 1)
    later, told = run(settings, again.remember, NOW + LIVES * ROUND)
    assert (later.found, len(told)) == ((), 1)


def test_a_place_is_asked_for_by_a_name_on_its_certificate(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The first at first; the same while the certificate has it. What is tried is a fake.
    """
    shown: list[str] = []

    async def fake(_: Network, _place: Place) -> tuple[str, ...]:
        return tuple(shown)

    monkeypatch.setattr(trying, "names_at", fake)
    settings = NetworksSource(cidr=["127.0.0.7"], ports=[8443], rate=1000)
    remembered: object = None
    asked = []
    days: tuple[list[str], ...] = (
        [],
        ["a.example", "b.example"],
        ["c.example", "a.example"],
        ["b.example"],
        ["*.d.example"],
    )
    for day, names in enumerate(days):
        shown[:] = names
        listing, _ = run(settings, json.loads(json.dumps(remembered)), NOW + day * ROUND)
        remembered = listing.remember
        (one,) = listing.found
        assert one.url == "tls://127.0.0.7:8443"
        asked.append((one.name, one.settings.get("server_name")))
    expected = ["a.example", "a.example", "b.example", "www.d.example"]
    assert asked == [("", None), *((f"{name} on 127.0.0.7:8443", name) for name in expected)]


def test_what_is_excluded_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    What is tried is a fake.
    """
    tried_here: list[str] = []

    async def fake(_: Network, place: Place) -> tuple[str, ...]:
        tried_here.append(place.address)
        return ()

    monkeypatch.setattr(trying, "names_at", fake)
    settings = NetworksSource(cidr=["127.0.0.0/29"], ports=[443], rate=1000)
    listing, _ = run(settings, exclude=["127.0.0.[1-4]"])
    assert sorted(tried_here) == ["127.0.0.5", "127.0.0.6"]
    assert len(listing.found) == 2
    assert listing.remember["position"] == 6


@pytest.mark.parametrize(("rate", "at_once"), [(50, 200), (10_000, 3)])
async def test_connections_are_bounded_in_rate_and_number(
    rate: float, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Never sooner than the rate says, nor more at a time than the bound, at a server that says nothing.
    """
    assert NetworksSource(cidr=["127.0.0.1"]).rate == 50
    monkeypatch.setattr(trying, "PATIENCE", 0.3)
    monkeypatch.setattr(trying, "AT_ONCE", at_once)
    loop = asyncio.get_running_loop()
    begun: list[float] = []
    open_now = most = 0

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal open_now, most
        begun.append(loop.time())
        open_now += 1
        most = max(most, open_now)
        await reader.read()
        open_now -= 1
        writer.close()

    network = Network(loop)
    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        place = Place("127.0.0.1", server.sockets[0].getsockname()[1])
        answers = [names async for _, names in tried(network, [place] * 12, rate)]
    network.close()
    assert answers == [None] * 12
    assert len(begun) == 12
    # Who woke up late makes up for one gap at most.
    assert begun[-1] - begun[0] >= 10 / rate
    assert most <= at_once + 1  # the server may see the end of one after the begin of the next


async def test_a_try_gives_way_to_a_scrape(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    But not for ever: scrapes may follow each other without a pause. What is tried is a fake.
    """
    network = Network(asyncio.get_running_loop())
    begun: list[Place] = []

    async def fake(_: Network, place: Place) -> tuple[str, ...]:
        begun.append(place)
        return ()

    monkeypatch.setattr(trying, "names_at", fake)
    places = [Place("127.0.0.1", 1), Place("127.0.0.1", 2)]

    async def answers() -> list[Place]:
        return [place async for place, _ in tried(network, places, 10_000)]

    network.calm.patience = 3600.0
    with network.calm.disturbed():
        work = asyncio.ensure_future(answers())
        await asyncio.sleep(0.05)
        assert (begun, work.done()) == ([], False)
    assert await work == begun == places
    network.calm.patience = 0.01
    with network.calm.disturbed(), network.calm.disturbed():
        assert await answers() == places
    network.close()


def test_a_round_goes_on_where_the_last_run_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A run is bounded; what is remembered from another plan or another version begins anew.
    """
    monkeypatch.setattr("exporter.discovery.networks.RUN", 0.01)
    settings = NetworksSource(cidr=["127.0.0.0/28"], ports=[1], rate=1000)
    first, _ = run(settings)
    assert first.remember["position"] == 10
    assert first.notes == ("10 of 14 places are tried; the next run goes on from there",)
    second, _ = run(settings, first.remember, NOW + 300)
    assert (second.remember["position"], second.notes) == (14, ())
    others: tuple[object, ...] = (
        None,
        [],
        {"plan": 1},
        {**first.remember, "plan": "other"},
        {**first.remember, "speaks": 5},
    )
    for other in others:
        assert run(settings, other)[0].remember["position"] == 10


def test_what_was_tried_today_is_not_tried_again_in_other_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Only what is new, and what the round before did not come to. What spoke TLS stays, where it is named
    still. What is tried is a fake.
    """
    asked: list[str] = []

    async def fake(_: Network, place: Place) -> tuple[str, ...] | None:
        asked.append(f"{place.address} {place.port}")
        return () if place.address in {"127.0.0.3", "127.0.0.9"} else None

    def tried_in(
        cidr: str, ports: list[int], remembered: object, now: float = NOW
    ) -> tuple[set[str], Listing]:
        asked.clear()
        settings = NetworksSource(cidr=cidr.split(), ports=ports, rate=1000)
        listing, _ = run(settings, json.loads(json.dumps(remembered)), now)
        return set(asked), listing

    def addresses(last: range, port: int) -> set[str]:
        return {f"127.0.0.{number} {port}" for number in last}

    monkeypatch.setattr(trying, "names_at", fake)
    monkeypatch.setattr("exporter.discovery.networks.RUN", 0.01)
    first, listing = tried_in("127.0.0.0/28", [1], None)
    assert len(first) == 10
    monkeypatch.setattr("exporter.discovery.networks.RUN", 600.0)
    # A network and a port more.
    second, listing = tried_in("127.0.0.0/28 127.0.0.32/30", [1, 2], listing.remember, NOW + 60)
    everywhere = {*range(1, 15), 33, 34}
    assert second == {f"127.0.0.{one} {port}" for one in everywhere for port in (1, 2)} - first
    assert len(listing.found) == 4
    # Both are taken out again, and the first half of the first network too.
    third, listing = tried_in("127.0.0.8/29", [2], listing.remember, NOW + 120)
    assert third == set()
    assert [one.url for one in listing.found] == ["tls://127.0.0.9:2"]
    # A day later all of it is tried.
    assert tried_in("127.0.0.8/29", [2], listing.remember, NOW + 120 + ROUND)[0] == addresses(range(9, 15), 2)


def test_another_rate_begins_no_new_round() -> None:
    """
    Nor does a confirmation: after a reload with it no address is tried again. Other ports do.
    """

    def identity(more: str) -> str:
        text = f"discover: [{{networks: {{cidr: 127.0.0.0/28, {more}}}}}]"
        return parse(text.encode(), "expiry.yml", {}).discover[0].identity

    assert identity("rate: 5, large: true") == identity("rate: 50")
    assert identity("ports: [444]") != identity("rate: 50")


@pytest.mark.parametrize(
    ("cidr", "count", "missing"),
    [
        (["10.0.0.0/24"], 254, ["10.0.0.0", "10.0.0.255"]),
        (["10.0.0.0/31"], 2, []),
        (["10.0.0.7"], 1, []),
        (["10.0.0.0/24", "10.0.0.128/25", "10.0.1.7/32"], 255, ["10.0.0.0"]),
        (["2001:db8::/120"], 255, ["2001:db8::"]),
    ],
)
def test_each_place_once(cidr: list[str], count: int, missing: list[str]) -> None:
    """
    Without the network's own and the broadcast address, in an order that is spread, and can be read back.
    """
    plan = planned(cidr, [443, 636, 443])
    places = [plan.at(position) for position in range(plan.size)]
    assert len(set(places)) == len(places) == 2 * count
    assert [plan.position_of(one.address, one.port) for one in places] == list(range(plan.size))
    assert plan.position_of("192.0.2.1", 443) is plan.position_of(places[0].address, 80) is None
    assert not {place.address for place in places} & set(missing)
    if count > 2:
        assert places[0].address.rsplit(".", 1) != places[1].address.rsplit(".", 1)


def test_a_large_network_has_to_be_confirmed() -> None:
    """
    More than a /16, or as many addresses of IPv6; and never more than a /8.
    """
    for fine in ("10.0.0.0/16", "2001:db8::/112"):
        NetworksSource(cidr=[fine])
    for large in ("10.0.0.0/15", "2001:db8::/111"):
        with pytest.raises(ValidationError, match="or confirm with `large: true`"):
            NetworksSource(cidr=[large])
        NetworksSource(cidr=[large], large=True)
    with pytest.raises(ValidationError, match="networks have together 196,608 addresses"):
        NetworksSource(cidr=["10.1.0.0/16", "10.2.0.0/16", "10.3.0.0/16"])
    NetworksSource(cidr=["10.1.0.0/16", "10.1.7.0/24", "10.1.8.9"])
    with pytest.raises(ValidationError, match="more addresses than can be tried in a day"):
        NetworksSource(cidr=["10.0.0.0/8", "11.0.0.1"], large=True)
    with pytest.raises(ValidationError, match="more addresses than can be tried in a day"):
        NetworksSource(cidr=["2001:db8::/64"], large=True)
    with pytest.raises(ValidationError, match="is no network"):
        NetworksSource(cidr=["10.0.0.0/33"])


@pytest.mark.parametrize(
    ("port", "url"),
    [
        (443, "https://192.0.2.1"),
        (636, "ldaps://192.0.2.1"),
        (993, "imaps://192.0.2.1"),
        (465, "smtps://192.0.2.1"),
        (587, "submission://192.0.2.1"),
        (1433, "mssql://192.0.2.1"),
        (8883, "tls://192.0.2.1:8883"),
        (8443, "tls://192.0.2.1:8443"),
    ],
)
def test_the_scheme_is_the_usual_one_of_the_port(port: int, url: str) -> None:
    """
    Whatever has no scheme speaks TLS from the first byte.
    """
    assert Place("192.0.2.1", port).url == url
    assert Place("2001:db8::1", 443).url == "https://[2001:db8::1]"
    assert Place("2001:db8::1", 8443).url == "tls://[2001:db8::1]:8443"
    assert Place("192.0.2.1", 443, "www.example.com").url == "https://www.example.com"


@pytest.mark.parametrize(
    ("answer", "speaks"),
    [
        (misbehaving.alert(), True),
        (misbehaving.close, False),
        (misbehaving.reset, False),
        (misbehaving.saying(b"SSH-2.0-OpenSSH_9.2\r\n", first=True), False),
        (misbehaving.saying(b"HTTP/1.1 400 Bad Request\r\n\r\n"), False),
    ],
    ids=["alert", "close", "reset", "ssh", "http"],
)
def test_a_refusal_in_tls_is_tls(answer: misbehaving.Answer, speaks: bool) -> None:
    """
    Any other answer is not.
    """

    async def work(port: int) -> bool:
        network = Network(asyncio.get_running_loop())
        try:
            return await names_at(network, Place("127.0.0.1", port)) is not None
        finally:
            network.close()

    with misbehaving.serving(answer) as port:
        assert asyncio.run(work(port)) is speaks
