"""
The sweep: probe every endpoint of every target, all at once, until the deadline.

This is the one place where a probe is timed and where its exceptions become observations. Each sweep has its
own deadline, and sweeps share probes: what is under way for one is joined by the next.
"""

import asyncio
import logging
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

from exporter.engine.by_turns import same_server
from exporter.engine.caught import caught, failure
from exporter.engine.due import mixed
from exporter.engine.gates import PERIOD, USUAL, Gates, Limits, is_own
from exporter.engine.memory import Memory
from exporter.engine.progress import Progress, Sweep
from exporter.engine.reserve import nothing_reserved
from exporter.engine.results import Given, ProbeResult, TargetResult, seen_facts
from exporter.engine.sightings import CERTAIN
from exporter.engine.slices import in_slices
from exporter.engine.widening import BEGIN, Widening
from exporter.engine.workers import Workers
from exporter.logs import fields
from exporter.model.errors import LeftOutError, Outcome
from exporter.model.observation import Facts, Failed, Observed
from exporter.model.targets import Target
from exporter.net.connection import BITE
from exporter.net.turns import NEVER, Job, Turns
from exporter.probes import PROBES
from exporter.probes.base import Endpoint, Endpoints, LookAll, Trace
from exporter.probes.dependencies import Dependencies

logger = logging.getLogger(__name__)


LOCAL_AT_A_TIME = 128
"""Targets without network access (files) that are probed at a time: few threads read them, see `singles`."""


FRESH = 1.0
"""Seconds for which the result of a probe is still current, while a scrape that wanted it goes on."""


class _Work(NamedTuple):
    """
    Work that waits for its turn: to find a target's endpoints and probe them, or to probe one of several.
    """

    progress: Progress
    label: str = ""
    endpoint: Endpoint | None = None
    waited: bool = False
    """True when it has waited at its address."""


class Sweeper:
    """
    Runs probes, a limited number at a time, for as long as the process lives.
    """

    def __init__(
        self,
        dependencies: Dependencies,
        memory: Memory,
        concurrency: int,
        clock: Callable[[], float],
        workers: Workers | None = None,
        limits: Limits = USUAL,
        exempt: Callable[[str], bool] = is_own,
    ) -> None:
        """
        `memory` gives the labels of endpoints and their last turns. It is only read here: `given` yields the
        results to remember. `clock` returns seconds since the epoch. `workers` are other processes that help.
        `limits` are those of each address that is not `exempt`.
        """
        self._gates: Gates[_Work] = Gates(limits, exempt)
        self._reopening: asyncio.TimerHandle | None = None
        self._workers = workers
        self._dependencies = dependencies
        self._memory = memory
        self._clock = clock
        self._given: deque[Given] = deque()
        self._news = asyncio.Event()
        self._under_way = 0
        """Number of sweeps that are not over."""
        self._alone = True
        """True while no two sweeps overlap."""
        self._far: Turns[_Work] = Turns(min(BEGIN, concurrency))
        self._widening = Widening(dependencies.loop, self._far, concurrency, workers, self._go_on)
        self._local: Turns[_Work] = Turns(LOCAL_AT_A_TIME)
        self._current: dict[str, Progress] = {}
        """By target name, the progress of targets in a sweep under way."""
        self._latest: Sweep | None = None

    @property
    def done(self) -> int:
        """
        Number of targets that the latest sweep has finished; 0 before the first.
        """
        return self._latest.done if self._latest is not None else 0

    def given(self) -> Iterator[Given]:
        """
        Yield the results since the last call, in the order in which they ended.
        """
        self._news.clear()
        while self._given:
            yield self._given.popleft()

    async def more(self) -> bool:
        """
        Wait for a result. Return False when no sweep is under way: then no other result will come.
        """
        if self._under_way:
            await self._news.wait()
        return self._under_way > 0

    def _give(self, target: Target, result: ProbeResult | TargetResult) -> None:
        self._given.append(Given(self._clock(), target, result))
        self._news.set()

    def sweep(
        self,
        targets: Iterable[Target],
        deadline: float,
        *,
        reserved: Callable[[int], float] = nothing_reserved,
        trace_steps: bool = False,
    ) -> Sweep:
        """
        Begin a sweep that is over once every target was probed, or at `deadline` (loop time) less the seconds
        that are `reserved` for so many targets that are not done.

        It joins probes under way, and takes results of up to FRESH seconds ago; not so with `trace_steps`.
        """
        loop = self._dependencies.loop
        self._latest = sweep = Sweep(loop, deadline, reserved)
        self._alone = not self._under_way
        self._under_way += 1
        sweep.beginning = loop.create_task(self._begin(sweep, targets, trace_steps=trace_steps))
        return sweep

    async def _begin(self, sweep: Sweep, targets: Iterable[Target], *, trace_steps: bool) -> None:
        """
        Queue each target, in slices, then begin those whose turn has come.
        """
        async for target in in_slices(targets):
            progress = None if trace_steps else self._shared(target, sweep)
            if progress is None:
                progress = Progress(target, sweep.started, sweep.deadline, trace_steps)
                if not trace_steps:
                    self._current[target.name] = progress
                self._wait(progress)
            sweep.progress.append(progress)
            sweep.size += 1
            progress.wanted_by.append(sweep)
            sweep.left += progress.ended is None
        sweep.begun = True
        if sweep.left:
            self._end_when_due(sweep)
            self._widening.begin(sweep.left)
            self._go_on()
        else:
            self._end(sweep)

    def _end_when_due(self, sweep: Sweep) -> None:
        """
        End a sweep when it is due: the more targets are done, the later that is.
        """
        loop = self._dependencies.loop
        if sweep.due <= loop.time():
            self._end(sweep)
        else:
            sweep.timer = loop.call_at(sweep.next_check(loop.time()), self._end_when_due, sweep)

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
        Queue a target for its turn.
        """
        target = progress.target
        last_turn, quick = math.inf, False
        for held in self._memory.known(target).endpoints.values():
            last_turn, quick = min(last_turn, held.turn), quick or held.quick
        if last_turn == math.inf:
            last_turn = NEVER
        # Those that answered come in the order in which they did.
        self._turns(target).add(_Work(progress), last_turn, 0 if quick else mixed(target), quick=quick)

    def _turns(self, target: Target) -> Turns[_Work]:
        return self._local if PROBES[target.url.scheme].local else self._far

    def _go_on(self) -> None:
        """
        Begin the work whose turn has come, a few at a time, so that the event loop can do other work.
        """
        # A task for each target would cost more than its share of a handshake: a few work through them.
        loop = self._dependencies.loop
        for turns in (self._far, self._local):
            for _ in range(BITE):
                job = turns.next()
                if job is None:
                    break
                loop.create_task(self._work(turns, job))
            else:
                loop.call_soon(self._go_on)

    async def _work(self, turns: Turns[_Work], job: Job[_Work] | None) -> None:
        while job is not None:
            progress = job.work.progress
            progress.enter()
            try:
                if progress.ended is None:
                    await self._do(job.work)
            except Exception:
                # As below: an error in one target must not end the others.
                logger.exception("internal error while probing", extra=fields(target=progress.target.name))
            finally:
                progress.leave()
                turns.over(job)
                if progress.cut:
                    # This worker ends with the target. Another one takes its place.
                    self._go_on()
            job = turns.next()

    async def _do(self, work: _Work) -> None:
        progress = work.progress
        if work.endpoint is not None:
            await self._look_when_free(work, work.endpoint)
            return
        target = progress.target
        probe = PROBES[target.url.scheme]
        progress.started = self._dependencies.loop.time()
        if reading := self._dependencies.named_files.reading(target):
            await asyncio.wait(reading)
        known = self._memory.known(target)
        found: Endpoints | None = known.located
        if found is None:
            failed, found = await caught(partial(probe.endpoints, target, self._dependencies), target)
            if found is None:
                assert failed is not None
                self._not_found(progress, failed)
                return
            # It may be configured anew by now.
            if found.lasting and known.target is target:
                known.located = found
        labels = self._memory.labels(target, [one.label for one in found.found], self._clock())
        progress.left_out = found.left_out
        progress.labels = labels
        if probe.look_all is not None and not progress.trace_steps:
            await self._look_all(progress, probe.look_all, found.found)
        elif len(labels) == 1:
            await self._look_when_free(_Work(progress, labels[0], found.found[0]), found.found[0])
            return
        else:
            self._wait_for_each(progress, labels, found.found)
        self._end_if_done(progress)

    def _not_found(self, progress: Progress, failed: Failed) -> None:
        """
        Record that the target's endpoints can't be found, and why.
        """
        assert progress.started is not None
        spent = self._dependencies.loop.time() - progress.started
        for label in self._memory.unlocated(progress.target):
            self._take(progress, ProbeResult(label, failed, spent, turn=progress.started))
        self._finish(progress, located=False)

    def _wait_for_each(
        self, progress: Progress, labels: Sequence[str], endpoints: Sequence[Endpoint]
    ) -> None:
        """
        Queue each endpoint for a turn of its own, so that a silent one does not delay the others.
        """
        for label, endpoint in zip(labels, endpoints, strict=True):
            self._queue(_Work(progress, label, endpoint))
        self._go_on()

    def _queue(self, work: _Work) -> None:
        target = work.progress.target
        held = self._memory.known(target).endpoints.get(work.label)
        last_turn = held.turn if held is not None else NEVER
        quick = held is not None and held.quick
        self._turns(target).add(work, last_turn, mixed(target), quick=quick)

    async def _look_when_free(self, work: _Work, endpoint: Endpoint) -> None:
        """
        Probe an endpoint, or leave the place to others until its address takes more.
        """
        address, loop = endpoint.address, self._dependencies.loop
        # A person who wants the steps does not wait behind thousands.
        gated = not work.progress.trace_steps
        if gated and not self._gates.enter(address, work, loop.time(), waited=work.waited):
            self._reopen_later()
            return
        try:
            await self._look(work.progress, work.label, endpoint)
        finally:
            if gated and self._gates.leave(address):
                self._queue_again(self._gates.free(loop.time(), [address]))

    def _queue_again(self, freed: Sequence[_Work]) -> None:
        for work in freed:
            self._queue(work._replace(waited=True))
        if freed:
            self._go_on()

    def _reopen_later(self) -> None:
        if self._reopening is None:
            self._reopening = self._dependencies.loop.call_later(PERIOD, self._reopen)

    def _reopen(self) -> None:
        self._reopening = None
        self._queue_again(self._gates.free(self._dependencies.loop.time()))
        if self._gates.waiting:
            self._reopen_later()

    async def _look_all(self, progress: Progress, look_all: LookAll, endpoints: Sequence[Endpoint]) -> None:
        target, labels = progress.target, progress.labels
        assert labels is not None
        progress.together = True

        def tell(position: int, outcome: Outcome, duration: float) -> None:
            label = labels[position]
            if progress.ended is not None:
                return
            if isinstance(outcome, LeftOutError):
                if progress.omitted is None:
                    progress.omitted = {}
                progress.omitted[label] = outcome.left_out
            else:
                observation = Observed(outcome) if isinstance(outcome, Facts) else failure(outcome, target)
                address = endpoints[position].address
                self._take(progress, ProbeResult(label, observation, duration, (), progress.started, address))

        failed, _ = await caught(partial(look_all, target, endpoints, self._dependencies, tell), target)
        if failed is not None:
            for label in progress.shown:
                if label not in progress.looks:
                    self._take(progress, ProbeResult(label, failed, 0.0, turn=progress.started))

    async def _look(self, progress: Progress, label: str, endpoint: Endpoint) -> None:
        look = await self._look_once(progress, label, endpoint)
        before = self._doubted(progress.target, look)
        self._take(progress, look)
        if before is not None and not progress.trace_steps:
            progress.again |= {label}
            await self._look_again(progress, label, endpoint, before)
            progress.again -= {label}
        self._end_if_done(progress)

    def _doubted(self, target: Target, look: ProbeResult) -> Facts | None:
        """
        Return the facts that may be there still, though this probe saw others; None when there are none.
        """
        held = self._memory.known(target).endpoints.get(look.label)
        after = seen_facts(look.observation)
        if held is None or held.facts is None or after is None:
            return None
        return held.doubted(target, after, self._clock())

    async def _look_again(self, progress: Progress, label: str, endpoint: Endpoint, before: Facts) -> None:
        """
        Probe until what was there `before` is seen once more, or is gone for certain.

        What is wrong with it must not count as mended because a load balancer led one probe elsewhere.
        """
        loop = self._dependencies.loop
        # The other half of the time is for what else waits.
        enough = (loop.time() + progress.deadline) / 2
        for _ in range(CERTAIN):
            if progress.ended is not None or loop.time() >= enough:
                break
            look = await self._look_once(progress, label, endpoint)
            facts = seen_facts(look.observation)
            if facts is None:
                break
            self._take(progress, look)
            if same_server(before, facts):
                break

    async def _look_once(self, progress: Progress, label: str, endpoint: Endpoint) -> ProbeResult:
        target, loop = progress.target, self._dependencies.loop
        trace = Trace(loop.time, deadline=progress.deadline, steps=[] if progress.trace_steps else None)
        started = loop.time()
        progress.begun = progress.begun or {}
        progress.begun[label] = (trace, started)
        look = PROBES[target.url.scheme].look
        if self._workers is not None and trace.steps is None:
            # What is new is work enough for this process, and so is the answer of a sweep that ends first.
            shared = self._alone and label in self._memory.known(target).endpoints
            look = self._workers.look(target, shared=shared) or look
        failed, facts = await caught(
            partial(look, target, endpoint, self._dependencies, trace), target, trace
        )
        if failed is not None:
            # Its name may lead to another address since then.
            self._dependencies.resolver.forget(target.url.host)
            # A server's words are no format.
            trace.note("failed: %s: %s", failed.reason, failed.detail)
        observation = Observed(facts) if facts is not None else failed
        assert observation is not None
        steps = tuple([(when - started, words) for when, words in trace.steps]) if trace.steps else ()
        return ProbeResult(label, observation, loop.time() - started, steps, started, endpoint.address)

    def _take(self, progress: Progress, look: ProbeResult) -> None:
        """
        Record the result of a probe.
        """
        progress.looks[look.label] = look
        self._give(progress.target, look)

    def _end_if_done(self, progress: Progress) -> None:
        if progress.ended is None and not progress.again and len(progress.looks) == len(progress.shown):
            self._finish(progress, located=True)

    def _finish(self, progress: Progress, *, located: bool) -> None:
        """
        Record that the target is done, and end the sweeps that waited for it alone.
        """
        self._settle(progress, located=located)
        for sweep in progress.wanted_by.copy():
            if sweep.finished is None:
                sweep.left -= 1
                if sweep.begun and sweep.left == 0:
                    self._end(sweep)

    def _settle(self, progress: Progress, *, located: bool) -> None:
        progress.ended = self._dependencies.loop.time()
        # In the order in which they were found, whichever ended first.
        labels = progress.looks if progress.labels is None else progress.shown
        looks = tuple([progress.looks[label] for label in labels])
        progress.final = result = TargetResult(progress.target, looks, located, progress.all_left_out)
        self._give(progress.target, result)

    def _end(self, sweep: Sweep) -> None:
        """
        End a sweep: cancel the probes that no other sweep wants, then report it as over.
        """
        sweep.finished = self._dependencies.loop.time()
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
            self._close(sweep)
            return
        # First, nothing of it begins or goes on any more: the cutting takes time, and must not delay it.
        for turns in (self._far, self._local):
            turns.keep(lambda work: bool(work.progress.wanted_by))
        self._gates.keep(lambda work: bool(work.progress.wanted_by))
        unwanted.sort(key=lambda one: not one.workers)
        sweep.cutting = self._dependencies.loop.create_task(self._cut_all(sweep, unwanted, sweep.finished))

    async def _cut_all(self, sweep: Sweep, unwanted: Iterable[Progress], now: float) -> None:
        """
        Cut these off at `now` (loop time), in slices: ten thousand take a second. Some may have ended by
        then.
        """
        async for progress in in_slices(unwanted):
            if progress.ended is None:
                self._cut(progress, now)
        self._close(sweep)

    def _close(self, sweep: Sweep) -> None:
        self._under_way -= 1
        if not self._under_way:
            self._widening.end()
        self._news.set()
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
