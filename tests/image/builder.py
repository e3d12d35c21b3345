"""
Builds the image and makes a container of it with buildah, which needs no daemon: only root, for a chroot.

No registry is asked. The base is a Debian of this machine's release, made from the package sources of this
machine; pip in the build gets the wheels that pip here downloads, so whatever pip needs here (an index, a
proxy, a trust store) need not be known in the build.
"""

import fcntl
import hashlib
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.support.readme import REPOSITORY

KEPT = REPOSITORY / ".tests" / "image"
"""Where base, wheels, image and container are kept for the next run, until their sources change."""

BASE_PACKAGES = "python3,python3-venv,ca-certificates"
"""What the Dockerfile says that a base must have."""

SOURCES = (
    "Dockerfile",
    ".dockerignore",
    "pyproject.toml",
    "README.md",
    "CHANGELOG.md",
    "LICENSE",
    ".locks",
    "exporter",
    "alerts",
    "grafana",
)
"""What may make a difference to the image."""

ISOLATION = {"BUILDAH_ISOLATION": "chroot"}
"""The environment for buildah: no namespaces, which not every machine permits, and this one's network."""

# Whatever else runs on two processors at the same time.
_DEADLINE_SECONDS = 900


def buildah(*arguments: str | Path) -> list[str | Path]:
    """
    The command line of buildah, with our own storage.
    """
    driver = _storage_driver()
    where = (f"--root={KEPT / driver}", f"--runroot={KEPT / 'run'}")
    return ["buildah", f"--storage-driver={driver}", *where, *arguments]


def output(*command: str | Path) -> str:
    """
    What the command writes to standard output. Fails the test with all that it wrote when it fails.
    """
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=_DEADLINE_SECONDS,
        env={**os.environ, **ISOLATION},
    )
    if done.returncode:
        written = (done.stdout + done.stderr)[-4000:]
        pytest.fail(f"{' '.join(map(str, command))}\nended with {done.returncode}:\n{written}", pytrace=False)
    return done.stdout


def container() -> tuple[str, dict[str, Any]]:
    """
    The name of a container of this source's image, both made if there are none yet; and how it is to be run.

    The latter is as Docker keeps it: `User`, `Cmd`, `Healthcheck` and so on.
    """
    if os.geteuid() != 0:
        pytest.fail("the image is built by buildah in a chroot: run its tests as root", pytrace=False)
    KEPT.mkdir(parents=True, exist_ok=True)
    with (KEPT / "lock").open("w") as lock:
        # Tests that run at the same time make it once.
        fcntl.flock(lock, fcntl.LOCK_EX)
        base = base_image()
        made = f"expiry-exporter-{_digest(base, *_contents())}"
        image = f"localhost/{made}:latest"
        # The container is made last, so that what was interrupted is begun anew.
        if made not in output(*buildah("containers", "--format={{.ContainerName}}")).splitlines():
            _remove_others(base)
            _build(base, image)
            output(*buildah("from", f"--name={made}", image))
        config: dict[str, Any] = json.loads(output(*buildah("inspect", "--type=image", image)))
        return made, config["Docker"]["config"]


def base_image() -> str:
    """
    The name of a small Debian with what the Dockerfile expects, which is made if there is none yet.
    """
    release = platform.freedesktop_os_release()["VERSION_CODENAME"]
    sources = _package_sources(release)
    name = f"localhost/base-{_digest(release, BASE_PACKAGES, *sources)}:latest"
    if name in output(*buildah("images", "--format={{.Name}}:{{.Tag}}")).splitlines():
        return name
    archive, settings = KEPT / "base.tar", KEPT / "apt.conf"
    # Proxies and the like, which mmdebstrap would not take over from this machine by itself.
    settings.write_text(
        "".join(
            f"{line}\n"
            for line in output("apt-config", "dump", "Acquire").splitlines()
            if re.match(r"Acquire::(https?|Check-)", line)
        ),
        encoding="utf-8",
    )
    output(
        "mmdebstrap",
        "--variant=minbase",
        f"--include={BASE_PACKAGES}",
        f"--aptopt={settings}",
        release,
        archive,
        *sources,
    )
    empty = output(*buildah("from", "scratch")).strip()
    output(*buildah("add", empty, archive, "/"))
    output(*buildah("commit", "--rm", empty, name))
    archive.unlink()
    return name


@cache
def _storage_driver() -> str:
    """
    Layers where the kernel can mount them, else copies: in a container it often can't.
    """
    done = subprocess.run(
        [
            "buildah",
            "--storage-driver=overlay",
            f"--root={KEPT / 'overlay'}",
            f"--runroot={KEPT / 'run'}",
            "info",
        ],
        capture_output=True,
        check=False,
        timeout=_DEADLINE_SECONDS,
    )
    return "vfs" if done.returncode else "overlay"


def _build(base: str, image: str) -> None:
    settings = KEPT / "pip.conf"
    settings.write_text("[global]\nno-index = true\nfind-links = /wheels\n", encoding="utf-8")
    output(
        *buildah(
            "build",
            # HEALTHCHECK is Docker's: the other format has no place for it.
            "--format=docker",
            f"--build-arg=BASE={base}",
            f"--volume={settings}:/etc/pip.conf:ro",
            f"--volume={wheels(_version_in(base))}:/wheels:ro",
            f"--tag={image}",
            REPOSITORY,
        )
    )


def wheels(version: str) -> Path:
    """
    A directory with the wheels of what the image has and of what builds it, for a Python like 3.11.
    """
    locks = [REPOSITORY / ".locks" / name for name in ("build.txt", "image.txt")]
    directory = KEPT / f"wheels-{_digest(version, *(lock.read_text(encoding='utf-8') for lock in locks))}"
    KEPT.mkdir(parents=True, exist_ok=True)
    with (KEPT / "wheels.lock").open("w") as lock_file:
        # Tests that run at the same time ask for them once.
        fcntl.flock(lock_file, fcntl.LOCK_EX)
        if not directory.exists():
            unfinished = KEPT / "wheels-unfinished"
            pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
            only = ("--only-binary=:all:", f"--python-version={version}", "--implementation=cp")
            for lock in locks:
                output(*pip, "download", "--quiet", *only, f"--dest={unfinished}", "--requirement", lock)
            unfinished.rename(directory)
    return directory


def _version_in(base: str) -> str:
    inside = output(*buildah("from", base)).strip()
    asked = ("python3", "-c", "import sys; print('{}.{}'.format(*sys.version_info))")
    version = output(*buildah("run", inside, "--", *asked)).strip()
    output(*buildah("rm", inside))
    return version


def _package_sources(release: str) -> list[str]:
    """
    Where apt here gets Debian's packages of this release from; empty if it can't tell: it has no lists yet.
    """
    form = "deb $(REPO_URI) $(RELEASE) $(COMPONENT)"
    fits = ("Created-By: Packages", "Origin: Debian", f"Codename: {release}")
    return sorted(set(output("apt-get", "indextargets", "--format", form, *fits).splitlines()))


def _remove_others(base: str) -> None:
    """
    Remove what earlier runs left, for each image and container is a copy of the whole file system.
    """
    output(*buildah("rm", "--all"))
    for line in output(*buildah("images", "--format={{.ID}} {{.Name}}:{{.Tag}}")).splitlines():
        number, name = line.split()
        if name != base:
            output(*buildah("rmi", number))


def _contents() -> Iterator[str]:
    """
    Names of the files that may be in the image, each with a hash of what is in it.
    """
    for source in SOURCES:
        path = REPOSITORY / source
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and file.suffix not in {".pyc", ".png"}:
                yield str(file.relative_to(REPOSITORY))
                yield hashlib.sha256(file.read_bytes()).hexdigest()


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
