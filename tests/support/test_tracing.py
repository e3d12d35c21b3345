"""
The trace for coverage ends in a test that computes for long, and begins anew with the next.
"""

import subprocess
import sys
from pathlib import Path

from tests.support.readme import REPOSITORY

TRACED = """
import time


def early() -> None:
    pass


def late() -> None:
    pass


def after() -> None:
    pass


def spin(seconds: float) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass
"""

SCRIPT = """
import sys
import coverage

sys.path.insert(0, sys.argv[1])
import traced
from tests.support.tracing import TRACED_SECONDS, Trace


class Controller:
    def __init__(self):
        self.cov = coverage.Coverage(data_file=None, config_file=False, include=[traced.__file__])
        self.resume, self.pause = self.cov.start, self.cov.stop


controller = Controller()
trace = Trace(controller)
trace.begin()
traced.early()
traced.spin(10 * TRACED_SECONDS)
traced.late()
trace.end()
trace.begin()
traced.after()
trace.end()
lines = set(controller.cov.get_data().lines(traced.__file__))
starts = {name: getattr(traced, name).__code__.co_firstlineno + 1 for name in ("early", "late", "after")}
print(*sorted(name for name, line in starts.items() if line in lines))
"""


def test_a_test_that_takes_long_is_traced_no_more_but_the_next_is(tmp_path: Path) -> None:
    """
    In a process of its own: the trace of this one goes on.
    """
    (tmp_path / "traced.py").write_text(TRACED, encoding="utf-8")
    command = [sys.executable, "-c", SCRIPT, str(tmp_path)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout.split() == ["after", "early"], done.stderr
