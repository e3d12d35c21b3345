"""
What makes a run of the tests short: their order, no trace where no coverage is asked for, and what it needs.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import LONG, length, tracing
from tests.support.readme import REPOSITORY


@pytest.mark.parametrize("name", LONG)
def test_what_is_long_is_there(name: str) -> None:
    """
    A file, or a folder with tests.
    """
    path = REPOSITORY / name
    assert path.is_file() if name.endswith(".py") else list(path.glob("test_*.py"))


def test_what_is_long_comes_first(request: pytest.FixtureRequest) -> None:
    """
    Else the processes of a run would wait for one of them at its end.
    """
    order = [length(item) for item in request.session.items]
    assert order == sorted(order)


@pytest.fixture
def untraced() -> Iterator[None]:
    """
    Fails if it is traced before or after its test.
    """
    assert sys.gettrace() is None
    yield
    assert sys.gettrace() is None


@pytest.mark.no_cover
@pytest.mark.usefixtures("untraced")
def test_nothing_is_traced_where_no_coverage_is_asked_for() -> None:
    """
    Neither the test nor its fixtures; also not in a worker of a run, where two traces are begun.
    """
    assert sys.gettrace() is None


def test_what_is_asked_for_is_traced(request: pytest.FixtureRequest) -> None:
    """
    In a run with coverage, and in no other.
    """
    assert (sys.gettrace() is None) is (tracing(request.config) is None)


NEEDS = {"unpack_inn", "need_programs", "make_acme_environment", "need_helm"}
"""What `tests/run` does for tests that start programs. Some of it can be done by root alone."""


@pytest.mark.parametrize(
    ("argument", "needs"),
    [("", NEEDS), ("tests/test_x.py", NEEDS), ("--quick", set()), ("--versions", set())],
)
def test_what_starts_no_program_needs_none(argument: str, needs: set[str], tmp_path: Path) -> None:
    """
    Here each step only says its name.
    """
    script = (REPOSITORY / "tests" / "run").read_text("utf-8")
    steps = re.findall(r"^(\w+)\(\) \{$", script, re.MULTILINE)
    stubs = "".join(f"{step}() {{ echo {step}; }}\n" for step in steps)
    (tmp_path / "bin").mkdir()
    for name in ("python", "ruff", "mypy"):
        (tmp_path / "bin" / name).symlink_to("/bin/true")
    flow = script[script.index("\nneed_python\n") :]
    options = script[script.index("# Else each of hundreds") : script.index("\nneed_python\n")]
    text = f"set -euo pipefail\nVENV={tmp_path} COVERAGE_FLOOR=0\n{stubs}{options}{flow}"
    command = ["bash", "-c", text, "run", *([argument] if argument else [])]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert NEEDS & set(done.stdout.split()) == needs
    assert "make_environment" in done.stdout
