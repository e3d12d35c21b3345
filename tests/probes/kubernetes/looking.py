"""
Looks at a fake cluster, through the same watch that a scrape uses.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from pathlib import Path

from exporter.engine.monitor import Monitor
from exporter.engine.scrape import EndpointRow
from exporter.model.targets import Objects, Resources, Target
from exporter.model.urls import parse_url
from exporter.probes.dependencies import Dependencies
from exporter.probes.kubernetes.selection import Kubernetes
from exporter.probes.kubernetes.watch import Pace
from tests.probes.kubernetes.api_server import TOKEN, FakeApiServer, api_server, kubeconfig
from tests.probes.tls.wire.probing import scrape
from tests.support.certificates import NOW
from tests.support.rows import told

FAST = Pace(watch=30, answer=2, connect=2, first_pause=0.01, longest_pause=0.05, plugin=0.05)
"""Tries again at once."""


@dataclass(slots=True)
class World:
    """
    A cluster and somebody who looks at it.
    """

    fake: FakeApiServer
    watch: Monitor
    kubernetes: Kubernetes
    network: Dependencies

    async def look(self, *targets: Target) -> list[EndpointRow]:
        """
        The rows of one scrape.
        """
        return await scrape(self.watch, *targets)

    async def until(self, target: Target, holds: Callable[[dict[str, str]], bool]) -> list[EndpointRow]:
        """
        The rows of a target once this holds of what is told of them: see `told`.
        """
        return await self.until_rows(target, lambda rows: holds(told(rows)))

    async def until_rows(
        self, target: Target, holds: Callable[[list[EndpointRow]], bool], deadline: float = 30.0
    ) -> list[EndpointRow]:
        """
        The rows of a target once this holds of them.
        """
        end = self.network.loop.time() + deadline
        while True:
            rows = await self.look(target)
            if holds(rows):
                return rows
            assert self.network.loop.time() < end, f"it did not come true: {told(rows)}"
            await asyncio.sleep(0.01)


async def eventually(holds: Callable[[], bool], deadline: float = 30.0) -> None:
    """
    Wait until this holds.
    """
    async with asyncio.timeout(deadline):
        while True:
            if holds():
                return
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def world(tmp_path: Path, pace: Pace = FAST) -> AsyncIterator[World]:
    """
    A fake cluster that the exporter knows by $KUBECONFIG and a token.
    """
    async with api_server() as fake:
        path = tmp_path / "kubeconfig"
        path.write_text(json.dumps(kubeconfig(fake, {"token": TOKEN})), encoding="utf-8")
        async with seen_by(fake, {"KUBECONFIG": str(path)}, tmp_path / "none", pace) as made:
            yield made


@contextlib.asynccontextmanager
async def seen_by(
    fake: FakeApiServer,
    environ: dict[str, str],
    service_account: Path,
    pace: Pace = FAST,
    clock: Callable[[], float] = lambda: NOW,
) -> AsyncIterator[World]:
    """
    Somebody who looks at a cluster, with this environment.
    """
    network = Dependencies(asyncio.get_running_loop(), clock)
    made = Kubernetes(network, environ, service_account, pace)
    network.kubernetes = made
    try:
        yield World(fake, Monitor(network, 16, clock), made, network)
    finally:
        network.close()
        # What they had open is closed in the next steps of the loop.
        await eventually(lambda: all(view.ended for view in made.views))


def of(
    path: str,
    *resources: Resources,
    types: tuple[str, ...] = (),
    selector: str = "",
    kubeconfig: Path | None = None,
    **settings: object,
) -> Target:
    """
    The target of a path.
    """
    url = parse_url(f"kubernetes://{path}")
    objects = Objects(str(kubeconfig) if kubeconfig else None, resources or ("secrets",), types, selector)
    return replace(Target(url, url.text, kubernetes=objects), **settings)  # type: ignore[arg-type]  # fields
