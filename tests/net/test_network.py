"""
The network by itself: look-ups, the choice of addresses, connections and waits.
"""

import asyncio
import contextlib
import errno
import os
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Coroutine
from ipaddress import ip_address
from typing import Any, TypeVar

import pytest

from exporter.model.errors import ProbeError
from exporter.model.hosts import IPAddress
from exporter.model.reasons import Reason
from exporter.model.targets import ADDRESS_LIMIT
from exporter.net.connection import BITE, Connection, EndlessError, Readiness, connect, connect_error
from exporter.net.network import Network
from exporter.net.resolver import Resolver, choose, has_route, look_up
from exporter.net.turns import Turns
from tests.support import misbehaving
from tests.support.processes import wait_until

T = TypeVar("T")

V4 = ip_address("127.0.0.1")
V6 = ip_address("::1")


def run(work: Coroutine[Any, Any, T]) -> T:
    """
    What the work gives.
    """
    return asyncio.run(work)


def test_localhost_is_resolved_by_the_system() -> None:
    """
    The answer is that of getaddrinfo, each address once.
    """

    async def resolve(family: int) -> tuple[IPAddress, ...]:
        return await Resolver(asyncio.get_running_loop()).resolve("localhost", family, 10)

    assert run(resolve(socket.AF_INET)) == (V4,)
    found = run(resolve(socket.AF_UNSPEC))
    assert V4 in found
    assert len(set(found)) == len(found)


def test_queries_to_name_servers_are_there_when_first_wanted() -> None:
    """
    Their library is imported by then, though nothing else did. None was sent so far.
    """

    async def wanted() -> tuple[str, int]:
        network = Network(asyncio.get_running_loop())
        try:
            return type(network.resolution).__name__, network.questions
        finally:
            network.close()

    assert run(wanted()) == ("Resolution", 0)


def test_an_unknown_name_is_not_found() -> None:
    """
    Nobody has a name below `invalid` (RFC 6761 section 6.4); without a name server that can't be known.
    """

    async def resolve() -> None:
        await Resolver(asyncio.get_running_loop()).resolve("nobody.invalid", socket.AF_UNSPEC, 10)

    with pytest.raises(ProbeError, match=r"nobody\.invalid") as caught:
        run(resolve())
    assert caught.value.reason in {Reason.DNS_NOT_FOUND, Reason.DNS_FAILED}


def test_a_name_without_an_address_of_the_wanted_kind_is_not_found() -> None:
    """
    The message says which kind.
    """
    with pytest.raises(ProbeError, match="has no IPv6 address") as caught:
        look_up("127.0.0.1", socket.AF_INET6)
    assert caught.value.reason is Reason.DNS_NOT_FOUND


@pytest.mark.parametrize("host", ["a" * 64 + ".example", "x..example"])
def test_a_name_that_can_not_be_looked_up_is_a_failure(host: str) -> None:
    """
    A label that is empty or longer than 63 characters fails with a reason, not with an exception of Python's.
    """
    with pytest.raises(ProbeError) as caught:
        look_up(host, socket.AF_UNSPEC)
    assert caught.value.reason in {Reason.DNS_FAILED, Reason.DNS_NOT_FOUND}


class Zones:
    """
    A name server of which some names hang: a stand-in, since the system's can't be made to in a test.
    """

    def __init__(self) -> None:
        self.released = threading.Event()
        self.asked: list[str] = []

    def look_up(self, host: str, _family: int) -> tuple[IPAddress, ...]:
        """
        As `network.look_up`; names that begin with `hang` wait until they are released.
        """
        self.asked.append(host)
        if host.startswith("hang"):
            self.released.wait()
        if host.startswith("gone"):
            raise ProbeError(Reason.DNS_NOT_FOUND, f"{host} is gone")
        return (V4,)


def test_a_look_up_that_hangs_times_out_and_stops_no_other() -> None:
    """
    It says so after its time; a name that answers is resolved meanwhile, and so is the first one later.
    """
    zones = Zones()

    async def resolve() -> None:
        resolver = Resolver(asyncio.get_running_loop(), threads=4, ask=zones.look_up)
        hanging = [asyncio.create_task(resolver.resolve(f"hang-{number}", 0, 0.2)) for number in range(3)]
        assert await resolver.resolve("answers", 0, 5) == (V4,)
        for task in hanging:
            with pytest.raises(ProbeError, match=r"no answer for 'hang-\d' .* in 0\.2 s") as caught:
                await task
            assert caught.value.reason is Reason.DNS_TIMEOUT
        again = asyncio.create_task(resolver.resolve("hang-0", 0, 5))
        await asyncio.sleep(0)
        zones.released.set()
        assert await again == (V4,)

    try:
        run(resolve())
    finally:
        zones.released.set()
    assert zones.asked.count("hang-0") == 1


def test_equal_look_ups_under_way_are_one() -> None:
    """
    Ten that wait for the same name ask once and all have the answer; a later one asks anew.
    """
    zones = Zones()

    async def resolve() -> list[tuple[IPAddress, ...]]:
        resolver = Resolver(asyncio.get_running_loop(), ask=zones.look_up)
        waiting = [asyncio.create_task(resolver.resolve("hang", 0, 5)) for _ in range(10)]
        await asyncio.sleep(0)
        zones.released.set()
        found = [await task for task in waiting]
        return [*found, await resolver.resolve("hang", 0, 5)]

    assert run(resolve()) == [(V4,)] * 11
    assert zones.asked == ["hang", "hang"]


def test_more_names_than_threads_are_all_resolved() -> None:
    """
    They wait for a thread, and there are never more threads than allowed.
    """
    zones = Zones()
    before = threading.active_count()

    async def resolve() -> None:
        resolver = Resolver(asyncio.get_running_loop(), threads=3, ask=zones.look_up)
        for _ in range(3):
            names = [f"{kind}-{number}" for number in range(20) for kind in ("good", "gone")]
            found = await asyncio.gather(
                *(resolver.resolve(name, 0, 5) for name in names), return_exceptions=True
            )
            assert found[::2] == [(V4,)] * 20
            assert [str(one) for one in found[1::2]] == [f"{name} is gone" for name in names[1::2]]
        assert threading.active_count() - before <= 3

    run(resolve())


def test_names_without_an_answer_do_not_keep_others_from_theirs() -> None:
    """
    A hundred names hang, more than there are threads: one that answered before is answered at once.
    """
    zones = Zones()

    async def resolve() -> None:
        resolver = Resolver(asyncio.get_running_loop(), threads=4, ask=zones.look_up)
        assert await resolver.resolve("answers", 0, 5) == (V4,)
        hanging = [asyncio.create_task(resolver.resolve(f"hang-{number}", 0, 0.3)) for number in range(100)]
        await asyncio.sleep(0)
        for _ in range(3):
            assert await resolver.resolve("answers", 0, 5) == (V4,)
        said = [str(one) for one in await asyncio.gather(*hanging, return_exceptions=True)]
        assert sum("busy with other names" in words for words in said) == 100 - Turns(4).most
        assert all("no answer for" in words for words in said)

    try:
        run(resolve())
    finally:
        zones.released.set()


def test_an_answer_that_comes_late_is_there_for_the_next_who_asks() -> None:
    """
    Once, and without asking again: names that wait behind many others come to theirs.
    """
    zones = Zones()

    async def resolve() -> None:
        resolver = Resolver(asyncio.get_running_loop(), threads=2, ask=zones.look_up)
        for name in ("hang", "behind it"):
            with pytest.raises(ProbeError, match="no answer"):
                await resolver.resolve(name, 0, 0.05)
        zones.released.set()
        await asyncio.to_thread(
            wait_until, lambda: zones.asked == ["hang", "behind it"], what="both look-ups"
        )
        while resolver._under_way:  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.001)
        for name in ("hang", "behind it"):
            assert await resolver.resolve(name, 0, 5) == (V4,)
        assert zones.asked == ["hang", "behind it"]
        assert await resolver.resolve("hang", 0, 5) == (V4,)
        assert zones.asked == ["hang", "behind it", "hang"]

    try:
        run(resolve())
    finally:
        zones.released.set()


def test_names_that_wait_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Strangers may ask /probe for any name: one too many is told so at once.
    """
    monkeypatch.setattr("exporter.net.resolver.NAMES_WAITING", 3)
    zones = Zones()

    async def resolve() -> None:
        resolver = Resolver(asyncio.get_running_loop(), threads=2, ask=zones.look_up)
        waiting = [asyncio.create_task(resolver.resolve(f"hang-{number}", 0, 5)) for number in range(4)]
        await asyncio.sleep(0)
        with pytest.raises(ProbeError, match="no answer for 3 other names") as caught:
            await resolver.resolve("one too many", 0, 5)
        assert caught.value.reason is Reason.DNS_TIMEOUT
        zones.released.set()
        assert await asyncio.gather(*waiting) == [(V4,)] * 4

    try:
        run(resolve())
    finally:
        zones.released.set()


def test_a_look_up_that_hangs_does_not_keep_the_process() -> None:
    """
    A program that ends while a look-up is under way ends at once.
    """
    program = """
import asyncio, threading
from exporter.model.errors import ProbeError
from exporter.net.dns import Resolution
from exporter.net.network import Network
from exporter.net.resolver import Resolver

async def main():
    resolver = Resolver(asyncio.get_running_loop(), ask=lambda host, family: threading.Event().wait())
    try:
        await resolver.resolve("hangs", 0, 0.1)
    except ProbeError as error:
        print(error.reason)

asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=20, check=True
    )
    assert (done.stdout, done.stderr) == ("dns_timeout\n", "")


def addresses(*texts: str) -> tuple[IPAddress, ...]:
    """
    The texts as addresses.
    """
    return tuple(ip_address(text) for text in texts)


def test_addresses_are_sorted_by_number() -> None:
    """
    IPv4 first, and 9 before 10, whatever the order of the answer.
    """
    found = addresses("192.0.2.10", "2001:db8::2", "192.0.2.9", "2001:db8::1")
    chosen = choose(found, "all", lambda _: True)
    assert chosen.probed == addresses("192.0.2.9", "192.0.2.10", "2001:db8::1", "2001:db8::2")
    assert chosen.left_out == ()


def test_addresses_without_a_route_are_left_out_while_there_are_others() -> None:
    """
    The words say of which kind; a name that has nothing else is probed all the same.
    """
    both = addresses("192.0.2.1", "2001:db8::1")
    v4_only = choose(both, "all", lambda address: address.version == 4)
    assert v4_only.probed == both[:1]
    assert v4_only.left_out == ((both[1], "this host has no IPv6 route to it"),)
    assert choose(both[1:], "all", lambda _: False).probed == both[1:]
    assert choose(both, "all", lambda _: False).probed == both


def test_the_first_address_is_the_first_that_has_a_route() -> None:
    """
    In the system's order, not by number.
    """
    found = addresses("2001:db8::1", "192.0.2.9", "192.0.2.1")
    assert choose(found, "first", lambda _: True).probed == found[:1]
    assert choose(found, "first", lambda address: address.version == 4).probed == found[1:2]


@pytest.mark.parametrize(
    ("count", "probed"), [(0, 0), (1, 1), (ADDRESS_LIMIT, ADDRESS_LIMIT), (ADDRESS_LIMIT + 1, ADDRESS_LIMIT)]
)
def test_the_limit_of_addresses(count: int, probed: int) -> None:
    """
    At the limit none is left out; above it the highest are.
    """
    found = addresses(*(f"192.0.2.{number}" for number in range(count)))
    chosen = choose(found[::-1], "all", lambda _: True)
    assert chosen.probed == found[:probed]
    assert [address for address, _ in chosen.left_out] == list(found[probed:])


def test_routes() -> None:
    """
    There is one to this host, and none to a broadcast address, which a socket may not use unasked.
    """
    assert has_route(V4)
    assert not has_route(ip_address("255.255.255.255"))


@pytest.mark.parametrize(
    ("number", "reason", "words"),
    [
        (errno.ECONNREFUSED, Reason.CONNECTION_REFUSED, "nothing listens there"),
        (errno.ENETUNREACH, Reason.NETWORK_UNREACHABLE, "can't be reached from this host"),
        (errno.EHOSTUNREACH, Reason.NETWORK_UNREACHABLE, "No route to host"),
        (errno.EACCES, Reason.NETWORK_UNREACHABLE, "can't be reached from this host"),
        (errno.ETIMEDOUT, Reason.CONNECT_TIMEOUT, "did not answer"),
        (errno.ECONNRESET, Reason.CONNECTION_RESET, "failed"),
        (errno.EMFILE, Reason.INTERNAL_ERROR, "ulimit -n"),
    ],
)
def test_errors_of_connecting(number: int, reason: Reason, words: str) -> None:
    """
    Each has its reason, and all but that of this process itself say where.
    """
    error = connect_error(OSError(number, os.strerror(number)), "192.0.2.1", 443)
    assert error.reason is reason
    assert words in error.detail
    assert ("192.0.2.1 port 443" in error.detail) == (number != errno.EMFILE)


def test_a_process_that_may_open_no_more_files_says_so() -> None:
    """
    The limit is named, not the server. In a process of its own, since the limit is the process's.
    """
    program = """
import asyncio, os, resource
from exporter.model.errors import ProbeError
from exporter.net.connection import Readiness, connect

async def main():
    readiness = Readiness(asyncio.get_running_loop())
    soft = len(os.listdir("/proc/self/fd")) - 1
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, soft))
    try:
        await connect(readiness, "127.0.0.1", 1, 1e9)
    except ProbeError as error:
        print(error.reason, error.detail)
    readiness.close()

asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=20, check=True
    )
    assert done.stdout.startswith("internal_error this process may open no more files")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_connection_is_made_and_closed(host: str) -> None:
    """
    Of both versions of IP.
    """

    async def work() -> int:
        loop = asyncio.get_running_loop()
        readiness = Readiness(loop)
        with misbehaving.serving(misbehaving.banner, host) as port:
            connection = await connect(readiness, host, port, loop.time() + 5)
            await connection.wait_readable()
            assert connection.socket.recv(3) == b"220"
            connection.close()
            readiness.close()
        return connection.socket.fileno()

    assert run(work()) == -1


def test_who_reads_on_when_the_process_ends_waits_and_does_not_fail() -> None:
    """
    A server that drips bytes wakes its probe also after the last scrape: that is no error for the log.
    """

    async def work() -> bool:
        loop = asyncio.get_running_loop()
        readiness = Readiness(loop)
        with misbehaving.serving(misbehaving.dripping(b"x", 0.01)) as port:
            connection = await connect(readiness, "127.0.0.1", port, loop.time() + 5)
            await connection.wait_readable()
            readiness.close()
            later = connection.wait_readable()
            await asyncio.sleep(0.1)
            connection.close()
        return later.done()

    assert not run(work())


async def read_for_ever(connection: Connection) -> None:
    """
    Wait and read, until a wait fails.
    """
    while True:
        await connection.wait_readable()
        connection.socket.recv(100)


@pytest.mark.parametrize("interval", [0.01, 0.05])
def test_a_wait_ends_at_its_deadline_however_busy_the_connection(interval: float) -> None:
    """
    Bytes that come in step with the timer do not put the deadline off.
    """

    async def work() -> float:
        loop = asyncio.get_running_loop()
        readiness = Readiness(loop)
        began = loop.time()
        with misbehaving.serving(misbehaving.dripping(b"x", interval)) as port:
            connection = await connect(readiness, "127.0.0.1", port, began + 0.3)
            with pytest.raises(TimeoutError):
                await read_for_ever(connection)
            connection.close()
            readiness.close()
        return loop.time() - began

    assert 0.29 < run(work()) < 2


def test_a_deadline_that_is_over_is_over_at_once() -> None:
    """
    Even when there is something to read: what was promised was a time.
    """

    async def work() -> None:
        loop = asyncio.get_running_loop()
        readiness = Readiness(loop)
        with misbehaving.serving(misbehaving.banner) as port:
            connection = await connect(readiness, "127.0.0.1", port, loop.time() + 5)
            await connection.wait_readable()
            connection.deadline = loop.time()
            with pytest.raises(TimeoutError):
                await connection.wait_readable()
            connection.close()
            readiness.close()

    run(work())


def test_sockets_that_are_ready_together_go_on_a_few_at_a_time() -> None:
    """
    Each may begin milliseconds of work: whoever else waits for the loop has its turn in between.
    """

    async def work() -> None:
        readiness, turns = Readiness(asyncio.get_running_loop()), 0
        with contextlib.ExitStack() as stack:
            waiting = []
            for _ in range(10 * BITE):
                ours, theirs = (stack.enter_context(one) for one in socket.socketpair())
                theirs.sendall(b"x")
                deadline = asyncio.get_running_loop().time() + 30
                waiting.append(readiness.wait(ours.fileno(), select.EPOLLIN, deadline, registered=False))
            while not all(one.done() for one in waiting):
                turns += 1
                done = sum(one.done() for one in waiting)
                await asyncio.sleep(0)
                assert sum(one.done() for one in waiting) - done <= BITE
            readiness.close()
        assert turns >= 10

    run(work())


def test_a_cancelled_wait_leaves_nothing() -> None:
    """
    Its descriptor can be used by the next connection, whose wait is its own.
    """

    async def work() -> None:
        loop = asyncio.get_running_loop()
        readiness = Readiness(loop)
        # The kernel takes the connections; no thread of a server opens descriptors meanwhile.
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            first = await connect(readiness, "127.0.0.1", port, loop.time() + 5)
            waiting = asyncio.ensure_future(first.wait_readable())
            descriptor = first.socket.fileno()
            waiting.cancel()
            first.close()
            second = await connect(readiness, "127.0.0.1", port, loop.time() + 5)
            assert second.socket.fileno() == descriptor
            waiting = second.wait_readable()
            listener.accept()[0].close()
            with listener.accept()[0] as server:
                server.sendall(b"x")
                await waiting
            second.close()
        end = time.monotonic() + 5
        while readiness._waiting or readiness._timer is not None:
            assert time.monotonic() < end
            await asyncio.sleep(0.01)
        readiness.close()

    run(work())


def test_a_wake_without_anything_to_read_is_nothing() -> None:
    """
    As when the system dropped a datagram whose checksum was wrong after it had told of it.
    """

    class Woken(Connection):
        """
        One that is told too early, twice.
        """

        told = 0

        def wait_readable(self) -> asyncio.Future[None]:
            self.told += 1
            done = asyncio.get_running_loop().create_future()
            done.set_result(None)
            return done if self.told <= 2 else super().wait_readable()

    async def work() -> bytes:
        loop = asyncio.get_running_loop()
        readiness = Readiness(loop)
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        with near, far:
            near.setblocking(False)
            connection = Woken(readiness, near, loop.time() + 5)
            connection.allow(10)
            loop.call_later(0.01, far.send, b"datagram")
            received = await connection.receive(100)
        readiness.close()
        return received

    assert run(work()) == b"datagram"


def test_a_phase_takes_so_many_bytes_at_most() -> None:
    """
    The next one may begin anew.
    """

    async def work() -> None:
        loop = asyncio.get_running_loop()
        readiness = Readiness(loop)
        near, far = socket.socketpair()
        with near, far:
            near.setblocking(False)
            connection = Connection(readiness, near, loop.time() + 5)
            far.sendall(bytes(5000))
            connection.allow(2048)
            assert [len(await connection.receive(1024)) for _ in range(2)] == [1024, 1024]
            with pytest.raises(EndlessError, match="more than 2 kB"):
                await connection.receive(1024)
            connection.allow(2048)
            assert len(await connection.receive(1024)) == 1024
        readiness.close()

    run(work())
