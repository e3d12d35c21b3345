"""
A watch: a set of targets with what is known of them.

The service keeps two: one over the configured targets, one over those that are
only ever asked for by /probe.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from exporter.anchors import AnchorFiles
from exporter.judgement import Judged, judge_again
from exporter.logs import fields
from exporter.lookups import lookups
from exporter.memory import Held, Look, Memory, Result, seen_facts
from exporter.metrics import EndpointRow, TargetRow
from exporter.network import Network
from exporter.observation import Facts, Failed, Observed
from exporter.probes import PROBES
from exporter.probes.additions import base
from exporter.sweep import Sweep, Sweeper
from exporter.targets import Target

logger = logging.getLogger(__name__)

SETTLING = 1.0
"""Seconds after which more is asked, while some of what was asked has no answer."""

FAILURE_LINES = 20
"""Changes for the worse that one sweep logs a line each for. The rest are counted in one more, and wait."""


@dataclass(frozen=True, slots=True)
class Scrape:
    """
    What one scrape saw: rows to export, and the results behind them.
    """

    targets: tuple[TargetRow, ...]
    endpoints: tuple[EndpointRow, ...]
    results: tuple[Result, ...]
    duration: float
    """Seconds that the sweep took, or has taken so far."""
    timeout: float
    """Seconds that it might have taken."""
    complete: bool
    """True when every endpoint was looked at."""
    at: float
    """When it was made, in seconds since the epoch."""

    @property
    def failures(self) -> int:
        """
        Endpoints whose look failed.
        """
        return sum(isinstance(row.held.observation, Failed) for row in self.endpoints)


class Watch:
    """
    Sweeps targets, remembers what was seen, and judges it.
    """

    def __init__(self, network: Network, concurrency: int, clock: Callable[[], float]) -> None:
        self.memory = Memory()
        self._network = network
        self._clock = clock
        self._sweeper = Sweeper(network, self.memory, concurrency, clock, self._judge_new)
        self._anchors = AnchorFiles()
        self._new: dict[tuple[str, str], Judged] = {}
        """The first verdict on endpoints that the sweep under way saw for the first time."""
        self._applied: Sweep | None = None

    @property
    def done(self) -> int:
        """
        Targets that the sweep under way, or the last one, is done with.
        """
        return self._sweeper.done

    async def scrape(
        self, targets: Iterable[Target], timeout: float, wanted: Callable[[Target], bool]
    ) -> Scrape:
        """
        Look at the targets, or join a sweep under way, and tell within this many seconds what is known.

        Targets that are not wanted any more by then, since the configuration changed, are left out.
        """
        sweep = self._sweeper.sweep(targets, self._network.loop.time() + timeout)
        await asyncio.wait([sweep.task], timeout=timeout)
        scrape = self._take(sweep, timeout, wanted)
        self.memory.keep_only(row.target.name for row in scrape.targets)
        return scrape

    async def look_once(self, targets: Iterable[Target], timeout: float) -> Scrape:
        """
        Look at the targets, wait for all that this asked of others, and tell within this many seconds.

        For a process that ends then: what has no answer by that time is called a failure for good.
        """
        deadline = self._network.loop.time() + timeout
        scrape = await self.scrape(targets, timeout, lambda _: True)
        asked = lookups(self._network)
        left = deadline - self._network.loop.time()
        # One answer may lead to the next question (of ACME), and not all are asked at once.
        while left > 0:
            await asked.settle(min(SETTLING, left))
            self._add_what_is_known(scrape)
            left = deadline - self._network.loop.time() if asked.unsettled else 0.0
        asked.give_up(f"there was no answer in time ({timeout:g} s for all): raise --timeout")
        self._add_what_is_known(scrape)
        now = self._clock()
        rows = tuple(self._rows((one.target for one in scrape.results), now))
        return replace(scrape, endpoints=rows, at=now)

    def _add_what_is_known(self, scrape: Scrape) -> None:
        """
        Take in what was seen once more, with what is known besides by now.
        """
        now = self._clock()
        for result in scrape.results:
            looks = tuple(self._with_additions(look, result.target) for look in result.looks)
            self.memory.update(replace(result, looks=looks), now)

    def _with_additions(self, look: Look, target: Target) -> Look:
        facts = seen_facts(look.observation)
        if facts is None:
            return look
        facts = PROBES[target.url.scheme].additions(base(facts), target, self._network)
        if isinstance(look.observation, Failed):
            return replace(look, observation=replace(look.observation, facts=facts))
        return replace(look, observation=Observed(facts))

    async def probe(self, target: Target, timeout: float, *, trace_steps: bool = False) -> Scrape:
        """
        Look at this one target, and tell within this many seconds what is known of it.
        """
        deadline = self._network.loop.time() + timeout
        sweep = self._sweeper.begin([target], deadline, trace_steps=trace_steps)
        await asyncio.wait([sweep.task], timeout=timeout)
        return self._take(sweep, timeout, lambda _: True)

    def _take(self, sweep: Sweep, timeout: float, wanted: Callable[[Target], bool]) -> Scrape:
        now = self._clock()
        loop_now = self._network.loop.time()
        results = tuple(one for one in sweep.results(self.memory, loop_now) if wanted(one.target))
        # Two scrapes that shared a finished sweep learn the same from it: once is enough.
        if self._applied is not sweep:
            for result in results:
                self.memory.update(result, now)
            log_changes(results, self.memory)
            self._applied = sweep if sweep.task.done() else None
        targets = tuple(
            TargetRow(
                one.target,
                PROBES[one.target.url.scheme].name,
                len(self.memory.known(one.target).left_out),
            )
            for one in results
        )
        rows = tuple(self._rows((one.target for one in results), now))
        self._new.clear()
        return Scrape(
            targets,
            rows,
            results,
            (sweep.finished if sweep.finished is not None else loop_now) - sweep.started,
            timeout,
            sweep.complete,
            now,
        )

    def _judge_new(self, target: Target, label: str, facts: Facts) -> None:
        """
        Judge what is seen for the first time, while others are waited for.
        """
        held = self.memory.known(target).endpoints.get(label)
        if held is None or held.facts is None:
            anchors = self._anchors.anchors(target.ca_file)
            self._new[target.name, label] = judge_again(None, facts, target, anchors, self._clock())

    def _rows(self, targets: Iterable[Target], now: float) -> Iterator[EndpointRow]:
        self._anchors.begin()
        for target in targets:
            anchors = self._anchors.anchors(target.ca_file)
            for label, held in self.memory.known(target).endpoints.items():
                if held.facts is not None:
                    before = held.judged or self._new.get((target.name, label))
                    held.judged = judge_again(before, held.facts, target, anchors, now)
                verdict = held.judged.verdict if held.judged is not None else None
                if (
                    verdict is not None
                    and not verdict.faults
                    and held.seen_at == now
                    and held.facts is not None
                    and held.facts.presented
                ):
                    held.past.trusted_at = now
                yield EndpointRow(target, label, held, verdict)


def log_changes(results: Iterable[Result], memory: Memory) -> None:
    """
    Log what is worse than the log was last told, or well again. What stays as bad is said at level debug.

    A change for the worse for which there is no room has its line after one of the next sweeps, before any
    that comes then: each reason comes into the log, with the server's own words.
    """
    worse: list[tuple[Held, Target, Look, Failed]] = []
    better = 0
    for result in results:
        endpoints = memory.known(result.target).endpoints
        for look in result.looks:
            held = endpoints[look.label]
            if not isinstance(look.observation, Failed):
                if held.logged is not None:
                    better += 1
                    if better <= FAILURE_LINES:
                        logger.info(
                            "seen again", extra=fields(target=result.target.name, endpoint=look.label)
                        )
                held.logged, held.unlogged = None, 0
            elif held.logged is not look.observation.reason:
                worse.append((held, result.target, look, look.observation))
            else:
                held.unlogged = 0
                log_failure(logging.DEBUG, result.target, look, look.observation)
    if better > FAILURE_LINES:
        logger.info("more were seen again, not logged one by one", extra=fields(count=better - FAILURE_LINES))
    _log_worse(worse)


def _log_worse(worse: list[tuple[Held, Target, Look, Failed]]) -> None:
    """
    A line each for those that have waited longest, and one for all that have to wait.
    """
    worse.sort(key=lambda one: one[0].unlogged, reverse=True)
    for held, target, look, failed in worse[:FAILURE_LINES]:
        held.logged, held.unlogged = failed.reason, 0
        log_failure(logging.WARNING, target, look, failed)
    waiting = worse[FAILURE_LINES:]
    for held, *_ in waiting:
        held.unlogged += 1
    if waiting:
        rest = Counter(str(failed.reason) for *_, failed in waiting)
        logger.warning(
            "more probes failed, logged after the next scrapes",
            extra=fields(
                count=rest.total(), reasons=", ".join(f"{one}: {many}" for one, many in rest.items())
            ),
        )


def log_failure(level: int, target: Target, look: Look, failed: Failed) -> None:
    """
    One line for one failed probe.
    """
    logger.log(
        level,
        "probe failed",
        extra=fields(
            target=target.name,
            endpoint=look.label,
            reason=str(failed.reason),
            cause=failed.detail,
            duration=round(look.duration, 3),
        ),
    )
