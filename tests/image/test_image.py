"""
The image: built from the files as they are shipped, and run as its Dockerfile says, but for the port.
"""

import os
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from exporter import __version__
from exporter.cli.rule_formats import stamped
from exporter.demo.minter import Minted, mint
from tests.image import builder
from tests.support.certificates import DAY, NOW, write_pair
from tests.support.processes import answers, free_port, running
from tests.support.readme import REPOSITORY

MOST_MEGABYTES = 90
"""What may stand on top of the base: the environment, which has Python's own libraries compiled."""

USER = "65532:65532"


@pytest.fixture(scope="module")
def made() -> tuple[str, dict[str, Any]]:
    """
    A container, and how its image is to be run.
    """
    return builder.container()


@pytest.fixture
def container(made: tuple[str, dict[str, Any]]) -> str:
    """
    The name of the container. Tests may run in it at the same time, and it is kept for the next run.
    """
    return made[0]


@pytest.fixture
def config(made: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    """
    How the image is to be run: user, command, health check and so on.
    """
    return made[1]


def run(container: str, *command: str, mounts: Sequence[str] = ()) -> str:
    """
    What the command writes in the container, as the image's user.
    """
    volumes = [f"--volume={mount}" for mount in mounts]
    return builder.output(*builder.buildah("run", *volumes, container, "--", *command))


def test_the_dockerfile_is_without_fault() -> None:
    """
    The linter hadolint finds nothing in it, not even a matter of style.
    """
    beside = str(Path(sys.executable).parent)
    linter = shutil.which("hadolint", path=beside) or "hadolint"
    done = subprocess.run(
        [linter, "--failure-threshold=style", REPOSITORY / "Dockerfile"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_the_dockerfile_copies_is_let_in() -> None:
    """
    Each source of a COPY has a line in .dockerignore, which keeps out all others.
    """
    let_in = (REPOSITORY / ".dockerignore").read_text(encoding="utf-8").splitlines()
    dockerfile = (REPOSITORY / "Dockerfile").read_text(encoding="utf-8")
    copied = [
        source
        for line in re.findall(r"^COPY (?!--from)(.+)$", dockerfile, re.MULTILINE)
        for source in line.split()[:-1]
    ]
    assert let_in[0] == "*"
    assert "grafana" in copied
    for source in copied:
        assert [line for line in let_in if re.match(rf"!{re.escape(source)}(/|$)", line)], source


def test_it_serves_as_its_command_says(
    container: str, config: dict[str, Any], ca: Minted, tmp_path: Path
) -> None:
    """
    Healthy by its own check, with the metrics of a mounted configuration, and the state on its volume.
    """
    leaf = mint("www.example.com", issuer=ca, not_before=NOW - DAY, not_after=NOW + 60 * DAY)
    pem, _ = write_pair(tmp_path, "www", [leaf])
    (tmp_path / "expiry.yml").write_text(f"targets:\n  - file:///etc/expiry-exporter/{pem.name}\n")
    for path in (tmp_path, *tmp_path.iterdir()):
        path.chmod(0o755)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    check = [part.replace(":10119/", f":{port}/") for part in config["Healthcheck"]["Test"]]
    assert check[0] == "CMD"
    assert sum(f":{port}/" in part for part in check) == 1
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    state = "/var/lib/expiry-exporter/state.sqlite"
    run(container, "sh", "-c", f"rm -f {state}*")
    command = builder.buildah(
        "run",
        f"--volume={tmp_path}:/etc/expiry-exporter:ro",
        container,
        "--",
        *config["Entrypoint"],
        *config["Cmd"],
        f"--web.listen-address=127.0.0.1:{port}",
    )
    with running(command, ready=answers(f"{url}/-/healthy"), env=builder.ISOLATION, deadline=60):
        with opener.open(f"{url}/metrics") as answer:
            families = list(text_string_to_metric_families(answer.read().decode()))
        run(container, *check[1:])
        owner = run(container, "stat", "--format=%u:%g", state)
    ends = [
        sample.value
        for family in families
        for sample in family.samples
        if sample.name == "expiry_not_after_timestamp_seconds"
    ]
    assert ends == [leaf.certificate.not_valid_after_utc.timestamp()]
    assert owner == f"{USER}\n"


def test_a_container_that_does_not_answer_is_not_healthy(container: str, config: dict[str, Any]) -> None:
    """
    The health check fails where nothing listens.
    """
    port = free_port()
    check = [part.replace(":10119/", f":{port}/") for part in config["Healthcheck"]["Test"][1:]]
    done = subprocess.run(
        builder.buildah("run", container, "--", *check),
        env={**os.environ, **builder.ISOLATION},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 1
    assert "Connection refused" in done.stderr


def test_one_port_is_meant_everywhere(config: dict[str, Any]) -> None:
    """
    Command, health check and EXPOSE name the same: that of all addresses, also where there is no IPv4.
    """
    listens = [part for part in config["Cmd"] if part.startswith("--web.listen-address=")]
    assert listens == ["--web.listen-address=:10119"]
    assert list(config["ExposedPorts"]) == ["10119/tcp"]
    assert "http://127.0.0.1:10119/-/healthy" in config["Healthcheck"]["Test"][-1]


def test_it_is_never_root(container: str, config: dict[str, Any]) -> None:
    """
    The user is a number, so that Kubernetes can tell, and has no capability.
    """
    assert config["User"] == USER
    assert run(container, "sh", "-c", "echo $(id -u):$(id -g)") == f"{USER}\n"
    assert "CapEff:\t0000000000000000\n" in run(container, "cat", "/proc/self/status")


def test_its_labels_say_what_it_is(config: dict[str, Any]) -> None:
    """
    By the names of the OCI's image specification.
    """
    prefix = "org.opencontainers.image."
    labels = {name.removeprefix(prefix) for name in config["Labels"] if name.startswith(prefix)}
    assert labels >= {"title", "description", "url", "documentation", "licenses"}


def test_it_can_write_to_its_volume_only(container: str, config: dict[str, Any]) -> None:
    """
    Of all that the build made, its user may write to the state's directory, so the rest can be read-only.
    """
    assert list(config["Volumes"]) == ["/var/lib/expiry-exporter"]
    find = "find / -xdev -path '/var/lib/expiry-exporter/*' -prune -o -writable ! -type l -print"
    writable = run(container, "sh", "-c", f"{find} 2>/dev/null || true").splitlines()
    # Any Debian has the others.
    assert set(writable) - {"/tmp", "/var/tmp", "/run/lock"} == {"/var/lib/expiry-exporter"}
    assert run(container, "find", "/opt", "!", "-user", "root") == ""
    assert run(container, "stat", "--format=%u:%g %a", "/etc/expiry-exporter") == "0:0 755\n"


READ_ONLY = f"""
set -e
root=$0
mount --bind "$root" "$root"
mount --options remount,bind,ro "$root"
mount --types tmpfs --options uid=65532,gid=65532,mode=700 state "$root/var/lib/expiry-exporter"
mount --types tmpfs --options mode=755 configuration "$root/etc/expiry-exporter"
echo 'targets: [file:///etc/ssl/certs/ca-certificates.crt]' >"$root/etc/expiry-exporter/expiry.yml"
exec chroot --userspec={USER} "$root" sh -c '
  ! touch /tmp/x || exit 9
  cd /var/lib/expiry-exporter
  exec "$@"' sh "$@"
"""
"""Runs a command in the file system at `$0` as in a read-only container, with mounts of its own."""


def test_it_serves_from_a_read_only_file_system(container: str, config: dict[str, Any]) -> None:
    """
    Not even /tmp can be written, only the volume of the state.
    """
    root = builder.output(*builder.buildah("mount", container)).strip()
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    (path,) = (one for one in config["Env"] if one.startswith("PATH="))
    command = ["unshare", "--mount", "env", "--ignore-environment", path, "sh", "-c", READ_ONLY, root]
    command += [*config["Entrypoint"], *config["Cmd"], f"--web.listen-address=127.0.0.1:{port}"]
    with running(command, ready=answers(f"{url}/-/ready"), deadline=60) as it:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"{url}/metrics") as answer:
            assert b"expiry_not_after_timestamp_seconds{" in answer.read()
        assert "Read-only file system" in it.output()
        assert "level=error" not in it.output()


def test_nothing_is_left_of_building(container: str) -> None:
    """
    Its environment has no pip, nor what builds wheels, nor sources; and it is no larger than it must be.
    """
    assert run(container, "ls", "/opt").split() == ["expiry-exporter"]
    assert "src" not in run(container, "ls", "/").split()
    installed = run(container, "find", "/opt/expiry-exporter", "-name", "*.dist-info", "-printf", "%f\n")
    names = {line.partition("-")[0] for line in installed.splitlines()}
    assert "expiry_exporter" in names
    assert names.isdisjoint({"pip", "setuptools", "wheel", "hatchling"})
    assert run(container, "find", "/opt", "-name", "pip") == ""
    size = int(run(container, "du", "--summarize", "--block-size=1M", "/opt").split()[0])
    assert size < MOST_MEGABYTES


def test_alerts_and_dashboards_are_in_it(container: str, tmp_path: Path) -> None:
    """
    What the commands write in a container is what is in the repository.
    """
    tmp_path.chmod(0o777)
    mounts = [f"{tmp_path}:/out"]
    run(container, "expiry-exporter", "alerts", "--output-dir=/out/alerts", mounts=mounts)
    run(container, "expiry-exporter", "dashboards", "--output-dir=/out/grafana", mounts=mounts)
    alerts = REPOSITORY / "alerts"
    shipped = {
        str(path.relative_to(alerts)): path.read_bytes()
        for path in alerts.rglob("*")
        if path.is_file() and not path.name.endswith(".test.yml")
    }
    shipped["rules.yml"] = stamped(shipped["rules.yml"].decode(), __version__).encode()
    written = tmp_path / "alerts"
    assert shipped == {
        str(path.relative_to(written)): path.read_bytes() for path in written.rglob("*") if path.is_file()
    }
    drawn = {path.name: path.read_bytes() for path in (tmp_path / "grafana").iterdir()}
    assert drawn == {
        f"expiry-{path.name}": path.read_bytes() for path in (REPOSITORY / "grafana").glob("*.json")
    }
