"""
Widening: more probes at a time while others wait for a place, and the processors for answers.

Servers that are far away answer late, and a place that waits for one costs nothing but its memory. Near ones
keep a processor busy with a few places, and more would take memory for nothing.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from exporter.engine.workers import Workers
from exporter.net.event_loop import Rest
from exporter.net.turns import Turns

BEGIN = 128
"""Probes at a time with which each sweep begins, or fewer if so many are not allowed."""


FEW = 8
"""Targets whose endpoints, at most sixteen of each, have a place each from the beginning."""


EACH = 0.05
"""Seconds between two looks whether there is rest."""


RESTING = 0.5
"""Share of the time in which every process must have had nothing to do."""


class Widening:
    """
    Gives out more places while a sweep waits for answers.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        turns: Turns[Any],
        most: int,
        workers: Workers | None,
        use: Callable[[], None],
    ) -> None:
        """
        There are never more than `most` places. `workers` are the other processes that probe, `use` begins
        probes in new places.
        """
        self._loop = loop
        self._turns = turns
        self._most = most
        self._workers = workers
        self._use = use
        self._timer: asyncio.TimerHandle | None = None
        self._rest: Rest | None = None

    def begin(self, targets: int) -> None:
        """
        Look for rest from now on, in a sweep of so many targets.
        """
        if targets > FEW and self._timer is None:
            self._rest = Rest(self._loop)
            self._go_on()

    def _go_on(self) -> None:
        more = self._turns.places < self._most
        self._timer = self._loop.call_later(EACH, self._look) if more else None

    def _look(self) -> None:
        assert self._rest is not None
        share = min(self._rest.share(), self._workers.rest if self._workers is not None else 1.0)
        if self._turns and share > RESTING:
            self._turns.resize(min(2 * self._turns.places, self._most))
            self._use()
        self._go_on()

    def end(self) -> None:
        """
        Begin the next sweep with few places: it may be of other servers.
        """
        if self._rest is None:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._rest = None
        self._turns.resize(min(BEGIN, self._most))
