"""
The budget for parsing one file: one limit for all work that the file causes, whatever its format. Pure.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


STEPS = 2_000_000
"""Steps that one file may take, with all files that it names. A step is about a microsecond, or less."""


ROUNDS_PER_STEP = 2
"""Rounds of hashing that are done in the time of a step, at least."""


@dataclass(slots=True)
class Budget:
    """
    The rest of the budget. Loops over the content of a file use `each`, so that they end when it is spent.
    """

    left: int = STEPS

    def spend(self, steps: int) -> None:
        """
        Subtract steps. Work under way is finished; no new work begins once the budget is spent.
        """
        self.left -= steps

    def allows_rounds(self, rounds: int) -> bool:
        """
        Return True when so many rounds of hashing are within the budget. They are then subtracted.
        """
        steps = rounds // ROUNDS_PER_STEP
        if not rounds > 0 or steps > self.left:
            return False
        self.left -= steps
        return True

    @property
    def is_spent(self) -> bool:
        """
        True when no new work may begin.
        """
        return self.left <= 0

    def each(self, things: Iterable[T], steps: int = 1) -> Iterator[T]:
        """
        Yield the things until the budget is spent; each takes `steps`.
        """
        for one in things:
            if self.left <= 0:
                return
            self.left -= steps
            yield one
