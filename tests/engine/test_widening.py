"""
More probes at a time while others wait, and the processors for answers.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

import pytest

from exporter.engine.widening import BEGIN, EACH, FEW, RESTING, Widening
from exporter.net.event_loop import EventLoop
from exporter.net.turns import Turns

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterator


class Timers(EventLoop):
    """
    An event loop whose time and rest a test lets pass.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = self.slept = 0.0
        self.due: list[Callable[[], object]] = []

    @property
    def rested(self) -> float:
        """
        Seconds in which it had nothing to do.
        """
        return self.slept

    def time(self) -> float:
        """
        The time in seconds.
        """
        return self.now

    def call_later(  # type: ignore[override] # no test passes arguments
        self, delay: float, callback: Callable[[], object]
    ) -> "asyncio.TimerHandle":
        """
        Note a callback.
        """
        assert delay == EACH
        self.due.append(callback)
        return cast("asyncio.TimerHandle", self)

    def cancel(self) -> None:
        """
        Forget it again: there is never more than one.
        """
        self.due.clear()

    def pass_by(self, share: float) -> None:
        """
        Let it come, with nothing to do for this share of the time.
        """
        self.now += EACH
        self.slept += share * EACH
        due, self.due = self.due, []
        for one in due:
            one()


class Scene:
    """
    A sweep with so many jobs that wait.
    """

    def __init__(self, jobs: int = 5000, most: int = 1024) -> None:
        self.loop, self.turns = Timers(), Turns[int](min(BEGIN, most))
        self.begun = 0
        for job in range(jobs):
            self.turns.add(job, 0.0, 0, quick=True)
        self.use()
        self.widening = Widening(self.loop, self.turns, most, None, self.use)

    def use(self) -> None:
        """
        Begin what there is room for.
        """
        while self.turns.next() is not None:
            self.begun += 1

    def places(self, *shares: float) -> list[int]:
        """
        Return the number of places after each look, before which there was so much rest.
        """
        found = []
        for share in shares:
            self.loop.pass_by(share)
            found.append(self.turns.places)
        return found


@pytest.fixture
def scene() -> "Iterator[Scene]":
    """
    One of far more jobs than places.
    """
    made = Scene()
    yield made
    made.loop.close()


def test_places_are_added_while_there_is_rest_and_jobs_wait(scene: Scene) -> None:
    """
    Up to the most that there may be; then nobody looks any more.
    """
    scene.widening.begin(5000)
    assert scene.begun == BEGIN
    assert scene.places(1.0, 0.9, RESTING + 0.01, 1.0) == [256, 512, 1024, 1024]
    assert (scene.begun, scene.loop.due) == (1024, [])


def test_a_busy_process_gets_no_more(scene: Scene) -> None:
    """
    Until it has nothing to do for more than half of the time.
    """
    scene.widening.begin(5000)
    scene.widening.begin(5000)
    assert len(scene.loop.due) == 1
    assert scene.places(0.0, RESTING, 0.2, 0.8) == [BEGIN, BEGIN, BEGIN, 2 * BEGIN]


@pytest.mark.parametrize(
    ("jobs", "most", "targets"),
    [(BEGIN, 1024, BEGIN), (5000, BEGIN, 5000), (5000, 64, 5000), (5000, 1024, FEW)],
)
def test_where_nothing_waits_or_no_more_are_allowed_nothing_is_added(
    jobs: int, most: int, targets: int
) -> None:
    """
    And for a few targets nothing looks.
    """
    scene = Scene(jobs, most)
    scene.widening.begin(targets)
    assert scene.places(1.0, 1.0) == [min(BEGIN, most)] * 2
    scene.widening.end()
    assert scene.loop.due == []
    scene.loop.close()


def test_the_next_sweep_begins_with_few(scene: Scene) -> None:
    """
    It may be of near servers.
    """
    scene.widening.begin(5000)
    assert scene.places(1.0) == [2 * BEGIN]
    scene.widening.end()
    assert (scene.turns.places, scene.loop.due) == (BEGIN, [])
    scene.widening.end()
