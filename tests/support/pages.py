"""
The pages of a fleet that was made by hand, served for real.
"""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from aiohttp import web

from exporter.config.settings import Config
from exporter.engine.results import TargetResult
from exporter.engine.scrape import Scrape
from exporter.model.observation import Certificate
from exporter.server.app import application
from exporter.server.service import Options, Service
from tests.golden.values import Scene
from tests.support.certificates import DAY, NOW

EXTERNAL_URL = "https://expiry.example.com/pages"


def scrape(scene: Scene, *, at: float = NOW - 12, complete: bool = True) -> Scrape:
    """
    The scene as a scrape.
    """
    results = tuple(
        TargetResult(of, (), located=True, left_out=scene.memory.known(of).left_out) for of in scene.faults
    )
    return Scrape(
        tuple(scene.targets()),
        tuple(scene.rows()),
        results,
        0.1,
        9.5,
        complete=complete,
        at=at,
        coverage=scene.coverage(),
    )


TIMES = {
    *("seen_at", "last_seen", "not_before", "not_after", "newest_not_after", "renewal_due", "warning"),
    *("critical", "at", "now", "until"),
}
"""The names of times in documents."""


def in_numbers(document: Any) -> Any:
    """
    A document without the times as text, each of which is checked: it says the same, and none is missing.
    """
    if isinstance(document, list):
        return [in_numbers(one) for one in document]
    if not isinstance(document, dict):
        return document
    texts = document.get("rfc3339", {})
    assert set(texts) == TIMES & set(document)
    for name, text in texts.items():
        if document[name] is None:
            assert text is None
        else:
            assert text.endswith("Z")
            assert datetime.fromisoformat(text).timestamp() == int(document[name])
    return {name: in_numbers(value) for name, value in document.items() if name != "rfc3339"}


def document_of_leaf(leaf: Certificate) -> dict[str, Any]:
    """
    What the documents say of the leaf that `certificate()` makes, under the policy `automatic`.
    """
    return {
        "item": "leaf",
        "kind": "leaf",
        "policy": "automatic",
        "not_before": NOW - 15 * DAY,
        "not_after": NOW + 75 * DAY,
        "renewal_due": NOW + 45 * DAY,
        "warning": NOW + 49.5 * DAY,
        "critical": NOW + 68 * DAY,
        "newest_not_after": NOW + 75 * DAY,
        "subject": "CN=lms.example.com",
        "issuer": "CN=Test Intermediate",
        "serial": "1a2b",
        "fingerprint_sha256": leaf.fingerprint_sha256,
        "key": "ecdsa-256",
        "dns_names": ["lms.example.com"],
        "ip_addresses": [],
    }


def service(
    scene: Scene,
    loop: asyncio.AbstractEventLoop,
    *,
    external_url: str | None = None,
    complete: bool = True,
    shard: str = "",
) -> Service:
    """
    A service that has just seen this scene; its clocks stand still.
    """
    options = Options(external_url=external_url, shard=shard)
    made = Service(Config, options, loop, clock=lambda: NOW, monotonic=lambda: 0.0)
    made.last = scrape(scene, complete=complete)
    return made


@contextlib.contextmanager
def serving(scene: Scene, *, external_url: str | None = None) -> Iterator[str]:
    """
    The address of a server with the pages of this scene, in a thread of its own.
    """
    loop = asyncio.new_event_loop()
    started: list[str] = []
    ready = threading.Event()
    stop = asyncio.Event()

    async def serve() -> None:
        seen = service(scene, loop, external_url=external_url)
        runner = web.AppRunner(application(seen, 0.5), access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        started.append(f"http://127.0.0.1:{runner.addresses[0][1]}")
        ready.set()
        try:
            await stop.wait()
        finally:
            await runner.cleanup()
            await seen.close()

    def run() -> None:
        try:
            loop.run_until_complete(serve())
        finally:
            ready.set()
            loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    ready.wait()
    try:
        yield started[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
