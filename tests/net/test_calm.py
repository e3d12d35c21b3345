"""
What computes for long beside the event loop gives way to it.
"""

import asyncio
import contextlib
import threading

import pytest

from exporter.net.calm import GIVE_WAY, STEP, Calm, Rests

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


@pytest.mark.parametrize(("scrape", "slept"), [(0, 0.0), (7, 7 * STEP), (10**6, GIVE_WAY)])
def test_a_thread_waits_between_its_items_while_a_scrape_is_under_way(scrape: int, slept: float) -> None:
    """
    Not for ever: scrapes may follow each other. `scrape`: steps until it is over.
    """
    steps = 0

    def sleep(_: float) -> None:
        nonlocal steps
        steps += 1
        if steps == scrape:
            scraping.close()

    async def work() -> list[int]:
        calm = Calm(sleep)
        if scrape:
            scraping.enter_context(calm.disturbed())
        return list(calm.gently(range(100)))

    with contextlib.ExitStack() as scraping:
        assert asyncio.run(work()) == list(range(100))
    assert steps * STEP == pytest.approx(slept)


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
