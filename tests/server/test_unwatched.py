"""
Names that nobody watches as a problem, in a running service: told where asked for, and never in vain.
"""

import asyncio
import contextlib
import ipaddress
import json
import re
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from exporter.config.reader import load
from exporter.demo.minter import root
from exporter.lookups import addresses
from exporter.model.errors import ProbeError
from exporter.model.hosts import IPAddress
from exporter.model.reasons import Reason
from exporter.net.resolver import Resolver
from exporter.report.inventory import Inventory, Rhythm
from exporter.report.json_items import unwatched
from exporter.server.pages import unwatched as page
from exporter.server.pages.overview import Situation
from exporter.server.service import Options, Service
from tests.support.certificates import authority
from tests.support.name_servers import Zone, write
from tests.support.servers import Site, nginx

ALERT = "coverage: {alert: true}\n"

GONE, SILENT, SHOP = "gone.example.com", "silent.example.com", "shop.example.com"


def look_up(host: str, _: int) -> tuple[IPAddress, ...]:
    """
    Stands for the system's resolver: one name is gone, of another its server is silent.
    """
    if host == GONE:
        raise ProbeError(Reason.DNS_NOT_FOUND, "gone")
    if host == SILENT:
        raise ProbeError(Reason.DNS_TIMEOUT, "silent")
    return (ipaddress.ip_address("127.0.0.1"),)


@contextlib.asynccontextmanager
async def serving(directory: Path, text: str, *, shard: str = "") -> AsyncIterator[Service]:
    """
    A service with this configuration, and its state.
    """
    file = directory / "expiry.yml"
    file.write_text(text)
    loop = asyncio.get_running_loop()
    options = Options(state_path=str(directory / "state.sqlite"), shard=shard)
    service = Service(lambda: load(str(file), {}), options, loop)
    service.dependencies.resolver.close()
    service.dependencies.resolver = Resolver(loop, ask=look_up)
    service.start()
    try:
        yield service
    finally:
        await service.close()


def certificate(directory: Path, *names: str) -> str:
    """
    A certificate for these names: the URL of its file.
    """
    minted = root("Test CA", not_before=0, not_after=7e9).issue(names[0], names=names)
    path = directory / "www.pem"
    path.write_bytes(minted.pem)
    return f"file://{path}"


async def told(service: Service) -> str:
    """
    The cause of the problem in a scrape now; empty when there is none.
    """
    text = service.text(await service.scrape(5))
    found = re.search(r'^expiry_problem_info\{.*problem="unwatched".*?cause="([^"]*)"', text, re.MULTILINE)
    # Two of the problem, one of its endpoint.
    assert text.count('problem="unwatched"') == (3 if found else 0)
    return found[1] if found else ""


async def settled(service: Service) -> None:
    """
    Wait until all look-ups have ended.
    """
    await service.dependencies.lookups.settle(30)


async def test_names_are_told_where_it_is_asked_for(tmp_path: Path) -> None:
    """
    Of wildcards, and of what DNS does not know, nobody is told; of what does not answer, somebody is.
    """
    url = certificate(tmp_path, "lms.example.com", SHOP, GONE, SILENT, "*.example.org", "old.example.com")
    rules = "coverage: {alert: true, ignore: 'OLD.*'}\n"
    async with serving(tmp_path, f"{rules}targets: [{url}, 'tls://127.0.0.1:1']") as service:
        assert SHOP in await told(service)
        await settled(service)
        assert (
            await told(service) == "no target looks at lms.example.com, shop.example.com, silent.example.com"
        )
        assert service.last is not None
        found = service.last.coverage
        assert [one.name for one in found.unresolved] == [GONE]
        assert dict(found.addressed) == {"lms.example.com": True, SHOP: True, GONE: False}
        row = next(one for one in service.last.endpoints if one.unwatched)
        (finding,) = Inventory(service.last).status(row, service.clock()).findings
        assert finding.words.endswith(
            "no target looks at: lms.example.com, shop.example.com, silent.example.com"
        )
        # /probe of this target alone says the same, and the problem is no younger afterwards.
        since = {one.found.onset.problem: one.since for one in service.last.problems}
        probe = await service.probe(row.target, 5)
        assert 'problem="unwatched"' in service.probe_text(probe)
        await told(service)
        assert since.items() <= {one.found.onset.problem: one.since for one in service.last.problems}.items()


async def test_what_is_found_under_a_name_without_an_address_is_shown_and_no_target(tmp_path: Path) -> None:
    """
    It is on the page and in its JSON, with the source; nothing alerts.
    """
    now = time.time()
    leaf = authority().issue("www", ["www.example.com"], not_before=now - 9, not_after=now + 9e6)
    with nginx(tmp_path, Site([[leaf]])) as server:
        zone = write(tmp_path, Zone("example.com", "gone A 127.0.0.1\nshop A 127.0.0.1\n"))
        source = f"zone: {{name: example.com, file: {zone}, ports: [{server.port}], rate: 1000}}"
        async with serving(tmp_path, f"targets: []\ndiscover: [{source}]") as service:
            await until(lambda: not service.discovery.pending)
            await service.scrape(5)
            assert service.last is not None
            inventory = Inventory(service.last)
            assert [row.target.name for row in service.last.endpoints] == [f"tls://{SHOP}:{server.port}"]
            document = unwatched(inventory)
            text = page.render(inventory, Situation(now, Rhythm(now - 12, 60)), "./", "?v=1", sharded=False)
    url = f"tls://{GONE}:{server.port}"
    why = f"{GONE} is in the zone file, and speaks TLS on port {server.port}"
    assert document["nowhere"] == [{"url": url, "source": "zone", "why": why}]
    assert "1 place found whose name does not resolve" in text
    assert f"{url}</" in text
    assert f"{why}</" in text


async def test_it_is_over_once_they_are_watched(tmp_path: Path) -> None:
    """
    In the first scrape after the reload: by a host or a server_name, whatever its port gives.
    """
    url = certificate(tmp_path, "lms.example.com", SHOP)
    watched = f"targets: [{url}, 'tls://127.0.0.1:1', {{url: 'tls://127.0.0.1:2', server_name: {SHOP}}}"
    async with serving(tmp_path, f"{ALERT}{watched}]") as service:
        assert await told(service) == "no target looks at lms.example.com"
        more = "{url: 'tls://127.0.0.1:3', server_name: lms.example.com}"
        (tmp_path / "expiry.yml").write_text(f"{ALERT}{watched}, {more}]")
        await service.reload()
        assert await told(service) == ""


@pytest.mark.parametrize("rules", ["", "coverage: {ignore: 'a'}\n", "coverage: {alert: false}\n"])
async def test_nobody_is_told_who_did_not_ask(tmp_path: Path, rules: str) -> None:
    """
    They are counted all the same. Names of a private CA are not looked up then.
    """
    url = certificate(tmp_path, "lms.example.com", GONE)
    async with serving(tmp_path, f"{rules}targets: [{url}]") as service:
        await service.scrape(5)
        await settled(service)
        assert await told(service) == ""
        assert service.last is not None
        assert service.last.coverage.counts == {url: 2}
        assert service.last.coverage.addressed == {}


async def test_a_replica_tells_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """
    It does not know what the others watch, and says so.
    """
    url = certificate(tmp_path, "lms.example.com")
    async with serving(tmp_path, f"{ALERT}targets: [{url}]", shard="0/2") as service:
        assert await told(service) == ""
    assert "is off on a replica" in caplog.text


async def until(condition: Callable[[], bool]) -> None:
    """
    Wait until it holds.
    """
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - of several threads
            await asyncio.sleep(0.005)


async def test_nobody_is_told_before_the_sources_were_read_and_a_restart_ends_nothing(tmp_path: Path) -> None:
    """
    What they find may watch the name. With their lists from before a restart that is known at once.
    """
    url = certificate(tmp_path, "lms.example.com", SHOP)
    (tmp_path / "sd.json").write_text(
        json.dumps([{"targets": [f"tls://127.0.0.1:{port}" for port in (1, 2)]}])
    )
    shop = f"{{url: 'tls://127.0.0.1:3', server_name: {SHOP}}}"
    text = f"{ALERT}targets: [{url}, {shop}]\ndiscover: [files: sd.json]"
    async with serving(tmp_path, text) as service:
        assert service.discovery.pending
        assert await told(service) == ""
        await until(lambda: not service.discovery.pending)
        assert await told(service) == "no target looks at lms.example.com"
    async with serving(tmp_path, text) as service:
        assert service.discovery.pending
        assert await told(service) == "no target looks at lms.example.com"


@pytest.mark.parametrize("source", ["files: sd.json", "http: 'http://127.0.0.1:1/targets'"])
async def test_nobody_is_told_while_a_source_could_never_be_read(tmp_path: Path, source: str) -> None:
    """
    It failed from the first start, so its targets are not known. The names are listed, as not all there is.
    """
    url = certificate(tmp_path, "lms.example.com")
    text = f"{ALERT}targets: [{url}, 'tls://127.0.0.1:1']\ndiscover: [{{{source}, interval: 1s}}]"
    async with serving(tmp_path, text) as service:
        await until(lambda: not service.discovery.pending)
        assert [feed.success for feed in service.discovery.feeds.values()] == [False]
        assert await told(service) == ""
        assert service.last is not None
        assert [one.name for one in service.last.coverage.gaps] == ["lms.example.com"]
        assert unwatched(Inventory(service.last))["complete"] is False
        if not source.startswith("files"):
            return
        (tmp_path / "sd.json").write_text("[]")
        await until(lambda: not service.discovery.incomplete)
        assert await told(service) == "no target looks at lms.example.com"
        assert unwatched(Inventory(service.last))["complete"] is True
        # From now on there is a list, whatever becomes of the source.
        (tmp_path / "sd.json").unlink()
        await until(lambda: any(feed.success is False for feed in service.discovery.feeds.values()))
        assert await told(service) == "no target looks at lms.example.com"


async def test_names_are_looked_up_a_few_at_a_time_and_not_at_each_scrape(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    One round at a time; what it did not get to, the next one does.
    """
    asked: list[str] = []
    most, under_way = 0, 0

    class Slow:
        async def resolve(self, host: str, *_: object) -> tuple[IPAddress, ...]:
            nonlocal most, under_way
            asked.append(host)
            under_way += 1
            most = max(most, under_way)
            await asyncio.sleep(0)
            under_way -= 1
            return ()

    names = [f"n{number}.example.com" for number in range(50)]
    now = 0.0
    url = certificate(tmp_path, *names)
    async with serving(tmp_path, f"{ALERT}targets: [{url}]") as service:
        real = service.dependencies.resolver
        service.dependencies.resolver = Slow()  # type: ignore[assignment]
        service.dependencies.monotonic = service.dependencies.lookups._monotonic = lambda: now
        for _ in range(5):
            await service.scrape(5)
            await settled(service)
        assert sorted(asked) == sorted(names)
        assert most == addresses.AT_ONCE
        now = 2 * addresses.ROUND
        await service.scrape(5)
        await settled(service)
        assert len(asked) == 50
        now = 2 * addresses.AGAIN
        await service.scrape(5)
        await settled(service)
        assert len(asked) == 100
        monkeypatch.setattr(addresses, "LONGEST", 0.0)
        now = 4 * addresses.AGAIN
        await service.scrape(5)
        await settled(service)
        assert len(asked) == 100
        service.dependencies.resolver = real
