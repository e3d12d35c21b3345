"""
Benchmarks: one table of medians, measured in one run beside the exporter that people use today.

    python -m tests.benchmarks            # some minutes; leave the machine alone meanwhile
    python -m tests.benchmarks --quick    # small sizes: shows that it works, not how fast it is

Needs nginx and prometheus-blackbox-exporter (Debian's packages) on this machine.
"""

import argparse
import os
import platform
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from cryptography.hazmat.backends.openssl.backend import backend

from tests.benchmarks import fleet as fleets
from tests.benchmarks.compat import compat
from tests.benchmarks.dashboards import dashboards
from tests.benchmarks.discovery import discovery
from tests.benchmarks.files import files
from tests.benchmarks.fleet import Fleet, fleet
from tests.benchmarks.kubernetes import kubernetes
from tests.benchmarks.limits import raise_file_limit
from tests.benchmarks.pages import pages
from tests.benchmarks.port import port
from tests.benchmarks.row import QUICK, Row, Sizes
from tests.benchmarks.rules import rules
from tests.benchmarks.scale import curve, idle, in_time, reach
from tests.benchmarks.scenarios import (
    COMMAND,
    all_succeeded,
    cost,
    exporter,
    latency,
    memory,
    robustness,
)
from tests.benchmarks.simulation import simulation
from tests.benchmarks.starttls import starttls

SCENARIOS = {
    "cost": cost,
    "starttls": starttls,
    "latency": latency,
    "robustness": robustness,
    "memory": memory,
    "rules": rules,
    "files": files,
    "kubernetes": kubernetes,
    "dashboards": dashboards,
    "in-time": in_time,
    "reach": reach,
    "curve": curve,
    "idle": idle,
    "port": port,
    "compat": compat,
    "discovery": discovery,
    "pages": pages,
    "simulation": simulation,
}

HEADINGS = ("measured", "ours", "peer or bound", "ratio", "target", "")

BUSY = 0.5
"""Load average from which a machine does other things too."""


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Measure and print. The exit status is 0 when the table came out, whatever its figures.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__.split("\n\n")[0])
    parser.add_argument("--quick", action="store_true", help="small sizes and one round: shows that it works")
    parser.add_argument(
        "--command", default=shlex.join(COMMAND), help="how the exporter is started (%(default)s)"
    )
    parser.add_argument("scenario", nargs="*", help=f"only these of {', '.join(SCENARIOS)}")
    options = parser.parse_args(arguments)
    if unknown := set(options.scenario) - set(SCENARIOS):
        parser.error(f"no scenario {', '.join(sorted(unknown))}: there are {', '.join(SCENARIOS)}")
    # So that the processes are ended on SIGTERM too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    raise_file_limit()
    load = os.getloadavg()[0]
    command = shlex.split(options.command)
    sizes = QUICK if options.quick else Sizes()
    chosen = options.scenario or list(SCENARIOS)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="expiry-benchmarks-") as name, fleet(Path(name)) as nginx:
        _compile(command, nginx)
        for scenario in chosen:
            print(f"measuring {scenario} ...", file=sys.stderr, flush=True)
            for row in SCENARIOS[scenario](command, nginx, sizes):
                # As soon as it is known, so that a later failure does not lose it.
                print(*_cells(row), sep="  ", file=sys.stderr, flush=True)
                rows.append(row)
    print(f"{_conditions(load)}\n\n{table(rows)}")
    return 0


def _compile(command: Sequence[str], nginx: Fleet) -> None:
    """
    Let all starts find their modules and libraries compiled, as pip leaves them, and start once for that.

    Where an environment forbids to write bytecode, each start would compile whole libraries again: that takes
    nearly as much CPU time as all the rest of it, and 2 MB.
    """
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = str(nginx.directory / "bytecode")
    one = fleets.configuration(nginx.directory, nginx.endpoints(1), nginx.ca_file)
    with exporter(command, one) as (_, port):
        all_succeeded(port, 1)


def table(rows: Sequence[Row]) -> str:
    """
    The rows in columns, under headings.
    """
    cells = [HEADINGS, *map(_cells, rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in cells]
    return "\n".join([lines[0], "-" * (sum(widths) + 2 * (len(widths) - 1)), *lines[1:]])


def _cells(row: Row) -> tuple[str, ...]:
    limits = ((row.at_most, "<="), (row.at_least, ">="))
    target = next((f"{sign} {limit:g}" for limit, sign in limits if limit is not None), "")
    verdict = {True: "met", False: "not met", None: ""}[row.met]
    peer = "" if row.peer is None else _figure(row.peer, row.unit)
    ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
    return row.what, _figure(row.ours, row.unit), peer, ratio, target, verdict


def _figure(value: float, unit: str) -> str:
    digits = 0 if value >= 1000 or not unit else 1 if value >= 100 else 2 if value >= 10 else 3
    return f"{value:.{digits}f} {unit}".strip()


def _conditions(load: float) -> str:
    """
    What a reader must know before comparing figures of two runs; `load` is the average before this one.
    """
    peer = subprocess.run(
        ["prometheus-blackbox-exporter", "--version"], capture_output=True, text=True, check=True
    )
    # It has printed its version on either stream.
    version = (peer.stdout + peer.stderr).partition("\n")[0]
    lines = [
        f"Python {platform.python_version()}, {backend.openssl_version_text()}, {os.cpu_count()} cores",
        f"peer: {version}",
        "medians; local nginx with one worker, ECDSA P-256, leaf and intermediate",
    ]
    if load > BUSY:
        lines.append(f"The machine was busy before this (load {load:.1f}): measure again when it rests.")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
