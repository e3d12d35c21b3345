"""
Gates: at most so many probes at a time at one address, and so many new ones a second.

Pure: the clock is an argument. A load balancer with two thousand names is one address, and must not see all
of them at once. This host's own addresses are no others' and have no gate.
"""

import math
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Generic, NamedTuple, TypeVar

from exporter.model.hosts import parse_ip

T = TypeVar("T")


PERIOD = 0.1
"""Seconds in which a tenth of a second's new probes may begin."""


class Limits(NamedTuple):
    """
    The limits of each address; 0 is no limit.
    """

    most: int = 64
    """Probes at a time."""
    rate: int = 500
    """New probes in a second."""


USUAL = Limits()


@lru_cache(maxsize=16_384)
def is_own(address: str) -> bool:
    """
    Return True for what is on this host, or no address.
    """
    parsed = parse_ip(address)
    return parsed is None or parsed.is_loopback


@dataclass(slots=True)
class _Gate(Generic[T]):
    under_way: int = 0
    period: int = 0
    """Number of the period in which the latest ones began."""
    begun: int = 0
    """Probes that began in it."""
    waiting: deque[T] = field(default_factory=deque)


class Gates(Generic[T]):
    """
    The gates of all addresses, each with a queue.
    """

    def __init__(self, limits: Limits, exempt: Callable[[str], bool] = is_own) -> None:
        """
        Addresses that are `exempt` have no gate.
        """
        self._most = limits.most or math.inf
        self._each_period = math.ceil(limits.rate * PERIOD) or math.inf
        self._exempt = exempt
        self._gates: dict[str, _Gate[T]] = {}

    def enter(self, address: str, work: T, now: float, *, waited: bool = False) -> bool:
        """
        Return True when work may begin at `now`, until `leave`; else it waits, first of all if it has
        `waited`.
        """
        if self._exempt(address):
            return True
        gate = self._gates.get(address)
        if gate is None:
            gate = self._gates[address] = _Gate()
        if (gate.waiting and not waited) or self._places(gate, now) < 1:
            if waited:
                gate.waiting.appendleft(work)
            else:
                gate.waiting.append(work)
            return False
        gate.under_way += 1
        gate.begun += 1
        return True

    def leave(self, address: str) -> bool:
        """
        Give the place at an address back. Return True when others wait for it.
        """
        gate = self._gates.get(address)
        if gate is None:
            return False
        gate.under_way -= 1
        if not gate.waiting:
            self._forget_idle([address])
        return bool(gate.waiting)

    def free(self, now: float, addresses: Iterable[str] | None = None) -> list[T]:
        """
        Return the work that may try again to enter, at these addresses or all. It does not wait any more.
        """
        found: list[T] = []
        for address in list(self._gates if addresses is None else addresses):
            gate = self._gates.get(address)
            if gate is None:
                continue
            count = min(self._places(gate, now), len(gate.waiting))
            found += (gate.waiting.popleft() for _ in range(int(max(0, count))))
        self._forget_idle(addresses)
        return found

    def keep(self, wanted: Callable[[T], bool]) -> None:
        """
        Remove the waiting work that is not `wanted`.
        """
        for gate in self._gates.values():
            gate.waiting = deque(one for one in gate.waiting if wanted(one))
        self._forget_idle()

    @property
    def waiting(self) -> bool:
        """
        True while some work waits.
        """
        return any(gate.waiting for gate in self._gates.values())

    def __len__(self) -> int:
        """
        Return the number of addresses with work under way or waiting.
        """
        return len(self._gates)

    def _forget_idle(self, addresses: Iterable[str] | None = None) -> None:
        for address in list(self._gates if addresses is None else addresses):
            gate = self._gates.get(address)
            if gate is not None and not gate.under_way and not gate.waiting:
                del self._gates[address]

    def _places(self, gate: _Gate[T], now: float) -> float:
        period = math.floor(now / PERIOD)
        if gate.period != period:
            gate.period, gate.begun = period, 0
        return min(self._most - gate.under_way, self._each_period - gate.begun)
