"""
Renewal information, asked in the background, from an HTTP server to the verdict.
"""

import asyncio
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import NoEncryption, pkcs12
from cryptography.x509.oid import NameOID

from exporter.config.settings import Config
from exporter.demo.minter import Minted
from exporter.engine.monitor import Monitor
from exporter.engine.scrape import EndpointRow
from exporter.model.observation import Item, Renewal
from exporter.model.reasons import Lookup, Reason
from exporter.model.targets import Target
from exporter.model.urls import parse_url
from exporter.net.background import WAITING
from exporter.pki.renewal_information import certificate_id
from exporter.probes.dependencies import Dependencies
from exporter.report.status import Level
from exporter.server.service import Options, Service
from tests.golden.values import status_of
from tests.probes.kubernetes.api_server import secret
from tests.probes.kubernetes.looking import of, world
from tests.probes.tls.wire.probing import NAME, facts, scrape, target, told, until
from tests.support.certificates import DAY, NOW, authority
from tests.support.clock import Clock
from tests.support.servers import Site, nginx
from tests.support.web_server import Page, WebServer, web_server

HOUR = 3600.0
ISSUER = "Example Authority"


@pytest.fixture
def web() -> Iterator[WebServer]:
    """
    A web server with a directory.
    """
    with web_server() as server:
        server.pages["/directory"] = Page(json.dumps({"renewalInfo": server.url("/ari")}).encode())
        yield server


@pytest.fixture(scope="module")
def leaf() -> Minted:
    """
    A certificate of ISSUER for 90 days, of which 30 are over.
    """
    above = authority().issuer
    assert above is not None
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, ISSUER),
            x509.NameAttribute(NameOID.COMMON_NAME, "E1"),
        ]
    )
    ca = above.issue(name, ca=True)
    return ca.issue(NAME, [NAME], not_before=NOW - 30 * DAY, not_after=NOW + 60 * DAY)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, leaf: Minted) -> Iterator[str]:
    """
    `host:port` of a server with that certificate.
    """
    with nginx(tmp_path_factory.mktemp("server"), Site([leaf.chain])) as running_server:
        yield running_server.authority


def asks(server: str, web: WebServer, **settings: Any) -> Target:
    """
    A target whose issuer's ACME server is the web server.
    """
    return target(server, **{"acme": {ISSUER: web.url("/directory")}, **settings})


def path(leaf: Minted) -> str:
    """
    Where the renewal information of this certificate is.
    """
    return f"/ari/{certificate_id(leaf.der)}"


def window(begin: float, end: float, *, status: int = 200, **more: str) -> Page:
    """
    A window, to be asked for again in six hours.
    """
    times = {
        name: datetime.fromtimestamp(when, UTC).isoformat() for name, when in (("start", begin), ("end", end))
    }
    body = json.dumps({"suggestedWindow": times, **more}).encode()
    return Page(body, status, {"Retry-After": "21600"})


def item(row: EndpointRow) -> Item:
    """
    The leaf.
    """
    return facts(row).items[0]


def due(row: EndpointRow) -> float:
    """
    When its renewal is due.
    """
    assert row.verdict is not None
    deadlines = row.verdict.items[0].deadlines
    assert deadlines is not None
    return deadlines.renewal_due


async def known(watch: Monitor, one: Target) -> EndpointRow:
    """
    The row, once a window is known.
    """
    return await until(watch, one, lambda row: item(row).renewal is not None)


async def test_the_window_is_exported(leaf: Minted, server: str, web: WebServer) -> None:
    """
    Its end is when it is due; the policy would say otherwise. Nothing changes by looking again.
    """
    begin, end = NOW - DAY, NOW + DAY
    web.pages[path(leaf)] = window(begin, end, explanationURL="https://a.example/why")
    network = Dependencies(asyncio.get_running_loop(), Clock())
    watch = Monitor(network, 8, network.clock)
    one = asks(server, web)
    (before,) = await scrape(watch, one)
    assert due(before) == NOW + 30 * DAY
    row = await known(watch, one)
    assert item(row).renewal == Renewal(end, begin, "https://a.example/why")
    assert due(row) == end
    assert row.held.past.previous == {}
    (again,) = await scrape(watch, one)
    assert again.held.facts is row.held.facts
    assert again.verdict is row.verdict
    network.close()
    assert [asked for _, asked, _ in web.asked] == ["/directory", path(leaf)]


async def test_it_is_asked_again_when_the_server_wants(leaf: Minted, server: str, web: WebServer) -> None:
    """
    Not before; and what it says then takes the place of what it said.
    """
    web.pages[path(leaf)] = window(NOW + 20 * DAY, NOW + 22 * DAY)
    clock = Clock()
    network = Dependencies(asyncio.get_running_loop(), clock, clock)
    watch = Monitor(network, 8, clock)
    one = asks(server, web)
    await known(watch, one)
    web.pages[path(leaf)] = window(NOW - DAY, NOW + DAY)
    clock.now += 6 * HOUR - 1
    for _ in range(3):
        await scrape(watch, one)
    assert network.lookups._entries
    assert all(entry.task is None for entry in network.lookups._entries.values())
    assert web.times(path(leaf)) == 1
    clock.now += 2 * HOUR
    row = await until(watch, one, lambda row: due(row) == NOW + DAY)
    assert row.held.past.previous == {}
    network.close()
    assert web.times(path(leaf)) == 2


@pytest.mark.parametrize(
    ("page", "reason"),
    [
        (Page(status=404), Reason.HTTP_FAILED),
        (Page(status=500), Reason.HTTP_FAILED),
        (Page(status=429, headers={"Retry-After": "60"}), Reason.RATE_LIMITED),
        (Page(b"<html>"), Reason.FORMAT_BROKEN),
        (window(NOW, NOW - 1), Reason.FORMAT_BROKEN),
    ],
    ids=["gone", "error", "too many", "no answer", "the end first"],
)
async def test_the_last_window_stays_while_the_next_can_not_be_got(
    leaf: Minted, server: str, web: WebServer, page: Page, reason: Reason
) -> None:
    """
    The time that is due must not go to and fro.
    """
    web.pages[path(leaf)] = window(NOW - DAY, NOW + DAY)
    clock = Clock()
    network = Dependencies(asyncio.get_running_loop(), clock, clock)
    watch = Monitor(network, 8, clock)
    one = asks(server, web)
    before = await known(watch, one)
    web.pages[path(leaf)] = page
    clock.now += 8 * HOUR
    asked = network.lookups

    def failed(_: EndpointRow) -> bool:
        return any(
            failure is not None and failure.reason is reason
            for failure in (asked.failure(key) for key in asked._entries)
        )

    row = await until(watch, one, failed)
    assert item(row) == item(before)
    network.close()


def test_a_certificate_that_the_server_does_not_know_is_no_failure(
    leaf: Minted, server: str, web: WebServer, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Authorities issue in other ways than by ACME too. It is asked again after six hours.
    """
    clock = Clock()

    async def work() -> None:
        network = Dependencies(asyncio.get_running_loop(), clock, clock)
        watch = Monitor(network, 8, clock)
        one = asks(server, web)
        await until(watch, one, lambda _: web.times(path(leaf)) == 1)
        row = await until(
            watch, one, lambda _: all(it.task is None for it in network.lookups._entries.values())
        )
        assert item(row).renewal is None
        web.pages[path(leaf)] = window(NOW - DAY, NOW + DAY)
        clock.now += 8 * HOUR
        await known(watch, one)
        network.close()

    with caplog.at_level(logging.WARNING):
        asyncio.run(work())
    assert caplog.records == []


async def test_a_server_without_renewal_information_is_asked_nothing_more(
    server: str, web: WebServer
) -> None:
    """
    Its directory says so.
    """
    web.pages["/directory"] = Page(b"{}")
    network = Dependencies(asyncio.get_running_loop(), Clock())
    watch = Monitor(network, 8, network.clock)
    one = asks(server, web)
    await until(watch, one, lambda _: web.times("/directory") == 1)
    for _ in range(3):
        (row,) = await scrape(watch, one)
    assert item(row).renewal is None
    network.close()
    assert [asked for _, asked, _ in web.asked] == ["/directory"]


@pytest.mark.parametrize("settings", [{"renewal_information": False}, {"acme": {}}], ids=["off", "unknown"])
async def test_who_is_not_to_be_asked_is_not(server: str, web: WebServer, settings: dict[str, Any]) -> None:
    """
    When the setting is off, or the issuer's ACME server is not known.
    """
    network = Dependencies(asyncio.get_running_loop(), Clock())
    watch = Monitor(network, 8, network.clock)
    await scrape(watch, asks(server, web, **settings))
    assert network.lookups._entries == {}
    network.close()
    assert web.asked == []


async def test_an_expired_certificate_is_not_asked_for(leaf: Minted, server: str, web: WebServer) -> None:
    """
    RFC 9773 forbids it. What was said before stays.
    """
    web.pages[path(leaf)] = window(NOW - DAY, NOW + DAY)
    clock = Clock()
    network = Dependencies(asyncio.get_running_loop(), clock, clock)
    watch = Monitor(network, 8, clock)
    one = asks(server, web)
    await known(watch, one)
    clock.now = NOW + 61 * DAY
    for _ in range(3):
        (row,) = await scrape(watch, one)
    assert item(row).renewal == Renewal(NOW + DAY, NOW - DAY)
    assert "expired" in told(row)
    network.close()
    assert web.times(path(leaf)) == 1


async def test_an_expired_certificate_is_never_asked_for(leaf: Minted, server: str, web: WebServer) -> None:
    """
    Nor is the directory, when it is expired at the first look.
    """
    clock = Clock()
    clock.now = leaf.certificate.not_valid_after_utc.timestamp() + 1
    network = Dependencies(asyncio.get_running_loop(), clock, clock)
    watch = Monitor(network, 8, clock)
    await scrape(watch, asks(server, web))
    assert network.lookups._entries == {}
    network.close()


async def test_what_was_known_before_a_restart_stays_until_the_server_is_heard(
    leaf: Minted, server: str, web: WebServer
) -> None:
    """
    Else each restart would move the time that is due to and fro.
    """
    web.pages[path(leaf)] = window(NOW - DAY, NOW + DAY)
    one = asks(server, web)
    network = Dependencies(asyncio.get_running_loop(), Clock())
    before = facts(await known(Monitor(network, 8, network.clock), one))
    network.close()
    web.pages.clear()
    network = Dependencies(asyncio.get_running_loop(), Clock())
    network.authorities.restore(before)
    (row,) = await scrape(Monitor(network, 8, network.clock), one)
    assert facts(row) == before
    network.close()


async def test_the_state_file_keeps_the_window(
    tmp_path: Path, leaf: Minted, server: str, web: WebServer
) -> None:
    """
    The first scrape of a new process tells what the last one knew.
    """
    web.pages[path(leaf)] = window(NOW - DAY, NOW + DAY)
    config = Config(targets=(asks(server, web),))
    options = Options(state_path=str(tmp_path / "state.sqlite"))
    loop = asyncio.get_running_loop()
    service = Service(lambda: config, options, loop, Clock())
    service.start()
    end = loop.time() + 10
    while item((await service.scrape(10.0)).endpoints[0]).renewal is None:
        assert loop.time() < end
        await asyncio.sleep(0.01)
    await service.close()
    web.pages.clear()
    service = Service(lambda: config, options, loop, Clock())
    service.start()
    (row,) = (await service.scrape(10.0)).endpoints
    assert item(row).renewal == Renewal(NOW + DAY, NOW - DAY)
    await service.close()


def of_file(pattern: Path, web: WebServer, **settings: Any) -> Target:
    """
    The target of files whose issuer's ACME server is the web server.
    """
    url = parse_url(f"file://{pattern}")
    return replace(Target(url, url.text, acme={ISSUER: web.url("/directory")}), **settings)


async def test_a_certificate_in_a_file_is_asked_for_too(leaf: Minted, web: WebServer, tmp_path: Path) -> None:
    """
    Alone, with its chain, in a keystore, beside something broken; each certificate once.
    """
    begin, end = NOW - DAY, NOW + DAY
    web.pages[path(leaf)] = window(begin, end)
    (tmp_path / "alone.pem").write_bytes(leaf.pem)
    (tmp_path / "chain.pem").write_bytes(leaf.chain_pem)
    (tmp_path / "broken.pem").write_bytes(leaf.pem + leaf.pem[:100])
    (tmp_path / "store.p12").write_bytes(
        pkcs12.serialize_key_and_certificates(b"web", None, leaf.certificate, None, NoEncryption())
    )
    network = Dependencies(asyncio.get_running_loop(), Clock())
    watch = Monitor(network, 8, network.clock)
    pattern = of_file(tmp_path / "*", web)
    alone = of_file(tmp_path / "broken.pem", web)
    await until_all(watch, pattern, lambda row: item(row).renewal is not None)
    first = await scrape(watch, pattern, alone)
    assert {row.label.rpartition("/")[2] for row in first} == {
        "alone.pem",
        "chain.pem",
        "broken.pem",
        "store.p12",
    }
    for row in first:
        assert item(row).renewal == Renewal(end, begin)
        assert due(row) == end
    again = await scrape(watch, pattern, alone)
    for before, row in zip(first, again, strict=True):
        assert item(row) == item(before)
    network.close()
    assert [asked for _, asked, _ in web.asked] == ["/directory", path(leaf)]


async def until_all(watch: Monitor, one: Target, holds: Callable[[EndpointRow], bool]) -> list[EndpointRow]:
    """
    The rows of a target, once this holds of each.
    """
    async with asyncio.timeout(60):
        while True:
            rows = await scrape(watch, one)
            if all(map(holds, rows)):
                return rows
            await asyncio.sleep(0.01)


async def test_files_are_not_asked_for_when_it_is_off(leaf: Minted, web: WebServer, tmp_path: Path) -> None:
    """
    Nor when nobody knows the issuer's ACME server.
    """
    (tmp_path / "alone.pem").write_bytes(leaf.pem)
    network = Dependencies(asyncio.get_running_loop(), Clock())
    watch = Monitor(network, 8, network.clock)
    await scrape(watch, of_file(tmp_path / "*", web, renewal_information=False))
    await scrape(watch, of_file(tmp_path / "*", web, acme={}))
    assert network.lookups._entries == {}
    network.close()
    assert web.asked == []


async def test_a_document_and_a_secret_are_asked_for_too(
    leaf: Minted, web: WebServer, tmp_path: Path
) -> None:
    """
    What cert-manager says of a Secret goes before what the issuer says.
    """
    begin, end = NOW - DAY, NOW + DAY
    web.pages[path(leaf)] = window(begin, end)
    web.pages["/bundle.pem"] = Page(leaf.pem)
    url = parse_url(f"pem+{web.url('/bundle.pem')}")
    acme = {ISSUER: web.url("/directory")}
    managed = {
        "metadata": {"namespace": "prod", "name": "web"},
        "spec": {"secretName": "web"},
        "status": {"renewalTime": datetime.fromtimestamp(NOW + 30 * DAY, UTC).isoformat()},
    }
    async with world(tmp_path) as here:
        here.fake.fill("secrets", secret("prod", "web", tls_crt=leaf.pem))
        here.fake.fill("certificates", managed)
        document = Target(url, url.text, acme=acme)
        assert item(await known(here.watch, document)).renewal == Renewal(end, begin)
        for of_secret in (of("prod/web", acme=acme), of("prod/*", acme=acme)):
            assert item(await known(here.watch, of_secret)).renewal == Renewal(end, begin)
        both = of("prod/web", "secrets", "certificates", acme=acme)
        (row,) = await scrape(here.watch, both)
        assert item(row).renewal == Renewal(NOW + 30 * DAY)
    assert web.times(path(leaf)) == 1


@pytest.mark.no_cover
async def test_many_files_are_asked_for_little_by_little(
    leaf: Minted, web: WebServer, tmp_path: Path
) -> None:
    """
    So many at a time at most, and no more are begun by a scrape than may wait; in the end all are known.
    """
    count = WAITING + 50
    above = leaf.issuer
    assert above is not None
    for number in range(count):
        one = above.issue(f"{number}.example", not_before=NOW - 30 * DAY, not_after=NOW + 60 * DAY)
        (tmp_path / f"{number}.pem").write_bytes(one.pem)
        web.pages[path(one)] = window(NOW - DAY, NOW + DAY)
    most = []

    def under_way(network: Dependencies) -> int:
        return sum(entry.task is not None for entry in network.lookups._entries.values())

    network = Dependencies(asyncio.get_running_loop(), Clock())
    watch = Monitor(network, 8, network.clock)
    target = of_file(tmp_path / "*.pem", web)

    def seen(row: EndpointRow) -> bool:
        most.append(under_way(network))
        return item(row).renewal is not None

    first = await until_all(watch, target, seen)
    assert len(first) == count
    assert 8 < max(most) <= WAITING
    again = await scrape(watch, target)
    assert all(row.held.facts is before.held.facts for row, before in zip(again, first, strict=True))
    network.close()
    assert len(web.asked) == count + 1


async def test_a_file_keeps_its_window_over_a_restart(leaf: Minted, web: WebServer, tmp_path: Path) -> None:
    """
    Until the server is heard again.
    """
    web.pages[path(leaf)] = window(NOW - DAY, NOW + DAY)
    (tmp_path / "alone.pem").write_bytes(leaf.pem)
    target = of_file(tmp_path / "alone.pem", web)
    network = Dependencies(asyncio.get_running_loop(), Clock())
    row = await known(Monitor(network, 8, network.clock), target)
    network.close()
    web.pages["/directory"] = Page(status=500)
    later = Dependencies(asyncio.get_running_loop(), Clock())
    later.authorities.restore(facts(row))
    (again,) = await scrape(Monitor(later, 8, later.clock), target)
    assert item(again).renewal == Renewal(NOW + DAY, NOW - DAY)
    later.close()


async def looked(*targets: Target) -> list[EndpointRow]:
    """
    What a process sees that looks once.
    """
    network = Dependencies(asyncio.get_running_loop(), Clock())
    try:
        return list((await Monitor(network, 8, network.clock).look_once(targets, 10.0)).endpoints)
    finally:
        network.close()


def test_one_look_is_enough_for_a_window(leaf: Minted, server: str, web: WebServer, tmp_path: Path) -> None:
    """
    Though the directory is asked first, for what is served and for what lies in a file, of which one can't be
    read to its end.
    """
    web.pages[path(leaf)] = window(NOW - DAY, NOW + DAY)
    (tmp_path / "alone.pem").write_bytes(leaf.pem)
    (tmp_path / "torn.pem").write_bytes(leaf.pem + b"-----BEGIN CERTIFICATE-----\nAAAA\n")
    document = parse_url(f"pem+{web.url('/bundle.pem')}")
    web.pages["/bundle.pem"] = Page(leaf.pem)
    acme = {ISSUER: web.url("/directory")}
    rows = asyncio.run(
        looked(
            asks(server, web), of_file(tmp_path / "*.pem", web), Target(document, document.text, acme=acme)
        )
    )
    assert [item(row).renewal for row in rows] == [Renewal(NOW + DAY, NOW - DAY)] * 4
    assert [len(facts(row).items) for row in rows] == [2, 1, 1, 1]
    assert (web.times(path(leaf)), web.times("/directory")) == (1, 1)


@pytest.mark.parametrize("broken", ["/directory", "window"])
def test_a_server_that_can_not_be_asked_is_told_and_makes_nothing_unknown(
    leaf: Minted, server: str, web: WebServer, broken: str
) -> None:
    """
    Else a fleet would be unknown whenever its authority is down, and the policy decides well without it.
    """
    web.pages[path(leaf)] = window(NOW - DAY, NOW + DAY)
    web.pages[path(leaf) if broken == "window" else broken] = Page(status=503)
    (row,) = asyncio.run(looked(asks(server, web)))
    (failed,) = facts(row).unanswered
    assert (failed.lookup, failed.reason, failed.stands) == (
        Lookup.RENEWAL_INFORMATION,
        Reason.HTTP_FAILED,
        False,
    )
    (finding,) = [one for one in status_of(row, NOW).findings if "renewed" in one.words]
    assert finding.level is Level.OK
    assert finding.words.startswith("when the issuer wants it renewed is not known: http_failed: ")
    assert "503" in finding.words
