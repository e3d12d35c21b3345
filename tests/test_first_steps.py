"""
The README's commands, pasted into a shell from the first to the last, as a newcomer does.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import yaml

from tests.support.processes import free_port
from tests.support.readme import REPOSITORY, pasted

SOURCES = ("exporter", "alerts", "grafana", "README.md", "LICENSE", "CHANGELOG.md", "pyproject.toml")
"""What a clone has of what `pip install .` takes."""

MOST_SECONDS = 120
"""For all of it."""

MOST_COMMANDS = 10
"""From the clone to an alert that fires, and a dashboard."""

SERVES = "expiry-exporter --config.file=expiry.yml"
"""The one command that goes on until somebody ends it: it is put behind, and ended by the shell's exit."""


def test_a_first_alert_takes_ten_commands_at_most() -> None:
    """
    Those that probe servers of the reader's own are not needed for it.
    """
    shown = pasted()
    (last,) = (index for index, one in enumerate(shown) if one.startswith("until amtool alert query"))
    needed = [one for one in shown[: last + 1] if not one.startswith("expiry-exporter check")]

    assert len(needed) <= MOST_COMMANDS
    assert needed[0].startswith("python3 -m venv")
    assert any(one.startswith("expiry-exporter dashboards") for one in needed)


def test_the_readme_can_be_pasted_from_first_to_last(tmp_path: Path) -> None:
    """
    In a clone, each command ends well, the alert of the demo is in Alertmanager, the dashboards are there.

    Replaced are ports, the minute between scrapes, and a directory that only root may write. `docker` is a
    fake: it says so, and succeeds.
    """
    clone = tmp_path / "clone"
    clone.mkdir()
    for name in SOURCES:
        given = REPOSITORY / name
        if given.is_dir():
            shutil.copytree(given, clone / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(given, clone / name)
    script = tmp_path / "pasted.sh"
    script.write_text("set -eux\n" + "\n".join(replaced(tmp_path)), encoding="utf-8")
    begin = time.monotonic()
    with (tmp_path / "output").open("w") as output:
        done = subprocess.run(
            ["bash", script],
            cwd=clone,
            env=environment(tmp_path),
            stdout=output,
            stderr=subprocess.STDOUT,
            timeout=MOST_SECONDS,
            check=False,
        )
    said = (tmp_path / "output").read_text(encoding="utf-8")
    logs = "".join(path.read_text(encoding="utf-8")[-2000:] for path in clone.glob("*.log"))

    assert done.returncode == 0, said + logs
    assert time.monotonic() - begin < MOST_SECONDS
    assert re.search(r"^ExpiryPassed +\d{4}-.* It has expired", said, re.MULTILINE), said
    for board in ("fleet", "target", "exporter"):
        assert json.loads((clone / f"dashboards/expiry-{board}.json").read_bytes())["panels"]
    assert yaml.safe_load((clone / "expiry.yml").read_bytes())["targets"] == [
        "https://www.example.com",
        "tls://ldap.example.com:636",
    ]


def replaced(directory: Path) -> list[str]:
    """
    The lines of the script: the commands with what has to be replaced in them.
    """
    ports = {"10119": free_port(), "9090": free_port(), "9093": free_port()}
    lines = [f"trap 'kill $(jobs -p) 2>{os.devnull} || true' EXIT"]
    for one in pasted():
        line = one
        for usual, free in ports.items():
            line = line.replace(f"localhost:{usual}", f"127.0.0.1:{free}")
        line = (
            line.replace(": 1m", ": 1s").replace("/var/lib/", f"{directory}/").replace("sleep 5", "sleep 0.5")
        )
        line = line.replace("exporter demo", f"exporter demo --web.listen-address=127.0.0.1:{ports['10119']}")
        program = line.partition(" ")[0]
        if program == "prometheus":
            line = line.replace(" >", f" --web.listen-address=127.0.0.1:{ports['9090']} >")
        elif program == "alertmanager":
            # Nobody else's Alertmanager is looked for.
            line = line.replace(
                " >", f" --web.listen-address=127.0.0.1:{ports['9093']} --cluster.listen-address= >"
            )
        elif line == SERVES:
            line += f" --web.listen-address=127.0.0.1:{free_port()} --state.path=none >served.log 2>&1 &"
        elif line.startswith("expiry-exporter check"):
            # Nothing outside this machine is there for a test.
            line += " || test $? = 3"
        lines.append(line)
    return lines


def environment(directory: Path) -> dict[str, str]:
    """
    The environment of the shell: pip installs from this clone alone, with the libraries that are here.
    """
    programs = directory / "programs"
    programs.mkdir()
    fake = programs / "docker"
    fake.write_text('#!/bin/sh\necho "a fake of docker: $*"\n', encoding="utf-8")
    fake.chmod(0o755)
    # Debian calls it by another name.
    found = shutil.which("alertmanager") or shutil.which("prometheus-alertmanager")
    assert found is not None
    (programs / "alertmanager").symlink_to(found)
    (programs / "python3").symlink_to(sys.executable)
    return {
        **os.environ,
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PYTHONPATH": sysconfig.get_path("purelib"),
        "PIP_NO_BUILD_ISOLATION": "0",
        "PIP_NO_DEPS": "1",
        "PIP_NO_INDEX": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "XDG_STATE_HOME": str(directory / "state"),
    }
