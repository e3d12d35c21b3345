"""
The demo's endpoints, seen by the exporter itself.
"""

import asyncio
from dataclasses import replace
from pathlib import Path

from exporter.demo import endpoints
from exporter.engine.scrape import EndpointRow
from tests.probes.tls.wire.probing import scrape, told, watching
from tests.support.certificates import NOW

STATES = {
    "healthy": ("fine", "seen"),
    "renewal-late": ("warning", "seen"),
    "two-days-left": ("critical", "seen"),
    "expired": ("critical", "seen", "expired"),
    "not-yet-valid": ("fine", "seen", "not_yet_valid"),
    "wrong-name": ("fine", "seen", "name_mismatch"),
    "untrusted": ("fine", "seen", "untrusted_root"),
    "missing-intermediate": ("fine", "seen", "missing_intermediate"),
    "client-certificate": ("fine", "client_certificate_required"),
    "silent": ("nothing", "handshake_timeout"),
    "refused": ("nothing", "connection_refused"),
}


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


def test_every_state_of_the_demo(tmp_path: Path) -> None:
    """
    One sweep tells them all apart.
    """

    async def run() -> list[EndpointRow]:
        running = await endpoints.start(NOW, str(tmp_path))
        try:
            async with watching() as watch:
                return await scrape(watch, *(replace(one, timeout=0.5) for one in running.targets))
        finally:
            await running.close()

    assert {row.target.name: (urgency(row), *told(row)) for row in asyncio.run(run())} == STATES
