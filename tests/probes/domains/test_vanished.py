"""
A domain that the zone above no longer has, with a real name server for that zone and a fake registry.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path

from exporter.demo.minter import Minted
from exporter.model.reasons import Hazard
from exporter.net.background import Known
from exporter.probes.domains.probe import DELEGATION_AGAIN, VANISHED_AGAIN
from exporter.probes.domains.registries import AGAIN_AFTER
from tests.probes.domains.registry import Watching, asked, rdap
from tests.support.certificates import NOW
from tests.support.name_servers import Zone, name_server
from tests.support.processes import free_port

URL = "domain:example.test"
SERVER = "@ NS ns.test.\nns A 127.0.0.1"
DELEGATED = f"{SERVER}\nexample NS ns.example.test.\nns.example A 127.0.0.1"
MINUTE = 60.0


async def looks_until(watching: Watching, done: Callable[[], bool]) -> None:
    """
    Looks, as scrapes do, until what goes on in the background has come to that.
    """
    async with asyncio.timeout(60):
        await watching.look(URL)
        while not done():
            await asyncio.sleep(0.02)
            await watching.look(URL)


async def at_rest(watching: Watching) -> None:
    """
    Return when nothing goes on in the background. A name server that ends before it has answered would be
    asked again after a pause only, by a clock that stands still.
    """
    tasks = [one.task for one in watching.network.lookups._entries.values() if one.task is not None]
    if tasks:
        await asyncio.wait(tasks, timeout=60)


def delegation(watching: Watching) -> Known | None:
    """
    What is known by now.
    """
    return watching.network.lookups.known(("delegation", "example.test", (("127.0.0.1", watching.dns_port),)))


def is_there(watching: Watching) -> bool | None:
    """
    Whether the zone is known to have the domain; None when nothing is known.
    """
    known = delegation(watching)
    return None if known is None or known.value is None else known.value.exists


async def test_a_domain_that_vanishes_is_asked_for_at_once(ca: Minted, tmp_path: Path) -> None:
    """
    A registry that takes a domain out of its zone is asked why within minutes, not when six hours are over.

    So it is when the domain is back.
    """
    port = free_port()
    async with asyncio.timeout(60), asked(ca, dns_port=port) as watching:
        registry = watching.registry
        registry.rdap["example.test"] = rdap("example.test")
        with name_server(tmp_path / "before", "127.0.0.1", port, [Zone("test", DELEGATED)]):
            await looks_until(watching, lambda: is_there(watching) is True)
            watching.now[0] = NOW + 2 * VANISHED_AGAIN
            await watching.look(URL)
            await at_rest(watching)
            assert registry.asked.count("rdap example.test") == 1

        registry.rdap["example.test"] = rdap("example.test", status=("server hold",))
        with name_server(tmp_path / "after", "127.0.0.1", port, [Zone("test", SERVER)]):
            watching.now[0] += 2 * DELEGATION_AGAIN
            await looks_until(watching, lambda: registry.asked.count("rdap example.test") == 2)
            assert is_there(watching) is False
            facts = await watching.facts(URL)
            while not facts.hazards:
                await asyncio.sleep(0.02)
                facts = await watching.facts(URL)
            assert [found.hazard for found in facts.hazards] == [Hazard.DOMAIN_HOLD]
            assert watching.now[0] < NOW + AGAIN_AFTER / 2

            # As long as it is away, the registry is asked every quarter of an hour.
            watching.now[0] += VANISHED_AGAIN - MINUTE
            await watching.look(URL)
            assert registry.asked.count("rdap example.test") == 2
            watching.now[0] += 2 * MINUTE
            await looks_until(watching, lambda: registry.asked.count("rdap example.test") == 3)
            await at_rest(watching)

        registry.rdap["example.test"] = rdap("example.test")
        with name_server(tmp_path / "again", "127.0.0.1", port, [Zone("test", DELEGATED)]):
            watching.now[0] += VANISHED_AGAIN
            await looks_until(watching, lambda: is_there(watching) is True)
            facts = await watching.facts(URL)
            while facts.hazards:
                await asyncio.sleep(0.02)
                facts = await watching.facts(URL)


async def test_a_domain_that_is_registered_only_has_not_vanished(ca: Minted, tmp_path: Path) -> None:
    """
    Many domains have no name servers, by intention: their registry is asked in its time.
    """
    port = free_port()
    async with asyncio.timeout(60), asked(ca, dns_port=port) as watching:
        watching.registry.rdap["example.test"] = rdap("example.test")
        with name_server(tmp_path, "127.0.0.1", port, [Zone("test", SERVER)]):
            await looks_until(watching, lambda: is_there(watching) is not None)
            assert is_there(watching) is False
            watching.now[0] = NOW + 2 * VANISHED_AGAIN
            await watching.look(URL)
            assert watching.registry.asked.count("rdap example.test") == 1


async def test_name_servers_that_do_not_answer_change_nothing(ca: Minted, tmp_path: Path) -> None:
    """
    What is not answered is as it was: no domain vanishes with the network of this host.
    """
    port = free_port()
    async with asyncio.timeout(60), asked(ca, dns_port=port) as watching:
        watching.registry.rdap["example.test"] = rdap("example.test")
        with name_server(tmp_path, "127.0.0.1", port, [Zone("test", DELEGATED)]):
            await looks_until(watching, lambda: is_there(watching) is True)
            await at_rest(watching)
        watching.now[0] = NOW + 2 * VANISHED_AGAIN
        first = delegation(watching)
        await looks_until(watching, lambda: delegation(watching) is not first)
        assert is_there(watching) is True
        assert watching.registry.asked.count("rdap example.test") == 1
