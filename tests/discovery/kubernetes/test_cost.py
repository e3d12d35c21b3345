"""
The cost of a cluster with 10,000 Ingress hosts: nothing happens, something changes.
"""

import asyncio
import json
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from exporter.config.reader import parse
from exporter.discovery import resolving
from exporter.discovery.resolving import AGAIN
from exporter.discovery.runner import Discovery
from exporter.probes.dependencies import Dependencies
from exporter.probes.kubernetes.selection import Kubernetes
from exporter.probes.kubernetes.watch import USUAL_PACE
from tests.benchmarks.kubernetes import cluster
from tests.discovery.kubernetes.objects import ingress
from tests.probes.kubernetes.api_server import TOKEN, kubeconfig
from tests.probes.kubernetes.looking import eventually
from tests.support.resolvers import Names, asks

REPOSITORY = Path(__file__).parents[3]

HOSTS = 10_000

RECONNECTIONS = 60 / USUAL_PACE.watch
"""Of one watch in a minute: the server ends each after some time."""

LOOKS = 60
"""Runs of the source in a minute."""


@pytest.mark.no_cover
def test_ten_thousand_hosts_cost_under_a_tenth_of_a_second_a_minute(tmp_path: Path) -> None:
    """
    In a process of its own: what other tests left in this one (threads, many objects) costs too.
    """
    done = subprocess.run(
        [sys.executable, "-m", "tests.discovery.kubernetes.test_cost", tmp_path],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    looks, reconnections = map(float, done.stdout.split())
    assert looks + reconnections < 0.1, f"{looks:.3f} s of looks, {reconnections:.3f} s of connections"


def measured(directory: Path) -> tuple[float, float]:
    """
    A minute, reckoned from its parts, CPU of all threads but that of the fake server: the looks at what the
    watches hold, and new connections of all of them.
    """
    with cluster() as fake:
        (server,) = (one for one in threading.enumerate() if one.name == "api-server")
        assert server.ident is not None
        clock = time.pthread_getcpuclockid(server.ident)
        fake.fill(
            "ingresses", *(ingress(f"team-{one % 50}/web-{one}", f"host-{one}.org") for one in range(HOSTS))
        )
        path = directory / "kubeconfig"
        path.write_text(json.dumps(kubeconfig(fake, {"token": TOKEN})), encoding="utf-8")

        def cpu() -> float:
            return time.process_time() - time.clock_gettime(clock)

        async def run() -> tuple[float, float]:
            network = Dependencies(asyncio.get_running_loop())
            # Each watch ends after a second, so that enough of them begin anew.
            network.kubernetes = Kubernetes(network, pace=replace(USUAL_PACE, watch=1.0))
            # A few of the names are known elsewhere only.
            asks(network, Names(unknown=" ".join(f"host-{one}.org" for one in range(0, HOSTS, 100))))
            runner = Discovery(network)
            runner.configure(
                parse(f"discover: [{{kubernetes: {{kubeconfig: {path}}}}}]".encode(), "x.yml", {})
            )
            (feed,) = runner.feeds.values()
            assert await runner._run(feed, 60.0) is None
            assert (len(runner.targets), len(feed.kept.names.nowhere)) == (HOSTS * 99 // 100, HOSTS // 100)
            await eventually(lambda: fake.watching == 9)
            before = cpu()
            for _ in range(LOOKS):
                await runner._run(feed, 60.0)
            looks = cpu() - before
            # Every five minutes, names without an address are looked up again.
            resolving.AGAIN = 0.0
            before, known = cpu(), network.resolver.asked
            await runner._run(feed, 60.0)
            assert feed.look_ups is not None
            assert feed.look_ups.task is not None
            await feed.look_ups.task
            assert network.resolver.asked == known + HOSTS // 100
            looks += (cpu() - before) / (AGAIN / 60)
            asked, before = fake.count("watch"), cpu()
            await eventually(lambda: fake.count("watch") >= asked + 16)
            connection = (cpu() - before) / (fake.count("watch") - asked)
            assert fake.count("list", "ingresses") == HOSTS // 250
            await runner.close()
            network.close()
            await eventually(lambda: all(view.ended for view in network.kubernetes.views))
            return looks, connection * 9 * RECONNECTIONS

        return asyncio.run(run())


if __name__ == "__main__":
    print(*measured(Path(sys.argv[1])))
