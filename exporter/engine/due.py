"""
The targets that a scrape probes: all but those with an `interval` that is not over yet.

Pure: the clock is an argument. Each target has its own times, spread over the interval by its name and the
same after a restart, so that not all are due in one scrape.
"""

import math
import zlib

from exporter.engine.memory import EndpointMemory, TargetMemory
from exporter.engine.results import seen_facts
from exporter.model.targets import Target

RETRY = 45.0
"""Seconds after a probe that saw nothing until it is repeated, or the interval if that is shorter.

At the usual scrape intervals that is once a minute, however long the failed probe took of its scrape.
"""


def is_due(target: Target, known: TargetMemory, now: float) -> bool:
    """
    Return True when a scrape at `now` (seconds since the epoch) is to probe the target.

    So it is in each scrape without an interval, before its first probe since the start, and when its settings
    have changed.
    """
    if not target.interval or known.probed is None or known.probed != target:
        return True
    since = known.probed_at
    if _turn(target, since) != _turn(target, now):
        return True
    endpoints = known.endpoints.values()
    if any(seen_facts(held.observation) is None for held in endpoints):
        # The time of day may have been set back since.
        return not 0 <= now - since < min(target.interval, RETRY)
    return any(_has_passed(held, since, now) for held in endpoints)


def _turn(target: Target, now: float) -> int:
    """
    Return the number of the target's interval in which a time lies.
    """
    share = zlib.crc32(target.name.encode("utf-8", "replace")) / 2**32
    return math.floor(now / target.interval + share)


def _has_passed(held: EndpointMemory, since: float, now: float) -> bool:
    """
    Return True when a deadline of what was last seen came after that: it may have been renewed in time.
    """
    items = held.judged.verdict.items if held.judged is not None else ()
    return any(
        since < at <= now
        for one in items
        if (due := one.deadlines) is not None
        for at in (due.renewal_due, due.warning, due.critical, one.item.not_after)
    )


def mixed(target: Target) -> int:
    """
    Return a rank for targets that waited equally long: mixed, but the same each time.

    Similar targets are neighbours in a file: a thousand silent servers at its top must not all be first.
    """
    return zlib.crc32(target.name.encode("utf-8", "replace"))
