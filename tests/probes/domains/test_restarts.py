"""
A restart with `--state.path` does not ask the registries again for what is not due.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

from exporter.config.settings import Config
from exporter.demo.minter import Minted
from exporter.model.observation import Facts, Observed
from exporter.model.policies import HOUR
from exporter.model.targets import Target
from exporter.model.urls import parse_url
from exporter.probes.domains.registries import Registries, Servers
from exporter.server.service import Options, Service
from tests.probes.domains.registry import END, Registry, rdap, registry
from tests.support.certificates import NOW

URL = "domain:example.test"


@contextlib.asynccontextmanager
async def scraped(it: Registry, trust: ssl.SSLContext, path: Path, now: float) -> AsyncIterator[Facts]:
    """
    What the first scrape of a new process sees at this time.
    """
    config = Config((Target(parse_url(URL), URL, timeout=10.0),))
    service = Service(lambda: config, Options(state_path=str(path)), asyncio.get_running_loop(), lambda: now)
    servers = Servers(f"{it.base}/dns.json", {}, "127.0.0.1", it.whois_port, trust, gap=0.0)
    service.dependencies.registries = Registries(service.dependencies, servers)
    service.start()
    try:
        (row,) = (await service.scrape(20.0)).endpoints
        assert isinstance(row.held.observation, Observed), row.held.observation
        assert row.held.seen_at == row.held.observation.facts.seen_at
        yield row.held.observation.facts
    finally:
        await service.close()


async def test_a_restart_asks_no_registry_before_it_is_due(ca: Minted, tmp_path: Path) -> None:
    """
    What was seen before the restart is told, with the time it was seen; in its time it is looked up again.
    """
    async with registry(ca) as (it, trust):
        it.rdap["example.test"] = rdap("example.test")
        async with scraped(it, trust, tmp_path, NOW) as first:
            assert first.seen_at == NOW

        async with scraped(it, trust, tmp_path, NOW + HOUR) as again:
            assert again == first
            assert again.seen_at == NOW
            assert it.asked.count("rdap example.test") == 1

        async with scraped(it, trust, tmp_path, NOW + 7 * HOUR) as later, asyncio.timeout(10):
            assert later.items[0].not_after == END
            await it.asked_again.wait()
        assert it.asked.count("rdap example.test") == 2
