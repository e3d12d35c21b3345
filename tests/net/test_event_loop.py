"""
An event loop knows for how long it had nothing to do.
"""

import asyncio
import time

from exporter.net import event_loop
from exporter.net.event_loop import EventLoop, Rest


def test_waiting_is_rest_and_work_is_none() -> None:
    """
    Also work that comes to the loop again and again, which it looks for without waiting.
    """

    async def work() -> tuple[float, float]:
        rest = Rest(asyncio.get_running_loop())
        await asyncio.sleep(0.05)
        waiting = rest.share()
        end = time.monotonic() + 0.05
        for _ in iter(lambda: time.monotonic() < end, False):
            await asyncio.sleep(0)
        return waiting, rest.share()

    waiting, working = event_loop.run(work())
    assert waiting > working
    assert working < 0.01


def test_another_loop_counts_as_busy() -> None:
    """
    Nothing is known of it.
    """

    async def work() -> float:
        rest = Rest(asyncio.get_running_loop())
        await asyncio.sleep(0.01)
        return rest.share()

    assert asyncio.run(work()) == 0.0
    with asyncio.Runner(loop_factory=EventLoop) as runner:
        assert runner.run(work()) > 0.0
