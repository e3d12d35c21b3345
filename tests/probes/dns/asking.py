"""
Looks at zones and at what DNS says of certificates, with real name servers to ask.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

from exporter.engine.monitor import Monitor
from exporter.engine.results import ProbeResult, TargetResult
from exporter.engine.scrape import Scrape
from exporter.model.observation import Facts, Failed, Observed
from exporter.model.targets import Target
from exporter.net.dns import Resolution
from exporter.probes.dependencies import Dependencies
from tests.support.name_servers import Zone, name_server
from tests.support.processes import free_port

ONE, TWO = "127.0.0.1", "::1"
DAY = 86400.0


@contextlib.contextmanager
def name_servers(directory: Path, one: list[Zone], two: list[Zone] | None = None) -> Iterator[int]:
    """
    The port of a name server at address ONE, and of a second one at address TWO if it has zones.
    """
    port = free_port()
    with contextlib.ExitStack() as stack:
        stack.enter_context(name_server(directory / "one", ONE, port, one))
        if two is not None:
            stack.enter_context(name_server(directory / "two", TWO, port, two))
        yield port


@contextlib.asynccontextmanager
async def watching(port: int) -> AsyncIterator[Monitor]:
    """
    A watch that finds authoritative servers at this port.
    """
    network = Dependencies(asyncio.get_running_loop())
    network.resolution = Resolution(network.loop, port)
    try:
        yield Monitor(network, 8, time.time)
    finally:
        network.close()


def look(port: int, target: Target) -> TargetResult:
    """
    What one look at each endpoint of a target gave.
    """

    async def run() -> TargetResult:
        async with watching(port) as watch:
            (result,) = (await watch.probe(target, 30.0, trace_steps=True)).results
            return result

    return asyncio.run(run())


def looks_until(port: int, target: Target, done: Callable[[Facts], bool]) -> tuple[Facts, Facts]:
    """
    The first facts of a target's one endpoint, and the first that are as the test waits for.
    """

    async def run() -> tuple[Facts, Facts]:
        async with watching(port) as watch, asyncio.timeout(15):
            first = held(await watch.probe(target, 10.0))
            found = first
            while not done(found):
                await asyncio.sleep(0.02)
                found = held(await watch.probe(target, 10.0))
            again = held(await watch.probe(target, 10.0))
            assert again is found, "nothing changed, so the facts must be the same object"
            return first, found

    return asyncio.run(run())


def held(scrape: Scrape) -> Facts:
    """
    The facts of the one endpoint of a scrape, with all that is known besides.
    """
    (row,) = scrape.endpoints
    assert isinstance(row.held.observation, Observed)
    return row.held.observation.facts


def facts(look: ProbeResult) -> Facts:
    """
    What a look saw.
    """
    assert isinstance(look.observation, Observed), look.observation
    return look.observation.facts


def failure(look: ProbeResult) -> Failed:
    """
    Why a look saw nothing.
    """
    assert isinstance(look.observation, Failed), look.observation
    return look.observation
