"""
Pools of threads, and the bodies that are made in them.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from functools import partial

import pytest

from exporter.net.pools import Pool, PoolFullError
from exporter.server.bodies import Bodies, joined


async def test_work_gives_what_it_gives_and_raises_what_it_raises() -> None:
    """
    From a thread that does not keep the process from ending.
    """
    pool = Pool("test", 2)
    threads = await asyncio.gather(*(pool.run(threading.current_thread) for _ in range(20)))
    assert 1 <= len(set(threads)) <= 2
    assert all(one.daemon for one in threads)
    with pytest.raises(ZeroDivisionError):
        await pool.run(lambda: 1 // 0)
    assert await pool.run(lambda: "still there") == "still there"


async def test_a_pool_that_is_full_refuses_more() -> None:
    """
    What waits longer than whoever asked for it is not begun.
    """
    release = threading.Event()
    done: list[str] = []
    pool = Pool("test", 1, waiting=2)
    started = threading.Event()

    def hold() -> None:
        started.set()
        release.wait()

    first = asyncio.create_task(pool.run(hold))
    await Pool("waits", 1).run(started.wait)
    waiting = [asyncio.create_task(pool.run(partial(done.append, name))) for name in "ab"]
    await asyncio.sleep(0)
    with pytest.raises(PoolFullError):
        await pool.run(lambda: done.append("c"))
    waiting[0].cancel()
    await asyncio.wait(waiting[:1])
    release.set()
    await asyncio.gather(first, waiting[1])
    assert done == ["b"]


async def test_what_hangs_holds_up_its_own_pool_only() -> None:
    """
    And neither the loop's end nor the process's.
    """
    hung = threading.Event()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await Pool("hangs", 1).run(hung.wait)
    assert await Pool("works", 1).run(lambda: 1) == 1
    hung.set()


def test_what_is_left_behind_makes_room_for_what_waits() -> None:
    """
    A thread that hangs is replaced, and ends when its work does; work that has ended is not left behind.
    """
    hung = threading.Event()

    async def test() -> threading.Thread:
        pool = Pool("leaves", 1)
        begun: asyncio.Future[threading.Thread] = asyncio.get_running_loop().create_future()

        def hang() -> int:
            asyncio.run_coroutine_threadsafe(tell(threading.current_thread()), begun.get_loop())
            hung.wait()
            return 1

        async def tell(thread: threading.Thread) -> None:
            begun.set_result(thread)

        hanging, waiting = pool.begin(hang), pool.begin(threading.current_thread)
        assert not pool.leave(waiting)
        left = await begun
        assert pool.leave(hanging)
        assert not pool.leave(hanging)
        assert await waiting.future is not left
        assert not pool.leave(waiting)
        hung.set()
        assert await hanging.future == 1
        return left

    left = asyncio.run(test())
    left.join(10)
    assert not left.is_alive()


def test_the_threads_of_a_closed_pool_end() -> None:
    """
    When what they do has ended; what waits is not begun.
    """
    go_on = threading.Event()
    done: list[str] = []

    async def test() -> list[threading.Thread]:
        pool = Pool("closes", 2)
        pool.begin(go_on.wait)
        assert await pool.run(lambda: 1) == 1
        threads = [one for one in threading.enumerate() if one.name == "closes"]
        pool.begin(go_on.wait)
        pool.begin(lambda: done.append("waits"))
        pool.close()
        go_on.set()
        return threads

    for thread in asyncio.run(test()):
        thread.join(10)
        assert not thread.is_alive()
    assert done == []


def counting(made: list[str], body: bytes) -> Callable[[], Awaitable[bytes]]:
    """
    Makes this body, and counts how often.
    """

    async def make() -> bytes:
        made.append("made")
        await asyncio.sleep(0)
        return body

    return make


async def test_a_body_is_made_once_for_all_who_ask() -> None:
    """
    For those who come at the same time, and those who come soon after.
    """
    made: list[str] = []
    bodies = Bodies(1000, 60)
    found = await asyncio.gather(*(bodies.get("a", counting(made, b"body")) for _ in range(60)))
    assert found == [b"body"] * 60
    assert await bodies.get("a", counting(made, b"other")) == b"body"
    assert await bodies.get("b", counting(made, b"other")) == b"other"
    assert made == ["made"] * 2


async def test_bodies_are_kept_within_their_budget() -> None:
    """
    What was made first goes first; what is too large for it is kept by nobody. Their sources count.
    """
    made: list[str] = []
    bodies = Bodies(100, 60)
    await bodies.get("a", counting(made, b"x" * 40))
    await bodies.get("b", counting(made, b"x" * 20), source=b"x" * 30)
    await bodies.get("c", counting(made, b"x" * 30))
    assert len(made) == 3
    await bodies.get("b", counting(made, b""))
    await bodies.get("c", counting(made, b""))
    assert len(made) == 3
    await bodies.get("a", counting(made, b""))
    assert len(made) == 4
    for _ in range(2):
        await bodies.get("large", counting(made, b"x" * 101))
    assert len(made) == 6


def test_bodies_are_forgotten_after_a_while() -> None:
    """
    A page tells of a moment.
    """

    async def test() -> None:
        made: list[str] = []
        bodies = Bodies(100, 0.01)
        await bodies.get("a", counting(made, b"x"))
        while len(made) < 2:
            await bodies.get("a", counting(made, b"x"))
            await asyncio.sleep(0.005)

    asyncio.run(asyncio.wait_for(test(), 10))


async def test_a_body_that_can_not_be_made_is_tried_again() -> None:
    """
    All who waited for it are told why.
    """
    bodies = Bodies(100, 60)

    async def fail() -> bytes:
        await asyncio.sleep(0)
        raise PoolFullError("full")

    found = await asyncio.gather(*(bodies.get("a", fail) for _ in range(3)), return_exceptions=True)
    assert [type(one) for one in found] == [PoolFullError] * 3
    assert await bodies.get("a", counting([], b"x")) == b"x"


async def test_who_stops_waiting_takes_the_body_from_nobody() -> None:
    """
    The others get it.
    """
    bodies = Bodies(100, 60)
    made: list[str] = []
    asked = [asyncio.create_task(bodies.get("a", counting(made, b"x"))) for _ in range(2)]
    await asyncio.sleep(0)
    asked[0].cancel()
    assert await asked[1] == b"x"
    assert made == ["made"]


def test_parts_are_joined() -> None:
    """
    Whatever their number.
    """
    assert joined([]) == b""
    assert joined(b"%d," % number for number in range(5)) == b"0,1,2,3,4,"
