"""
What one API server may cost: time, objects and bytes.
"""

import asyncio
import json
import re
import sys
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from exporter.logs import LogfmtFormatter
from exporter.model.errors import ProbeError
from exporter.model.reasons import Reason
from exporter.probes.kubernetes import bounds
from exporter.probes.kubernetes.bounds import GROWTH, REST, Held, Share, Weight
from exporter.probes.kubernetes.objects import LEAST_SIZE, Stored
from tests.probes.kubernetes.api_server import secret
from tests.probes.kubernetes.flooding import KINDS, authority
from tests.probes.kubernetes.looking import FAST, eventually, of, world
from tests.support.processes import free_port, listening, running
from tests.support.rows import detail
from tests.support.servers import Site, nginx
from tests.test_starving import fetch


async def test_whoever_reads_rests_in_proportion() -> None:
    """
    However many read of one server: the rests of all are added.
    """
    share = Share()
    spans: list[tuple[float, float]] = []

    def work() -> None:
        begun = time.monotonic()
        json.loads(data)
        spans.append((begun, time.monotonic()))

    data = json.dumps([[], [1, 2], "x"] * 8192).encode()

    async def reads() -> None:
        for _ in range(5):
            await share.read(work)

    await reads()
    for (begun, ended), (following, _) in pairwise(spans):
        assert following - ended >= REST * (ended - begun)
    spans.clear()
    await asyncio.gather(reads(), reads(), reads())
    spans.sort()
    # The last ones waited for all that were over when they began to wait.
    spent = sum(ended - begun for begun, ended in spans[:-6])
    assert spans[-1][0] - spans[0][0] >= REST * spent


async def test_lists_have_a_credit(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The first list of a large cluster is read without a rest; one without end is not.
    """
    rests: list[float] = []
    sleep = asyncio.sleep

    async def rested(seconds: float) -> None:
        rests.append(seconds)
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", rested)
    now = 0.0

    def passing() -> float:
        return now

    def work() -> None:
        nonlocal now
        now += 1.0

    monkeypatch.setattr(bounds, "perf_counter", passing)
    monkeypatch.setattr(asyncio.get_running_loop(), "time", passing)
    share = Share(credit=4.0)
    for _ in range(12):
        await share.read(work)
    first = next(number for number, seconds in enumerate(rests) if seconds > 0)
    assert first >= 4
    # What is not rested is owed.
    assert rests[-1] > rests[first]
    now += 100.0
    rests.clear()
    for _ in range(4):
        await share.read(work)
    assert max(rests) <= 0


def stored(*labels: str, content: int = 0, read: int = 0) -> Stored:
    """
    An object with these endpoints, and so many targets.
    """
    failed = ProbeError(Reason.NO_MATCH, "")
    return Stored("1", dict.fromkeys(labels, failed), content=tuple(range(content)), read=read)


def refusal(held: Held, *others: Weight) -> str:
    """
    Why no more is kept; empty when it is.
    """
    try:
        held.refuse_too_much(others)
    except ProbeError as error:
        return f"{error.reason}: {error.detail}"
    return ""


def test_what_is_held_is_weighed(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Objects, keys and bytes; what is changed or removed counts no more.
    """
    monkeypatch.setattr(bounds, "ENDPOINT_LIMIT", 3)
    monkeypatch.setattr(bounds, "BYTES_LIMIT", 100 * LEAST_SIZE)
    held = Held()
    held.put(("a", "b"), stored("x", "y"))
    held.put(("a", "b"), stored("x", "y", "z"))
    assert refusal(held) == ""
    held.put(("a", "c"), stored("w"))
    assert "file_too_large: more than 3 keys hold something that expires: name namespaces" in refusal(held)
    held.drop(("a", "c"))
    held.drop(("a", "c"))
    assert (refusal(held), held.bytes) == ("", LEAST_SIZE)
    held.put(("a", "d"), stored(read=98 * LEAST_SIZE))
    assert refusal(held) == ""
    assert "takes more than 102,400 bytes" in refusal(held, Weight(2 * LEAST_SIZE, 0))
    assert "more than 3 keys" in refusal(held, Weight(0, 1))
    held.put(("a", "d"), stored(content=98))
    assert held.bytes == 100 * LEAST_SIZE


def test_what_a_watch_may_add_is_bounded_by_the_list() -> None:
    """
    A few hundred, or as many as the list had. Changes add nothing.
    """
    for listed, more in ((0, GROWTH), (10, GROWTH), (3 * GROWTH, 3 * GROWTH)):
        held = Held()
        for number in range(listed):
            held.put(("list", str(number)), stored())
        held.listed()
        for number in range(more):
            held.put(("watch", str(number)), stored())
            held.put(("watch", str(number)), stored("a"))
        assert not held.grew
        held.put(("watch", "one"), stored(content=2))
        assert held.grew


def event(name: str) -> bytes:
    """
    An object that is invented.
    """
    metadata = {"namespace": "prod", "name": name, "resourceVersion": "9"}
    obj = {"metadata": metadata, "type": "kubernetes.io/tls", "data": {"tls.crt": "bm8="}}
    return json.dumps({"type": "ADDED", "object": obj}).encode() + b"\n"


async def test_a_watch_that_invents_objects_adds_few(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """
    They are listed again, and that ever more seldom though each list is good; it is told once.
    """
    async with world(tmp_path, replace(FAST, absent=0.05)) as here:
        here.fake.flood = b"".join(event(f"o{number}") for number in range(GROWTH + 100))
        await here.look(of("prod/*", types=("kubernetes.io/tls",)))
        (view,) = here.kubernetes.views
        await eventually(lambda: view._backoff.failures > 2)
        assert len(view.objects) <= GROWTH + 1
        assert view.failure is None
        assert here.fake.count("list") == here.fake.count("watch")
        here.fake.flood = b""
        await eventually(lambda: here.fake.watching == 1)
        assert not view.objects
        await here.fake.put("secrets", secret("prod", "new", tls_crt=b"no"))
        await eventually(lambda: len(view.objects) == 1)
        # Whatever fails otherwise is over when it can be listed again.
        here.fake.absent.add("secrets")
        here.fake.cut()
        await eventually(lambda: view.absent)
        here.fake.absent.clear()
        await eventually(lambda: not view.absent)
    log = "\n".join(map(LogfmtFormatter().format, caplog.records))
    assert log.count("one watch after another adds more than 250 things, and more than were listed") == 1


async def test_objects_that_are_really_new_are_all_there(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Also when they come all at once, and nobody is warned of it.
    """
    async with world(tmp_path) as here:
        asked = of("prod/*", types=("kubernetes.io/tls",))
        await here.look(asked)
        (view,) = here.kubernetes.views
        await eventually(lambda: here.fake.watching == 1)
        for number in range(GROWTH + 50):
            await here.fake.put("secrets", secret("prod", f"new-{number}", tls_crt=b"no"))
        await eventually(lambda: view.lists == 2 and here.fake.watching == 1)
        assert len(view.objects) == GROWTH + 50
    assert "can't watch Kubernetes" not in caplog.text


LIMITS: dict[str, tuple[str, int, str]] = {
    "keys": ("ENDPOINT_LIMIT", 2, "more than 2 keys hold something that expires"),
    "bytes": ("BYTES_LIMIT", 2 * LEAST_SIZE, "what is kept of this API server takes more than 2,048 bytes"),
}


@pytest.mark.parametrize("name", LIMITS)
async def test_more_than_is_kept_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    In a list, with what to do; and when it grows, where the last list stays until it is out of date.
    """
    constant, limit, words = LIMITS[name]
    monkeypatch.setattr(bounds, constant, limit)
    async with world(tmp_path) as here:
        asked = of("prod/*", types=("kubernetes.io/tls",))
        for number in range(3):
            here.fake.fill("secrets", secret("prod", f"web-{number}", tls_crt=b"no"))
        (row,) = await here.look(asked)
        assert words in detail(row)
        assert "name namespaces, or use a selector" in detail(row)
        await here.fake.delete("secrets", "prod", "web-2")
        await here.until(asked, lambda rows: len(rows) == 2)
        (view,) = here.kubernetes.views
        await here.fake.put("secrets", secret("prod", "web-3", tls_crt=b"no"))
        await eventually(lambda: view._failure is not None)
        assert len(await here.look(asked)) >= 2


def seen(answer: bytes, name: str) -> list[str]:
    """
    The values of `expiry_probe_success` of targets whose names begin so.
    """
    return re.findall(rf'^expiry_probe_success{{target="{name}[^\n]*}} (\d)', answer.decode(), re.MULTILINE)


WATCHES = {"small": 6, "certificates": 6, "huge": 2, "structures": 2}
"""Watches of a server that floods, two at a time, until enough was seen. What is large comes slowly."""


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_that_floods_takes_no_turns_from_others(kind: str, tmp_path: Path) -> None:
    """
    Twenty TLS targets are seen in each scrape, and what the server invents stays little.
    """
    ca = authority()
    config = tmp_path / "expiry.yml"
    access = tmp_path / "kubeconfig"
    flooding: list[str | Path] = [sys.executable, "-m", "tests.probes.kubernetes.flooding", tmp_path, kind]
    with (
        nginx(tmp_path, Site([ca.issue("web.example", ["web.example"]).chain])) as server,
        running(flooding, ready=access.exists),
    ):
        targets: list[object] = [
            {"url": f"tls://{server.authority}", "name": f"web-{number}"} for number in range(20)
        ]
        targets.append(
            {"url": "kubernetes://*/*", "name": "flood", "kubernetes": {"kubeconfig": str(access)}}
        )
        config.write_text(json.dumps({"targets": targets}), encoding="utf-8")
        port = free_port()
        command = [sys.executable, "-m", "exporter", f"--web.listen-address=127.0.0.1:{port}"]
        with running([*command, f"--config.file={config}"], ready=listening(port)):
            # It invents objects in each of them: for ever, if it may.
            while len((tmp_path / "watches").read_text()) < WATCHES[kind]:
                answer = fetch(port, "/metrics", X_Prometheus_Scrape_Timeout_Seconds="10")
                assert seen(answer, "web-") == ["1"] * 20
                assert len(seen(answer, "flood")) <= 2 * (GROWTH + 2)
                assert b"healthy" in fetch(port, "/-/healthy")
