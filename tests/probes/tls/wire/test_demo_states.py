"""
The demo's endpoints, seen by the exporter itself.
"""

from dataclasses import replace
from pathlib import Path

from exporter.demo import endpoints
from exporter.engine.scrape import EndpointRow
from tests.probes.tls.wire.probing import scrape, told, watching
from tests.support.certificates import NOW
from tests.support.demo import STATES


def urgency(row: EndpointRow) -> str:
    """
    What the leaf's deadlines mean at NOW; `nothing` when no leaf was ever seen.
    """
    if row.verdict is None:
        return "nothing"
    deadlines = row.verdict.items[0].deadlines
    assert deadlines is not None
    if deadlines.critical <= NOW:
        return "critical"
    return "warning" if deadlines.warning <= NOW else "fine"


async def test_every_state_of_the_demo(tmp_path: Path) -> None:
    """
    One sweep tells them all apart.
    """
    running = await endpoints.start(NOW, str(tmp_path))
    try:
        async with watching() as watch:
            made = await scrape(watch, *(replace(one, timeout=0.5) for one in running.targets))
    finally:
        await running.close()
    assert {row.target.name: (urgency(row), *told(row)) for row in made} == STATES
