"""
The reserve: the part of a scrape's time without probes, for rendering and sending the response.

Pure. It is measured with each response, and grows with the number of endpoints.
"""

from collections import deque
from dataclasses import dataclass, field

FIXED = 0.02
"""Seconds that any response takes, however few endpoints there are."""


FIRST = 0.000_2
"""Seconds of a processor for each endpoint, before the first response was measured."""


SLACK = 1.5
"""Factor by which the reserve exceeds the measured time."""


SHARE = 0.5
"""Largest share of a scrape's time: the rest is for probes."""


MEASURED = 8
"""Number of responses that are remembered."""


def _few() -> deque[float]:
    return deque(maxlen=MEASURED)


@dataclass(slots=True)
class Reserve:
    """
    The times that the latest responses took.
    """

    slowness: float = 1.0
    """Seconds that pass for one of a processor, before the first response was measured."""
    _making: deque[float] = field(default_factory=_few)
    """Seconds of rendering for each endpoint, of the latest responses."""
    _sending: deque[float] = field(default_factory=_few)
    _measured: int = 0
    """Number of responses that were measured."""

    def note(self, endpoints: int, making: float, sending: float) -> None:
        """
        Record a response: seconds from the end of the probes until it was rendered, and then until it was
        sent.
        """
        if endpoints:
            self._measured += 1
            if self._measured == 2:
                # The first one judged and wrote each endpoint anew: no other takes as long.
                self._making.clear()
            self._making.append(max(0.0, making - FIXED) / endpoints)
        self._sending.append(sending)

    def seconds(self, endpoints: int, timeout: float) -> float:
        """
        Return the seconds to reserve out of `timeout` seconds, for a response with this many endpoints.
        """
        if not endpoints:
            return 0.0
        # The shortest time of sending: one slow client must not take time from the probes of all.
        sending = min(self._sending, default=0.0)
        wanted = FIXED + SLACK * endpoints * max(self._making, default=FIRST * self.slowness) + sending
        return min(wanted, SHARE * timeout)
