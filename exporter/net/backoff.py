"""
Backoff: how long to leave alone what fails. Pure.
"""

from dataclasses import dataclass


@dataclass(slots=True)
class Backoff:
    """
    Pauses in seconds, each twice as long as the one before, until something succeeds.
    """

    first: float
    longest: float
    failures: int = 0
    """In a row, as far as they make a difference."""

    def failed(self, spread: float = 1.0, asked: float = 0.0) -> float:
        """
        Seconds until the next try, after one that failed.

        `spread` is a factor, so that what failed together is not tried again together. `asked` is how long
        the other side wants to be left alone, which is never shortened.
        """
        pause = min(self.first * 2.0**self.failures, self.longest)
        if pause < self.longest:
            self.failures += 1
        return max(pause * spread, asked)

    def succeeded(self) -> None:
        """
        Begin with the first pause again.
        """
        self.failures = 0
