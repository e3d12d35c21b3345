"""
What sources find in a running service: scraped, remembered over a restart, exported, reloaded.
"""

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from exporter.config.reader import load
from exporter.discovery import trying
from exporter.discovery.trying import Place
from exporter.net.network import Network
from exporter.report import json_items
from exporter.report.inventory import Inventory
from exporter.server.service import Options, Service
from tests.formats.samples import leaf


@contextlib.asynccontextmanager
async def serving(directory: Path) -> AsyncIterator[Service]:
    """
    A service with the configuration in this directory, and its state.
    """
    options = Options(state_path=str(directory / "state.sqlite"))
    file = str(directory / "expiry.yml")
    service = Service(lambda: load(file, {}), options, asyncio.get_running_loop())
    service.start()
    try:
        yield service
    finally:
        await service.close()


async def until(condition: Callable[[], bool]) -> None:
    """
    Wait until it holds.
    """
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - of several threads
            await asyncio.sleep(0.005)


def configured(directory: Path, *targets: str) -> None:
    """
    A certificate, a list with these targets, and a configuration that reads it.
    """
    (directory / "www.pem").write_bytes(leaf().pem)
    (directory / "sd.json").write_text(json.dumps([{"targets": targets, "labels": {"team": "web"}}]))
    (directory / "expiry.yml").write_text("discover: [{files: sd.json, interval: 1s}]")


async def test_what_is_found_is_scraped_and_survives_a_restart(tmp_path: Path) -> None:
    """
    The first scrape after it has the targets, though the list can't be read any more.
    """
    url = f"file://{tmp_path}/www.pem"
    configured(tmp_path, url)
    async with serving(tmp_path) as service:
        assert "expiry_discovery_pending 1.0\n" in service.text(await service.scrape(5))
        await until(lambda: not service.discovery.pending)
        text = service.text(await service.scrape(5))
        labels = f'target="{url}",prober="file",policy="automatic",team="web",source="files"'
        assert f"expiry_target_info{{{labels}}} 1.0\n" in text
        for line in (
            'expiry_discovery_success{source="files"} 1.0',
            'expiry_discovery_targets{source="files"} 1.0',
            "expiry_discovery_pending 0.0",
        ):
            assert f"{line}\n" in text
        assert "expiry_discovery_kept_targets" not in text
        assert [one.name for one in service.discovery.known.targets] == [url]
    (tmp_path / "sd.json").unlink()
    (tmp_path / "www.pem").unlink()
    async with serving(tmp_path) as service:
        text = service.text(await service.scrape(5))
        assert f'expiry_not_after_timestamp_seconds{{target="{url}"' in text
        assert 'expiry_discovery_last_success_timestamp_seconds{source="files"}' in text
        await until(lambda: not service.discovery.pending)
        assert 'expiry_discovery_success{source="files"} 0.0' in service.text(await service.scrape(5))
        (tmp_path / "expiry.yml").write_text("targets: []")
        await service.reload()
        text = service.text(await service.scrape(5))
        assert "expiry_target_info" not in text
        assert "expiry_discovery" not in text


async def test_a_restart_in_the_middle_of_a_run_has_no_address_tried_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    And loses nothing that was found; what is under way just then counts as tried. What is tried is a fake.
    """
    begun: list[str] = []
    hangs = asyncio.Event()

    async def fake(_: Network, place: Place) -> tuple[str, ...]:
        begun.append(place.address)
        if len(begun) == 6:
            await hangs.wait()
        return ()

    monkeypatch.setattr(trying, "names_at", fake)
    monkeypatch.setattr(trying, "AT_ONCE", 1)
    (tmp_path / "expiry.yml").write_text("discover: [{networks: {cidr: 127.0.0.0/28, rate: 1000}}]")
    async with serving(tmp_path):
        await until(lambda: len(begun) == 6)
    async with serving(tmp_path) as service:
        await until(lambda: not service.discovery.pending)
        assert sorted(begun) == sorted(f"127.0.0.{number}" for number in range(1, 15))
        there = {target.url.host for target in service.discovery.targets}
        assert there == {*begun} - {begun[5]}


async def test_a_change_of_a_list_is_in_a_later_scrape(tmp_path: Path) -> None:
    """
    A reload in between keeps it.
    """
    configured(tmp_path, f"file://{tmp_path}/www.pem")
    async with serving(tmp_path) as service:
        await until(lambda: len(service.discovery.targets) == 1)
        configured(tmp_path, f"file://{tmp_path}/www.pem", f"file://{tmp_path}/*.pem")
        await service.reload()
        assert len(service.discovery.targets) >= 1
        await until(lambda: len(service.discovery.targets) == 2)
        assert len((await service.scrape(5)).targets) == 2


async def test_only_targets_are_counted_as_kept(tmp_path: Path) -> None:
    """
    What never could be one is no target that is kept either: the two figures fit.
    """
    good = [f"file://{tmp_path}/{number}.pem" for number in range(24)]
    configured(tmp_path, *good, *(f"https://*.{number}.example" for number in range(6)))
    async with serving(tmp_path) as service:
        await until(lambda: len(service.discovery.targets) == 24)
        assert "expiry_discovery_kept_targets" not in service.text(await service.scrape(5))
        (tmp_path / "sd.json").write_text("[]")
        (feed,) = service.discovery.feeds.values()
        await until(lambda: bool(feed.kept.missing))
        text = service.text(await service.scrape(5))
        for line in (
            'expiry_discovery_kept_targets{source="files"} 24.0',
            'expiry_discovery_targets{source="files"} 24.0',
        ):
            assert f"{line}\n" in text


async def test_a_list_may_name_files_but_shows_no_secret_in_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Who writes the list decides what is read. Of a key beside a certificate, and of other files, nothing is
    shown anywhere; nothing but labels can be set.
    """
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "no-kubeconfig"))
    words, key = "root:x:0:0:hunter2:/root", leaf().key_pem
    (tmp_path / "passwd").write_text(f"{words}\n")
    named = {f"file://{tmp_path}/{name}" for name in ("www.pem", "key.pem", "passwd", "*.pem")}
    configured(tmp_path, *named, "kubernetes://*/*")
    (tmp_path / "www.pem").write_bytes(leaf().pem + key)
    (tmp_path / "key.pem").write_bytes(key)
    (tmp_path / "sd.json").write_text(
        json.dumps([{"targets": [*named, "kubernetes://*/*"], "labels": {"password_file": "/etc/shadow"}}])
    )
    async with serving(tmp_path) as service:
        await until(lambda: bool(service.discovery.targets))
        scrape = await service.scrape(5)
        assert {target.name for target in service.discovery.targets} == {*named, "kubernetes://*/*"}
        assert {target.password for target in service.discovery.targets} == {None}
        seen = {row.target.name for row in scrape.endpoints if row.held.facts is not None}
        assert seen == {f"file://{tmp_path}/www.pem", f"file://{tmp_path}/*.pem"}
        inventory = Inventory(scrape)
        rows = [json_items.endpoint(row, inventory, service.clock()) for row in scrape.endpoints]
        shown = service.text(scrape) + json.dumps(rows) + str([vars(one) for one in caplog.records])
    for secret in (words, "hunter2", *key.decode().splitlines()[1:-1]):
        assert secret not in shown
