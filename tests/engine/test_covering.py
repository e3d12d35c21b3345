"""
What no target looks at, from scrape to scrape.
"""

import asyncio

from exporter.engine.covering import Covering
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
