"""
What a dialogue before TLS costs, against the same handshake on a TLS port.
"""

import contextlib
import time
from collections.abc import Iterator, Sequence
from statistics import median

from exporter.demo.minter import root
from tests.benchmarks import fleet as fleets
from tests.benchmarks.fleet import Fleet
from tests.benchmarks.row import Row, Sizes
from tests.benchmarks.scenarios import all_succeeded, exporter, settled_cpu
from tests.probes.tls.starttls.daemons import dovecot
from tests.support.processes import Running, cpu_seconds

PAIRS = (("imap", "imaps"), ("submission", "smtps"))
"""Schemes that one server speaks: with STARTTLS, and with TLS from the first byte."""


def starttls(command: Sequence[str], nginx: Fleet, sizes: Sizes) -> Iterator[Row]:
    """
    CPU for each target whose TLS begins after a dialogue, against the TLS port of the same Dovecot.
    """
    now = time.time()
    authority = root("Benchmark Root", not_before=now - fleets.DAY, not_after=now + 3650 * fleets.DAY)
    leaf = authority.issue("localhost", ["localhost"], not_before=now, not_after=now + 90 * fleets.DAY)
    ca_file = nginx.directory / "dovecot-ca.pem"
    ca_file.write_bytes(authority.pem)
    with dovecot([leaf, authority]) as ports:
        for pair in PAIRS:
            with contextlib.ExitStack() as stack:
                ours: list[tuple[Running, int]] = []
                for scheme in pair:
                    endpoints = [f"127.0.0.1:{ports[scheme]}"] * sizes.some
                    configuration = fleets.configuration(nginx.directory, endpoints, ca_file, scheme)
                    ours.append(stack.enter_context(exporter(command, configuration)))
                rounds: list[list[float]] = [[], []]
                # The first scrape of each judges the certificate: none of that is in the median.
                for _ in range(1 + sizes.rounds):
                    for (it, port), costs in zip(ours, rounds, strict=True):
                        cpu = cpu_seconds(it.pid)
                        all_succeeded(port, sizes.some)
                        costs.append((settled_cpu(it) - cpu) / sizes.some * 1000)
            later, at_once = (median(costs[1:]) for costs in rounds)
            what = f"CPU of a target, {pair[0]} (STARTTLS) against {pair[1]}"
            yield Row(what, later, "ms", at_once, later / at_once, at_most=1.3)
