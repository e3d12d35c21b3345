"""
A clock for tests: it stands until it is moved.
"""

from dataclasses import dataclass

from tests.support.certificates import NOW


@dataclass(slots=True)
class Clock:
    """
    Seconds, since the epoch or any other moment.
    """

    now: float = NOW

    def __call__(self) -> float:
        """
        Return the time.
        """
        return self.now
