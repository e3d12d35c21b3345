"""
Slices: long work is divided, so that the event loop can do other work between.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from typing import TypeVar

from exporter.net.pools import Pool

T = TypeVar("T")


SLICE = 0.005
"""Seconds of a processor after which the event loop has its turn.

By the clock on the wall a busy machine would make more and more of them, each with a wait of its own.
"""


SHORT = 1 / 5
"""Part of a slice that is so short that the next work may follow at once."""


FEW = 64
"""Things whose work is done at once: a thread would take longer."""


async def beside(things: int, work: Callable[[], T]) -> T:
    """
    Return the result of work on so many things, done in a thread when they are many: it can't be divided.
    """
    if things <= FEW:
        return work()
    pool = Pool("work", 1)
    try:
        return await pool.run(work)
    finally:
        pool.close()


async def in_slices(things: Iterable[T], seconds: float = SLICE) -> AsyncIterator[T]:
    """
    Yield the things one by one, and let the event loop do other work after each `seconds` of CPU time.

    Work that took a part of that ends with such a turn, too: what follows begins a new slice.
    """
    began = time.perf_counter()
    end, earliest = time.thread_time() + seconds, began + seconds
    for one in things:
        yield one
        # Asked first since it costs a tenth: a thread has never worked for longer than the time that passed.
        now = time.perf_counter()
        if now < earliest:
            continue
        left = end - time.thread_time()
        if left <= 0:
            await asyncio.sleep(0)
            end, now, left = time.thread_time() + seconds, time.perf_counter(), seconds
        earliest = now + left
    if time.perf_counter() - began > SHORT * seconds:
        await asyncio.sleep(0)
