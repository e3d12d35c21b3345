"""
What makes a run of the tests short: their order, and no trace where no coverage is asked for.
"""

import sys
from collections.abc import Iterator

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
