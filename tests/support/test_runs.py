"""
What makes a run of the tests short: their order, and no trace where no coverage is asked for.
"""

import sys

import pytest

from tests.conftest import LONG, length
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
def trace() -> object:
    """
    What traces the code of fixtures.
    """
    return sys.gettrace()


@pytest.mark.no_cover
def test_nothing_is_traced_where_no_coverage_is_asked_for(trace: object) -> None:
    """
    Neither the test nor its fixtures; also not in a worker of a run, where two traces are begun.
    """
    assert trace is None
    assert sys.gettrace() is None
