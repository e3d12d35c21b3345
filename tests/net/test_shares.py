"""
Places that are given by turns, so that nobody who wants many keeps the others from theirs.
"""

import asyncio
from collections.abc import Awaitable, Callable

from exporter.net.shares import Shares

PLACES = 8


class Work:
    """
    Work that wants places, and holds each until it is told.
    """

    def __init__(self) -> None:
        self.shares = Shares(PLACES)
        self.begun: list[str] = []
        self.tasks: dict[str, list[asyncio.Task[None]]] = {}
        self._ends: dict[str, list[asyncio.Event]] = {}

    async def want(self, owner: str, count: int = 1, *, quick: bool = False) -> None:
        """
        Want so many places.
        """
        for _ in range(count):
            end = asyncio.Event()
            self._ends.setdefault(owner, []).append(end)
            task = asyncio.create_task(self._hold(owner, end, quick=quick))
            self.tasks.setdefault(owner, []).append(task)
        await self.settled()

    async def end(self, owner: str) -> None:
        """
        End the one of the owner that was wanted first.
        """
        self._ends[owner].pop(0).set()
        await self.settled()

    async def settled(self) -> None:
        """
        Let everybody go on who can.
        """
        for _ in range(20):
            await asyncio.sleep(0)

    async def _hold(self, owner: str, end: asyncio.Event, *, quick: bool) -> None:
        async with self.shares.place(owner, quick=quick):
            self.begun.append(owner)
            await end.wait()


def run(scene: Callable[[Work], Awaitable[None]]) -> None:
    """
    Some work, which ends at the latest with the scene.
    """

    async def play() -> None:
        work = Work()
        await scene(work)
        for task in [one for tasks in work.tasks.values() for one in tasks]:
            task.cancel()

    asyncio.run(play())


def test_nobody_has_more_than_half_of_the_places() -> None:
    """
    However many are free.
    """

    async def scene(work: Work) -> None:
        await work.want("greedy", 100)
        assert len(work.begun) == PLACES // 2
        await work.end("greedy")
        assert len(work.begun) == PLACES // 2 + 1
        await work.want("other")
        assert work.begun[-1] == "other"

    run(scene)


def test_whose_turn_is_longest_ago_is_next() -> None:
    """
    Who wants one place waits for one of the others to end, not for all that they want.
    """

    async def scene(work: Work) -> None:
        await work.want("greedy", 100)
        await work.want("second", 100)
        assert len(work.begun) == PLACES - 1
        await work.want("third", 2)
        await work.want("fourth", 2)
        work.begun.clear()
        for _ in range(6):
            await work.end("greedy" if len(work.begun) % 2 else "second")
        assert work.begun == ["third", "fourth", "greedy", "second", "third", "fourth"]

    run(scene)


def test_what_is_quick_has_a_place_that_the_rest_can_not_take() -> None:
    """
    It is given at once.
    """

    async def scene(work: Work) -> None:
        for owner in "abc":
            await work.want(owner, 100)
        await work.want("new")
        assert "new" not in work.begun
        await work.want("quick", quick=True)
        assert work.begun[-1] == "quick"

    run(scene)


def test_who_is_cancelled_takes_no_place() -> None:
    """
    Neither one that waits, nor one that holds a place.
    """

    async def scene(work: Work) -> None:
        await work.want("a", 4)
        await work.want("b", 4)
        await work.want("c", 2)
        for task in (work.tasks["c"][0], work.tasks["b"][3], work.tasks["a"][0], work.tasks["b"][0]):
            task.cancel()
        await work.settled()
        assert work.begun.count("c") == 1
        await work.want("d", 4)
        assert work.begun.count("d") == 1
        for task in [one for tasks in work.tasks.values() for one in tasks]:
            task.cancel()
        await work.settled()
        await work.want("e", 4)
        assert work.begun.count("e") == PLACES // 2

    run(scene)
