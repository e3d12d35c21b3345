"""
Fake registries on loopback: real HTTPS and WHOIS servers whose answers a test chooses.

Real registries can't be had in a test. What these say has the form that RFC 9083 and RFC 9224 give, and that
WHOIS servers are known to use.
"""

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from exporter.demo.minter import Minted
from exporter.engine.monitor import Monitor
from exporter.engine.results import ProbeResult
from exporter.model.observation import Facts, Failed, Observed
from exporter.model.targets import Target
from exporter.model.urls import parse_url
from exporter.net.dns import Resolution
from exporter.probes.dependencies import Dependencies
from exporter.probes.domains.registries import Registries, Servers
from tests.probes.tls.wire.probing import tls_server
from tests.support.certificates import NOW

END = NOW + 200 * 86400.0
BEGIN = NOW - 3000 * 86400.0


def timestamp(seconds: float) -> str:
    """
    A time as RFC 3339 writes it.
    """
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def rdap(name: str, *, end: float | None = END, status: tuple[str, ...] = ("active",)) -> dict[str, Any]:
    """
    A registry's answer about a domain.
    """
    events = [
        {"eventAction": "registration", "eventDate": timestamp(BEGIN)},
        {"eventAction": "last update of RDAP database", "eventDate": timestamp(NOW)},
    ]
    if end is not None:
        events.insert(1, {"eventAction": "expiration", "eventDate": timestamp(end)})
    card = ["vcard", [["version", {}, "text", "4.0"], ["fn", {}, "text", "Example Registrar, Inc."]]]
    return {
        "objectClassName": "domain",
        "ldhName": name.upper(),
        "status": list(status),
        "events": events,
        "entities": [{"objectClassName": "entity", "roles": ["registrar"], "vcardArray": card}],
    }


@dataclass(slots=True)
class Registry:
    """
    What the fake servers answer, and what they were asked.
    """

    base: str
    """URL of the HTTPS server."""
    services: list[Any]
    """What the bootstrap file says."""
    bootstrap_headers: dict[str, str] = field(default_factory=dict)
    bootstrap_status: int = 200
    rdap: dict[str, web.Response | Callable[[], web.Response] | dict[str, Any]] = field(default_factory=dict)
    """Answers by domain; none is a 404."""
    whois: dict[str, bytes | None] = field(default_factory=dict)
    """Answers by question; None: silence."""
    whois_port: int = 0
    open: list[asyncio.StreamWriter] = field(default_factory=list)
    """Connections of the WHOIS server."""
    asked: list[str] = field(default_factory=list)
    """`rdap example.com`, `whois example.it` or `bootstrap`, in their order."""
    asked_again: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once a domain was asked for a second time by RDAP."""

    async def answer_rdap(self, request: web.Request) -> web.StreamResponse:
        """
        One RDAP answer.
        """
        name = request.match_info["name"]
        if f"rdap {name}" in self.asked:
            self.asked_again.set()
        self.asked.append(f"rdap {name}")
        found = self.rdap.get(name)
        if callable(found):
            found = found()
        if isinstance(found, dict):
            return web.Response(body=json.dumps(found).encode(), content_type="application/rdap+json")
        # A response can be sent once; the test may ask again.
        return web.Response(status=404) if found is None else clone(found)

    async def answer_bootstrap(self, _: web.Request) -> web.Response:
        """
        The bootstrap file.
        """
        self.asked.append("bootstrap")
        return web.json_response(
            {"version": "1.0", "services": self.services},
            status=self.bootstrap_status,
            headers=self.bootstrap_headers,
        )

    async def answer_whois(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """
        One WHOIS answer, and the end of the connection.
        """
        self.open.append(writer)
        question = (await reader.readline()).decode().strip()
        self.asked.append(f"whois {question}")
        answer = self.whois.get(question, b"No match\r\n")
        with contextlib.suppress(OSError):
            if answer is None:
                await reader.read()
            else:
                writer.write(answer)
                await writer.drain()
        writer.close()


def clone(answer: web.Response) -> web.Response:
    """
    The same answer once more.
    """
    return web.Response(status=answer.status, body=answer.body, headers=answer.headers)


@contextlib.asynccontextmanager
async def registry(ca: Minted) -> AsyncIterator[tuple[Registry, ssl.SSLContext]]:
    """
    Running servers, and what to verify them by. The RDAP server is for .test, WHOIS for all else.
    """
    it = Registry("", [])
    app = web.Application()
    app.router.add_get("/dns.json", it.answer_bootstrap)
    app.router.add_get("/rdap/domain/{name}", it.answer_rdap)
    runner = web.AppRunner(app)
    await runner.setup()
    # Python verifies by the time of today, which the authority's years contain.
    site = web.TCPSite(
        runner, "127.0.0.1", 0, ssl_context=tls_server(ca.issue("Registry", ["127.0.0.1"]).chain)
    )
    await site.start()
    port = runner.addresses[0][1]
    it.base = f"https://127.0.0.1:{port}"
    it.services = [[["test"], [f"{it.base}/rdap/"]]]
    server = await asyncio.start_server(it.answer_whois, "127.0.0.1", 0)
    it.whois_port = server.sockets[0].getsockname()[1]
    trust = ssl.create_default_context()
    assert ca.issuer is not None
    trust.load_verify_locations(cadata=ca.issuer.pem.decode())
    try:
        yield it, trust
    finally:
        server.close()
        for writer in it.open:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        await runner.cleanup()


@dataclass(slots=True)
class Watching:
    """
    A watch that asks the fake registries, and whose clock stands where the test puts it.
    """

    registry: Registry
    watch: Monitor
    network: Dependencies
    now: list[float]
    stepped: list[float]
    """By how many seconds somebody set the time of day since the beginning: no time went by with it."""
    dns_port: int = 0
    """Where the name server of the zone above listens; 0: the test has none."""

    def set_clock(self, by: float) -> None:
        """
        Somebody sets the time of day.
        """
        self.now[0] += by
        self.stepped[0] += by

    async def look(self, url: str) -> ProbeResult:
        """
        One look at the one endpoint of a target.
        """
        target = Target(parse_url(url), url, timeout=10.0, dns_servers=(("127.0.0.1", self.dns_port),))
        made = await self.watch.probe(target, 20.0, trace_steps=True)
        (look,) = made.results[0].looks
        return look

    async def facts(self, url: str) -> Facts:
        """
        What one look saw.
        """
        observation = (await self.look(url)).observation
        assert isinstance(observation, Observed), observation
        return observation.facts

    async def failed(self, url: str) -> Failed:
        """
        Why one look saw nothing.
        """
        observation = (await self.look(url)).observation
        assert isinstance(observation, Failed), observation
        return observation


@contextlib.asynccontextmanager
async def asked(
    ca: Minted, servers: Mapping[str, str] | None = None, dns_port: int = 0
) -> AsyncIterator[Watching]:
    """
    Fake registries and a watch over them.
    """
    now, stepped = [NOW], [0.0]
    async with registry(ca) as (it, trust):
        network = Dependencies(asyncio.get_running_loop(), lambda: now[0], lambda: now[0] - stepped[0])
        fakes = Servers(
            f"{it.base}/dns.json",
            servers if servers is not None else {"it": "127.0.0.1"},
            "127.0.0.1",
            it.whois_port,
            trust,
            gap=0.0,
        )
        network.registries = Registries(network, fakes)
        network.resolution = Resolution(network.loop, dns_port)
        try:
            yield Watching(it, Monitor(network, 8, lambda: now[0]), network, now, stepped, dns_port)
        finally:
            network.close()
            # Servers know nothing of connections that this cut off in the handshake: those end first.
            current = asyncio.current_task()
            if under_way := [one for one in asyncio.all_tasks() if one is not current]:
                await asyncio.wait(under_way, timeout=0.5)
