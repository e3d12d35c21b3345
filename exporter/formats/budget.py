"""
What reading one file may cost. One account for all that a file makes us do, whatever its format. Pure.
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
    What is left of it. Loops over what a file holds go through `each`, so that they end when it is spent.
    """

    left: int = STEPS

    def spend(self, steps: int) -> None:
        """
        Note work. What is under way is finished; nothing more is begun when too much was spent.
        """
        self.left -= steps

    def allows_rounds(self, rounds: int) -> bool:
        """
        True when so many rounds of hashing may be done. They are then noted as done.
        """
        steps = rounds // ROUNDS_PER_STEP
        if not rounds > 0 or steps > self.left:
            return False
        self.left -= steps
        return True

    @property
    def is_spent(self) -> bool:
        """
        True when nothing more is to be begun.
        """
        return self.left <= 0

    def each(self, things: Iterable[T], steps: int = 1) -> Iterator[T]:
        """
        The things, as long as the budget lasts; each costs so many steps.
        """
        for one in things:
            if self.left <= 0:
                return
            self.left -= steps
            yield one
