"""
Turns: the order in which jobs get a limited number of places, so that none waits for ever.

Pure. A job that answered the last time is *quick* and goes first. All the rest, without a turn or without an
answer so far, goes by the longest wait. The rest may hold most of the places but not all, and has some
reserved. So a thousand silent servers take nothing from the healthy, and none of them is forgotten.
"""

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Generic, TypeVar

NEVER = float("-inf")
"""The last turn of a job that never had one."""


T = TypeVar("T")


@dataclass(slots=True, eq=False)
class Job(Generic[T]):
    """
    A job that waits for its turn, or has it.
    """

    work: T
    quick: bool
    """True when it answered the last time, and soon."""


class Turns(Generic[T]):
    """
    The queue before a number of places.
    """

    def __init__(self, places: int) -> None:
        self.resize(places)
        self._number = count()
        self._quick: list[tuple[float, int, int, Job[T]]] = []
        self._rest: list[tuple[float, int, int, Job[T]]] = []
        self._quick_at_work = 0
        self._rest_at_work = 0

    def resize(self, places: int) -> None:
        """
        Have so many places from now on, at least two: one for the quick, one for the rest. Of fewer than
        before, those that are held are taken away once they are given back.
        """
        self.places = max(2, places)
        self.certain = max(1, self.places // 4)
        """Places that the rest gets before the quick do."""
        self.most = self.places - max(1, self.places // 8)
        """Places that the rest may hold. The others stay free for the quick, whenever these come."""

    def add(self, work: T, last_turn: float, order: int, *, quick: bool) -> None:
        """
        Add a job to the queue. Of those with the same last turn, the one of the lowest `order` goes first.
        """
        queue = self._quick if quick else self._rest
        heapq.heappush(queue, (last_turn, order, next(self._number), Job(work, quick)))

    def next(self) -> Job[T] | None:
        """
        Return the next job, which holds a place until `over`; None when none waits or no place is free.
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
        Remove the waiting jobs that are not `wanted`.
        """
        for queue in (self._quick, self._rest):
            if queue:
                queue[:] = [one for one in queue if wanted(one[-1].work)]
                heapq.heapify(queue)

    def __len__(self) -> int:
        """
        Return the number of waiting jobs.
        """
        return len(self._quick) + len(self._rest)
