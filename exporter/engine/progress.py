"""
How far a sweep is: which endpoints of its targets were probed by now, and what the others wait for.
"""

import asyncio
from dataclasses import dataclass, field

from exporter.engine.memory import Memory
from exporter.engine.results import ProbeResult, TargetResult
from exporter.model.errors import LeftOut
from exporter.model.observation import Failed
from exporter.model.reasons import Reason
from exporter.model.targets import Target
from exporter.net.network import Trace


@dataclass(slots=True, eq=False)
class Progress:
    """
    How far the looks at one target are: one turn of it, for all scrapes that want it at that time.
    """

    target: Target
    since: float
    """Loop time at which it was first asked for."""
    deadline: float
    """Loop time at which the sweep ends that asked for it first."""
    trace_steps: bool = False
    started: float | None = None
    """Loop time; None while it waits for its turn."""
    labels: tuple[str, ...] | None = None
    """What the target's endpoints are called; None until they are known."""
    left_out: tuple[LeftOut, ...] = ()
    omitted: dict[str, LeftOut] = field(default_factory=dict)
    """By label, why an endpoint is left out after all, which only a look could tell."""
    looks: dict[str, ProbeResult] = field(default_factory=dict)
    begun: dict[str, tuple[Trace, float]] = field(default_factory=dict)
    """By label, what the look is doing, and the loop time at which it began."""
    together: bool = False
    """True when all endpoints are looked at in one go."""
    wanted_by: "list[Sweep]" = field(default_factory=list)
    """The sweeps under way that it is part of."""
    workers: "list[asyncio.Task[None]]" = field(default_factory=list)
    ended: float | None = None
    """Loop time; None while there is something to look at."""
    final: TargetResult | None = None
    """What it gave in the end."""
    cut: bool = False
    """True when it ended since nobody wanted it any more."""

    def result(self, memory: Memory, now: float) -> TargetResult:
        """
        What is known by now. An endpoint without a finished look says `timeout`, and where it was.
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
        Places that are not probed, also those of which only a probe could tell.
        """
        return (*self.left_out, *self.omitted.values())

    def _cut_off(self, label: str, now: float) -> ProbeResult:
        """
        A look that is not finished, as a scrape tells it whose time is over.
        """
        trace, began = self.begun.get(label, (None, None))
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
        # It had a turn of its own only if it had a good part of the time that there was.
        turn = began if 2 * spent >= now - self.since else None
        words = f"the scrape's time was over during this step: {phase}"
        return ProbeResult(label, Failed(Reason.TIMEOUT, words), spent, turn=turn)

    @property
    def done(self) -> bool:
        """
        True when every endpoint was looked at, or none can be.
        """
        return self.ended is not None and not self.cut


class Sweep:
    """
    What one scrape waits for. It is over when all of it was looked at, or at its own deadline.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, deadline: float) -> None:
        self.progress: list[Progress] = []
        self.left = 0
        """Targets that are not done."""
        self.started = loop.time()
        self.deadline = deadline
        self.finished: float | None = None
        """Loop time; None while it is under way."""
        self.over: asyncio.Future[None] = loop.create_future()
        self.timer: asyncio.TimerHandle | None = None
        self.cutting: asyncio.Task[None] | None = None
        """Ends it, from its deadline on; kept here, since the loop keeps no task."""

    def results(self, memory: Memory, now: float) -> tuple[TargetResult, ...]:
        """
        What every target gave by now.
        """
        return tuple(one.result(memory, now) for one in self.progress)

    @property
    def done(self) -> int:
        """
        Targets whose every endpoint was looked at.
        """
        return len(self.progress) - self.left

    @property
    def complete(self) -> bool:
        """
        True when every endpoint of every target was looked at before the deadline.
        """
        return self.left == 0
