"""
The trace for coverage, which makes what runs in the tests' process two or three times as slow.
"""

import sys

import pytest


@pytest.mark.no_cover
def test_nothing_is_traced_where_no_coverage_is_asked_for() -> None:
    """
    Nor is anything in a worker of a run, where two traces are begun.
    """
    assert sys.gettrace() is None
