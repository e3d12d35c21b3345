"""
The sweep: look at every endpoint of every target, all at once, until the deadline.

This is the one place where a probe is timed and where its exceptions become
observations. Sweeps have each their own deadline and share looks: what is under
way for one is joined by the next.
"""

import asyncio
import errno
import logging
import math
import zlib
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple, TypeVar

from exporter.engine.memory import EndpointMemory, Memory
from exporter.engine.results import ProbeResult, TargetResult, seen_facts
from exporter.engine.slices import in_slices
from exporter.logs import fields
from exporter.lookups.enrich import told
from exporter.model.errors import LeftOutError, NoDescriptorError, Outcome, ProbeError
from exporter.model.observation import Facts, Failed, Observation, Observed
from exporter.model.reasons import Reason
from exporter.model.targets import Target
from exporter.net.connection import BITE
from exporter.net.network import Network, Trace
from exporter.net.turns import NEVER, Job, Turns
from exporter.probes import PROBES
from exporter.probes.base import Endpoint, LookAll

logger = logging.getLogger(__name__)


T = TypeVar("T")


LOCAL_AT_A_TIME = 16
"""Targets that need no network and are looked at at the same time."""


FRESH = 1.0
"""Seconds for which a look that ended counts as of now, while a scrape that asked for it goes on."""


DESCRIPTOR_PAUSE = 0.05
"""Seconds after which a look is tried again that got no file descriptor."""


NO_DESCRIPTOR = "waiting for a free file descriptor (raise ulimit -n, or lower --sweep.concurrency)"


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
    left_out: tuple[str, ...] = ()
    omitted: dict[str, str] = field(default_factory=dict)
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
    def all_left_out(self) -> tuple[str, ...]:
        """
        Places that are not looked at, each with the reason in words.
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


class _Work(NamedTuple):
    """
    What waits for a turn: to find a target's places and look there, or a look at one of several.
    """

    progress: Progress
    label: str = ""
    endpoint: Endpoint | None = None


class Sweeper:
    """
    Makes looks, so many at a time, for as long as the process lives.
    """

    def __init__(
        self,
        network: Network,
        memory: Memory,
        concurrency: int,
        clock: Callable[[], float],
        on_look: Callable[[Target, str, EndpointMemory], None] = lambda *_: None,
        on_end: Callable[[TargetResult], None] = lambda *_: None,
    ) -> None:
        """
        What looks give goes into the memory as each ends. Then `on_look` is told of the endpoint, and
        `on_end` of all that a target gave, while others go on.
        """
        self._network = network
        self._memory = memory
        self._clock = clock
        self._on_look = on_look
        self._on_end = on_end
        self._far: Turns[_Work] = Turns(concurrency)
        self._local: Turns[_Work] = Turns(LOCAL_AT_A_TIME)
        self._current: dict[str, Progress] = {}
        """By target name, what a sweep under way looks at, or has looked at."""
        self._latest: Sweep | None = None

    @property
    def done(self) -> int:
        """
        Targets that the latest sweep is done with; 0 before the first.
        """
        return self._latest.done if self._latest is not None else 0

    def sweep(self, targets: Iterable[Target], deadline: float, *, trace_steps: bool = False) -> Sweep:
        """
        A sweep that is over at this time of the loop's clock, or when all was looked at.

        It joins the looks that others wait for, and takes those that ended a moment ago. One that traces its
        steps makes its own.
        """
        loop = self._network.loop
        self._latest = sweep = Sweep(loop, deadline)
        for target in targets:
            progress = None if trace_steps else self._shared(target, sweep)
            if progress is None:
                progress = Progress(target, sweep.started, deadline, trace_steps)
                if not trace_steps:
                    self._current[target.name] = progress
                self._wait(progress)
            sweep.progress.append(progress)
            progress.wanted_by.append(sweep)
            sweep.left += progress.ended is None
        if sweep.left:
            sweep.timer = loop.call_at(deadline, self._end, sweep)
            self._go_on()
        else:
            self._end(sweep)
        return sweep

    def _shared(self, target: Target, sweep: Sweep) -> Progress | None:
        found = self._current.get(target.name)
        if found is None or (found.target is not target and found.target != target):
            return None
        if target.patience == math.inf and found.deadline < sweep.deadline - FRESH:
            # It waits only as long as the scrape did that began it, and this one has more time.
            return None
        return found if found.ended is None or sweep.started - found.ended <= FRESH else None

    def _wait(self, progress: Progress) -> None:
        """
        Put a target where it waits for its turn.
        """
        target = progress.target
        known = self._memory.known(target).endpoints.values()
        last_turn = min((held.turn for held in known), default=NEVER)
        quick = any(held.quick for held in known)
        self._turns(target).add(_Work(progress), last_turn, _mixed(target), quick=quick)

    def _turns(self, target: Target) -> Turns[_Work]:
        return self._local if PROBES[target.url.scheme].local else self._far

    def _go_on(self) -> None:
        """
        Begin what may begin, a few at a time: the loop has other things to do besides.
        """
        # A task for each target would cost more than its share of a handshake: a few work through them.
        loop = self._network.loop
        for turns in (self._far, self._local):
            for _ in range(BITE):
                job = turns.next()
                if job is None:
                    break
                loop.create_task(self._work(turns, job))
            else:
                loop.call_soon(self._go_on)

    async def _work(self, turns: Turns[_Work], job: Job[_Work] | None) -> None:
        worker = asyncio.current_task()
        assert worker is not None
        while job is not None:
            progress = job.work.progress
            progress.workers.append(worker)
            try:
                if progress.ended is None:
                    await self._do(job.work)
            except Exception:
                # As below: one target must not take the others with it.
                logger.exception(
                    "internal error while taking in what was seen", extra=fields(target=progress.target.name)
                )
            finally:
                progress.workers.remove(worker)
                turns.over(job)
                if progress.cut:
                    # This worker ends with it. Another one takes its place.
                    self._go_on()
            job = turns.next()

    async def _do(self, work: _Work) -> None:
        progress = work.progress
        if work.endpoint is not None:
            await self._look(progress, work.label, work.endpoint)
            return
        target = progress.target
        probe = PROBES[target.url.scheme]
        progress.started = self._network.loop.time()
        failed, found = await _caught(partial(probe.endpoints, target, self._network), target)
        if found is None:
            assert failed is not None
            self._not_found(progress, failed)
            return
        labels = self._memory.labels(target, [one.label for one in found.found], self._clock())
        progress.left_out = found.left_out
        progress.labels = labels
        if probe.look_all is not None and not progress.trace_steps:
            await self._look_all(progress, probe.look_all, found.found)
        elif len(labels) == 1:
            await self._look(progress, labels[0], found.found[0])
        else:
            self._wait_for_each(progress, labels, found.found)
        self._end_if_done(progress)

    def _not_found(self, progress: Progress, failed: Failed) -> None:
        """
        Take in that the target's endpoints can't be known, and why.
        """
        assert progress.started is not None
        spent = self._network.loop.time() - progress.started
        for label in self._memory.unlocated(progress.target):
            self._take(progress, ProbeResult(label, failed, spent, turn=progress.started))
        self._finish(progress, located=False)

    def _wait_for_each(
        self, progress: Progress, labels: Sequence[str], endpoints: Sequence[Endpoint]
    ) -> None:
        """
        Let each endpoint wait for a turn of its own: one that is silent takes no time of the others.
        """
        turns, order = self._turns(progress.target), _mixed(progress.target)
        known = self._memory.known(progress.target).endpoints
        for label, endpoint in zip(labels, endpoints, strict=True):
            held = known.get(label)
            last_turn = held.turn if held is not None else NEVER
            quick = held is not None and held.quick
            turns.add(_Work(progress, label, endpoint), last_turn, order, quick=quick)
        self._go_on()

    async def _look_all(self, progress: Progress, look_all: LookAll, endpoints: Sequence[Endpoint]) -> None:
        target, labels = progress.target, progress.labels
        assert labels is not None
        progress.together = True

        def tell(position: int, outcome: Outcome, duration: float) -> None:
            label = labels[position]
            if progress.ended is not None:
                return
            if isinstance(outcome, LeftOutError):
                progress.omitted[label] = str(outcome)
            else:
                observation = Observed(outcome) if isinstance(outcome, Facts) else failure(outcome, target)
                self._take(progress, ProbeResult(label, observation, duration, turn=progress.started))

        failed, _ = await _caught(partial(look_all, target, endpoints, self._network, tell), target)
        if failed is not None:
            for label in progress.shown:
                if label not in progress.looks:
                    self._take(progress, ProbeResult(label, failed, 0.0, turn=progress.started))

    async def _look(self, progress: Progress, label: str, endpoint: Endpoint) -> None:
        target = progress.target
        loop = self._network.loop
        trace = Trace(loop.time, deadline=progress.deadline, steps=[] if progress.trace_steps else None)
        started = loop.time()
        progress.begun[label] = (trace, started)
        probe = PROBES[target.url.scheme]
        failed, facts = await _caught(
            partial(probe.look, target, endpoint, self._network, trace), target, trace
        )
        observation: Observation
        if facts is None:
            assert failed is not None
            observation = failed
            trace.note(f"failed: {failed.reason}: {failed.detail}")
        else:
            observation = Observed(facts)
        if progress.trace_steps and (seen := seen_facts(observation)) is not None:
            for words in told(seen, target):
                trace.note("%s", words)
        steps = tuple((when - started, words) for when, words in trace.steps or ())
        self._take(progress, ProbeResult(label, observation, loop.time() - started, steps, turn=started))
        self._end_if_done(progress)

    def _take(self, progress: Progress, look: ProbeResult) -> None:
        """
        Take in a look that ended.
        """
        progress.looks[look.label] = look
        self._on_look(progress.target, look.label, self._memory.take(progress.target, look, self._clock()))

    def _end_if_done(self, progress: Progress) -> None:
        if progress.ended is None and len(progress.looks) == len(progress.shown):
            self._finish(progress, located=True)

    def _finish(self, progress: Progress, *, located: bool) -> None:
        """
        Tell all who wait for it that the target is looked at.
        """
        self._settle(progress, located=located)
        for sweep in progress.wanted_by.copy():
            if sweep.finished is None:
                sweep.left -= 1
                if sweep.left == 0:
                    self._end(sweep)

    def _settle(self, progress: Progress, *, located: bool) -> None:
        progress.ended = self._network.loop.time()
        # In the order in which they were found, whichever ended first.
        labels = progress.looks if progress.labels is None else progress.shown
        looks = tuple(progress.looks[label] for label in labels)
        progress.final = result = TargetResult(progress.target, looks, located, progress.all_left_out)
        self._memory.settle(result, self._clock())
        self._on_end(result)

    def _end(self, sweep: Sweep) -> None:
        """
        End a sweep: nothing that only it wanted goes on, and then it is over.
        """
        sweep.finished = self._network.loop.time()
        if sweep.timer is not None:
            sweep.timer.cancel()
        unwanted: list[Progress] = []
        for progress in sweep.progress:
            progress.wanted_by.remove(sweep)
            if progress.wanted_by:
                continue
            if self._current.get(progress.target.name) is progress:
                del self._current[progress.target.name]
            if progress.ended is None:
                unwanted.append(progress)
        if not unwanted:
            sweep.over.set_result(None)
            return
        # First of all nothing of it begins or goes on any more: what takes time would put off the answer.
        for turns in (self._far, self._local):
            turns.keep(lambda work: bool(work.progress.wanted_by))
        unwanted.sort(key=lambda one: not one.workers)
        sweep.cutting = self._network.loop.create_task(self._cut_all(sweep, unwanted, sweep.finished))

    async def _cut_all(self, sweep: Sweep, unwanted: Iterable[Progress], now: float) -> None:
        """
        Cut these off, in slices: ten thousand take a second. One may have ended by itself by its turn.
        """
        async for progress in in_slices(unwanted):
            if progress.ended is None:
                self._cut(progress, now)
        sweep.over.set_result(None)

    def _cut(self, progress: Progress, now: float) -> None:
        progress.cut = True
        result = progress.result(self._memory, now)
        for look in result.looks:
            if look.label not in progress.looks:
                self._take(progress, look)
        self._settle(progress, located=result.located)
        for worker in progress.workers:
            worker.cancel()


def _mixed(target: Target) -> int:
    """
    The order of targets that waited equally long: mixed, and always the same.

    What is of a kind stands together in a file: a thousand silent servers at its top must not be first.
    """
    return zlib.crc32(target.name.encode("utf-8", "replace"))


async def _caught(
    work: Callable[[], Awaitable[T]], target: Target, trace: Trace | None = None
) -> tuple[Failed | None, T | None]:
    """
    What the work gave, or the failure that its exception means.

    Where the process may open no more files, the work waits for those that others close, and begins anew.
    """
    while True:
        try:
            return None, await work()
        except Exception as error:  # noqa: BLE001 - one that is not expected is logged with its traceback
            if not _lacks_descriptor(error):
                return failure(error, target), None
        if trace is not None:
            trace.phase = NO_DESCRIPTOR
        await asyncio.sleep(DESCRIPTOR_PAUSE)


def _lacks_descriptor(error: Exception) -> bool:
    return isinstance(error, NoDescriptorError) or (
        isinstance(error, OSError) and error.errno in {errno.EMFILE, errno.ENFILE}
    )


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
