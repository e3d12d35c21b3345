"""
Servers in some states, an exporter that looks at them, and a Prometheus configured by the manual.
"""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from exporter.demo.minter import Minted, root
from tests.support import misbehaving
from tests.support.certificates import DAY
from tests.support.prometheus import Listening, Prometheus, exporter, job, prometheus
from tests.support.readme import fenced
from tests.support.servers import Server, Site, nginx

NAME = "shop.example.com"
"""What every certificate here is good for."""


@dataclass(frozen=True, slots=True)
class World:
    """
    All that runs.
    """

    prometheus: Prometheus
    exporter: Listening
    configuration: Path
    ends: dict[str, int]
    """End of each certificate, by the name of its target."""
    urls: dict[str, str]
    """URL of each target, by its name."""
    leaving: Server
    """The server of the target `leaving`, which a test may stop."""


def minted(now: float, days_left: float, authority: Minted) -> Minted:
    """
    A certificate of ninety days that has so many left.
    """
    end = now + days_left * DAY
    return authority.issue(NAME, [NAME], not_before=end - 90 * DAY, not_after=end)


@pytest.fixture(scope="package")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """
    Four servers and one port without one; an exporter; a Prometheus with each of the manual's three jobs.
    """
    # Prometheus and the exporter have the machine's clock, so the certificates are minted around it.
    now = float(round(time.time()))
    above = root("Test Root", not_before=now - 900 * DAY, not_after=now + 900 * DAY)
    authority = above.issue(
        "Test Intermediate", ca=True, path_length=0, not_before=now - 500 * DAY, not_after=now + 500 * DAY
    )
    leaves = {
        name: minted(now, left, authority)
        for name, left in (("renewed", 80.0), ("late", 5.0), ("expired", -1.0), ("leaving", 60.0))
    }
    directory = tmp_path_factory.mktemp("prometheus")
    with contextlib.ExitStack() as stack:
        servers: dict[str, Server] = {}
        for name, leaf in leaves.items():
            own = directory / name
            own.mkdir()
            servers[name] = stack.enter_context(nginx(own, Site([leaf.chain])))
        urls = {name: f"https://{server.authority}" for name, server in servers.items()}
        urls["refused"] = f"tls://127.0.0.1:{stack.enter_context(misbehaving.refusing())}"
        (directory / "root.pem").write_bytes(above.pem)
        configuration = directory / "expiry.yml"
        document = {
            "defaults": {
                "ca_file": "root.pem",
                "server_name": NAME,
                "timeout": "500ms",
                "labels": {"team": 'the "shop" \\ team'},
            },
            "targets": [{"url": url, "name": name} for name, url in urls.items()],
        }
        configuration.write_text(yaml.safe_dump(document), encoding="utf-8")
        ours = stack.enter_context(exporter(configuration, "--web.enable-lifecycle"))
        # One more, with rules, has the first one's job again.
        metrics, probe, discovered = (
            block for block in fenced("yaml") if "scrape_configs" in block and "rule_files" not in block
        )
        jobs = [
            job(metrics, ours.address),
            job(probe, ours.address, [urls["late"], urls["expired"], urls["refused"]]),
            job(discovered, ours.address),
        ]
        server = stack.enter_context(prometheus(directory, {"scrape_configs": jobs}))
        ends = {name: int(leaf.certificate.not_valid_after_utc.timestamp()) for name, leaf in leaves.items()}
        yield World(server, ours, configuration, ends, urls, servers["leaving"])
