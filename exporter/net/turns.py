"""
Turns: who is next where only so many may be at work at a time, so that nobody waits for ever.

Pure. What answered the last time is *quick* and goes first. All the rest, what never had its turn and what
did not answer, goes by who waited longest. It may hold most of the places but not all, and has some for
certain. So a thousand silent servers take nothing from the healthy, and none of them is forgotten.
"""

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Generic, TypeVar

NEVER = float("-inf")
"""The last turn of what never had one."""


T = TypeVar("T")


@dataclass(slots=True, eq=False)
class Job(Generic[T]):
    """
    Something that waits for its turn, or has it.
    """

    work: T
    quick: bool
    """True for what answered, and soon, the last time."""


class Turns(Generic[T]):
    """
    The queue before a number of places.
    """

    def __init__(self, places: int) -> None:
        """
        At least two places: one for the quick, one for the rest.
        """
        self.places = max(2, places)
        self.certain = max(1, self.places // 4)
        """Places that the rest gets before the quick do."""
        self.most = self.places - max(1, self.places // 8)
        """Places that the rest may hold. The others stay free for the quick, whenever these come."""
        self._number = count()
        self._quick: list[tuple[float, int, int, Job[T]]] = []
        self._rest: list[tuple[float, int, int, Job[T]]] = []
        self._quick_at_work = 0
        self._rest_at_work = 0

    def add(self, work: T, last_turn: float, order: int, *, quick: bool) -> None:
        """
        Wait for a turn. Of those with the same last turn, the one of the lowest `order` goes first.
        """
        queue = self._quick if quick else self._rest
        heapq.heappush(queue, (last_turn, order, next(self._number), Job(work, quick)))

    def next(self) -> Job[T] | None:
        """
        Whose turn it is now; it holds a place until it is over. None: nobody waits, or no place is free.
        """
        if self._quick_at_work + self._rest_at_work >= self.places:
            return None
        if self._rest and self._rest_at_work < (self.certain if self._quick else self.most):
            self._rest_at_work += 1
            return heapq.heappop(self._rest)[-1]
        if self._quick:
            self._quick_at_work += 1
            return heapq.heappop(self._quick)[-1]
        return None

    def over(self, job: Job[T]) -> None:
        """
        Give the place back.
        """
        if job.quick:
            self._quick_at_work -= 1
        else:
            self._rest_at_work -= 1

    def keep(self, wanted: Callable[[T], bool]) -> None:
        """
        Let go of all that waits and is not wanted any more.
        """
        for queue in (self._quick, self._rest):
            if queue:
                queue[:] = [one for one in queue if wanted(one[-1].work)]
                heapq.heapify(queue)

    def __len__(self) -> int:
        """
        How many wait.
        """
        return len(self._quick) + len(self._rest)
