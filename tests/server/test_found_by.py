"""
The page of a target says where the target comes from.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

from aiohttp.test_utils import TestClient, TestServer

from exporter.config.reader import load
from exporter.server.app import application
from exporter.server.service import Options, Service
from tests.formats.samples import leaf
from tests.support.html import read


@contextlib.asynccontextmanager
async def site(directory: Path) -> AsyncIterator[tuple[Service, TestClient]]:  # type: ignore[type-arg] # of aiohttp
    """
    A running exporter with the configuration in this directory, and its state.
    """
    file, options = str(directory / "expiry.yml"), Options(state_path=str(directory / "state.sqlite"))
    service = Service(lambda: load(file, {}), options, asyncio.get_running_loop())
    service.start()
    try:
        async with TestClient(TestServer(application(service, 0.5))) as client:
            yield service, client
    finally:
        await service.close()


async def comes_from(service: Service, client: TestClient, name: str) -> str:  # type: ignore[type-arg] # of aiohttp
    """
    What the target's page says after another scrape.
    """
    await service.scrape(5)
    async with client.get(f"/targets/{quote(name, safe='')}") as answer:
        assert answer.status == 200
        card = read(await answer.text()).one("dl", class_="card")
    rows = {one.one("dt").text: one.one("dd").text for one in card.all("div")}
    return rows["Comes from"]


async def test_the_source_and_the_place_are_told(tmp_path: Path) -> None:
    """
    As they are now, and as they were last over a restart at which the source can't be read.
    """
    for name in ("www", "other"):
        (tmp_path / f"{name}.pem").write_bytes(leaf().pem)
    url = f"file://{tmp_path}/www.pem"
    groups = [{"targets": [url]}]
    (tmp_path / "sd.json").write_text(json.dumps(groups))
    (tmp_path / "expiry.yml").write_text(
        f"targets: [{{url: 'file://{tmp_path}/o*.pem', name: by hand}}]\n"
        "discover: [{files: sd.json, name: inventory, interval: 1s}]\n"
    )
    async with site(tmp_path) as (service, client):
        async with asyncio.timeout(60):
            while service.discovery.pending:  # noqa: ASYNC110 - of several threads
                await asyncio.sleep(0.005)
            assert await comes_from(service, client, "by hand") == "the configuration"
            first = await comes_from(service, client, url)
            assert first.startswith("the source inventory : group 1 of ")
            assert "sd.json" in first
            # The same target, elsewhere.
            (tmp_path / "sd.json").write_text(json.dumps([{"targets": []}, *groups]))
            while "group 2 of " not in await comes_from(service, client, url):  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.05)
    (tmp_path / "sd.json").unlink()
    async with site(tmp_path) as (service, client):
        assert "group 2 of " in await comes_from(service, client, url)
