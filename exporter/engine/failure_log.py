"""
What the log is told of failed probes: changes only, and no more lines than can be read.
"""

import logging
from collections import Counter
from collections.abc import Iterable

from exporter.engine.memory import EndpointMemory, Memory
from exporter.engine.results import ProbeResult, TargetResult
from exporter.logs import fields
from exporter.model.observation import Failed
from exporter.model.targets import Target

logger = logging.getLogger(__name__)


FAILURE_LINES = 20
"""Changes for the worse that one sweep logs a line each for. The rest are counted in one more, and wait."""


def log_changes(results: Iterable[TargetResult], memory: Memory) -> None:
    """
    Log what is worse than the log was last told, or well again. What stays as bad is said at level debug.

    A change for the worse for which there is no room has its line after one of the next sweeps, before any
    that comes then: each reason comes into the log, with the server's own words.
    """
    worse: list[tuple[EndpointMemory, Target, ProbeResult, Failed]] = []
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


def _log_worse(worse: list[tuple[EndpointMemory, Target, ProbeResult, Failed]]) -> None:
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


def log_failure(level: int, target: Target, look: ProbeResult, failed: Failed) -> None:
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
