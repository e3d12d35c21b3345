"""
A watch: a set of targets with what is known of them.

The service keeps two: one over the configured targets, one over those that are
only ever asked for by /probe.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from exporter.anchors import AnchorFiles
from exporter.judgement import Judged, judge_again
from exporter.logs import fields
from exporter.memory import NOT_LOOKED_AT, Held, Look, Memory, Result
from exporter.metrics import EndpointRow, TargetRow
from exporter.network import Network
from exporter.observation import Facts, Failed
from exporter.probes import PROBES
from exporter.sweep import Sweep, Sweeper
from exporter.targets import Target

logger = logging.getLogger(__name__)

FAILURE_LINES = 20
"""Changes for the worse that one sweep logs a line each for. The rest are counted in one more line."""


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
            log_changes(results, self.memory)
            for result in results:
                self.memory.update(result, now)
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
    Log what is worse, or well again, than at the last look. What stays as bad is said at level debug only.
    """
    worse: list[tuple[Target, Look, Failed]] = []
    better = 0
    for result in results:
        endpoints = memory.known(result.target).endpoints
        for look in result.looks:
            before = endpoints.get(look.label)
            if before is not None and before.observation is NOT_LOOKED_AT:
                before = None
            if isinstance(look.observation, Failed):
                if _is_news(before, look.observation):
                    worse.append((result.target, look, look.observation))
                else:
                    log_failure(logging.DEBUG, result.target, look, look.observation)
            elif before is not None and isinstance(before.observation, Failed):
                better += 1
                if better <= FAILURE_LINES:
                    logger.info("seen again", extra=fields(target=result.target.name, endpoint=look.label))
    if better > FAILURE_LINES:
        logger.info("more were seen again, not logged one by one", extra=fields(count=better - FAILURE_LINES))
    for target, look, failed in worse[:FAILURE_LINES]:
        log_failure(logging.WARNING, target, look, failed)
    if len(worse) > FAILURE_LINES:
        rest = Counter(str(failed.reason) for _, _, failed in worse[FAILURE_LINES:])
        logger.warning(
            "more probes failed, not logged one by one",
            extra=fields(
                count=rest.total(), reasons=", ".join(f"{one}: {many}" for one, many in rest.items())
            ),
        )


def _is_news(before: Held | None, failed: Failed) -> bool:
    return (
        before is None
        or not isinstance(before.observation, Failed)
        or before.observation.reason is not failed.reason
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
