"""
What a cluster's Secrets cost: the first scrape, which lists them, and the later ones, which ask nothing.
"""

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import Iterator, Sequence
from statistics import median

from exporter.demo.minter import root
from tests.benchmarks.clients import BenchmarkError, scrape
from tests.benchmarks.fleet import Fleet
from tests.benchmarks.row import Row, Sizes
from tests.benchmarks.scenarios import MEGABYTE, exporter, settled_cpu
from tests.probes.kubernetes.api_server import TOKEN, FakeApiServer, api_server, kubeconfig, secret
from tests.support.certificates import DAY
from tests.support.processes import cpu_seconds, peak_rss_bytes, rss_bytes


@contextlib.contextmanager
def cluster() -> Iterator[FakeApiServer]:
    """
    A fake API server in a thread of its own.
    """
    started = threading.Event()
    fakes: list[FakeApiServer] = []
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def serve() -> None:
        async with api_server() as fake:
            fakes.append(fake)
            started.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), name="api-server")
    thread.start()
    try:
        if not started.wait(10):
            raise BenchmarkError("the fake API server did not start")
        yield fakes[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


def fill(fake: FakeApiServer, count: int) -> None:
    """
    So many Secrets for TLS, with chain and key, and as many of Helm that must never be sent.
    """
    now = time.time()
    authority = root("Benchmark Root", not_before=now - DAY, not_after=now + 3650 * DAY)
    issuer = authority.issue("Benchmark Issuer", ca=True)
    for number in range(count):
        name = f"host-{number}.example.com"
        leaf = issuer.issue(name, [name], not_before=now - 10 * DAY, not_after=now + 80 * DAY)
        where = f"team-{number % 20}"
        fake.fill("secrets", secret(where, f"host-{number}", tls_crt=leaf.chain_pem, tls_key=leaf.key_pem))
        release = secret(where, f"sh.helm.release.v1.{number}", "helm.sh/release.v1", release=leaf.pem)
        fake.fill("secrets", release)


def kubernetes(command: Sequence[str], nginx: Fleet, sizes: Sizes) -> Iterator[Row]:
    """
    Seconds and CPU of scrapes of all Secrets of a cluster, and the lists that the cluster was asked for.
    """
    with cluster() as fake:
        fill(fake, sizes.many)
        access = nginx.directory / "kubeconfig"
        access.write_text(json.dumps(kubeconfig(fake, {"token": TOKEN})), encoding="utf-8")
        configuration = nginx.directory / "kubernetes.yml"
        target = {"url": "kubernetes://*/*", "timeout": "60s", "kubernetes": {"kubeconfig": str(access)}}
        configuration.write_text(json.dumps({"targets": [target]}), encoding="utf-8")
        with exporter(command, configuration) as (ours, port):
            seconds: list[float] = []
            cpu: list[float] = []
            listed = 0
            for turn in range(1 + sizes.rounds):
                before, begun = cpu_seconds(ours.pid), time.perf_counter()
                seen = scrape(port, timeout=60)
                seconds.append(time.perf_counter() - begun)
                cpu.append(settled_cpu(ours) - before)
                succeeded = seen.text.count("\nexpiry_probe_success{")
                if succeeded != sizes.many or "\nexpiry_probe_failure_info{" in seen.text:
                    raise BenchmarkError(
                        f"{succeeded} Secrets were told of, not {sizes.many}, or some failed"
                    )
                if turn == 0:
                    listed = fake.count("list")
            again = fake.count("list") - listed
            resident, peak = rss_bytes(ours.pid), peak_rss_bytes(ours.pid)
    what = f"{sizes.many} Secrets"
    yield Row(f"{what}: a scrape", median(seconds[1:]), "s", at_most=0.3)
    yield Row(f"{what}: CPU of a scrape", median(cpu[1:]), "s")
    yield Row(f"{what}: the first", seconds[0], "s")
    yield Row(f"{what}: CPU of the first", cpu[0], "s")
    yield Row(f"{what}: pages listed for it", listed, "")
    yield Row(f"{what}: pages listed after it", again, "", at_most=0)
    yield Row(f"{what}: memory", resident / MEGABYTE, "MB")
    yield Row(f"{what}: peak memory", peak / MEGABYTE, "MB")
