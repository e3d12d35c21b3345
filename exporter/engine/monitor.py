"""
A monitor: a set of targets, probed and remembered together.

The service keeps two: one for the configured targets, one for those that only /probe names.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Container, Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

from exporter.engine import due
from exporter.engine.absent import forget_absent, is_still_listed
from exporter.engine.by_turns import Shown, most_important
from exporter.engine.caught import failure
from exporter.engine.collector import fit_collector, spare_the_first
from exporter.engine.covering import Covering
from exporter.engine.failure_log import log_changes
from exporter.engine.gates import USUAL, Limits
from exporter.engine.in_place import NOTHING, InPlace, in_place
from exporter.engine.lasting import problem_batches, problem_rows
from exporter.engine.logged import Logged
from exporter.engine.memory import EndpointMemory, Memory, TargetMemory, take_facts
from exporter.engine.reserve import Reserve, nothing_reserved
from exporter.engine.results import ProbeResult, TargetResult, seen_facts
from exporter.engine.scrape import EndpointRow, Scrape, TargetRow
from exporter.engine.slices import in_slices
from exporter.engine.sweep import FRESH, Sweeper
from exporter.engine.workers import Workers
from exporter.judgement.coverage import Coverage
from exporter.judgement.issued import NONE
from exporter.judgement.verdicts import Verdict, judge_again
from exporter.logs import fields
from exporter.lookups.enrich import enrich, is_concerned, told
from exporter.model.coverage import Rules
from exporter.model.issuance import Issuance
from exporter.model.observation import Facts, Observation
from exporter.model.targets import Target
from exporter.probes import PROBES
from exporter.probes.dependencies import Dependencies

logger = logging.getLogger(__name__)


SETTLING = 1.0
"""Seconds between two rounds of look-ups, while some of the earlier ones have no answer."""


TOGETHER = 0.03
"""Seconds in which results are gathered: one after the other, between handshakes, each would take longer."""


@dataclass(frozen=True, slots=True)
class _Scraping:
    """
    A scrape under way, whose result other callers may share.
    """

    targets: tuple[Target, ...]
    began: float
    deadline: float
    task: "asyncio.Task[Scrape]"


class Monitor:
    """
    Probes targets, enriches the results, remembers and judges them: one stage after the other.
    """

    def __init__(
        self,
        dependencies: Dependencies,
        concurrency: int,
        clock: Callable[[], float],
        on_judged: Callable[[EndpointRow], None] = lambda _: None,
        processes: int | None = 1,
        limits: Limits = USUAL,
    ) -> None:
        """
        `on_judged` is called with each new verdict while other probes are under way. `clock` returns seconds
        since the epoch. `processes` is the number of those that probe, this one included; None: by the number
        of targets and of processors. `limits` are those of each address.
        """
        self.workers = Workers(dependencies.loop, processes)
        self.memory = Memory()
        self._logged = Logged()
        """The issuances and targets that it was made of."""
        self._dependencies = dependencies
        self._clock = clock
        self._on_judged = on_judged
        self._sweeper = Sweeper(dependencies, self.memory, concurrency, clock, self.workers, limits)
        self._anchors = dependencies.authorities.files
        self._covering = Covering(dependencies)
        self._rules: Rules | None = None
        self._unlogged: list[TargetResult] = []
        """Results that have not been logged yet."""
        self._scraping: _Scraping | None = None
        self._taking: asyncio.Task[None] | None = None
        self._judging: asyncio.Task[None] | None = None
        """Judges what was restored; None where nothing was."""

    def start(self, targets: tuple[Target, ...], *, restored: bool) -> None:
        """
        Start the processes that help with these targets, and judge what was `restored` from before a restart.
        """
        if restored:
            self._judging = self._dependencies.loop.create_task(self.judge_restored(targets))
        self.workers.serve(targets)

    async def close(self) -> None:
        """
        Judge no more of what was restored, and end the processes that help.
        """
        if self._judging is not None:
            self._judging.cancel()
        await self.workers.close()

    @property
    def done(self) -> int:
        """
        Number of targets that the latest sweep has finished.
        """
        return self._sweeper.done

    async def scrape(
        self,
        targets: Iterable[Target],
        timeout: float,
        wanted: Container[str] | None = None,
        issued: Collection[Issuance] = (),
        rules: Rules | None = None,
        reserve: Reserve | None = None,
        endpoints: int = 0,
    ) -> Scrape:
        """
        Probe the targets that are due, or join probes under way, and return the results within `timeout`
        seconds, or as many sooner as the `reserve` has for a response with so many `endpoints`, or with as
        many as there are targets.

        A caller that comes within FRESH seconds of another one, and has as much time, gets the same result.
        Targets whose names are not `wanted` any more at the end, since the configuration changed, are left
        out; None: all are wanted.
        `issued` are the certificates that public logs know. `rules` say what is told of names that none of
        the targets looks at; None: there are other targets.
        """
        all_of_them, self._rules = tuple(targets), rules
        reserved: Callable[[int], float] = nothing_reserved
        if reserve is not None:
            number = len(all_of_them)
            least, reserved = reserve.before_end(max(number, endpoints), number, timeout)
            timeout -= least
        now = self._dependencies.loop.time()
        shared = self._scraping
        if (
            shared is None
            or shared.task.done()
            or now - shared.began > FRESH
            or not 0 <= now + timeout - shared.deadline <= FRESH
            or shared.targets != all_of_them
        ):
            # A task of its own: when one caller goes away, the others still want the result.
            task = self._dependencies.loop.create_task(
                self._scrape(all_of_them, timeout, wanted, issued, reserved)
            )
            self._scraping = shared = _Scraping(all_of_them, now, now + timeout, task)
        return await asyncio.shield(shared.task)

    async def _scrape(
        self,
        targets: tuple[Target, ...],
        timeout: float,
        wanted: Container[str] | None,
        issued: Collection[Issuance],
        reserved: Callable[[int], float],
    ) -> Scrape:
        timeout -= await self._logged.compare(issued, targets, self._dependencies.loop.time)
        self.workers.serve(targets)
        fit_collector(len(targets))
        scrape = await self._sweep(targets, timeout, wanted, reserved, by_interval=True)
        self.memory.keep_only(row.target.name for row in scrape.targets)
        spare_the_first()
        return scrape

    async def judge_restored(self, targets: Iterable[Target]) -> None:
        """
        Judge what was seen before a restart, so that the first scrape need not do it for all of them.
        """
        async for target in in_slices(targets):
            await self._dependencies.named_files.ready(target)
            for label, held in self.memory.known(target).endpoints.items():
                if held.facts is None or held.judged is not None:
                    continue
                try:
                    verdict = self._judge(target, held, self._clock(), seen=False)
                except Exception:
                    logger.exception("internal error while judging", extra=fields(target=target.name))
                    continue
                if verdict is not None:
                    self._on_judged(EndpointRow(target, label, held, verdict))

    async def look_once(
        self, targets: Iterable[Target], timeout: float, rules: Rules | None = None
    ) -> Scrape:
        """
        Probe the targets, wait for the look-ups that follow, and return the results within `timeout` seconds.

        For a process that then ends: a look-up without an answer by that time is a failure. `rules` are those
        of `scrape`.
        """
        deadline = self._dependencies.loop.time() + timeout
        scrape = await self.scrape(targets, timeout, rules=rules)
        asked = self._dependencies.lookups
        left = deadline - self._dependencies.loop.time()
        # One answer may lead to the next look-up (of ACME), and not all are made at once.
        while left > 0:
            await asked.settle(min(SETTLING, left))
            self._add_what_is_known(scrape)
            left = deadline - self._dependencies.loop.time() if asked.unsettled else 0.0
        asked.give_up(f"there was no answer in time ({timeout:g} s for all): raise --timeout")
        self._add_what_is_known(scrape)
        now = self._clock()
        targets = [row.target for row in scrape.targets]
        await self._covering.compare(targets, tuple(self._rows(scrape.results, now)), rules)
        rows = tuple(self._rows(scrape.results, now))
        found = problem_rows(self.memory, targets, rows, now, scrape.issuances)
        return replace(scrape, endpoints=rows, problems=found, at=now, coverage=self._covering.coverage)

    def _add_what_is_known(self, scrape: Scrape) -> None:
        """
        Add the answers of look-ups that have come in since then to the results of a scrape.
        """
        now = self._clock()
        for result in scrape.results:
            looks = tuple(self._enriched(result.target, look) for look in result.looks)
            self.memory.update(replace(result, looks=looks), now)

    def _enriched(self, target: Target, probe: ProbeResult, *, tell: bool = False) -> ProbeResult:
        """
        Return a probe's result enriched by the answers of look-ups; `tell` adds each answer to its steps.
        """
        if probe.address is None:
            return probe
        held = self.memory.known(target).endpoints.get(probe.label)
        facts = probe.observation.facts
        # Others than look-ups know things, too, that are to be told.
        if held is not None and not tell and facts is not None and held.unconcerned is facts:
            return probe
        try:
            observation = enrich(
                probe.observation, target, probe.address, self._dependencies, self._dependencies.authorities
            )
            if held is not None:
                held.unconcerned = _unconcerned(probe.observation, target)
        except Exception as error:  # noqa: BLE001 - it is logged with its traceback
            observation = failure(error, target)
        facts = seen_facts(observation) if tell else None
        steps = tuple((probe.duration, words) for words in told(facts, target)) if facts is not None else ()
        if observation is probe.observation and not steps:
            return probe
        return replace(probe, observation=observation, steps=probe.steps + steps)

    async def probe(self, target: Target, timeout: float, *, trace_steps: bool = False) -> Scrape:
        """
        Probe one target, and return the result within `timeout` seconds. `trace_steps` records each step.
        """
        return await self._sweep([target], timeout, trace_steps=trace_steps)

    async def _sweep(
        self,
        targets: Iterable[Target],
        timeout: float,
        wanted: Container[str] | None = None,
        reserved: Callable[[int], float] = nothing_reserved,
        *,
        by_interval: bool = False,
        trace_steps: bool = False,
    ) -> Scrape:
        """
        Return what is known of all targets after a probe of each; `by_interval`: of those that are due only.
        """
        targets = tuple(targets)
        # Everything that verdicts need, also for remembered targets whose turn does not come.
        self._dependencies.named_files.begin({target.ca_file for target in targets})
        deadline = self._dependencies.loop.time() + timeout
        waiting = await self._waiting(targets) if by_interval else frozenset()
        probed = [one for one in targets if one.name not in waiting] if waiting else targets
        sweep = self._sweeper.sweep(probed, deadline, reserved=reserved, trace_steps=trace_steps)
        if self._taking is None or self._taking.done():
            self._taking = self._dependencies.loop.create_task(self._take_meanwhile())
        # Not awaited itself: whoever stops waiting must not end it.
        await asyncio.wait([sweep.over])
        await self._take_given()
        now = self._clock()
        given = in_slices(sweep.results(self.memory, self._dependencies.loop.time()))
        results = tuple([one async for one in given if wanted is None or one.target.name in wanted])
        if waiting:
            results = await self._with_waiting(targets, waiting, results, wanted, now)
        if trace_steps:
            results = tuple(
                replace(one, looks=tuple(self._enriched(one.target, look, tell=True) for look in one.looks))
                for one in results
            )
        unlogged, self._unlogged = self._unlogged, []
        await log_changes(unlogged, self.memory)
        targets_shown = tuple([self._target_row(one.target) async for one in in_slices(results)])
        told = self._covering.problems
        rows = tuple([row async for row in in_slices(self._rows(results, now))])
        # What was seen at other targets is not known from logs alone: it takes a look at all of them.
        issuances = self._logged.issuances if by_interval else NONE
        if by_interval:
            await self._covering.compare([one.target for one in targets_shown], rows, self._rules)
            if self._covering.problems is not told:
                rows = tuple([one async for one in in_slices(map(self._covering.told, rows))])
        batches = problem_batches(self.memory, (one.target for one in results), rows, now, issuances)
        found = [row async for few in in_slices(batches) for row in few]
        assert sweep.finished is not None
        return Scrape(
            targets_shown,
            rows,
            results,
            sweep.finished - sweep.started,
            timeout,
            sweep.complete,
            now,
            min(sweep.finished, deadline),
            sweep.left,
            tuple(found),
            issuances,
            self._covering.coverage if by_interval else Coverage(),
        )

    async def _waiting(self, targets: Iterable[Target]) -> AbstractSet[str]:
        """
        Return the names of the targets that are not due.
        """
        now = self._clock()
        limited = in_slices(one for one in targets if one.interval)
        return {one.name async for one in limited if not due.is_due(one, self.memory.known(one), now)}

    async def _with_waiting(
        self,
        targets: Iterable[Target],
        waiting: AbstractSet[str],
        results: Iterable[TargetResult],
        wanted: Container[str] | None,
        now: float,
    ) -> tuple[TargetResult, ...]:
        """
        Return the results in the order of the targets, with an empty one for each that was not probed.
        """
        probed = {one.target.name: one for one in results}
        found: list[TargetResult] = []
        async for target in in_slices(targets):
            result = probed.get(target.name)
            if result is None and target.name in waiting and (wanted is None or target.name in wanted):
                self._take_answers(target, now)
                result = TargetResult(target, (), located=False)
            if result is not None:
                found.append(result)
        return tuple(found)

    def _take_answers(self, target: Target, now: float) -> None:
        """
        Add the answers of look-ups, which keep their own pace, to what the last probe of a target saw.
        """
        known = self.memory.known(target)
        for held in known.endpoints.values():
            if held.plain is None or seen_facts(held.observation) is None:
                continue
            observation = self._enriched(target, held.plain).observation
            facts = seen_facts(observation)
            if facts is not None and facts is not seen_facts(held.observation):
                held.observation = observation
                take_facts(held, facts, held.seen_at, now, known)

    def _target_row(self, target: Target) -> TargetRow:
        left_out = len(self.memory.known(target).left_out)
        return TargetRow(target, PROBES[target.url.scheme].name, left_out)

    async def _take_meanwhile(self) -> None:
        """
        Take in results while other probes are under way, so that the answer is ready sooner at the end.
        """
        more = True
        while more:
            more = await self._sweeper.more()
            if more:
                await asyncio.sleep(TOGETHER)
            await self._take_given()

    async def _take_given(self) -> None:
        """
        Remember and judge the results that the sweeper has by now, in slices: one target may give thousands.
        """
        async for given in in_slices(self._sweeper.given()):
            try:
                self._take(*given)
            except Exception:
                # An error in one target must not end the others.
                logger.exception(
                    "internal error while taking in what was seen", extra=fields(target=given.target.name)
                )

    def _take(self, at: float, target: Target, result: ProbeResult | TargetResult) -> None:
        if isinstance(result, TargetResult):
            self.memory.settle(result, at)
            self._unlogged.append(result)
            return
        held = self.memory.take(target, self._enriched(target, result), at)
        held.plain = result if target.interval else None
        before = held.judged
        self._judge(target, held, at)
        if held.judged is not before and held.judged is not None:
            self._on_judged(EndpointRow(target, result.label, held, held.judged.verdict))

    def _judge(
        self, target: Target, held: EndpointMemory, now: float, *, seen: bool = True
    ) -> Verdict | None:
        """
        Judge an endpoint's facts at `now` (seconds since the epoch). None when there never were any.

        `seen` is False for an endpoint that was not probed this time.
        """
        if held.facts is None:
            return held.judged.verdict if held.judged is not None else None
        anchors = self._anchors.anchors(target.ca_file)
        held.judged = judge_again(held.judged, held.facts, target, anchors, now, held.past.habits)
        verdict = held.judged.verdict
        is_new = seen and not verdict.faults and held.facts.presented
        # What none of the expected CAs issued does not count as what was in service.
        if is_new and seen_facts(held.observation) is not None and not verdict.foreign:
            held.past.trusted_at = held.seen_at
        return verdict

    def _rows(self, results: Iterable[TargetResult], now: float) -> Iterator[EndpointRow]:
        """
        Yield a row for each endpoint of the targets, with a state that later probes do not change.
        """
        problems = self._covering.problems
        for result in results:
            target = result.target
            known = self.memory.known(target)
            absent = self._absent(target, known, now) if known.absent else NOTHING
            cut: dict[str, ProbeResult] = {}
            if result.going_on:
                cut = {look.label: look for look in result.looks if look.label in result.going_on}
            for label, held in known.endpoints.items():
                others = absent
                if held.others:
                    others = others.and_more(self._others(target, label, held, now))
                # Endpoints that the name does not lead to now stand beside the first that it does.
                absent = NOTHING
                verdict, shown = self._judge(target, held, now), held.copy()
                if (look := cut.pop(label, None)) is not None:
                    shown.observation, shown.duration = look.observation, look.duration
                # Also where no probe ended: its turn has not come since a restart, or never does.
                if seen_facts(shown.observation) is None:
                    shown.past.note_failure(now)
                names = problems.get((target.name, label), ()) if problems else ()
                yield EndpointRow(target, label, shown, verdict, others.others, others.before, names)
            for label, look in cut.items():
                yield EndpointRow(target, label, EndpointMemory(look.observation, look.duration), None)

    def _absent(self, target: Target, known: TargetMemory, now: float) -> InPlace:
        """
        Return what was last seen at endpoints that the target's name may lead to again.
        """
        for held in known.absent.values():
            self._judge(target, held, now, seen=False)
        forget_absent(known, now)
        found = InPlace()
        for label, held in known.absent.items():
            if held.facts is None or held.seen_at is None:
                continue
            last = Shown(held.facts, held.seen_at, held.listed, held.judged)
            found = found.and_more(in_place(target, label, held, [last], known.looks, now))
            if is_still_listed(known, held, now):
                found = found.and_more(self._others(target, label, held, now))
        return found

    def _others(self, target: Target, label: str, held: EndpointMemory, now: float) -> InPlace:
        """
        Return what other servers showed at this endpoint.
        """
        for one in held.others:
            anchors = self._anchors.anchors(target.ca_file)
            one.judged = judge_again(one.judged, one.facts, target, anchors, now, held.past.habits)
        held.others = most_important(held.others, held.looks, now)
        return in_place(target, label, held, held.others, held.looks, now)


def _unconcerned(seen: Observation, target: Target) -> Facts | None:
    """
    Return the facts of an observation if no look-up has to do with them, else None.
    """
    facts = seen_facts(seen)
    return facts if facts is not None and not is_concerned(facts, target) else None
