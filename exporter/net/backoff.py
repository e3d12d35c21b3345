"""
Backoff: the pause after a failure, before the next try. Pure.
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
    """Failures in a row, counted only as far as they lengthen the pause."""

    def failed(self, spread: float = 1.0, asked: float = 0.0) -> float:
        """
        Return the seconds until the next try, after one that failed.

        `spread` is a factor, so that tries which failed together are not repeated together. `asked` is the
        pause in seconds that the other side asked for; it is never shortened.
        """
        pause = min(self.first * 2.0**self.failures, self.longest)
        if pause < self.longest:
            self.failures += 1
        return max(pause * spread, asked)

    def succeeded(self) -> None:
        """
        Reset the pause to the first one.
        """
        self.failures = 0
