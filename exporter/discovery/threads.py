"""
Blocking work of a source, in a thread of its own: a file system that hangs delays nothing else.
"""

from collections.abc import Callable
from typing import TypeVar

from exporter.net.pools import Pool

T = TypeVar("T")


async def in_thread(work: Callable[[], T]) -> T:
    """
    Return the result of the work, or raise its exception. A thread that hangs ends with the process.
    """
    pool = Pool("source", 1)
    try:
        return await pool.run(work)
    finally:
        pool.close()
