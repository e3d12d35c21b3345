"""
The one place where exceptions of probes become observations.
"""

import asyncio
import errno
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from exporter.logs import fields
from exporter.model.errors import NoDescriptorError, ProbeError
from exporter.model.observation import Failed
from exporter.model.reasons import Reason
from exporter.model.targets import Target
from exporter.probes.base import Trace

logger = logging.getLogger(__name__)


T = TypeVar("T")


DESCRIPTOR_PAUSE = 0.05
"""Seconds after which a probe that got no file descriptor is tried again."""


NO_DESCRIPTOR = "waiting for a free file descriptor (raise ulimit -n, or lower --sweep.concurrency)"


async def caught(
    work: Callable[[], Awaitable[T]], target: Target, trace: Trace | None = None
) -> tuple[Failed | None, T | None]:
    """
    Return the result of the work, or the failure for its exception.

    When the process has no file descriptors left, the work waits for others to close theirs, and begins
    again.
    """
    while True:
        try:
            return None, await work()
        except Exception as error:  # noqa: BLE001 - one that is not expected is logged with its traceback
            if not _lacks_descriptor(error):
                failed = failure(error, target)
                let_go(error)
                return failed, None
        if trace is not None:
            trace.phase = NO_DESCRIPTOR
        await asyncio.sleep(DESCRIPTOR_PAUSE)


def _lacks_descriptor(error: Exception) -> bool:
    return isinstance(error, NoDescriptorError) or (
        isinstance(error, OSError) and error.errno in {errno.EMFILE, errno.ENFILE}
    )


def let_go(error: BaseException | None) -> None:
    """
    Forget the frames through which an exception went, and those that led to it.

    Some hold the exception itself. Only the garbage collector would free both, and it stops everything for as
    long as it looks through all that there is.
    """
    while error is not None and error.__traceback__ is not None:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__


def failure(error: Exception, target: Target) -> Failed:
    """
    Return the failed observation for an exception of a probe. An unexpected exception is logged.
    """
    match error:
        case ProbeError():
            return Failed(error.reason, error.detail, error.facts)
        case TimeoutError():
            return Failed(Reason.TIMEOUT, "the probe ran out of time")
        case OSError():
            return Failed(Reason.CONNECTION_RESET, f"the connection broke: {error.strerror or error}")
    # A bug that one target triggers must not stop the others, and must not be silent either.
    logger.error("internal error while probing", exc_info=error, extra=fields(target=target.name))
    words = f"{type(error).__name__}: please report it with the traceback in the exporter's log"
    return Failed(Reason.INTERNAL_ERROR, words)
