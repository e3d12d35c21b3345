"""
Shares: a limited number of places, given by turns to all who want some, however many each of them wants.

The owner whose last turn is longest ago is next, and none has more than half of the places. What answered
soon the last time goes first, and has a place that the rest can't take: see `turns`.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count

from exporter.net.turns import NEVER, Job, Turns

OWNERS_REMEMBERED = 50_000
"""Owners whose last turn is remembered. Beyond it the one whose turn is longest ago is forgotten."""


class _Wanted:
    """
    A place that somebody waits for.
    """

    def __init__(self, owner: str, *, quick: bool) -> None:
        self.owner = owner
        self.quick = quick
        self.given: asyncio.Future[Job[_Wanted]] = asyncio.get_running_loop().create_future()


@dataclass(slots=True)
class _Owner:
    """
    One that wants or has places.
    """

    waiting: deque[_Wanted] = field(default_factory=deque)
    held: int = 0
    joined: bool = False
    """True if its next one is in the queue."""


class Shares:
    """
    The places, and who waits for them.
    """

    def __init__(self, places: int) -> None:
        self._turns: Turns[_Wanted] = Turns(places)
        self._most = max(1, places // 2)
        self._owners: dict[str, _Owner] = {}
        self._last: dict[str, int] = {}
        """By owner, the number of the last turn; the smallest first."""
        self._number = count()

    @asynccontextmanager
    async def place(self, owner: str, *, quick: bool) -> AsyncIterator[None]:
        """
        Wait for a place, and hold it. `quick`: what it is for answered soon the last time.
        """
        wanted = _Wanted(owner, quick=quick)
        self._owners.setdefault(owner, _Owner()).waiting.append(wanted)
        self._join(owner)
        try:
            await wanted.given
            yield
        finally:
            # One that is cancelled while it waits is passed over at its turn.
            if wanted.given.done() and not wanted.given.cancelled():
                self._owners[owner].held -= 1
                self._turns.over(wanted.given.result())
                self._join(owner)

    def _join(self, name: str) -> None:
        """
        Put the owner's next one in the queue, if it may have one more, and give what places are free.
        """
        owner = self._owners[name]
        if owner.waiting and not owner.joined and owner.held < self._most:
            owner.joined = True
            wanted = owner.waiting.popleft()
            self._turns.add(wanted, self._last.get(name, NEVER), next(self._number), quick=wanted.quick)
        elif not owner.waiting and not owner.joined and not owner.held:
            del self._owners[name]
        while (job := self._turns.next()) is not None:
            self._give(job)

    def _give(self, job: Job[_Wanted]) -> None:
        wanted = job.work
        owner = self._owners[wanted.owner]
        owner.joined = False
        if wanted.given.done():
            self._turns.over(job)
        else:
            wanted.given.set_result(job)
            owner.held += 1
            self._last.pop(wanted.owner, None)
            self._last[wanted.owner] = next(self._number)
            if len(self._last) > OWNERS_REMEMBERED:
                del self._last[next(iter(self._last))]
        self._join(wanted.owner)
