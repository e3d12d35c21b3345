"""
Replays that fail are replayed again.
"""

from collections.abc import Generator
from pathlib import Path

import pytest

from tests.replay import incidents


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """
    Up to three reruns for all tests of this directory, since promtool may lose a sample: see `promtool._run`.

    A lost sample delays an alert by one evaluation; a fault of the rules or of the exporter fails each time.
    Tracing would find the same lines at each of thousands of scrapes.
    """
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.flaky(reruns=3))
            item.add_marker(pytest.mark.no_cover)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """
    Forget the outcomes of incidents when a test fails: a rerun replays them anew.
    """
    report = yield
    if report.failed:
        incidents.replays.cache_clear()
    return report
