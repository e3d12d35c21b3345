"""
The number of probes at a time that this process's limit of open files allows.
"""

import logging
import resource

from exporter.engine.descriptors import CONCURRENCY, ENOUGH, probe_slots
from exporter.logs import fields

logger = logging.getLogger(__name__)


def fitting(asked: int | None) -> int:
    """
    Return the most probes at a time: as many as are `asked` for, None for the usual number, or as many as the
    limit of open files allows.

    Logs a warning if these are fewer than asked for, or too few for usual servers.
    """
    most, enough = (CONCURRENCY, ENOUGH) if asked is None else (asked, asked)
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    slots = probe_slots(limit) if limit != resource.RLIM_INFINITY else most
    if slots >= enough:
        return min(most, slots)
    logger.warning(
        "the limit of open files allows fewer looks at a time than --sweep.concurrency: "
        "raise it (ulimit -n, LimitNOFILE= of systemd)",
        extra=fields(open_files=limit, wanted=enough, looks_at_a_time=slots),
    )
    return slots
