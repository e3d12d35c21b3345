"""
The sweep: look at every endpoint of every target, all at once, until the deadline.

This is the one place where a probe is timed and where its exceptions become
observations.
"""

import asyncio
import logging
import math
import zlib
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from exporter.files import LeftOutError, Outcome
from exporter.logs import fields
from exporter.memory import Look, Memory, Result, seen_facts
from exporter.network import Network, ProbeError, Trace
from exporter.observation import Facts, Failed, Observation, Observed, Reason
from exporter.probes import PROBES, LookAll
from exporter.probes.endpoint import Endpoint
from exporter.probes.extras import told
from exporter.targets import Target

logger = logging.getLogger(__name__)

T = TypeVar("T")

LOCAL_AT_A_TIME = 16
"""Targets that need no network and are looked at at the same time."""


@dataclass(slots=True)
class Progress:
    """
    How far a sweep is with one target.
    """

    target: Target
    deadline: float = math.inf
    """Loop time at which the sweep ends."""
    started: float | None = None
    """Loop time; None while it waits for its turn."""
    labels: tuple[str, ...] | None = None
    """What the target's endpoints are called; None until they are known."""
    left_out: tuple[str, ...] = ()
    looks: dict[str, Look] = field(default_factory=dict)
    traces: dict[str, Trace] = field(default_factory=dict)
    failure: Failed | None = None
    """Why the target's endpoints can't be known; None while they may be."""
    failed_at: float | None = None
    """Loop time of that; None while there is no failure."""

    def result(self, memory: Memory, now: float) -> Result:
        """
        What is known by now. An endpoint without a finished look says `timeout`, and where it was.
        """
        if self.labels is None:
            failed = self.failure or Failed(Reason.TIMEOUT, self._unfinished("looking up the name"))
            until = now if self.failed_at is None else self.failed_at
            spent = until - self.started if self.started is not None else 0.0
            return Result(
                self.target,
                tuple(Look(label, failed, spent) for label in memory.unlocated(self.target)),
                located=False,
            )
        looks = tuple(self.looks.get(label) or self._cut(label, now) for label in self.labels)
        return Result(self.target, looks, located=True, left_out=self.left_out)

    @property
    def done(self) -> bool:
        """
        True when every endpoint was looked at, or none can be.
        """
        return self.failure is not None or (self.labels is not None and len(self.looks) == len(self.labels))

    def _cut(self, label: str, now: float) -> Look:
        trace = self.traces.get(label)
        phase = trace.phase if trace is not None else "waiting for its turn"
        spent = now - self.started if self.started is not None else 0.0
        return Look(label, Failed(Reason.TIMEOUT, self._unfinished(phase)), spent)

    def _unfinished(self, phase: str) -> str:
        if self.started is None:
            phase = "waiting for its turn (raise --sweep.concurrency or the scrape timeout)"
        return f"the scrape's time was over during this step: {phase}"


class Sweep:
    """
    One sweep under way, or done. Scrapes that come at the same time share it.
    """

    def __init__(self, progress: Sequence[Progress], task: "asyncio.Task[None]", started: float) -> None:
        self.progress = progress
        self.task = task
        self.started = started
        self.finished: float | None = None
        """Loop time; None while it is under way."""

    def results(self, memory: Memory, now: float) -> tuple[Result, ...]:
        """
        What every target gave by now.
        """
        return tuple(one.result(memory, now) for one in self.progress)

    @property
    def done(self) -> int:
        """
        Targets whose every endpoint was looked at.
        """
        return sum(one.done for one in self.progress)

    @property
    def complete(self) -> bool:
        """
        True when every endpoint of every target was looked at before the deadline.
        """
        return self.done == len(self.progress)


class Sweeper:
    """
    Makes sweeps, one at a time, for as long as the process lives.
    """

    def __init__(
        self,
        network: Network,
        memory: Memory,
        concurrency: int,
        clock: Callable[[], float],
        on_seen: Callable[[Target, str, Facts], None] = lambda *_: None,
    ) -> None:
        """
        `on_seen` is told of each look that ended well, with the endpoint's label, while others go on.
        """
        self._on_seen = on_seen
        self._network = network
        self._memory = memory
        self._concurrency = concurrency
        # The endpoints of names with several addresses, besides those that are a target's only one.
        self._more = asyncio.Semaphore(concurrency)
        self._clock = clock
        self._current: Sweep | None = None

    def sweep(self, targets: Iterable[Target], deadline: float) -> Sweep:
        """
        The sweep under way, or a new one that ends at this time of the loop's clock.
        """
        if self._current is None or self._current.task.done():
            self._current = self.begin(targets, deadline)
        return self._current

    @property
    def done(self) -> int:
        """
        Targets that the current sweep is done with; 0 before the first.
        """
        return self._current.done if self._current is not None else 0

    def begin(self, targets: Iterable[Target], deadline: float, *, trace_steps: bool = False) -> Sweep:
        """
        A new sweep of these targets, whatever else is under way.
        """
        progress = [Progress(target, deadline) for target in targets]
        started = self._network.loop.time()
        sweep: Sweep
        task = self._network.loop.create_task(self._run(progress, deadline, trace_steps=trace_steps))
        sweep = Sweep(progress, task, started)
        task.add_done_callback(lambda _: setattr(sweep, "finished", self._network.loop.time()))
        return sweep

    def _failed_before(self, target: Target) -> bool:
        # One that only never got its turn took no time. It must not wait behind the silent ones for ever.
        return any(
            isinstance(held.observation, Failed) and held.duration > 0
            for held in self._memory.known(target).endpoints.values()
        )

    async def _run(self, progress: list[Progress], deadline: float, *, trace_steps: bool) -> None:
        loop = self._network.loop

        async def work(waiting: Iterator[Progress]) -> None:
            for one in waiting:
                await self._target(one, trace_steps=trace_steps)

        # A task for each target would cost more than its share of a handshake: a few work through them.
        local = [one for one in progress if PROBES[one.target.url.scheme].local]
        others = in_turn(
            [one for one in progress if not PROBES[one.target.url.scheme].local], self._failed_before
        )
        workers = [
            loop.create_task(work(waiting))
            for all_of_them, at_a_time in ((local, LOCAL_AT_A_TIME), (others, self._concurrency))
            for waiting in [iter(all_of_them)]
            for _ in range(min(at_a_time, len(all_of_them)))
        ]
        if not workers:
            return
        _, pending = await asyncio.wait(workers, timeout=max(0.0, deadline - loop.time()))
        for task in pending:
            task.cancel()
        if pending:
            await asyncio.wait(pending)

    async def _target(self, progress: Progress, *, trace_steps: bool) -> None:
        target = progress.target
        probe = PROBES[target.url.scheme]
        progress.started = self._network.loop.time()
        failed, found = await _caught(probe.endpoints(target, self._network), target)
        if found is None:
            progress.failure, progress.failed_at = failed, self._network.loop.time()
            return
        labels = self._memory.labels(target, [one.label for one in found.found], self._clock())
        progress.left_out = found.left_out
        progress.labels = labels
        if probe.look_all is not None and not trace_steps:
            await self._look_all(progress, probe.look_all, found.found)
            return
        if len(labels) == 1:
            await self._look(progress, labels[0], found.found[0], trace_steps=trace_steps)
            return
        async with asyncio.TaskGroup() as group:
            for label, endpoint in zip(labels, found.found, strict=True):
                group.create_task(self._in_turn(progress, label, endpoint, trace_steps=trace_steps))

    async def _look_all(self, progress: Progress, look_all: LookAll, endpoints: Sequence[Endpoint]) -> None:
        target, labels = progress.target, progress.labels
        assert labels is not None
        left_out: dict[str, str] = {}

        def tell(position: int, outcome: Outcome, duration: float) -> None:
            label = labels[position]
            if isinstance(outcome, LeftOutError):
                left_out[label] = str(outcome)
            else:
                observation = Observed(outcome) if isinstance(outcome, Facts) else failure(outcome, target)
                progress.looks[label] = Look(label, observation, duration)

        try:
            failed, _ = await _caught(look_all(target, endpoints, self._network, tell), target)
        finally:
            if left_out:
                progress.labels = tuple(label for label in labels if label not in left_out)
                progress.left_out = (*progress.left_out, *left_out.values())
        if failed is not None:
            for label in labels:
                if label in left_out:
                    continue
                progress.looks.setdefault(label, Look(label, failed, 0.0))

    async def _in_turn(
        self, progress: Progress, label: str, endpoint: Endpoint, *, trace_steps: bool
    ) -> None:
        async with self._more:
            await self._look(progress, label, endpoint, trace_steps=trace_steps)

    async def _look(self, progress: Progress, label: str, endpoint: Endpoint, *, trace_steps: bool) -> None:
        target = progress.target
        loop = self._network.loop
        trace = progress.traces[label] = Trace(
            loop.time, deadline=progress.deadline, steps=[] if trace_steps else None
        )
        started = loop.time()
        probe = PROBES[target.url.scheme]
        failed, facts = await _caught(probe.look(target, endpoint, self._network, trace), target)
        observation: Observation
        if facts is None:
            assert failed is not None
            observation = failed
            trace.note(f"failed: {failed.reason}: {failed.detail}")
        else:
            observation = Observed(facts)
            self._on_seen(target, label, facts)
        if trace_steps and (seen := seen_facts(observation)) is not None:
            for words in told(seen, target):
                trace.note("%s", words)
        steps = tuple((when - started, words) for when, words in trace.steps or ())
        progress.looks[label] = Look(label, observation, loop.time() - started, steps)


def in_turn(progress: Iterable[Progress], failed_before: Callable[[Target], bool]) -> list[Progress]:
    """
    In the order in which they get their turn.

    Those that failed go last: a thousand silent servers must not take the turn of the healthy. Nor must they
    at a first look, so the others are mixed, always in the same way: what is of a kind stands together.
    """

    def place(one: Progress) -> tuple[bool, int]:
        return failed_before(one.target), zlib.crc32(one.target.name.encode("utf-8", "replace"))

    return sorted(progress, key=place)


async def _caught(work: Awaitable[T], target: Target) -> tuple[Failed | None, T | None]:
    """
    What the work gave, or the failure that its exception means.
    """
    try:
        return None, await work
    except Exception as error:  # noqa: BLE001 - one that is not expected is logged with its traceback
        return failure(error, target), None


def failure(error: Exception, target: Target) -> Failed:
    """
    What an exception of a probe means.
    """
    match error:
        case ProbeError():
            return Failed(error.reason, error.detail, error.facts, error.aside)
        case TimeoutError():
            return Failed(Reason.TIMEOUT, "the probe ran out of time")
        case OSError():
            return Failed(Reason.CONNECTION_RESET, f"the connection broke: {error.strerror or error}")
    # A fault of ours in one target must not take the others with it, and must not be quiet either.
    logger.error("internal error while probing", exc_info=error, extra=fields(target=target.name))
    words = f"{type(error).__name__}: please report it with the traceback in the exporter's log"
    return Failed(Reason.INTERNAL_ERROR, words)
