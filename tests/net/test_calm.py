"""
What computes for long beside the event loop gives way to it.
"""

import asyncio
import contextlib
import threading

import pytest

from exporter.net.calm import REST, SLICE, Calm, Rests

WORK, SHARE = 0.001, 4.0


class Time:
    """
    A clock that runs while somebody works or sleeps.
    """

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        """
        Return the time in seconds.
        """
        return self.now

    def sleep(self, seconds: float) -> None:
        """
        Let the time pass.
        """
        self.slept.append(seconds)
        self.now += seconds


ITEMS = 10_000


@pytest.mark.parametrize(("rests", "waited"), [(0, 0), (7, 7), (10**6, ITEMS / 5)])
def test_a_thread_waits_between_its_items_while_a_scrape_is_under_way(rests: int, waited: int) -> None:
    """
    It works for a twentieth of the time, so that it comes to its end though scrapes follow each other.
    `rests`: how many it takes until they are over; each item takes a fifth of a slice.
    """
    time = Time()

    def wait(_: threading.Event, seconds: float) -> None:
        time.sleep(seconds)
        if len(time.slept) == rests:
            scraping.close()

    async def work() -> None:
        calm = Calm(time, wait)
        if rests:
            scraping.enter_context(calm.disturbed())
        for _ in calm.gently(range(ITEMS)):
            time.now += SLICE / 5

    with contextlib.ExitStack() as scraping:
        asyncio.run(work())
    assert time.slept == pytest.approx([REST] * len(time.slept))
    assert len(time.slept) == pytest.approx(waited, rel=0.2)


def test_a_thread_goes_on_at_once_when_the_scrape_is_over() -> None:
    """
    It is woken up: to look whether it is over takes from the same processor.
    """
    done: list[int] = []

    async def work() -> None:
        calm = Calm()
        thread = threading.Thread(target=lambda: done.extend(calm.gently([1])))
        with calm.disturbed():
            thread.start()
            thread.join(REST / 10)
            assert done == []
        thread.join()
        assert done == [1]

    asyncio.run(work())


def rests_of(work: int, threaded: bool) -> list[float]:
    """
    The rests of a thread with so many pieces of work, each a tenth of what is done between two rests.
    """
    time = Time()
    rests = Rests(WORK, SHARE, time, time.sleep)

    def run() -> None:
        for _ in range(work):
            time.now += WORK / 10
            rests.take()

    if threaded:
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
    else:
        run()
    return time.slept


def test_a_thread_rests_most_of_the_time() -> None:
    """
    Short work has no rest at all.
    """
    assert rests_of(9, threaded=True) == []
    taken = rests_of(1000, threaded=True)
    assert 90 <= len(taken) <= 100
    assert all(rest == pytest.approx(SHARE * WORK, rel=0.2) for rest in taken)


def test_the_main_thread_never_rests() -> None:
    """
    The first configuration is read there, before anything is served.
    """
    assert rests_of(1000, threaded=False) == []
