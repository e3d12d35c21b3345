"""
How long the addresses of a name are kept: by what a real name server says, never longer than the manual says.
"""

import asyncio
import struct
from collections.abc import Callable, Coroutine, Iterable
from ipaddress import ip_address
from pathlib import Path
from socket import AF_INET, AF_INET6, AF_UNSPEC
from typing import Any

import pytest

from exporter.model.hosts import IPAddress
from exporter.net.lifetimes import AT_A_TIME, LEAST, MOST, REST, SHORT_REST, Lifetimes
from exporter.net.resolver import Resolver
from exporter.net.time_to_live import AAAA, A, NoAnswerError, answer, question, time_to_live
from tests.support.name_servers import Zone, name_server
from tests.support.processes import free_port

ADDRESSES = (ip_address("192.0.2.1"), ip_address("2001:db8::1"))

NAME = ("www.example.com", AF_UNSPEC)

ZONE = Zone(
    "example.com",
    "@ NS ns1\nns1 A 192.0.2.53\nwww 120 A 192.0.2.1\nwww 90 AAAA 2001:db8::1\nfour 600 A 192.0.2.4\n"
    "short 20 A 192.0.2.5\nalias 30 CNAME www",
)


def addresses(*texts: str) -> frozenset[IPAddress]:
    """
    These addresses.
    """
    return frozenset(map(ip_address, texts))


def test_the_time_to_live_is_that_of_a_real_name_server(tmp_path: Path) -> None:
    """
    The shortest of all that the answer is made from: of both kinds of addresses, of an alias, and of the time
    for which a server says that there are none (here 300 s, by the SOA record).
    """
    port = free_port()

    async def asked() -> list[tuple[frozenset[IPAddress], float]]:
        names = [
            ("www", AF_UNSPEC),
            ("www", AF_INET),
            ("www", AF_INET6),
            ("four", AF_UNSPEC),
            ("alias", AF_INET),
        ]
        return [
            await time_to_live(f"{name}.example.com", family, lambda: ("127.0.0.1", port))
            for name, family in names
        ]

    with name_server(tmp_path, "127.0.0.1", port, [ZONE]):
        assert asyncio.run(asked()) == [
            (addresses("192.0.2.1", "2001:db8::1"), 90.0),
            (addresses("192.0.2.1"), 120.0),
            (addresses("2001:db8::1"), 90.0),
            (addresses("192.0.2.4"), 300.0),
            (addresses("192.0.2.1"), 30.0),
        ]
        with pytest.raises(NoAnswerError):
            asyncio.run(time_to_live("none.example.com", AF_INET, lambda: ("127.0.0.1", port)))


def test_nobody_listens() -> None:
    """
    The error comes at once.
    """
    with pytest.raises(OSError, match="refused"):
        asyncio.run(time_to_live("www.example.com", AF_INET, lambda: ("127.0.0.1", free_port())))


@pytest.mark.parametrize("host", ["", "a..b", f"{'a' * 64}.example.com", "bücher.example.com"])
def test_what_is_no_name_in_dns_is_not_asked_for(host: str) -> None:
    """
    An empty label, one that is too long, and what is not ASCII.
    """
    with pytest.raises(NoAnswerError):
        question(1, host, A)


def reply(asked: bytes, records: Iterable[tuple[int, int, bytes]], flags: int = 0x8180) -> bytes:
    """
    An answer with records of this type, time and content, all of the name that was asked for.
    """
    found = list(records)
    body = b"".join(
        b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, seconds, len(content)) + content
        for kind, seconds, content in found
    )
    return asked[:2] + struct.pack("!HHHHH", flags, 1, len(found), 0, 0) + asked[12:] + body


def test_an_answer_that_is_none_counts_for_nothing() -> None:
    """
    One to another question, a truncated one, an error, and each beginning of a good one.
    """
    asked = question(7, "www.example.com", A)
    good = reply(asked, [(A, 60, b"\xc0\x00\x02\x01"), (AAAA, 50, b"\0" * 16)])
    assert answer(good, asked, A) == (addresses("192.0.2.1"), 50)
    other = question(7, "www.example.org", A)
    bad = [
        reply(other, []),
        reply(question(8, "www.example.com", A), []),
        reply(asked, [], flags=0x8380),
        reply(asked, [], flags=0x8183),
        reply(asked, [], flags=0x0180),
        reply(asked, [(A, 60, b"\xc0\x00\x02")]),
        *(good[:size] for size in range(len(good))),
    ]
    for data in bad:
        with pytest.raises(NoAnswerError):
            answer(data, asked, A)
    # Without an SOA record it is not known for how long there are none.
    assert answer(reply(asked, []), asked, A) == (frozenset(), 0)


class SetLoop(asyncio.SelectorEventLoop):
    """
    An event loop whose time a test sets.
    """

    now = 1000.0

    def time(self) -> float:
        """
        Seconds.
        """
        return self.now


Given = tuple[frozenset[IPAddress], float]


def with_clock(
    work: Callable[[SetLoop, Lifetimes, list[tuple[str, int]]], Coroutine[Any, Any, None]], *given: Given
) -> None:
    """
    Run the work with lifetimes learned from a fake: what is given, one after the other, then nothing.
    """
    loop = SetLoop()
    asked: list[tuple[str, int]] = []
    left = list(given)

    async def learn(host: str, family: int) -> Given:
        asked.append((host, family))
        if not left:
            raise NoAnswerError
        return left.pop(0)

    lifetimes = Lifetimes(loop, learn)
    try:
        loop.run_until_complete(work(loop, lifetimes, asked))
    finally:
        lifetimes.close()
        loop.close()


async def look_up(loop: SetLoop, lifetimes: Lifetimes, at: float) -> bool:
    """
    Whether a look-up is made at this time. It gives the same addresses as all.
    """
    loop.now = at
    if lifetimes.kept(NAME):
        return False
    lifetimes.note(NAME, ADDRESSES)
    for _ in range(3):
        await asyncio.sleep(0)
    return True


def test_addresses_are_kept_for_what_is_left_of_them() -> None:
    """
    From the second look-up on. Then the name is looked up again, and the time to live is learned anew.
    """

    async def work(loop: SetLoop, lifetimes: Lifetimes, asked: list[tuple[str, int]]) -> None:
        assert await look_up(loop, lifetimes, 1000)
        assert asked == []
        assert await look_up(loop, lifetimes, 1060)
        assert asked == [NAME]
        assert lifetimes.kept(NAME) == ADDRESSES
        assert [await look_up(loop, lifetimes, 1060 + at) for at in (60, 120, 149.9, 150)] == [
            False,
            False,
            False,
            True,
        ]
        assert asked == [NAME, NAME]
        # However long the name server says.
        assert [await look_up(loop, lifetimes, 1210 + at) for at in (60, 120, 239, MOST)] == [
            False,
            False,
            False,
            True,
        ]
        assert lifetimes.asked == 2 * len(asked)

    with_clock(work, (frozenset(ADDRESSES), 150.0), (frozenset(ADDRESSES), 86400.0))


def test_a_name_is_looked_up_again_after_a_failed_probe() -> None:
    """
    It may lead to another address since then.
    """

    async def work(loop: SetLoop, lifetimes: Lifetimes, _asked: list[tuple[str, int]]) -> None:
        await look_up(loop, lifetimes, 1000)
        await look_up(loop, lifetimes, 1010)
        lifetimes.forget("another.example.com")
        assert not await look_up(loop, lifetimes, 1020)
        lifetimes.forget(NAME[0])
        assert await look_up(loop, lifetimes, 1020)

    with_clock(work, (frozenset(ADDRESSES), 250.0))


@pytest.mark.parametrize(
    ("given", "rest"),
    [
        (((frozenset(ADDRESSES[:1]), 200.0),), REST),
        ((), REST),
        (((frozenset(ADDRESSES), 59.0),), SHORT_REST * 60),
        (((frozenset(ADDRESSES), LEAST / 2),), SHORT_REST * 60),
    ],
    ids=["other addresses", "no answer", "shorter than the interval", "over"],
)
def test_what_is_not_kept_is_asked_for_rarely(given: tuple[Given, ...], rest: float) -> None:
    """
    Each look-up is made, as if nothing were known of it.
    """

    async def work(loop: SetLoop, lifetimes: Lifetimes, asked: list[tuple[str, int]]) -> None:
        times = [1000 + 60 * number for number in range(int(rest) // 60 + 4)]
        assert all([await look_up(loop, lifetimes, at) for at in times])
        assert len(asked) == 2

    with_clock(work, *given)


def test_what_is_looked_up_rarely_or_is_local_is_never_asked_for() -> None:
    """
    A look-up every five minutes gains nothing, and no public name server knows local names.
    """

    async def work(loop: SetLoop, lifetimes: Lifetimes, asked: list[tuple[str, int]]) -> None:
        for number in range(5):
            assert await look_up(loop, lifetimes, 1000 + MOST * number)
        for host in ("localhost", "db", "a.localhost", "printer.local", "www.test.", "A.INVALID"):
            for _ in range(3):
                lifetimes.note((host, AF_INET), ADDRESSES)
        for _ in range(3):
            await asyncio.sleep(0)
        assert asked == []

    with_clock(work)


def test_few_are_asked_at_a_time() -> None:
    """
    A thousand names at once are no burst of questions.
    """

    async def work() -> int:
        under_way = most = 0

        async def learn(_host: str, _family: int) -> Given:
            nonlocal under_way, most
            under_way += 1
            most = max(most, under_way)
            await asyncio.sleep(0)
            under_way -= 1
            return frozenset(ADDRESSES), 60.0

        lifetimes = Lifetimes(asyncio.get_running_loop(), learn)
        names = [(f"{number}.example.com", AF_INET) for number in range(1000)]
        for _ in range(2):
            for name in names:
                lifetimes.note(name, ADDRESSES)
        while not all(map(lifetimes.kept, names)):  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0)
        lifetimes.close()
        return most

    assert asyncio.run(work()) == AT_A_TIME


def test_a_resolver_asks_the_system_once_in_a_lifetime(tmp_path: Path) -> None:
    """
    With a real name server, and a fake of the system's resolver that has the same in an order of its own.
    """
    port = free_port()
    system = {"www.example.com": ADDRESSES[::-1], "short.example.com": (ip_address("192.0.2.5"),)}

    async def work() -> None:
        loop = asyncio.get_running_loop()

        async def learn(host: str, family: int) -> Given:
            return await time_to_live(host, family, lambda: ("127.0.0.1", port))

        resolver = Resolver(loop, ask=lambda host, _family: system[host], learn=learn)
        for host, found in system.items():
            for _ in range(2):
                assert await resolver.resolve(host, AF_UNSPEC, 10) == found
        async with asyncio.timeout(30):
            lifetimes = resolver._lifetimes
            assert lifetimes is not None
            wanted = [(host, AF_UNSPEC) for host in system]
            while not all(map(lifetimes.kept, wanted)):  # noqa: ASYNC110 - there is no event for it
                await asyncio.sleep(0.01)
        for host, found in system.items():
            assert await resolver.resolve(host, AF_UNSPEC, 10) == found
        assert (resolver.asked, resolver.lifetimes_asked) == (4, 4)
        resolver.forget("www.example.com")
        await resolver.resolve("www.example.com", AF_UNSPEC, 10)
        assert resolver.asked == 5
        resolver.close()

    with name_server(tmp_path, "127.0.0.1", port, [ZONE]):
        asyncio.run(work())
