"""
One look, through the same watch that a scrape uses, and what metrics would say of it in few words.
"""

import asyncio
import contextlib
import ssl
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exporter.demo.minter import Minted
from exporter.engine.monitor import Monitor
from exporter.engine.results import ProbeResult
from exporter.engine.scrape import EndpointRow
from exporter.model.hosts import IPAddress, parse_ip
from exporter.model.observation import Certificate, Facts, Failed, Tls
from exporter.model.targets import Target
from exporter.model.urls import parse_url
from exporter.probes.dependencies import Dependencies
from tests.support.certificates import NOW
from tests.support.servers import Server

if TYPE_CHECKING:
    from exporter.model.errors import ProbeError

CONCURRENCY = 256

NAME = "www.example"
"""What targets expect and leaves are good for, unless a test says otherwise."""


def target(place: Server | int | str, *, scheme: str = "tls", **settings: Any) -> Target:
    """
    A target at this server, at this port of 127.0.0.1, or at this `host:port`.

    It expects a certificate for NAME, unless the settings, which are fields of Target, say otherwise.
    """
    if isinstance(place, Server):
        place = place.authority
    authority = f"127.0.0.1:{place}" if isinstance(place, int) else place
    url = parse_url(f"{scheme}://{authority}")
    return replace(Target(url, url.text, server_name=NAME), **settings)


class Names:
    """
    A fake of `network.Resolver`: the system's one can't be given names with several addresses in a test,
    since that takes a name server or a change of /etc/hosts.
    """

    def __init__(self, **addresses: Sequence[str]) -> None:
        self.addresses = addresses
        self.failure: ProbeError | None = None
        """What look-ups raise; None when they answer."""

    def close(self) -> None:
        """
        Nothing is open.
        """

    def forget(self, host: str) -> None:
        """
        Nothing is kept.
        """

    async def resolve(self, host: str, _family: int, _timeout: float) -> tuple[IPAddress, ...]:
        """
        The addresses of `host.example` are those of `host`.
        """
        if self.failure is not None:
            raise self.failure
        found = [parse_ip(text) for text in self.addresses[host.removesuffix(".example").replace("-", "_")]]
        return tuple(address for address in found if address is not None)


@contextlib.asynccontextmanager
async def watching(now: float = NOW, names: Names | None = None) -> AsyncIterator[Monitor]:
    """
    A watch whose clock stands at this time, over a network of its own.
    """
    network = Dependencies(asyncio.get_running_loop(), lambda: now)
    if names is not None:
        object.__setattr__(network, "resolver", names)
    try:
        yield Monitor(network, CONCURRENCY, lambda: now)
    finally:
        network.close()


async def scrape(watch: Monitor, *targets: Target, timeout: float = 10.0) -> list[EndpointRow]:
    """
    The rows of one scrape of these targets, in their order.
    """
    made = await watch.scrape(targets, timeout)
    order = [one.name for one in targets]
    return sorted(made.endpoints, key=lambda row: order.index(row.target.name))


async def until(
    watch: Monitor, one: Target, holds: Callable[[EndpointRow], bool], deadline: float = 10.0
) -> EndpointRow:
    """
    The row of the one endpoint of a target, once this holds of it: for what comes from the background.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + deadline
    while True:
        (row,) = await scrape(watch, one)
        if holds(row):
            return row
        assert loop.time() < end, f"it did not come true: {told(row)}, {items(row)}"
        await asyncio.sleep(0.01)


def look(
    *targets: Target, now: float = NOW, timeout: float = 10.0, names: Names | None = None
) -> list[EndpointRow]:
    """
    The rows of the first scrape of these targets, in their order, judged at this time.
    """

    async def run() -> list[EndpointRow]:
        async with watching(now, names) as watch:
            return await scrape(watch, *targets, timeout=timeout)

    return asyncio.run(run())


def see(place: Server | int | str, *, names: Names | None = None, **of: Any) -> EndpointRow:
    """
    The row of the one endpoint of a target: see `target` for the arguments.
    """
    (row,) = look(target(place, **of), names=names)
    return row


def explain(one: Target) -> ProbeResult:
    """
    The look at the one endpoint of a target, with its steps.
    """

    async def run() -> ProbeResult:
        async with watching() as watch:
            made = await watch.probe(one, 10.0, trace_steps=True)
            return made.results[0].looks[0]

    return asyncio.run(run())


def told(row: EndpointRow) -> tuple[str, ...]:
    """
    `seen` or the reason of the failure, then each verification fault, as metrics tell them.
    """
    observation = row.held.observation
    outcome = str(observation.reason) if isinstance(observation, Failed) else "seen"
    return (outcome, *(str(found.fault) for found in (row.verdict.faults if row.verdict is not None else ())))


def detail(row: EndpointRow) -> str:
    """
    The sentence of a failed look.
    """
    assert isinstance(row.held.observation, Failed)
    return row.held.observation.detail


def facts(row: EndpointRow) -> Facts:
    """
    What is held, which must be something.
    """
    assert row.held.facts is not None
    return row.held.facts


def tls(row: EndpointRow) -> Tls:
    """
    What the handshake agreed on.
    """
    agreed = facts(row).tls
    assert agreed is not None
    return agreed


def leaf_of(row: EndpointRow) -> Certificate:
    """
    The leaf that was presented.
    """
    return facts(row).chains[0].leaf


def items(row: EndpointRow) -> list[str]:
    """
    The names of the items.
    """
    return [item.name for item in facts(row).items]


def alerting(row: EndpointRow) -> list[str]:
    """
    The names of the items that have deadlines.
    """
    assert row.verdict is not None
    return [judged.item.name for judged in row.verdict.items if judged.deadlines is not None]


def shown(row: EndpointRow, *presented: Minted) -> bool:
    """
    True when exactly these certificates, byte for byte and in this order, are held.
    """
    return [one.der for one in facts(row).chains[0].certificates] == [one.der for one in presented]


def tls_server(chain: Sequence[Minted]) -> ssl.SSLContext:
    """
    Settings for a TLS server inside the test, which can count its connections.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile() as file:
        Path(file.name).write_bytes(b"".join(one.pem for one in chain) + chain[0].key_pem)
        context.load_cert_chain(file.name)
    return context
