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

PATIENCE = 600.0

SCRAPED = 100
"""Configured targets that are scraped meanwhile."""

USUAL_RATE = ZoneSource.model_fields["rate"].default


WARM_UP = 5


PACE = 1.0
"""Seconds from one of these scrapes to the next."""


def discovery(command: Sequence[str], nginx: Fleet, sizes: Sizes) -> Iterator[Row]:
    """
    A zone of many names from BIND by a transfer, and a list of many targets.
    """
    yield from _zone(command, nginx, sizes)
    yield from _memory(command, nginx, sizes)


def _configuration(directory: Path, name: str, targets: Sequence[str], sources: Sequence[object]) -> Path:
    path = directory / f"discovery-{name}.yml"
    path.write_text(json.dumps({"targets": targets, "discover": sources}), encoding="utf-8")
    return path


def _zone(command: Sequence[str], nginx: Fleet, sizes: Sizes) -> Iterator[Row]:
    """
    At the usual rate, from the start until its names are targets. Another exporter without the zone is
    scraped by turns with it: so both meet what else goes on here.
    """
    port, directory = free_port(), nginx.directory / "bind"
    records = "@ NS ns.elsewhere.example.\n" + "".join(
        f"host-{number} A 127.0.0.1\n" for number in range(sizes.fleet)
    )
    hosts = nginx.directory / "hosts"
    names = "".join(f"127.0.0.1 host-{number}.bench.example\n" for number in range(sizes.fleet))
    hosts.write_text(names, encoding="utf-8")
    targets = [f"tls://{one}" for one in dict.fromkeys(nginx.endpoints(SCRAPED))]
    settings = {"name": "bench.example", "server": f"127.0.0.1:{port}", "ports": [nginx.port]}
    with (
        name_server(directory, "127.0.0.1", port, [Zone("bench.example", records)]),
        exporter(command, _configuration(nginx.directory, "plain", targets, [])) as (_, plain_port),
    ):
        for _ in range(WARM_UP):
            scrape(plain_port, 10.0)
        configuration = _configuration(nginx.directory, "zone", targets, [{"zone": settings}])
        began = time.monotonic()
        with exporter(_knowing(hosts, command), configuration) as (_, our_port):
            meanwhile, plain = _by_turns(our_port, plain_port, began + PATIENCE)
            taken = time.monotonic() - began
            seen = scrape(our_port, 60.0).text
        if f'expiry_discovery_targets{{source="zone"}} {sizes.fleet}.0' not in seen:
            raise BenchmarkError("not every name of the zone was found")
    what = f"a zone of {sizes.fleet} names, transferred and tried, {USUAL_RATE:g} a second"
    yield Row(what, taken, "s", at_most=300)
    each = f"a scrape of {len(targets)} targets meanwhile, and of an exporter without the zone"
    yield Row(f"{each}: median of {len(meanwhile)}", median(meanwhile), "s", median(plain))
    late = _late(meanwhile) / _late(plain)
    yield Row(f"{each}: p99", _late(meanwhile), "s", _late(plain), ratio=late, at_most=1.1)
    yield Row(f"{each}: slowest", max(meanwhile), "s", max(plain))


def _knowing(hosts: Path, command: Sequence[str]) -> Sequence[str]:
    """
    The command, with this file in place of /etc/hosts: a name that does not resolve is no target.
    """
    mount = 'mount --bind "$0" /etc/hosts && exec "$@"'
    return ("unshare", "--map-root-user", "--mount", "sh", "-c", mount, str(hosts), *command)


def _by_turns(port: int, other: int, until: float) -> tuple[list[float], list[float]]:
    """
    Seconds of each scrape of both, until the sources of the first one were read.
    """
    found: tuple[list[float], list[float]] = [], []
    following = time.monotonic()
    while following < until:
        time.sleep(max(0.0, following - time.monotonic()))
        # By turns the first one, which comes after a rest of the processors and of the servers.
        pair = ((port, found[0]), (other, found[1]))
        for one, seconds in pair if len(found[0]) % 2 else reversed(pair):
            answer = scrape(one, 10.0)
            if "\nexpiry_discovery_pending 0" in answer.text and one == port:
                return found
            seconds.append(answer.seconds)
        following = max(following + PACE, time.monotonic())
    raise BenchmarkError(f"the zone was not read within {PATIENCE:g} s")


def _late(seconds: Sequence[float]) -> float:
    """
    The 99th percentile.
    """
    return sorted(seconds)[int(0.99 * (len(seconds) - 1))]


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
        # One more is the file itself.
        source = {"web_servers": str(sited), "labels": {"team": "web"}, "limit": count + 1}
        with exporter(command, _configuration(nginx.directory, "found", [], [source])) as (ours, port):
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
