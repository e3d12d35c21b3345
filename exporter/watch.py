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
from exporter.judgement import Verdict, judge_again
from exporter.logs import fields
from exporter.lookups import lookups
from exporter.memory import Held, Look, Memory, Result, seen_facts
from exporter.metrics import EndpointRow, TargetRow
from exporter.network import Network
from exporter.observation import Failed, Observed
from exporter.probes import PROBES
from exporter.probes.additions import base
from exporter.sweep import FRESH, Sweeper
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
    ended: float = 0.0
    """Loop time at which its sweep ended, or was to end: what follows is the making of the answer."""

    @property
    def failures(self) -> int:
        """
        Endpoints whose look failed.
        """
        return sum(isinstance(row.held.observation, Failed) for row in self.endpoints)


@dataclass(frozen=True, slots=True)
class _Scraping:
    """
    A scrape under way, whose answer others may have too.
    """

    targets: tuple[Target, ...]
    began: float
    deadline: float
    task: "asyncio.Task[Scrape]"


class Watch:
    """
    Looks at targets, remembers what was seen, and judges it.
    """

    def __init__(
        self,
        network: Network,
        concurrency: int,
        clock: Callable[[], float],
        on_judged: Callable[[EndpointRow], None] = lambda _: None,
    ) -> None:
        """
        `on_judged` is told of each new verdict, while others are looked at.
        """
        self.memory = Memory()
        self._network = network
        self._clock = clock
        self._on_judged = on_judged
        self._sweeper = Sweeper(network, self.memory, concurrency, clock, self._judge_look, self._note_end)
        self._anchors = AnchorFiles()
        self._unlogged: list[Result] = []
        """What targets gave since the log was last told."""
        self._scraping: _Scraping | None = None

    @property
    def done(self) -> int:
        """
        Targets that the latest sweep is done with.
        """
        return self._sweeper.done

    async def scrape(
        self, targets: Iterable[Target], timeout: float, wanted: Callable[[Target], bool]
    ) -> Scrape:
        """
        Look at the targets, or join the looks under way, and tell within this many seconds what is known.

        Who comes a moment after another one, and has as much time, gets the same answer. Targets that are not
        wanted any more by then, since the configuration changed, are left out.
        """
        all_of_them = tuple(targets)
        now = self._network.loop.time()
        shared = self._scraping
        if (
            shared is None
            or shared.task.done()
            or now - shared.began > FRESH
            or not 0 <= now + timeout - shared.deadline <= FRESH
            or shared.targets != all_of_them
        ):
            # A task of its own: when one who asked goes away, the others still want the answer.
            task = self._network.loop.create_task(self._scrape(all_of_them, timeout, wanted))
            self._scraping = shared = _Scraping(all_of_them, now, now + timeout, task)
        return await asyncio.shield(shared.task)

    async def _scrape(
        self, targets: tuple[Target, ...], timeout: float, wanted: Callable[[Target], bool]
    ) -> Scrape:
        scrape = await self._sweep(targets, timeout, wanted)
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
        rows = tuple(self._rows(scrape.results, now))
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
        return await self._sweep([target], timeout, lambda _: True, trace_steps=trace_steps)

    async def _sweep(
        self,
        targets: Iterable[Target],
        timeout: float,
        wanted: Callable[[Target], bool],
        *,
        trace_steps: bool = False,
    ) -> Scrape:
        self._anchors.begin()
        deadline = self._network.loop.time() + timeout
        sweep = self._sweeper.sweep(targets, deadline, trace_steps=trace_steps)
        # Not awaited itself: whoever stops waiting must not end it.
        await asyncio.wait([sweep.over])
        now = self._clock()
        results = tuple(
            one for one in sweep.results(self.memory, self._network.loop.time()) if wanted(one.target)
        )
        log_changes(self._unlogged, self.memory)
        self._unlogged.clear()
        targets_shown = tuple(
            TargetRow(
                one.target,
                PROBES[one.target.url.scheme].name,
                len(self.memory.known(one.target).left_out),
            )
            for one in results
        )
        rows = tuple(self._rows(results, now))
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
        )

    def _judge_look(self, target: Target, label: str, held: Held) -> None:
        """
        Judge what a look gave, while others are waited for.
        """
        before = held.judged
        self._judge(target, held, self._clock())
        if held.judged is not before and held.judged is not None:
            self._on_judged(EndpointRow(target, label, held, held.judged.verdict))

    def _note_end(self, result: Result) -> None:
        self._unlogged.append(result)

    def _judge(self, target: Target, held: Held, now: float) -> Verdict | None:
        """
        The verdict on what is known of an endpoint; None when nothing ever was seen there.
        """
        if held.facts is None:
            return held.judged.verdict if held.judged is not None else None
        anchors = self._anchors.anchors(target.ca_file)
        held.judged = judge_again(held.judged, held.facts, target, anchors, now)
        verdict = held.judged.verdict
        if not verdict.faults and held.facts.presented and seen_facts(held.observation) is not None:
            held.past.trusted_at = held.seen_at
        return verdict

    def _rows(self, results: Iterable[Result], now: float) -> Iterator[EndpointRow]:
        """
        What is known of each target's endpoints now, whatever later looks give.
        """
        for result in results:
            target = result.target
            cut = {look.label: look for look in result.looks if look.label in result.going_on}
            for label, held in self.memory.known(target).endpoints.items():
                verdict, shown = self._judge(target, held, now), held.copy()
                look = cut.pop(label, None)
                if look is not None:
                    shown.observation, shown.duration = look.observation, look.duration
                yield EndpointRow(target, label, shown, verdict)
            for label, look in cut.items():
                yield EndpointRow(target, label, Held(look.observation, look.duration), None)


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
            held = endpoints.get(look.label)
            if held is None:
                continue  # another look since then found that it is gone
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
