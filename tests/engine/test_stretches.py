"""
The event loop is never held for long, however many targets there are: else nothing else is answered.
"""

import asyncio
import gc
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from exporter.engine.collector import calm_collector, fit_collector
from exporter.engine.memory import EndpointMemory, Memory, TargetMemory
from exporter.engine.monitor import Monitor
from exporter.engine.results import ProbeResult, TargetResult
from exporter.engine.saving import Saving
from exporter.engine.state import State
from exporter.model.observation import Facts, Item, Observed
from exporter.model.problems import Problem
from exporter.model.reasons import Kind
from exporter.probes.dependencies import Dependencies
from tests.golden.values import target
from tests.support.certificates import DAY, NOW

if TYPE_CHECKING:
    from collections.abc import Callable

FLEET = 10_000


LONGEST = 0.15
"""Seconds of CPU for one stretch, on a busy host. In one go the start, the log and the problems took 0.2."""


@pytest.fixture
def stretches(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """
    Seconds of CPU of each call-back that the event loop made.
    """
    found: list[float] = []
    usual: Callable[[Any], None] = asyncio.Handle._run

    def timed(handle: Any) -> None:
        began = time.thread_time()
        usual(handle)
        found.append(time.thread_time() - began)

    monkeypatch.setattr(asyncio.Handle, "_run", timed)
    return found


@pytest.mark.no_cover
async def test_ten_thousand_failing_targets_hold_the_loop_only_briefly(stretches: list[float]) -> None:
    """
    Each has a problem, and a line in the log: the most that a sweep can have to do.
    """
    dependencies, thresholds = Dependencies(asyncio.get_running_loop()), gc.get_threshold()
    try:
        now = [NOW]
        monitor = Monitor(dependencies, 256, lambda: now[0])
        targets = [target("tls://127.0.0.1:1", name=f"t{number}") for number in range(FLEET)]
        calm_collector()
        fit_collector(FLEET)
        await asyncio.sleep(0)
        # What is done in one go is there in each; what happens once (a page fault, a collection) is not it.
        for _ in range(4):
            stretches.clear()
            scrape = await monitor.scrape(targets, 30.0)
            # What was never seen is a problem after a quarter of an hour.
            now[0] += 1000
            if scrape.problems and max(stretches) < LONGEST:
                break
        assert len(scrape.problems) == FLEET
    finally:
        gc.set_threshold(*thresholds)
        dependencies.close()
    assert max(stretches) < LONGEST


@pytest.mark.no_cover
async def test_ten_thousand_failing_endpoints_of_one_target_hold_the_loop_only_briefly(
    stretches: list[float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The keys of a cluster that can't be asked after a restart. In one go it took 0.13 seconds twice: to take
    the results, and to find what is a problem.
    """
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "absent"))
    dependencies, thresholds = Dependencies(asyncio.get_running_loop()), gc.get_threshold()
    try:
        now = [NOW]
        monitor = Monitor(dependencies, 256, lambda: now[0])
        one = target("kubernetes://prod/*")
        known = TargetMemory(one.identity)
        for number in range(FLEET):
            facts = Facts((Item("tls.crt", Kind.LEAF, NOW - 10 * DAY, NOW + 2 * DAY),))
            known.endpoints[f"prod/s{number}"] = EndpointMemory(Observed(facts), 0.0, facts, NOW - 60)
        monitor.memory.restore(one.name, known)
        calm_collector()
        fit_collector(FLEET)
        await asyncio.sleep(0)
        for _ in range(4):
            stretches.clear()
            scrape = await monitor.scrape([one], 30.0)
            now[0] += 1000
            if max(stretches) < LONGEST / 2:
                break
        assert scrape.failures == FLEET
        assert Problem.RENEWAL_OVERDUE in {row.found.onset.problem for row in scrape.problems}
    finally:
        gc.set_threshold(*thresholds)
        dependencies.close()
    assert max(stretches) < LONGEST / 2


@pytest.mark.no_cover
async def test_a_save_of_ten_thousand_targets_holds_the_loop_only_briefly(
    stretches: list[float], tmp_path: Path
) -> None:
    """
    What is saved is gathered in slices. In one go it took 0.2 seconds.
    """
    memory, facts, thresholds = Memory(), Facts(()), gc.get_threshold()
    for number in range(FLEET):
        look = ProbeResult("192.0.2.1:443", Observed(facts), 0.1)
        memory.update(TargetResult(target(name=f"t{number}"), (look,), located=True), NOW)
    calm_collector()
    saving = Saving(State(str(tmp_path)), memory, lambda _: None, asyncio.get_running_loop(), lambda: NOW)
    try:
        for _ in range(3):
            stretches.clear()
            saving.begin()
            await saving.settle()
            if max(stretches) < LONGEST / 2:
                break
        longest = max(stretches)
        assert saving.works
    finally:
        await saving.close()
        gc.set_threshold(*thresholds)
    assert longest < LONGEST / 2
