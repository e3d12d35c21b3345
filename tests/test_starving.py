"""
Nobody who asks keeps the others from their answers: the command as a process, and many clients.
"""

import contextlib
import json
import os
import resource
import signal
import socket
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from exporter.demo.minter import root
from exporter.logs import LINE_LIMIT
from tests.net.test_dns_exchange import long_names
from tests.support.certificates import DAY
from tests.support.processes import Running, free_port, listening, running, wait_until
from tests.support.web_server import Page, web_server

GET = b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n"
METRICS = b"GET /metrics HTTP/1.1\r\nHost: x\r\nAccept-Encoding: identity\r\n\r\n"

PATIENCE = 60.0
"""Seconds in which an answer must come that comes in milliseconds: the machine may be busy."""


@contextlib.contextmanager
def serving(config: Path, *, files: int | None = None) -> Iterator[tuple[Running, int]]:
    """
    A process that serves, and its port; `files` is how many it may open.
    """
    port = free_port()
    limited = ["sh", "-c", f'ulimit -n {files or "$(ulimit -n)"} && exec "$@"', "sh"]
    command = [*limited, sys.executable, "-m", "exporter", f"--web.listen-address=127.0.0.1:{port}"]
    command.append("--web.enable-lifecycle")
    with running([*command, f"--config.file={config}"], ready=listening(port)) as process:
        yield process, port


def fetch(port: int, path: str, method: str = "GET", timeout: float = PATIENCE, **headers: str) -> bytes:
    """
    The body at this path. Raises OSError.
    """
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    asked = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}",
        method=method,
        headers={name.replace("_", "-"): value for name, value in headers.items()},
    )
    with opener.open(asked, timeout=timeout) as answer:
        return bytes(answer.read())


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """
    A configuration without targets.
    """
    file = tmp_path / "expiry.yml"
    file.write_text("targets: []\n", encoding="utf-8")
    return file


@pytest.fixture
def _many_files() -> Iterator[None]:
    """
    As many files may be open in the tests' own process as the system lets it.
    """
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def certificates(directory: Path, names: Sequence[str]) -> str:
    """
    The YAML of targets of these names, all of them one file with a good certificate.
    """
    now = time.time()
    ca = root("Now Root", not_before=now - 365 * DAY, not_after=now + 365 * DAY)
    file = directory / "one.pem"
    file.write_bytes(ca.issue("here", ["here"], not_before=now - DAY, not_after=now + 89 * DAY).chain[0].pem)
    return "targets:\n" + "".join(f"- {{url: 'file://{file}', name: {name}}}\n" for name in names)


@pytest.mark.usefixtures("_many_files")
@pytest.mark.parametrize(
    "sent",
    [
        b"",
        GET,
        GET + b"\r\n",
        b"POST /-/reload HTTP/1.1\r\nHost: x\r\nContent-Length: 99999\r\n\r\nx",
        METRICS,
    ],
    ids=["silent", "half a head", "idle", "half a body", "unread"],
)
def test_slow_clients_keep_nobody_out(config: Path, sent: bytes) -> None:
    """
    More of them than the process may open files: it serves on, and its log stays small.
    """
    with serving(config, files=1024) as (process, port), contextlib.ExitStack() as stack:
        for _ in range(1100):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE))
            # One that was let go already refuses what is sent.
            with contextlib.suppress(ConnectionError):
                client.sendall(sent)
        for _ in range(3):
            assert b"healthy" in fetch(port, "/-/healthy")
            assert b"expiry_build_info" in fetch(port, "/metrics")
        assert len(list(Path(f"/proc/{process.pid}/fd").iterdir())) < 512
        log = process.output()
        assert "Traceback" not in log
        assert "all places for clients were taken" in log
        assert len(log) < 100_000
        process.signal(signal.SIGTERM)
        assert process.wait() == 0


def test_calendars_and_items_do_not_keep_others_out(config: Path) -> None:
    """
    Sixty who ask for the same are told the same, made once; health is answered meanwhile.
    """
    config.write_text(certificates(config.parent, [f"t{number}" for number in range(100)]), encoding="utf-8")
    with serving(config) as (_, port), ThreadPoolExecutor(120) as clients:
        assert b"expiry_build_info" in fetch(port, "/metrics", timeout=60)
        paths = ["/calendar.ics", "/api/v1/items?limit=10000"] * 60
        asked = [clients.submit(fetch, port, path, timeout=60) for path in paths]
        slowest = 0.0
        while not all(one.done() for one in asked):
            began = time.monotonic()
            assert b"healthy" in fetch(port, "/-/healthy")
            slowest = max(slowest, time.monotonic() - began)
        assert slowest < 2
        assert len({one.result() for one in asked}) == 2
        assert asked[0].result().count(b"BEGIN:VEVENT") == 300
        assert len(json.loads(asked[1].result())["items"]) == 100


def test_many_signals_are_few_reloads(config: Path) -> None:
    """
    The last one's configuration is taken, and scrapes are answered meanwhile.
    """
    with serving(config) as (process, port):
        for number in range(500):
            if number == 499:
                config.write_text("targets: [{url: 'tls://127.0.0.1:1', name: new}]\n", encoding="utf-8")
            process.signal(signal.SIGHUP)
        assert b"expiry_build_info" in fetch(port, "/metrics")
        wait_until(lambda: b'target="new"' in fetch(port, "/metrics"), what="the last reload")
        assert process.output().count("configuration loaded") < 250


def test_a_configuration_that_does_not_answer_holds_up_nothing(config: Path) -> None:
    """
    Neither scrapes, compressed ones too, nor pages, nor the end of the process.
    """
    config.write_text(certificates(config.parent, ["a"]), encoding="utf-8")
    with serving(config) as (process, port), contextlib.ExitStack() as stack:
        # Somebody could write to it and does not: reading it takes long, as on a mount whose server is gone.
        config.unlink()
        os.mkfifo(config)
        stack.callback(os.close, os.open(config, os.O_RDWR | os.O_NONBLOCK))
        asking = [
            threading.Thread(target=_ask_in_vain, args=(port, "/-/reload", "POST"), daemon=True)
            for _ in range(40)
        ]
        for one in asking:
            one.start()
        process.signal(signal.SIGHUP)
        wait_until(lambda: has_open(process.pid, config), what="the load")
        assert fetch(port, "/metrics", Accept_Encoding="gzip").startswith(b"\x1f\x8b")
        assert b"BEGIN:VEVENT" in fetch(port, "/calendar.ics")
        assert b"healthy" in fetch(port, "/-/healthy")
        began = time.monotonic()
        process.signal(signal.SIGTERM)
        assert process.wait() == 0
        # Usual is half a second.
        assert time.monotonic() - began < 5
        for one in asking:
            one.join(PATIENCE)


def has_open(pid: int, path: Path) -> bool:
    """
    Whether the process has this file open now.
    """
    found = []
    for one in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            found.append(one.readlink())
    return path in found


def _ask_in_vain(port: int, path: str, method: str) -> None:
    with contextlib.suppress(OSError):
        fetch(port, path, method, timeout=60)


FAULTS = 2000
"""Of which each in a line of its own would be more than ten times what a line of the log may have."""


def test_many_faults_are_one_short_line(config: Path) -> None:
    """
    The log has the first and the last of them; who asked for the reload gets all.
    """
    with serving(config) as (process, port):
        config.write_text("targets:\n" + "- gopher://x\n" * FAULTS, encoding="utf-8")
        with pytest.raises(urllib.error.HTTPError) as refused:
            fetch(port, "/-/reload", "POST", timeout=60)
        with refused.value as answer:
            assert answer.read().count(b"scheme 'gopher'") == FAULTS
        line = next(one for one in process.output().splitlines() if "not usable" in one)
        assert len(line) <= LINE_LIMIT
        assert "characters are left out" in line
        assert f"{config}:{FAULTS + 1}" in line


def test_what_a_server_lists_and_a_name_server_says_freeze_nothing(config: Path) -> None:
    """
    A list of five million empty lists, and an answer of names that are long and many: each kept the whole
    process for seconds, or for a minute.
    """

    def name_server() -> None:
        while data := name_socket.recvfrom(4096):
            query, client = data
            if not query:
                return
            name_socket.sendto(long_names(query)[:60_000], client)

    with contextlib.ExitStack() as stack:
        web = stack.enter_context(web_server())
        kind = {"Content-Type": "application/json"}
        web.pages["/targets"] = Page(b"[" + b"[]," * 5_000_000 + b"[]]", headers=kind)
        name_socket = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        name_socket.bind(("127.0.0.1", 0))
        port = name_socket.getsockname()[1]
        thread = threading.Thread(target=name_server)
        thread.start()
        stack.callback(thread.join)
        stack.callback(name_socket.sendto, b"", ("127.0.0.1", port))
        zone = f"- {{url: 'dns:example.test', dns_servers: ['127.0.0.1:{port}']}}\n"
        found = f"discover:\n- {{name: list, http: '{web.url('/targets')}'}}\n"
        config.write_text(certificates(config.parent, ["a"]) + zone + found, encoding="utf-8")
        _, at = stack.enter_context(serving(config))
        slowest = 0.0
        text = b""
        clients = stack.enter_context(ThreadPoolExecutor(1))
        while b'expiry_discovery_success{source="list"} 0' not in text:
            asked = clients.submit(fetch, at, "/metrics")
            while not asked.done():
                began = time.monotonic()
                assert b"healthy" in fetch(at, "/-/healthy")
                slowest = max(slowest, time.monotonic() - began)
            text = asked.result()
            assert b'expiry_probe_success{target="a"' in text
    # Usual are some hundredths.
    assert slowest < 3
    assert b'reason="dns_failed"' in text
