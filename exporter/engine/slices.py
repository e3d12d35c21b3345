"""
Slices: long work is divided, so that the event loop can do other work between.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from typing import TypeVar

T = TypeVar("T")


SLICE = 0.005
"""Seconds of work after which the event loop has its turn."""


async def in_slices(things: Iterable[T], seconds: float = SLICE) -> AsyncIterator[T]:
    """
    Yield the things one by one, and let the event loop do other work after each `seconds` of work on them.
    """
    end = time.perf_counter() + seconds
    for one in things:
        yield one
        if time.perf_counter() >= end:
            await asyncio.sleep(0)
            end = time.perf_counter() + seconds
