"""
Slices: long work lets others have their turn.
"""

import asyncio
from math import inf

import pytest

from exporter.engine.slices import in_slices


@pytest.mark.parametrize(("seconds", "turns"), [(0.0, 101), (inf, 0)])
async def test_others_have_their_turn_between_slices(seconds: float, turns: int) -> None:
    """
    After each thing where each takes as long as a slice, and at the end; never where all are done sooner.
    """
    had = 0

    async def other() -> None:
        nonlocal had
        while True:
            await asyncio.sleep(0)
            had += 1

    beside = asyncio.create_task(other())
    await asyncio.sleep(0)
    assert [one async for one in in_slices(range(100), seconds)] == list(range(100))
    beside.cancel()
    assert had == turns
