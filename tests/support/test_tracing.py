"""
The trace for coverage, which makes what runs in the tests' process two or three times as slow.
"""

import sys

import pytest


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
