"""
Kubernetes: `kubernetes://[context/]namespace/name` and patterns, each key of a Secret an endpoint.

A scrape sends no requests: the objects are kept up to date by watches (`watch`, beside this).
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence

from exporter.model.errors import LeftOutError, Outcome, ProbeError
from exporter.model.observation import Facts
from exporter.model.reasons import Reason
from exporter.model.targets import Target
from exporter.probes.base import Endpoint, Endpoints, Trace
from exporter.probes.dependencies import Dependencies

AT_ONCE = 64
"""Outcomes that are reported before the event loop does other work: a cluster may have thousands."""


async def endpoints(target: Target, dependencies: Dependencies) -> Endpoints:
    """
    Return the keys that hold an item. Raises ProbeError when there is none, or it can't be known.
    """
    selection = dependencies.kubernetes.selection(target)
    try:
        await selection.ready(target.patience)
    except TimeoutError:
        raise ProbeError(
            Reason.TIMEOUT,
            f"the API server sent no whole list in {target.patience:g} s yet; it goes on listing",
        ) from None
    seen = selection.seen(dependencies.clock())
    return Endpoints(tuple(map(Endpoint, seen.outcomes)), seen.left_out)


async def look(target: Target, endpoint: Endpoint, dependencies: Dependencies, trace: Trace) -> Facts:
    """
    Return the facts in one key. Raises ProbeError.
    """
    trace.phase = "looking at what the watch gave"
    # Nothing here waits, and there may be thousands of keys.
    await asyncio.sleep(0)
    outcome = _outcomes(target, dependencies).get(endpoint.label)
    match outcome:
        case Facts():
            trace.note("%s things that expire", len(outcome.items))
            return outcome
        case ProbeError():
            # A new exception: the same failure is kept and raised many times.
            raise ProbeError(outcome.reason, outcome.detail, outcome.facts)
    raise ProbeError(Reason.NO_MATCH, f"{endpoint.label} was deleted a moment ago")


async def look_all(
    target: Target,
    endpoints: Sequence[Endpoint],
    dependencies: Dependencies,
    tell: Callable[[int, Outcome, float], None],
) -> None:
    """
    Report the outcome of all keys. Raises ProbeError.
    """
    outcomes = _outcomes(target, dependencies)
    for position, endpoint in enumerate(endpoints):
        if position % AT_ONCE == 0:
            await asyncio.sleep(0)
        outcome = outcomes.get(endpoint.label)
        if outcome is None:
            outcome = LeftOutError(endpoint.label, "it was deleted a moment ago")
        tell(position, outcome, 0.0)


def _outcomes(target: Target, dependencies: Dependencies) -> Mapping[str, Outcome]:
    return dependencies.kubernetes.selection(target).seen(dependencies.clock()).outcomes
