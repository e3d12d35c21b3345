"""
The loop that probes and the loop of the port.
"""

import asyncio
import threading
from collections.abc import Iterator

import pytest

from exporter.server.loops import LoopThread, Pulse, from_any_loop


class One:
    """
    What lives in the loop that made it.
    """

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.begun = asyncio.Event()
        self.cancelled = asyncio.Event()

    @from_any_loop
    async def thread(self, failure: Exception | None = None) -> int:
        """
        The thread in which this is done.
        """
        await asyncio.sleep(0)
        if failure is not None:
            raise failure
        return threading.get_ident()

    @from_any_loop
    async def wait(self) -> None:
        """
        Wait for ever.
        """
        self.begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise


@pytest.fixture
def other() -> Iterator[LoopThread]:
    """
    A thread with a loop.
    """
    thread = LoopThread("other")
    yield thread
    asyncio.run(thread.close())


async def test_work_is_done_in_the_loop_of_its_object(other: LoopThread) -> None:
    """
    Whichever loop awaits it; the result and the exception come back to that one.
    """

    async def elsewhere(one: One) -> tuple[int, int]:
        with pytest.raises(ValueError, match="no"):
            await one.thread(ValueError("no"))
        return threading.get_ident(), await one.thread()

    one, here = One(), threading.get_ident()
    assert await one.thread() == here
    there, worked = await other.run(elsewhere(one))
    assert (there != here, worked) == (True, here)


async def test_who_stops_waiting_in_another_loop_cancels_the_work(other: LoopThread) -> None:
    """
    As in its own loop.
    """
    one = One()
    waiting = asyncio.ensure_future(other.run(one.wait()))
    await one.begun.wait()
    waiting.cancel()
    await one.cancelled.wait()


async def test_the_end_of_a_thread_cancels_what_it_still_does() -> None:
    """
    Nothing is left of it.
    """
    thread = LoopThread("other")

    async def begin(one: One) -> "asyncio.Task[None]":
        return asyncio.create_task(one.wait())

    one = One()
    begun = await thread.run(begin(one))
    await one.begun.wait()
    await thread.close()
    assert begun.cancelled()
    assert not any(one.name == "other" for one in threading.enumerate())


async def test_the_end_of_a_thread_waits_for_last_steps_in_the_loop_that_ends_it() -> None:
    """
    What is cancelled may still ask something of it.
    """
    thread, closed = LoopThread("other"), []

    async def work(one: One) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            closed.append(await one.thread())

    async def begin(one: One) -> "asyncio.Task[None]":
        return asyncio.create_task(work(one))

    begun = await thread.run(begin(One()))
    await thread.run(asyncio.sleep(0))
    await thread.close()
    assert begun.done()
    assert closed == [threading.get_ident()]


async def test_a_loop_that_hangs_is_known_by_its_silence() -> None:
    """
    One that runs owes nothing at its next turn.
    """
    now = 100.0
    pulse = Pulse(asyncio.get_running_loop(), lambda: now)
    assert pulse.silence() == 0
    now += 40
    # Not one turn of the loop has passed.
    assert pulse.silence() == 40
    await asyncio.sleep(0)
    now += 1000
    assert pulse.silence() == 0
