"""
The long run, short: that it works, and that nothing is left behind which shows after a few scrapes already.
"""

import shutil

import pytest

from exporter.net.resolver import RESOLVER_THREADS
from tests.benchmarks.long_run import RELOADS, Note, long_run, rows

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
