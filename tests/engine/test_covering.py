"""
What no target looks at, from scrape to scrape.
"""

import asyncio
import threading
from typing import Any

import pytest

from exporter.engine import covering as covering_module
from exporter.engine.covering import Covering
from exporter.judgement.coverage import Coverage, coverage
from exporter.model.coverage import Rules
from exporter.probes.dependencies import Dependencies
from tests.golden.scenes import seen
from tests.golden.values import Scene, certificate, facts, target


async def test_it_is_compared_anew_only_when_something_changed() -> None:
    """
    The same targets, facts and rules have the same coverage; of others it is made again.
    """
    dependencies = Dependencies(asyncio.get_running_loop())
    scene = Scene().see(target(), seen(facts(certificate(names=("lms.example.com", "localhost")))))
    try:
        covering = Covering(dependencies)

        async def compared(rules: Rules) -> object:
            targets = [row.target for row in scene.targets()]
            await covering.compare(targets, scene.rows(), rules)
            return covering.coverage

        usual, others = Rules(), Rules(("shop.*",))
        first = await compared(usual)
        assert await compared(usual) is first
        ignoring = await compared(others)
        assert ignoring is not first
        assert await compared(others) is ignoring
        scene.see(target(), seen(facts(certificate(serial="2"))))
        renewed = await compared(others)
        assert renewed is not ignoring
        scene.see(target(name="another"), seen(facts(certificate(serial="2"))))
        assert await compared(others) is not renewed
    finally:
        dependencies.close()


async def test_thousands_of_names_are_compared_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Also when they are all on one certificate; and what is a problem is found once for the same coverage.
    """
    dependencies = Dependencies(asyncio.get_running_loop())
    names = tuple(f"host-{number}.example.net" for number in range(1000))
    threads: list[threading.Thread] = []

    def compared(*arguments: Any) -> Coverage:
        threads.append(threading.current_thread())
        return coverage(*arguments)

    monkeypatch.setattr(covering_module, "coverage", compared)
    try:
        covering = Covering(dependencies)
        problems = []
        for serial in ("1", "1", "2"):
            scene = Scene().see(target(), seen(facts(certificate(names=names, serial=serial))))
            if serial == "2":
                scene = Scene().see(target(), seen(facts(certificate(names=names[:3], serial=serial))))
            targets = [row.target for row in scene.targets()]
            await covering.compare(targets, scene.rows(), Rules(alert=True))
            problems.append(covering.problems)
    finally:
        dependencies.close()
    assert [len(found) for one in problems for found in one.values()] == [1000, 1000, 3]
    assert problems[1] is problems[0]
    main = threading.main_thread()
    assert [one is main for one in threads] == [False, False, True]
