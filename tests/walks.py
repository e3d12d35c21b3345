"""
Two walks through the house: an https target and a Kubernetes Secret, each from YAML to its lines of metrics.

    python -m tests.walks

prints how many rooms each enters, and from where to where it changes room. A room is a wing of the package (a
folder, or a module beside the wings). A change is a call from a function of one room to one of another, as
somebody meets it who reads the code: one that is made again counts once, and properties of values and what
`model.caches` puts before a function lead nowhere. What is called inside a property is called by the
property, in the room where that stands, and not by whoever reads the value. The top level of a module is no
call either: it runs when the first import comes to it, and which one that is depends only on what was
imported before. The exporter does in the walks what it does when it serves: the configuration is read, one
scrape is made, its text is rendered.
"""

import asyncio
import contextlib
import inspect
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import CodeType, FrameType
from unittest import mock

import exporter
from exporter.config.reader import parse
from exporter.demo.minter import Minted, root
from exporter.model import caches
from exporter.server.service import Options, Service
from tests.probes.kubernetes.api_server import TOKEN, api_server, kubeconfig, secret
from tests.support.certificates import DAY
from tests.support.servers import Site, nginx

PACKAGE = f"{Path(exporter.__file__).parent}/"

TOP_LEVEL = "<module>"
"""The name that Python gives the code at the top level of a module."""


MOST = {"https target": 58, "Kubernetes Secret": 57}
"""Changes of room that a walk may make."""


@dataclass(slots=True)
class Walk:
    """
    The calls from room to room: caller and called function, each as `wing/file.py function`.
    """

    changes: dict[tuple[str, str], None] = field(default_factory=dict)

    @property
    def rooms(self) -> set[str]:
        """
        The rooms that were entered.
        """
        return {room(called) for _, called in self.changes}


def properties() -> set[CodeType]:
    """
    The code of every property and hash of the package, and of the generators and comprehensions in it: nobody
    reads them as calls.
    """
    modules = [module for name, module in sys.modules.items() if name.startswith("exporter.")]
    classes = {one for module in modules for one in vars(module).values() if inspect.isclass(one)}
    found = [
        one.fget.__code__
        for each in classes
        for one in vars(each).values()
        if isinstance(one, property) and inspect.isfunction(one.fget)
    ]
    hashes = (vars(each).get("__hash__") for each in classes)
    found += [one.__code__ for one in hashes if inspect.isfunction(one)]
    inner = (const for code in found for const in code.co_consts if isinstance(const, CodeType))
    return {*found, *inner}


@contextlib.contextmanager
def followed() -> Iterator[Walk]:
    """
    Follows the calls of this thread and of those that begin meanwhile.
    """
    walk, passed = Walk(), properties()

    @cache
    def place(code: CodeType) -> str | None:
        if not code.co_filename.startswith(PACKAGE) or code.co_filename == caches.__file__:
            return None
        return f"{code.co_filename.removeprefix(PACKAGE)} {code.co_qualname}"

    def note(frame: FrameType, event: str, _: object) -> None:
        here = place(frame.f_code) if event == "call" and frame.f_code not in passed else None
        if here is None or frame.f_code.co_name == TOP_LEVEL:
            return
        above = frame.f_back
        while above is not None and place(above.f_code) is None:
            above = above.f_back
        before = place(above.f_code) if above is not None else None
        if before is None or above is None or above.f_code.co_name == TOP_LEVEL:
            return
        if room(before) != room(here):
            walk.changes[before, here] = None

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        yield walk
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


def room(place: str) -> str:
    """
    The wing, or the module beside the wings, of a function.
    """
    return place.split(maxsplit=1)[0].split("/", maxsplit=1)[0]


async def walk(target: dict[str, object]) -> Walk:
    """
    From a configuration with this target to the text of one scrape of it.
    """
    written = json.dumps({"targets": [target]}).encode()
    with followed() as found:
        config = parse(written, "expiry.yml", {})
        service = Service(lambda: config, Options(), asyncio.get_running_loop())
        service.start()
        text = service.text(await service.scrape(9.0))
    await service.close()
    assert "expiry_not_after_timestamp_seconds{" in text
    return found


def https_walk(directory: Path, leaf: Minted) -> Walk:
    """
    The walk of an https target that presents this certificate.
    """
    with nginx(directory, Site([leaf.chain])) as server:
        return asyncio.run(walk({"url": f"https://localhost:{server.port}"}))


def kubernetes_walk(directory: Path, leaf: Minted) -> Walk:
    """
    The walk of a Secret with this certificate.
    """

    async def run() -> Walk:
        async with api_server() as fake:
            await fake.put("secrets", secret("prod", "web", tls_crt=leaf.pem, tls_key=leaf.key_pem))
            path = directory / "kubeconfig"
            path.write_text(json.dumps(kubeconfig(fake, {"token": TOKEN})), encoding="utf-8")
            return await walk({"url": "kubernetes://prod/web", "kubernetes": {"kubeconfig": str(path)}})

    return asyncio.run(run())


def walks() -> dict[str, Walk]:
    """
    Both walks, with one certificate in the trust store, by name.
    """
    above = root("Walks", not_before=time.time() - DAY, not_after=time.time() + 90 * DAY)
    leaf = above.issue("localhost", ["localhost"])
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "anchors.pem").write_bytes(above.pem)
        with mock.patch.dict(os.environ, SSL_CERT_FILE=str(directory / "anchors.pem")):
            return {
                "https target": https_walk(directory, leaf),
                "Kubernetes Secret": kubernetes_walk(directory, leaf),
            }


def main() -> None:
    """
    Print the walks.
    """
    for name, found in walks().items():
        print(f"{name}: {len(found.rooms)} rooms, {len(found.changes)} changes, at most {MOST[name]}")
        for caller, called in found.changes:
            print(f"  {caller} -> {called}")


if __name__ == "__main__":
    main()
