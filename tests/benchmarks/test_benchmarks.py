"""
The benchmarks' command: that the table comes out and says what it should. Never how fast anything is.
"""

import shutil
import sys

import pytest

from tests.benchmarks.__main__ import table
from tests.benchmarks.fleet import REPOSITORY
from tests.benchmarks.row import Row
from tests.support.processes import running


@pytest.mark.parametrize(
    ("row", "met"),
    [
        (Row("no target", 1, "s"), None),
        (Row("figure at the limit", 5, "s", at_most=5), True),
        (Row("figure over the limit", 5.1, "s", at_most=5), False),
        (Row("figure under the limit", 999, "", at_least=1000), False),
        (Row("the ratio is judged, not the figure", 0.5, "ms", 1.0, 0.5, at_most=0.6), True),
        (Row("the ratio is judged, not the figure", 0.5, "ms", 0.8, 0.625, at_most=0.6), False),
        (Row("the ratio is too small", 1500, "/s", 1200, 1.25, at_least=1.3), False),
    ],
    ids=lambda value: value.what if isinstance(value, Row) else str(value),
)
def test_a_row_is_judged_by_its_target(row: Row, *, met: bool | None) -> None:
    """
    The ratio is judged where there is one, else the figure; no target gives no verdict.
    """
    assert row.met is met


def test_the_table_is_as_written() -> None:
    """
    Columns are aligned, cells without a value are empty.
    """
    rows = [
        Row("CPU of a target", 0.5123, "ms", 1.0, 0.5123, at_most=0.6),
        Row("targets a second", 1650.4, "/s", 1300, 1.2695, at_least=1.3),
        Row("start until healthy", 0.25, "s"),
    ]
    assert table(rows) == (
        "measured             ours      peer or bound  ratio  target\n"
        "--------------------------------------------------------------------\n"
        "CPU of a target      0.512 ms  1.000 ms       0.51   <= 0.6  met\n"
        "targets a second     1650 /s   1300 /s        1.27   >= 1.3  not met\n"
        "start until healthy  0.250 s"
    )


@pytest.mark.skipif(
    shutil.which("prometheus-blackbox-exporter") is None
    or shutil.which("nginx", path="/usr/sbin:/usr/bin") is None,
    reason="needs nginx and prometheus-blackbox-exporter",
)
def test_a_quick_run_measures_every_scenario() -> None:
    """
    `python -m tests.benchmarks --quick` ends well and prints a row of each scenario.
    """
    with running([sys.executable, "-m", "tests.benchmarks", "--quick"], cwd=REPOSITORY) as it:
        status = it.wait(300)
        output = it.output()
    assert status == 0, output
    for what in (
        "CPU of a target",
        "imap (STARTTLS) against imaps",
        "targets a second",
        "200 ms away",
        "silent targets",
        "peak memory",
        "start until",
        "Secrets: a scrape",
        "rules over",
        "dashboards over",
        "late answers of 2",
        "peak memory of all processes",
        "one of 100",
        "CPU until healthy",
        "500 requests a second",
        "a zone of 100 names",
        "target that was found",
        "CPU of a page about 100 endpoints",
        "25 targets replayed, each",
        "1000000 targets, by arithmetic",
    ):
        assert what in output
