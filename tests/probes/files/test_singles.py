"""
Single files: many callers share few threads, and one that hangs hinders no other.
"""

import asyncio
import os
import threading
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from exporter.model.errors import Outcome
from exporter.model.observation import Facts
from exporter.net import regular_files
from exporter.net.file_threads import THREADS, FileThreads
from exporter.net.pools import Job
from exporter.probes.files import cache, singles
from exporter.probes.files.cache import Files, Tolerance
from tests.formats.samples import leaf
from tests.support.certificates import NOW

real = regular_files.read


async def look(files: Files, path: Path) -> Outcome:
    """
    The outcome of one file, as a target of its own.
    """
    found: list[Outcome] = []

    def tell(_: int, outcome: Outcome, _seconds: float) -> None:
        found.append(outcome)

    await files.look([str(path)], None, 60, tell, tolerance=Tolerance.NONE)
    (outcome,) = found
    return outcome


def written(directory: Path, count: int) -> list[Path]:
    """
    So many files with a certificate.
    """
    paths = [directory / f"{number}.pem" for number in range(count)]
    for path in paths:
        path.write_bytes(leaf().pem)
    return paths


async def test_many_are_read_by_few_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Each of them once, by threads that go on with the next one.
    """
    by_thread: dict[str, set[int]] = {}

    def read(path: str, limit: int) -> tuple[bytes, os.stat_result | None]:
        by_thread.setdefault(path, set()).add(threading.get_ident())
        return real(path, limit)

    monkeypatch.setattr(cache, "read", read)
    paths = written(tmp_path, 300)
    files = Files(asyncio.get_running_loop(), lambda: NOW)
    outcomes = await asyncio.gather(*(look(files, path) for path in paths))
    assert all(isinstance(one, Facts) for one in outcomes)
    assert by_thread.keys() == set(map(str, paths))
    assert len(set().union(*by_thread.values())) <= THREADS
    assert all(len(threads) == 1 for threads in by_thread.values())
    files.close()


async def test_a_slow_file_system_is_read_by_many_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A faked one answers only when as many files are wanted of it as there are threads.
    """
    together = threading.Barrier(THREADS, timeout=60)

    def read(path: str, limit: int) -> tuple[bytes, os.stat_result | None]:
        together.wait()
        return real(path, limit)

    monkeypatch.setattr(cache, "read", read)
    files = Files(asyncio.get_running_loop(), lambda: NOW)
    paths = written(tmp_path, 2 * THREADS)
    outcomes = await asyncio.gather(*(look(files, path) for path in paths))
    assert all(isinstance(one, Facts) for one in outcomes)
    files.close()


STEP = 0.004
"""Seconds in whose steps Linux counts the CPU time of other threads, as a rule."""


@pytest.mark.parametrize(
    "spent", [monotonic, lambda: monotonic() // STEP * STEP], ids=["at once", "in steps"]
)
async def test_one_thread_reads_while_that_is_all_work(
    spent: Callable[[], float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    As much CPU time passes as time, however coarsely it is counted: no file system is waited for.
    """
    begun: list[str] = []
    begin = FileThreads.begin

    def counted(self: FileThreads, work: Callable[[], Any]) -> Job[Any]:
        begun.append("thread")
        return begin(self, work)

    monkeypatch.setattr(FileThreads, "begin", counted)
    monkeypatch.setattr(singles, "process_time", spent)
    files = Files(asyncio.get_running_loop(), lambda: NOW)
    outcomes = await asyncio.gather(*(look(files, path) for path in written(tmp_path, 1000)))
    assert all(isinstance(one, Facts) for one in outcomes)
    assert begun == ["thread"]
    files.close()


async def test_one_that_hangs_hinders_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A faked file system that gives the first files only when all others were told of.
    """
    paths = written(tmp_path, 100)
    hung, others = paths[:2], paths[2:]
    go_on = threading.Event()

    def read(path: str, limit: int) -> tuple[bytes, os.stat_result | None]:
        if Path(path) in hung:
            assert go_on.wait(60)
        return real(path, limit)

    monkeypatch.setattr(cache, "read", read)
    files = Files(asyncio.get_running_loop(), lambda: NOW)
    waiting = [asyncio.create_task(look(files, path)) for path in hung]
    outcomes = await asyncio.gather(*(look(files, path) for path in others))
    assert all(isinstance(one, Facts) for one in outcomes)
    assert not any(one.done() for one in waiting)
    go_on.set()
    assert all(isinstance(one, Facts) for one in await asyncio.gather(*waiting))
    files.close()


async def test_who_stops_waiting_before_its_turn_is_not_read_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Its file is left out, and the others are read.
    """
    read_paths: list[str] = []

    def read(path: str, limit: int) -> tuple[bytes, os.stat_result | None]:
        read_paths.append(path)
        return real(path, limit)

    monkeypatch.setattr(cache, "read", read)
    gone, there = written(tmp_path, 2)
    files = Files(asyncio.get_running_loop(), lambda: NOW)
    leaving = asyncio.create_task(look(files, gone))
    staying = asyncio.create_task(look(files, there))
    await asyncio.sleep(0)
    leaving.cancel()
    assert isinstance(await staying, Facts)
    assert read_paths == [str(there)]
    files.close()
