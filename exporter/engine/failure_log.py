"""
Log of failed probes: one line for each change, limited in number for each sweep.
"""

import logging
from collections import Counter
from collections.abc import Iterable

from exporter.engine.memory import EndpointMemory, Memory
from exporter.engine.results import ProbeResult, TargetResult
from exporter.engine.slices import in_slices
from exporter.logs import fields
from exporter.model.observation import Failed
from exporter.model.targets import Target

logger = logging.getLogger(__name__)


FAILURE_LINES = 20
"""Most changes for the worse that one sweep logs with a line each. The rest share one line, and wait."""


async def log_changes(results: Iterable[TargetResult], memory: Memory) -> None:
    """
    Log each endpoint that fails for another reason than was last logged, or that is seen again; in slices.

    A failure whose reason is unchanged is logged at level debug. A change that exceeds FAILURE_LINES has its
    line after one of the next sweeps, before newer ones: each reason is logged, with the server's own words.
    """
    worse: list[tuple[EndpointMemory, Target, ProbeResult, Failed]] = []
    better = 0
    async for result in in_slices(results):
        endpoints = memory.known(result.target).endpoints
        for look in result.looks:
            held = endpoints.get(look.label)
            if held is None:
                continue  # a later probe found that it is gone
            if not isinstance(look.observation, Failed):
                if held.logged is not None:
                    better += 1
                    if better <= FAILURE_LINES:
                        logger.info(
                            "seen again", extra=fields(target=result.target.name, location=look.label)
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
    Log a line for each failure that has waited longest, and one line for all that must wait.
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
    Log one failed probe in one line, at `level`.
    """
    logger.log(
        level,
        "probe failed",
        extra=fields(
            target=target.name,
            location=look.label,
            reason=str(failed.reason),
            cause=failed.detail,
            duration=round(look.duration, 3),
        ),
    )
