"""
What a plain configuration does without: code of other kinds of targets, and work between scrapes.
"""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.processes import answers, free_port, running

SPARED = (
    *("exporter.formats", "exporter.probes.domains.registries", "exporter.probes.dns.zone", "aioquic"),
    *("exporter.probes.files.cache", "exporter.probes.kubernetes.selection", "exporter.probes.tls.dtls"),
)
"""Modules that only other kinds of targets need."""


@pytest.mark.parametrize(
    ("started", "more"),
    [
        ("exporter.cli.serve, exporter.probes; exporter.probes.PROBES['https']", ()),
        ("exporter.engine.worker", ("aiohttp", "pydantic", "yaml", "sqlite3", "dns", "exporter.judgement")),
    ],
)
def test_what_is_not_imported(started: str, more: tuple[str, ...]) -> None:
    """
    Neither by the server nor by its workers: each module takes time at the start, and memory for good.
    """
    code = f"import sys, {started}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & {*SPARED, *more}


def switches(pid: int) -> dict[str, int]:
    """
    By thread, how often it gave up the processor to wait (proc(5)).
    """
    found = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        lines = (task / "status").read_text(encoding="ascii").splitlines()
        found[task.name] = next(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt"))
    return found


def test_no_thread_wakes_between_scrapes(tmp_path: Path) -> None:
    """
    One of many times is without a single wake in any process: what comes each second would be in all of them.
    """
    port = free_port()
    configuration = tmp_path / "expiry.yml"
    configuration.write_text(f"targets: ['tls://127.0.0.1:{free_port()}']", encoding="utf-8")
    command = [sys.executable, "-m", "exporter", f"--config.file={configuration}", "--state.path=none"]
    command += [f"--web.listen-address=127.0.0.1:{port}", "--sweep.processes=2"]
    with running(command, ready=answers(f"http://127.0.0.1:{port}/metrics"), deadline=60.0) as it:
        children = Path(f"/proc/{it.pid}/task/{it.pid}/children").read_text(encoding="ascii").split()
        pids = [it.pid, *map(int, children)]
        states: list[list[dict[str, int]]] = []
        while len(states) < 30 and states[-2:-1] != states[-1:]:
            time.sleep(1.5)
            states.append(list(map(switches, pids)))
        assert states[-2:-1] == states[-1:]
