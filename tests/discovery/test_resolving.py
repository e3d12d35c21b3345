"""
Look-ups of found names give way to scrapes.
"""

import asyncio
from ipaddress import IPv4Address

from exporter.discovery.resolving import addressed
from exporter.model.hosts import IPAddress
from exporter.net.network import Network
from exporter.net.resolver import Resolver


async def test_a_look_up_gives_way_to_a_scrape() -> None:
    """
    But not for ever: scrapes may follow each other without a pause. The resolver is a fake.
    """
    loop = asyncio.get_running_loop()
    network = Network(loop)
    asked: list[str] = []

    def ask(name: str, _: int) -> tuple[IPAddress, ...]:
        asked.append(name)
        return (IPv4Address("127.0.0.1"),)

    network.resolver.close()
    network.resolver = Resolver(loop, ask=ask)
    network.calm.patience = 3600.0
    with network.calm.disturbed():
        work = asyncio.ensure_future(addressed(["a.example", "b.example"], network))
        await asyncio.sleep(0.05)
        assert (asked, work.done()) == ([], False)
    assert await work == {"a.example": True, "b.example": True}
    network.calm.patience = 0.01
    with network.calm.disturbed():
        assert await addressed(["c.example"], network) == {"c.example": True}
    network.close()
