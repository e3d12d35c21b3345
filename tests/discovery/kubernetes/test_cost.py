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
from exporter.discovery.kubernetes import source
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

AMPLE = 240.0
"""Seconds for what takes a few."""

SHARE = 1 / 25
"""
Of the CPU that the first run takes, in which all hosts are listed: two to three seconds. So it is a tenth of
a second, and more where a machine is slower or busier, since then both are.
"""


@pytest.mark.no_cover
def test_a_minute_with_ten_thousand_hosts_costs_a_small_part_of_their_list(tmp_path: Path) -> None:
    """
    In a process of its own: what other tests left in this one (threads, many objects) costs too.
    """
    done = subprocess.run(
        [sys.executable, "-m", "tests.discovery.kubernetes.test_cost", tmp_path],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=2 * AMPLE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    listed, looks, reconnections = map(float, done.stdout.split())
    assert looks + reconnections < SHARE * listed, (
        f"{looks:.3f} s of looks, {reconnections:.3f} s of connections, {listed:.3f} s of the first run"
    )


def measured(directory: Path) -> tuple[float, float, float]:
    """
    CPU of all threads but that of the fake server: of the first run, and of a minute after it, reckoned from
    its parts: the looks at what the watches hold, and new connections of all of them.
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

        async def run() -> tuple[float, float, float]:
            network = Dependencies(asyncio.get_running_loop())
            # Each watch ends after a second, so that enough of them begin anew. The fake server shares a
            # processor with them: however slow that is, no answer comes too late.
            pace = replace(USUAL_PACE, watch=1.0, answer=AMPLE, page=AMPLE, connect=AMPLE)
            network.kubernetes = Kubernetes(network, pace=pace)
            source.LIST_TIMEOUT = AMPLE
            # A few of the names are known elsewhere only.
            asks(network, Names(unknown=" ".join(f"host-{one}.org" for one in range(0, HOSTS, 100))))
            runner = Discovery(
                network, parse(f"discover: [{{kubernetes: {{kubeconfig: {path}}}}}]".encode(), "x.yml", {})
            )
            (feed,) = runner.feeds.values()
            before = cpu()
            assert await runner._run(feed, AMPLE) is None
            listed = cpu() - before
            assert (len(runner.targets), len(feed.kept.names.nowhere)) == (HOSTS * 99 // 100, HOSTS // 100)
            await eventually(lambda: fake.watching == 9, AMPLE)
            before = cpu()
            for _ in range(LOOKS):
                await runner._run(feed, AMPLE)
            looks = cpu() - before
            # Every five minutes, names without an address are looked up again.
            resolving.AGAIN = 0.0
            before, known = cpu(), network.resolver.asked
            await runner._run(feed, AMPLE)
            assert feed.look_ups is not None
            assert feed.look_ups.task is not None
            await feed.look_ups.task
            assert network.resolver.asked == known + HOSTS // 100
            looks += (cpu() - before) / (AGAIN / 60)
            asked, before = fake.count("watch"), cpu()
            await eventually(lambda: fake.count("watch") >= asked + 16, AMPLE)
            connection = (cpu() - before) / (fake.count("watch") - asked)
            assert fake.count("list", "ingresses") == HOSTS // 250
            await runner.close()
            network.close()
            await eventually(lambda: all(view.ended for view in network.kubernetes.views))
            return listed, looks, connection * 9 * RECONNECTIONS

        return asyncio.run(run())


if __name__ == "__main__":
    print(*measured(Path(sys.argv[1])))
