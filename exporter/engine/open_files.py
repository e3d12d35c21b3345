"""
The number of probes at a time that this process's limit of open files allows.
"""

import logging
import resource

from exporter.engine.descriptors import CONCURRENCY, ENOUGH, probe_slots
from exporter.logs import fields

logger = logging.getLogger(__name__)


def fitting(concurrency: int) -> int:
    """
    Return the number of probes at a time: `concurrency`, or as many as the limit of open files allows.

    Logs a warning if these are fewer than usual, or than somebody wants who says so.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    slots = probe_slots(limit) if limit != resource.RLIM_INFINITY else concurrency
    if concurrency <= slots or (concurrency == CONCURRENCY and slots >= ENOUGH):
        return min(concurrency, slots)
    logger.warning(
        "the limit of open files allows fewer looks at a time than --sweep.concurrency: "
        "raise it (ulimit -n, LimitNOFILE= of systemd)",
        extra=fields(open_files=limit, asked_for=concurrency, looks_at_a_time=slots),
    )
    return slots
