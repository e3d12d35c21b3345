"""
The written unit as systemd runs it: process 1 of namespaces whose root is a layer in memory above this one.
"""

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from exporter.cli import main
from tests.support.readme import REPOSITORY

PYTHON = Path(f"/usr/bin/python{sys.version_info[0]}.{sys.version_info[1]}")
"""The system's own: the unit hides home directories, where others may be."""

BEGIN = """\
set -eu
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
cd "$1/root"
mount -t sysfs sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
"""
"""What must be possible. From here on nothing that is written is written to this host."""

GO_ON = """\
mount -t proc proc proc
# Its settings are the host's.
mount --bind proc/sys proc/sys
mount -o remount,ro,bind proc/sys
mount -t tmpfs tmpfs dev
mkdir dev/pts dev/shm dev/mqueue dev/hugepages
for device in null:3 zero:5 full:7 random:8 urandom:9; do
  mknod -m 666 "dev/${device%:*}" c 1 "${device#*:}"
done
mknod -m 666 dev/tty c 5 0
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
touch dev/console
mount --bind "$(tty)" dev/console
for directory in run tmp var/tmp; do
  mount -t tmpfs tmpfs "$directory"
done
mkdir -p given opt/site opt/program run/systemd/system old
mount --bind "$2" given
mount --bind "$3" opt/site
cp -r "$4" opt/program/exporter
cp -r given/etc/. etc/
cp -r given/units/. run/systemd/system/
ln -s /dev/null run/systemd/system/network-online.target
chmod 755 . opt opt/program
systemd-sysusers --root=. "$PWD/etc/sysusers.d/expiry-exporter.conf"
systemd-tmpfiles --root=. --create "$PWD/etc/tmpfiles.d/expiry-exporter.conf"
pivot_root . old
umount -l old
export container=other
exec /lib/systemd/systemd --system --unit=test.target --show-status=no --log-target=console
"""

CHECK = """\
import subprocess, time, urllib.request

def ask(path):
    for _ in range(120):
        try:
            return urllib.request.urlopen(f"http://127.0.0.1:10119{path}", timeout=30).read().decode()
        except OSError:
            time.sleep(0.5)

def systemctl(*words):
    return subprocess.run(["systemctl", *words], stdout=subprocess.PIPE, text=True).stdout

said = [ask("/-/healthy")]
for _ in range(120):
    metrics = ask("/metrics")
    if metrics.count("\\nexpiry_discovery_last_success") == 2:
        break
    time.sleep(0.5)
systemctl("reload", "expiry-exporter")
for _ in range(120):
    if open("/run/log").read().count("configuration loaded") == 2:
        break
    time.sleep(0.5)
for command in ("restart", "stop"):
    systemctl(command, "expiry-exporter")
    # The socket starts it.
    said.append(ask("/-/healthy"))
said.append(systemctl("show", "expiry-exporter", "--property=Result", "--property=ExecMainStatus"))
for name, text in (("out", "".join(said)), ("metrics", metrics), ("log", open("/run/log").read())):
    with open(f"/given/{name}", "w") as file:
        file.write(text)
"""

ALONE = "[Unit]\nDefaultDependencies=no\n"
"""Of what a system starts, nothing else is needed."""

UNITS = {
    "test.target": f"{ALONE}Wants=check.service expiry-exporter.service\n",
    "expiry-exporter.socket.d/test.conf": ALONE,
    "expiry-exporter.service.d/test.conf": f"""{ALONE}[Service]
Environment=PYTHONPATH=/opt/program:/opt/site PYTHONDONTWRITEBYTECODE=1
ExecStart=
ExecStart={PYTHON} -m exporter FLAGS
StandardOutput=append:/run/log
StandardError=append:/run/log
""",
    "check.service": f"""{ALONE}After=expiry-exporter.service
[Service]
Type=oneshot
ExecStart=-{PYTHON} /given/check
ExecStart=/bin/systemctl exit
""",
}

CONFIGURATION = """\
targets: [file:///etc/ssl/certs/ca-certificates.crt]
discover:
  - zone: {name: example.test, file: example.zone, ports: [10119]}
  - listening: true
"""

ZONE = "$ORIGIN example.test.\n$TTL 60\n@ SOA a b 1 2 3 4 5\n@ NS a\na A 127.0.0.1\n"


def apart(script: str, directory: Path, *arguments: Path) -> list[str]:
    """
    The command that runs a script, as root of its own namespaces, with a directory that it may cover.
    """
    spaces = ("--mount", "--pid", "--cgroup", "--uts", "--ipc", "--net", "--fork", "--kill-child")
    return [
        *("unshare", *spaces, "--propagation", "private", "sh", "-c", script, "sh"),
        *map(str, (directory, *arguments)),
    ]


@pytest.fixture
def group() -> Iterator[Path]:
    """
    A control group of its own, below which systemd makes others.
    """
    base = Path("/sys/fs/cgroup")
    base = base if (base / "cgroup.procs").exists() else base / "unified"
    made = base / f"expiry-exporter-{os.getpid()}"
    try:
        made.mkdir()
    except OSError as error:
        pytest.skip(f"no control group can be made: {error}")
    yield made
    for path, _, _ in os.walk(made, topdown=False):
        os.rmdir(path)  # noqa: PTH106 - as it is walked


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a system of its own")
@pytest.mark.skipif(not PYTHON.exists(), reason="the system has no Python of this version")
@pytest.mark.skipif(shutil.which("systemd-sysusers") is None, reason="systemd is not here")
def test_the_unit_runs_under_systemd(tmp_path: Path, group: Path) -> None:
    """
    With its user, socket, state and limits; what it may not see is nothing that the exporter looks at.
    """
    root, given = tmp_path / "root", tmp_path / "given"
    root.mkdir()
    tried = subprocess.run(apart(BEGIN, root), check=False, capture_output=True, text=True, timeout=60)
    if tried.returncode != 0:
        pytest.skip(f"no system can be started here: {tried.stderr}")
    config = tmp_path / "expiry.yml"
    config.write_text(CONFIGURATION, encoding="utf-8")
    assert main.main(["deploy", "systemd", f"--output-dir={given}/etc", f"--config.file={config}"]) == 0
    (given / "etc/expiry-exporter/example.zone").write_text(ZONE, encoding="utf-8")
    (given / "check").write_text(CHECK, encoding="utf-8")
    service = (given / "etc/systemd/system/expiry-exporter.service").read_text(encoding="utf-8")
    (flags,) = (line.partition(" ")[2] for line in service.splitlines() if line.startswith("ExecStart="))
    for name, text in UNITS.items():
        path = given / "units" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace("FLAGS", flags), encoding="utf-8")
    site = Path(sysconfig.get_path("purelib"))
    command = apart(BEGIN + GO_ON, root, given, site, REPOSITORY / "exporter")
    joined = f"echo $$ >{group}/cgroup.procs && exec {shlex.join(command)}"
    # It gives the terminal that systemd writes its messages to.
    done = subprocess.run(
        ["script", "--quiet", "--return", "--command", joined, "/dev/null"],
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
        stdin=subprocess.DEVNULL,
    )
    log = (given / "log").read_text() if (given / "log").exists() else ""
    assert (given / "out").exists(), done.stdout + log
    healthy = "expiry-exporter is healthy\n"
    assert (given / "out").read_text() == f"{3 * healthy}Result=success\nExecMainStatus=0\n", log
    metrics = (given / "metrics").read_text()
    for line in (
        'expiry_discovery_success{source="zone"} 1.0',
        'expiry_discovery_success{source="listening"} 1.0',
        "process_start_time_seconds ",
        "process_max_fds 16384.0",
    ):
        assert f"\n{line}" in metrics, log
    assert "level=error" not in log
    # At the start, by the reload, and at both starts behind it.
    assert log.count('msg="configuration loaded"') == 4
    assert "path=/var/lib/expiry-exporter/state.sqlite" in log
