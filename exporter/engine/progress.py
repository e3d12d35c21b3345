"""
Progress of a sweep: which endpoints were probed by now, and what the others wait for.
"""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from exporter.engine.memory import Memory
from exporter.engine.results import ProbeResult, TargetResult
from exporter.model.errors import LeftOut
from exporter.model.observation import Failed
from exporter.model.reasons import Reason
from exporter.model.targets import Target
from exporter.probes.base import Trace

CHECK = 0.25
"""Seconds between two looks whether a sweep is due."""


@dataclass(slots=True, eq=False)
class Progress:
    """
    The probes of one target in one turn, shared by all scrapes that want it at that time.
    """

    target: Target
    since: float
    """Loop time at which it was first wanted."""
    deadline: float
    """Loop time of the deadline of the sweep that wanted it first."""
    trace_steps: bool = False
    started: float | None = None
    """Loop time at which its turn began; None while it waits."""
    labels: tuple[str, ...] | None = None
    """Labels of the target's endpoints; None until they are known."""
    left_out: tuple[LeftOut, ...] = ()
    omitted: dict[str, LeftOut] | None = None
    """By label, why an endpoint is left out that only a probe could find to be none; None for most."""
    looks: dict[str, ProbeResult] = field(default_factory=dict)
    begun: dict[str, tuple[Trace, float]] | None = None
    """By label, the current step of a probe, and the loop time at which the probe began; None before."""
    again: frozenset[str] = frozenset()
    """Labels that are being probed again, since one probe left a doubt."""
    together: bool = False
    """True when all endpoints are probed in one go."""
    wanted_by: "list[Sweep]" = field(default_factory=list)
    """The sweeps under way that include it."""
    workers: "tuple[asyncio.Task[None], ...]" = ()
    ended: float | None = None
    """Loop time at which it ended; None while a probe is to be made."""
    final: TargetResult | None = None
    """The result after its end; None before."""
    cut: bool = False
    """True when it was cut off because no sweep wanted it any more."""

    def enter(self) -> None:
        """
        Note that the task that calls this works for it, until it leaves.
        """
        # The caller must not hold its own task: only the garbage collector could free one that is cut off.
        task = asyncio.current_task()
        assert task is not None
        self.workers += (task,)

    def leave(self) -> None:
        """
        Note that the task that calls this works for it no more.
        """
        task = asyncio.current_task()
        self.workers = tuple([one for one in self.workers if one is not task])

    def result(self, memory: Memory, now: float) -> TargetResult:
        """
        Return the result by `now` (loop time). An unfinished probe fails with `timeout` and names its step.
        """
        if self.final is not None:
            return self.final
        labels = memory.unlocated(self.target) if self.labels is None else self.shown
        looks = tuple(self.looks.get(label) or self._cut_off(label, now) for label in labels)
        going_on = frozenset(label for label in labels if label not in self.looks)
        return TargetResult(self.target, looks, self.labels is not None, self.all_left_out, going_on)

    @property
    def shown(self) -> tuple[str, ...]:
        """
        Labels of the endpoints that are not left out.
        """
        labels = self.labels or ()
        return tuple(one for one in labels if one not in self.omitted) if self.omitted else labels

    @property
    def all_left_out(self) -> tuple[LeftOut, ...]:
        """
        All endpoints that are left out, also those that only a probe could find to be none.
        """
        return (*self.left_out, *self.omitted.values()) if self.omitted else self.left_out

    def _cut_off(self, label: str, now: float) -> ProbeResult:
        """
        Return the failure of an unfinished probe, for a scrape whose time is over at `now` (loop time).
        """
        trace, began = (self.begun or {}).get(label, (None, None))
        if trace is not None:
            phase = trace.phase
        elif self.started is None:
            phase = "waiting for its turn (raise --sweep.concurrency or the scrape timeout)"
        elif self.labels is None:
            phase, began = "looking up the name", self.started
        elif self.together:
            phase, began = "reading what stands before it", self.started
        else:
            phase = "waiting for its turn"
        spent = now - began if began is not None else 0.0
        # It had a turn of its own only if it had at least half of the time.
        turn = began if 2 * spent >= now - self.since else None
        words = f"the scrape's time was over during this step: {phase}"
        return ProbeResult(label, Failed(Reason.TIMEOUT, words), spent, turn=turn)

    @property
    def done(self) -> bool:
        """
        True when every endpoint was probed, or none can be.
        """
        return self.ended is not None and not self.cut


class Sweep:
    """
    The probes that one scrape waits for. It is over when all have ended, or in time for its deadline.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, deadline: float, reserved: Callable[[int], float]
    ) -> None:
        """
        `reserved` returns how many seconds before its deadline (loop time) it must end while so many targets
        are not done.
        """
        self._reserved = reserved
        self.progress: list[Progress] = []
        """Of each target; empty once the results were taken."""
        self.size = 0
        """Number of targets."""
        self.left = 0
        """Number of targets that are not done."""
        self.started = loop.time()
        self.deadline = deadline
        self.finished: float | None = None
        """Loop time at which it was over; None while it is under way."""
        self.over: asyncio.Future[None] = loop.create_future()
        self.begun = False
        """True once each target is in `progress`."""
        self.timer: asyncio.TimerHandle | None = None
        self.beginning: asyncio.Task[None] | None = None
        """Queues the targets; kept here, since the loop keeps no task."""
        self.cutting: asyncio.Task[None] | None = None
        """Ends it, from its deadline on; kept here, since the loop keeps no task."""

    @property
    def due(self) -> float:
        """
        Loop time at which it ends if no other target is done by then.
        """
        return self.deadline - self._reserved(self.left)

    def next_check(self, now: float) -> float:
        """
        Return the loop time at which to look whether it is due: another answer that is made meanwhile may
        show that such take longer, which makes it due earlier.
        """
        return min(self.due, now + CHECK)

    def results(self, memory: Memory, now: float) -> Iterator[TargetResult]:
        """
        Yield the result of every target by `now` (loop time), once: the progress goes, since nobody needs it
        until the next sweep.
        """
        taken, self.progress = self.progress, []
        return (one.result(memory, now) for one in taken)

    @property
    def done(self) -> int:
        """
        Number of targets whose endpoints were all probed.
        """
        return self.size - self.left

    @property
    def complete(self) -> bool:
        """
        True when every endpoint of every target was probed before the deadline.
        """
        return self.begun and self.left == 0
