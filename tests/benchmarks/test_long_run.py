"""
The long run, short: that it works, and that nothing is left behind which shows after a few scrapes already.
"""

import contextlib
import logging
import shutil
import sqlite3
from pathlib import Path
from statistics import mean

import pytest

from exporter.net.resolver import RESOLVER_THREADS
from tests.benchmarks.long_run import RELOADS, Note, long_run, replayed, rows

pytestmark = pytest.mark.skipif(
    shutil.which("nginx", path="/usr/sbin:/usr/bin") is None, reason="needs nginx"
)

MORE = 1.15
"""How much more memory a short run may take: the caches are not full yet."""


def test_targets_that_change_leave_nothing_behind() -> None:
    """
    Renewals, failures, other addresses, targets that come and go: each answer has the series of the present
    targets and no other (the run raises if not), descriptors are as many as before, and memory is bounded.
    """
    notes = list(long_run(targets=25, scrapes=4 * RELOADS, notes=8))

    early, late = notes[2], notes[-1]
    assert late.scrapes == 4 * RELOADS
    assert late.descriptors <= early.descriptors
    assert late.threads <= early.threads + RESOLVER_THREADS
    assert late.memory < MORE * early.memory
    assert late.state < 8_000_000


# Six hours reach what some minutes do.
@pytest.mark.no_cover
def test_without_handshakes_as_many_objects_stay_as_there_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """
    The whole service over six hours of its clock, with caches that are full after two: then neither its
    objects nor its series grow, and the state file has what is needed for the present targets.
    """
    # Else the lines of log are kept, too.
    caplog.set_level(logging.CRITICAL, "exporter")
    monkeypatch.setattr("exporter.model.caches.LEAST_LIMIT", 1_000_000)
    monkeypatch.setattr("exporter.model.caches.LIMIT_PER_TARGET", 1)
    found = replayed(tmp_path, targets=25, scrapes=360, every=20)

    # One note says little: how many addresses of a name are known is chance, up to a fifth of all objects.
    for figures in zip(*found, strict=True):
        early, late = mean(figures[6:12]), mean(figures[12:])
        assert late < 1.1 * early
    with contextlib.closing(sqlite3.connect(tmp_path / "state.sqlite")) as state:
        ((targets,),) = state.execute("SELECT count(*) FROM target")
    assert targets <= 25


def test_each_figure_is_judged_beside_what_it_was() -> None:
    """
    After the warm share nothing may grow: a thread more is not met, and neither is memory of a tenth more.
    """

    def noted(scrapes: int, memory: int, threads: int) -> Note:
        return Note(scrapes, memory, descriptors=12, threads=threads, state=5000, series=900)

    cold = [noted(number, 50_000_000, 3) for number in range(1, 25)]
    flat = [*cold, *(noted(number, 100_000_000, 9) for number in range(25, 101))]
    grown = [*flat[:-16], *(noted(number, 110_000_000, 10) for number in range(85, 101))]

    assert [row.met for row in rows(flat, 25)] == [True] * 5
    assert [row.met for row in rows(grown, 25)] == [False, True, False, True, True]
