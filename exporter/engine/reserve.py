"""
The reserve: the time kept free of looking, in which an answer is made and sent before Prometheus gives up.

Pure. It is measured with each answer, and grows with the number of endpoints.
"""

from collections import deque
from dataclasses import dataclass, field

FIXED = 0.02
"""Seconds that the making of any answer takes, however few endpoints there are."""


FIRST = 0.000_2
"""Seconds of a processor for each endpoint while no answer was measured."""


SLACK = 1.5
"""How much more is kept free than what was measured."""


SHARE = 0.5
"""Share of a scrape's time that is never exceeded: looks must have theirs."""


MEASURED = 8
"""Answers that are remembered."""


def _few() -> deque[float]:
    return deque(maxlen=MEASURED)


@dataclass(slots=True)
class Reserve:
    """
    What the latest answers took.
    """

    slowness: float = 1.0
    """Seconds that pass for one of a processor, while no answer was measured: more on a busy machine."""
    _making: deque[float] = field(default_factory=_few)
    """Seconds for each endpoint."""
    _sending: deque[float] = field(default_factory=_few)

    def note(self, endpoints: int, making: float, sending: float) -> None:
        """
        Take in an answer: seconds from the end of the looks until it was made, and then until it was sent.
        """
        if endpoints:
            self._making.append(max(0.0, making - FIXED) / endpoints)
        self._sending.append(sending)

    def seconds(self, endpoints: int, timeout: float) -> float:
        """
        What to keep free of this many seconds, for an answer about so many endpoints.
        """
        if not endpoints:
            return 0.0
        # Of sending the least: one who reads slowly must not take time from the looks of all.
        sending = min(self._sending, default=0.0)
        wanted = FIXED + SLACK * endpoints * max(self._making, default=FIRST * self.slowness) + sending
        return min(wanted, SHARE * timeout)
