"""
What the names of other exporters (`--metrics.compat`) cost a scrape.
"""

import contextlib
import urllib.request
from collections.abc import Iterator, Sequence
from statistics import median

from exporter.report.compat_families import EXPORTERS
from tests.benchmarks import fleet as fleets
from tests.benchmarks.fleet import Fleet
from tests.benchmarks.row import Row, Sizes
from tests.support.processes import cpu_seconds, free_port, listening, running


def compat(command: Sequence[str], nginx: Fleet, sizes: Sizes) -> Iterator[Row]:
    """
    Processes with and without them scrape the same targets by turns.
    """
    configuration = fleets.configuration(nginx.directory, nginx.endpoints(sizes.some), nginx.ca_file)
    kinds = {"without": "", "blackbox": "blackbox", "all": ",".join(EXPORTERS)}
    taken: dict[str, list[float]] = {kind: [] for kind in kinds}
    with contextlib.ExitStack() as stack:
        processes: dict[str, tuple[int, int]] = {}
        for kind, names in kinds.items():
            number = free_port()
            flags = [f"--config.file={configuration}", "--state.path=none", "--sweep.per-address-rate=100000"]
            flags += [f"--metrics.compat={names}"] if names else []
            argv = [*command, *flags, f"--web.listen-address=127.0.0.1:{number}"]
            it = stack.enter_context(running(argv, ready=listening(number), cwd=fleets.REPOSITORY))
            processes[kind] = it.pid, number
        # The first two of each are cold.
        for turn in range(2 + 2 * sizes.rounds):
            for kind, (pid, number) in processes.items():
                before = cpu_seconds(pid)
                _scrape(number)
                if turn >= 2:
                    taken[kind].append(cpu_seconds(pid) - before)
    plain = median(taken["without"])
    for kind in ("blackbox", "all"):
        cpu = median(taken[kind])
        yield Row(
            f"CPU of a scrape of {sizes.some} targets with --metrics.compat ({kind}) and without",
            cpu,
            "s",
            plain,
            cpu / plain,
            at_most=1.05,
        )


def _scrape(number: int) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    asked = urllib.request.Request(
        f"http://127.0.0.1:{number}/metrics",
        headers={"Accept-Encoding": "gzip", "X-Prometheus-Scrape-Timeout-Seconds": "60"},
    )
    with opener.open(asked, timeout=90) as answer:
        answer.read()
