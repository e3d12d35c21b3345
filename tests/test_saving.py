"""
Saving in the background: what becomes of it when the file, or the disk, is not as it should be.
"""

import asyncio
import logging
import sqlite3
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from exporter.engine import saving
from exporter.engine.memory import Memory, TargetMemory
from exporter.engine.saving import STUCK_AFTER, Lists, Saving
from exporter.engine.snapshots import Snapshot
from exporter.engine.state import State
from exporter.net.calm import Calm
from tests.support.certificates import NOW


def run(kept: State, work: Callable[[Saving, Memory], Awaitable[None]], calm: Calm | None = None) -> None:
    """
    Some work with what saves the memory of nothing but a name.
    """

    async def to_the_end() -> None:
        memory = Memory()

        def restore(known: Mapping[str, TargetMemory]) -> None:
            for name, one in known.items():
                memory.restore(name, one)

        one = Saving(kept, memory, restore, asyncio.get_running_loop(), lambda: NOW, calm=calm)
        one.load()
        memory.restore("mine", TargetMemory("x"))
        await work(one, memory)
        await one.close()

    asyncio.run(to_the_end())


def names(path: Path) -> list[str]:
    """
    The targets that the file knows.
    """
    with closing(sqlite3.connect(path)) as database:
        return sorted(str(name) for (name,) in database.execute("SELECT name FROM target"))


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """
    Another program has the whole file for itself.
    """
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.execute("ROLLBACK")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """
    A state file that knows one target.
    """
    kept = State(str(tmp_path / "state.sqlite"))
    kept.save(Snapshot((("before", "x", "{}"),), (), (), ()))
    kept.close()
    return kept.path


async def saved(one: Saving) -> bool:
    """
    Whether a save works.
    """
    one.begin()
    await one.settle()
    return one.works


def test_the_second_process_says_so_and_takes_over(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """
    Once, not at each scrape; and when it can write, that is said too.
    """
    caplog.set_level(logging.INFO)
    first = State(str(path))
    first.load(NOW)

    async def work(one: Saving, _: Memory) -> None:
        assert not one.works
        assert not await saved(one)
        assert names(path) == ["before"]
        first.close()
        assert await saved(one)
        assert names(path) == ["before", "mine"]

    run(State(str(path)), work)
    told = [one.message.partition(" in ")[0] for one in caplog.records]
    assert told == ["another process keeps its state", "state can be kept again"]


def test_a_save_begins_when_the_answer_is_made(path: Path) -> None:
    """
    Its sweep has ended before that: no part of the memory is taken meanwhile.
    """
    calm = Calm()
    calm.patience = 60.0

    async def work(one: Saving, memory: Memory) -> None:
        with calm.disturbed():
            one.begin()
            for _ in range(10):
                await asyncio.sleep(0)
            memory.restore("later", TargetMemory("x"))
        await one.settle()
        assert names(path) == ["before", "later", "mine"]

    run(State(str(path)), work, calm)


def test_what_could_not_be_read_at_the_start_is_read_before_it_is_written_over(path: Path) -> None:
    """
    A file that is locked in that moment, or a disk that is not there yet, costs no held facts.
    """
    away = path.with_name("away")

    async def work(one: Saving, memory: Memory) -> None:
        assert not one.works
        away.rename(path.parent)
        assert await saved(one)
        assert sorted(name for name, _ in memory) == ["before", "mine"]
        assert names(path) == ["before", "mine"]

    away = path.parent.with_name("away")
    kept = State(str(path))
    path.parent.rename(away)
    run(kept, work)


@pytest.mark.parametrize(("known", "writes"), [((), True), ((("source", 1.0, "list"),), False)])
def test_a_list_that_came_before_the_first_scrape_is_saved_at_the_end(
    tmp_path: Path, known: tuple[tuple[str, float, str], ...], *, writes: bool
) -> None:
    """
    And nothing is written for lists that the file has.
    """
    path = tmp_path / "state.sqlite"
    first = State(str(path))
    first.save(Snapshot((), (), (), known))
    first.close()
    kept = State(str(path))
    saves = []
    save = kept.save

    def counted(taken: Snapshot) -> None:
        saves.append(taken)
        save(taken)

    kept.save = counted  # type: ignore[method-assign]

    async def to_the_end() -> None:
        loop = asyncio.get_running_loop()

        async def lists() -> Lists:
            return (("source", 1.0, "list"),)

        one = Saving(kept, Memory(), lambda _: None, loop, lambda: NOW, lists)
        one.load()
        await one.close()

    asyncio.run(to_the_end())
    assert bool(saves) == writes
    again = State(str(path))
    again.load(NOW)
    again.close()
    assert again.lists == {"source": (1.0, "list")}


def test_a_locked_file_keeps_nobody_from_stopping(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """
    Another program has locked it: both the save under way and the last one give up at once.
    """
    begun = time.monotonic()

    async def work(one: Saving, _: Memory) -> None:
        one.begin()

    with locked(path):
        run(State(str(path)), work)
        assert time.monotonic() - begun < 4
    assert "another program (a backup, an open sqlite3) has locked the file" in caplog.text


class Hanging(State):
    """
    A state file on a disk that hangs until it is let go (fake).
    """

    hangs = threading.Event()

    def save(self, taken: Snapshot) -> None:  # noqa: ARG002 - as the real one
        """
        Waits.
        """
        assert self.hangs.wait(60)


def test_a_disk_that_hangs_is_told_and_left_behind(
    path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Scrapes go on, the metric is 0 after a minute, and the process ends.
    """
    monkeypatch.setattr(saving, "CLOSE_TIMEOUT", 0.1)
    kept = Hanging(str(path))

    async def work(one: Saving, _: Memory) -> None:
        one.begin()
        one.begin()
        assert one.works
        one._begun -= STUCK_AFTER + 1
        one.begin()
        one.begin()
        assert not one.works

    run(kept, work)
    kept.hangs.set()
    first, last = (one.message for one in caplog.records)
    assert "is not finished for more than a minute: the disk or the file server hangs" in first
    assert "What was seen since the last save will not survive the restart" in last


def test_a_save_that_takes_long_is_not_followed_by_the_next(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    It rests, however often scrapes come; the end of the process waits for no rest.
    """
    monkeypatch.setattr(saving, "LONG", 0.0)
    monkeypatch.setattr(saving, "REST", 1_000_000.0)

    async def work(one: Saving, memory: Memory) -> None:
        one.begin()
        await one.settle()
        memory.restore("later", TargetMemory("y"))
        one.begin()
        await one.settle()
        assert "later" not in names(path)

    run(State(str(path), lambda: NOW), work)
    assert "later" in names(path)


class Broken(State):
    """
    A state with a fault of ours in it.
    """

    def save(self, taken: Snapshot) -> None:  # noqa: ARG002 - as the real one
        """
        Fails in a way that nobody thought of.
        """
        raise ZeroDivisionError


def test_a_fault_of_ours_is_logged_and_keeps_nobody_from_stopping(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """
    With its traceback.
    """

    async def work(one: Saving, _: Memory) -> None:
        assert not await saved(one)

    run(Broken(str(path)), work)
    assert all(one.exc_info is not None for one in caplog.records)
