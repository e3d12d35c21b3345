"""
The garbage collector while targets are probed again and again.
"""

import gc
from collections.abc import Iterator

import pytest

from exporter.engine.collector import EACH, LEAST, calm_collector, fit_collector


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """
    The collector of the other tests is as it was.
    """
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)


def test_it_waits_for_more_than_one_sweep_makes() -> None:
    """
    With few targets it looks as often as for one.
    """
    calm_collector()
    assert gc.get_threshold()[0] == LEAST
    fit_collector(10)
    assert gc.get_threshold()[0] == LEAST
    fit_collector(10_000)
    assert gc.get_threshold()[0] == 10_000 * EACH


def test_what_is_made_and_freed_is_never_looked_through() -> None:
    """
    As rows are that replace those of the scrape before; cycles that are left behind are found in the end.
    """
    fit_collector(1000)
    gc.collect()
    seen: list[int] = []

    def note(phase: str, info: dict[str, int]) -> None:
        if phase == "stop":
            seen.append(info["collected"])

    gc.callbacks.append(note)
    try:
        for _ in range(10):
            rows = [[number] for number in range(EACH * 1000 // 2)]
            del rows
        assert seen == []
        for _ in range(2 * EACH * 1000):
            cycle: list[object] = []
            cycle.append(cycle)
        assert sum(seen) > EACH * 1000 / 2
    finally:
        gc.callbacks.remove(note)
