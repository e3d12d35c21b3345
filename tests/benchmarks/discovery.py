"""
Discovery: a zone is read and tried while scrapes go on, and what a target costs in memory that was found.
"""

import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

from exporter.config.sources import ZoneSource
from tests.benchmarks.clients import BenchmarkError, scrape
from tests.benchmarks.fleet import Fleet
from tests.benchmarks.row import Row, Sizes
from tests.benchmarks.scenarios import MEGABYTE, exporter
from tests.support.name_servers import Zone, name_server
from tests.support.processes import free_port, rss_bytes

RATE = 1000
"""New connections a second: the usual rate takes minutes, and is arithmetic."""

PATIENCE = 600.0

SCRAPED = 100
"""Configured targets that are scraped meanwhile."""


def discovery(command: Sequence[str], nginx: Fleet, sizes: Sizes) -> Iterator[Row]:
    """
    A zone of many names from BIND by a transfer, and a list of many targets.
    """
    yield from _zone(command, nginx, sizes)
    yield from _memory(command, nginx, sizes)


def _configuration(directory: Path, targets: Sequence[str], source: object) -> Path:
    path = directory / "discovery.yml"
    path.write_text(json.dumps({"targets": targets, "discover": [source]}), encoding="utf-8")
    return path


def _zone(command: Sequence[str], nginx: Fleet, sizes: Sizes) -> Iterator[Row]:
    port, directory = free_port(), nginx.directory / "bind"
    records = "@ NS ns1\n" + "".join(f"host-{number} A 127.0.0.1\n" for number in range(sizes.fleet))
    targets = [f"tls://{one}" for one in dict.fromkeys(nginx.endpoints(SCRAPED))]
    with name_server(directory, "127.0.0.1", port, [Zone("bench.example", f"ns1 A 127.0.0.1\n{records}")]):
        settings = {
            "name": "bench.example",
            "server": f"127.0.0.1:{port}",
            "ports": [nginx.port],
            "rate": RATE,
        }
        configuration = _configuration(nginx.directory, targets, {"zone": settings, "limit": 1})
        began = time.monotonic()
        with exporter(command, configuration) as (_, our_port):
            meanwhile: list[float] = []
            while "expiry_discovery_pending 0.0" not in (seen := scrape(our_port, 10.0)).text:
                meanwhile.append(seen.seconds)
                if time.monotonic() > began + PATIENCE:
                    raise BenchmarkError(f"the zone was not read within {PATIENCE:g} s")
            taken = time.monotonic() - began
            afterwards = [scrape(our_port, 10.0).seconds for _ in range(len(meanwhile) or 1)]
            if f'expiry_discovery_left_out_targets{{source="zone"}} {sizes.fleet}.0' not in seen.text:
                raise BenchmarkError("not every name of the zone was found")
    usual = ZoneSource.model_fields["rate"].default
    what = f"a zone of {sizes.fleet} names, transferred and tried"
    yield Row(f"{what}, {RATE} a second", taken, "s")
    by_arithmetic = max(0.0, taken - sizes.fleet / RATE) + sizes.fleet / usual
    yield Row(f"{what}, {usual:g} a second (arithmetic)", by_arithmetic, "s", at_most=300)
    each = f"a scrape of {len(targets)} targets meanwhile, and afterwards"
    yield Row(f"{each}: median", median(meanwhile or [0]), "s", median(afterwards))
    yield Row(f"{each}: slowest", max(meanwhile or [0]), "s", max(afterwards))


def _memory(command: Sequence[str], nginx: Fleet, sizes: Sizes) -> Iterator[Row]:
    resident, chain = [], nginx.directory / "chain.pem"
    half = sizes.fleet // 2
    # What the first thousand cost is the room that a sweep takes at all.
    for count in (half, sizes.fleet):
        # As many names at a few servers. What they present is the same, and kept once.
        sites = "".join(
            f"server {{ listen {place} ssl; server_name host-{number}.example; ssl_certificate {chain}; }}\n"
            for number, place in enumerate(nginx.endpoints(count))
        )
        sited = nginx.directory / f"sites-{count}.conf"
        sited.write_text(f"events {{}}\nhttp {{\n{sites}}}\n", encoding="utf-8")
        source = {"web_servers": str(sited), "labels": {"team": "web"}}
        with exporter(command, _configuration(nginx.directory, [], source)) as (ours, port):
            while "expiry_discovery_pending 0.0" not in scrape(port, 30.0).text:
                time.sleep(0.1)
            for _ in range(3):
                found = scrape(port, 60.0).text.count("\nexpiry_last_seen_timestamp_seconds{")
            if found <= count:
                raise BenchmarkError(f"{found} endpoints were seen, not {count} and a file")
            resident.append(rss_bytes(ours.pid))
    each = (resident[1] - resident[0]) / (sizes.fleet - half) / 1000
    yield Row(
        f"memory of each target that was found and scraped, the second half of {sizes.fleet}",
        each,
        "kB",
        at_most=20,
    )
    yield Row("of the process with them", resident[1] / MEGABYTE, "MB")
