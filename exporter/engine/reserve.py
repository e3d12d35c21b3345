"""
The reserve: the part of a scrape's time without probes, for rendering and sending the response.

Pure. It is measured with each response. It grows with the number of endpoints, and with the number of those
that must be judged and written anew: new ones, and those that are cut off at the end and were not before.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

FIXED = 0.02
"""Seconds that any response takes, however few endpoints there are."""


FIRST = 0.000_2
"""Seconds of a processor for each endpoint that is written anew, before a response was measured."""


SLACK = 1.5
"""Factor by which the reserve exceeds the measured time."""


SHARE = 0.5
"""Largest share of a scrape's time: the rest is for probes."""


MEASURED = 8
"""Number of responses that are remembered."""


TELLS = 10
"""
How many times as many endpoints a response tells something about.

One of twenty targets takes no longer than any, and told nothing about ten thousand that a source found.
"""


MOSTLY_KNOWN = 0.1
"""Share of endpoints written anew up to which a response shows what the others take."""


def nothing_reserved(_: int) -> float:
    """
    Return the seconds reserved by one who needs no time for what was not probed.
    """
    return 0.0


class _Rate(NamedTuple):
    """
    Seconds for each of so many endpoints.
    """

    number: float
    each: float


def _telling(rates: Iterable[_Rate], number: float) -> list[float]:
    """
    Return the seconds for each, of the responses that tell something about so many endpoints.
    """
    return [rate.each for rate in rates if rate.number * TELLS >= number]


@dataclass(slots=True)
class Reserve:
    """
    The times that the latest responses took.
    """

    slowness: float = 1.0
    """Seconds that pass for one of a processor, before the first response was measured."""
    _known: deque[_Rate] = field(default_factory=partial(deque, maxlen=MEASURED))
    """Of all endpoints, in the latest responses of which little was written anew."""
    _anew: deque[_Rate] = field(default_factory=partial(deque, maxlen=MEASURED))
    """
    Of the endpoints that were written anew, in the others: the seconds that each took more. While nothing is
    known of the rest, each took as much as any.
    """
    _cut: deque[float] = field(default_factory=partial(deque, maxlen=MEASURED))
    """Numbers of endpoints that were cut off, of the latest responses."""
    _sending: deque[float] = field(default_factory=partial(deque, maxlen=MEASURED))
    _endpoints: int = 0
    """Number of endpoints of the latest response."""

    def note(self, endpoints: int, cut: float, making: float, sending: float) -> None:
        """
        Record a response, of whose endpoints so many were cut off: seconds from the end of the probes until
        it was rendered, and then until it was sent.
        """
        if endpoints:
            spent, anew = max(0.0, making - FIXED), self._written_anew(endpoints, cut)
            if anew > MOSTLY_KNOWN * endpoints:
                usual = _telling(self._known, endpoints)
                each = (spent - endpoints * max(usual)) / anew if usual else spent / endpoints
                self._anew.append(_Rate(anew, max(0.0, each)))
            else:
                self._known.append(_Rate(endpoints, spent / endpoints))
            self._cut.append(cut)
            self._endpoints = endpoints
        self._sending.append(sending)

    def _written_anew(self, endpoints: int, cut: float) -> float:
        """
        Return how many are written anew: new ones, and those cut off that were not before.
        """
        new = max(0, endpoints - self._endpoints)
        return min(endpoints, new + max(0.0, cut - min(self._cut, default=0.0)))

    def before_end(
        self, endpoints: int, targets: int, timeout: float
    ) -> tuple[float, Callable[[int], float]]:
        """
        Return the seconds to reserve for a response with this many endpoints of so many targets, and how many
        more while so many of the targets are not done.
        """
        least = self.seconds(endpoints, timeout)
        each = endpoints / max(1, targets)
        return least, lambda left: self.seconds(endpoints, timeout, left * each) - least

    def seconds(self, endpoints: int, timeout: float, cut: float = 0) -> float:
        """
        Return the seconds to reserve out of `timeout` seconds, for a response with this many endpoints, so
        many of which are cut off.
        """
        if not endpoints:
            return 0.0
        # The shortest time of sending: one slow client must not take time from the probes of all.
        sending = min(self._sending, default=0.0)
        again = self._written_anew(endpoints, cut)
        # Until one was measured of which little was written anew, the others are taken to be as slow.
        known = max(_telling(self._known, endpoints) or _telling(self._anew, endpoints), default=0.0)
        anew = max(_telling(self._anew, again), default=FIRST * self.slowness)
        making = endpoints * known + again * anew
        return min(FIXED + SLACK * making + sending, SHARE * timeout)
