"""
A long run: thousands of scrapes of targets that change all the time, and what the exporter has kept of it.

    python -m tests.benchmarks.long_run                            # 1000 targets, 2000 scrapes: an hour
    python -m tests.benchmarks.long_run --targets=60 --scrapes=60  # shows that it works

In each scrape some certificates were renewed, some servers fail and some names have other addresses. Now and
then targets are removed and others added by a reload. Needs nginx. Progress goes to standard error.
"""

import argparse
import asyncio
import contextlib
import gc
import http.client
import itertools
import json
import re
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from statistics import median

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from exporter.cli.main import main as exporter_main
from exporter.config.reader import load
from exporter.demo.minter import Minted, PrivateKey, new_key, root
from exporter.model.errors import ProbeError
from exporter.model.observation import Facts
from exporter.model.reasons import Reason
from exporter.model.targets import Target
from exporter.probes import PROBES
from exporter.probes.base import Endpoint, Endpoints, Probe, Trace
from exporter.probes.dependencies import Dependencies
from exporter.probes.tls.handshake import seen_from
from exporter.probes.tls.refusals import facts
from exporter.server.service import Options, Service
from tests.benchmarks.__main__ import table
from tests.benchmarks.clients import BenchmarkError, scrape
from tests.benchmarks.fleet import ADDRESSES, REPOSITORY
from tests.benchmarks.limits import raise_file_limit
from tests.benchmarks.row import Row
from tests.support.certificates import DAY, NOW
from tests.support.processes import answers, family, free_port, listening, rss_bytes, running

RENEWED = 0.02
"""Share of the targets with a new certificate in each scrape: each one's fiftieth scrape finds another."""

FAILING = 0.02
"""Share of the targets whose server begins to fail, for up to ten scrapes."""

ROTATING = 0.05
"""Share of the targets that are names, with three other addresses of twenty in each scrape."""

REPLACED = 0.01
"""Share of the targets that are removed, and others added, with each reload."""

RELOADS = 10
"""Scrapes from one reload to the next."""

NOTES = 100
"""How often in a run memory, descriptors and threads are noted, if not said otherwise."""

WARM = 0.25
"""Share of the run after which nothing may grow any more: until then the caches fill up to their bound."""

FLAT = 1.05
"""How much more memory there may be at the end than after the warm share."""

SILENCE = "300ms"
"""The time for one of a hundred targets, whose server never says a word."""

REST = 0.5
"""Seconds after an answer before descriptors are counted: what it left to tidy up is done by then."""

_NGINX = """
daemon off;
master_process off;
pid {directory}/nginx.pid;
error_log /dev/null crit;
worker_rlimit_nofile 8192;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    ssl_session_tickets off;
    ssl_ecdh_curve X25519;
    server {{
        {listens}
        # Read at each handshake, so that a renewal needs no reload. Without a file the handshake fails.
        ssl_certificate {directory}/$ssl_server_name.pem;
        ssl_certificate_key {directory}/$ssl_server_name.pem;
        location / {{ return 204; }}
    }}
}}
"""


@dataclass(frozen=True, slots=True)
class Note:
    """
    What the exporter has at one time, its other processes included.
    """

    scrapes: int
    memory: int
    """Bytes."""
    descriptors: int
    threads: int
    state: int
    """Bytes of the state file and what SQLite keeps beside it."""
    series: int


@dataclass(slots=True)
class Fleet:
    """
    The servers' certificates as files, and which targets there are.
    """

    directory: Path
    port: int
    silent: str
    """URL of a server that says nothing."""
    count: int
    clock: Callable[[], float] = time.time
    chance: Random = field(default_factory=lambda: Random(16))
    targets: dict[str, str] = field(default_factory=dict)
    """URLs by name of target, which is also the server name."""
    failing: dict[str, int] = field(default_factory=dict)
    """The scrape in which each is well again."""
    _authority: Minted = field(init=False)
    _keys: Sequence[PrivateKey] = field(init=False)
    _numbers: Iterator[int] = field(init=False, default_factory=itertools.count)

    def __post_init__(self) -> None:
        now = self.clock()
        above = root("Long Run Root", not_before=now - 800 * DAY, not_after=now + 3000 * DAY)
        self._authority = above.issue("Long Run Issuer", ca=True)
        self._keys = [new_key("ecdsa-256") for _ in range(8)]
        (self.directory / "ca.pem").write_bytes(above.pem)
        for _ in range(self.count):
            self._add()

    def _add(self) -> None:
        number = next(self._numbers)
        name = f"host-{number}.example.com"
        if number % 100 == 0:
            url = self.silent
        elif number % round(1 / ROTATING) == 1:
            url = f"tls://{name}:{self.port}"
        else:
            url = f"tls://{ADDRESSES[number % len(ADDRESSES)]}:{self.port}"
        self.targets[name] = url
        self._renew(name)

    def _renew(self, name: str) -> None:
        now = self.clock()
        # Some of them are late, so that problems come and go.
        lifetime = self.chance.choice((7, 47, 90, 398)) * DAY
        begin = now - self.chance.choice((0.0, 0.0, 0.3, 0.9)) * lifetime
        leaf = self._authority.issue(
            name, [name], not_before=begin, not_after=begin + lifetime, key=self.chance.choice(self._keys)
        )
        self._write(name, leaf)

    def _write(self, name: str, leaf: Minted) -> None:
        written = self.directory / "next"
        written.write_bytes(leaf.chain_pem + leaf.key_pem)
        written.rename(self.directory / f"{name}.pem")

    def step(self, scrape_number: int) -> None:
        """
        Renew some, let some fail, and make those well whose time has come.
        """
        for name in [one for one, end in self.failing.items() if end <= scrape_number]:
            del self.failing[name]
            if name in self.targets:
                self._renew(name)
        names = list(self.targets)
        for name in self.chance.sample(names, max(1, round(RENEWED * self.count))):
            if name not in self.failing:
                self._renew(name)
        for name in self.chance.sample(names, max(1, round(FAILING * self.count))):
            if name not in self.failing:
                self.failing[name] = scrape_number + self.chance.randint(1, 10)
                (self.directory / f"{name}.pem").unlink()

    def replace(self) -> None:
        """
        Remove some of the targets and add as many.
        """
        for name in self.chance.sample(list(self.targets), max(1, round(REPLACED * self.count))):
            del self.targets[name]
            (self.directory / f"{name}.pem").unlink(missing_ok=True)
            self._add()

    def write_configuration(self) -> Path:
        """
        The exporter's configuration with the present targets.
        """
        entries = [
            {
                "url": url,
                "name": name,
                "server_name": name,
                "timeout": SILENCE if url == self.silent else "5s",
            }
            for name, url in self.targets.items()
        ]
        document = {"defaults": {"ca_file": "ca.pem"}, "targets": entries}
        path = self.directory / "expiry.yml"
        path.write_text(json.dumps(document), encoding="utf-8")
        return path


def long_run(targets: int, scrapes: int, notes: int = NOTES) -> Iterator[Note]:
    """
    Notes over the run. Raises BenchmarkError when a scrape tells of a target that is removed, lacks one that
    there is, or has a series twice.
    """
    nginx = shutil.which("nginx") or "/usr/sbin/nginx"
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="expiry-long-run-")))
        silent = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=4096))
        fleet = Fleet(directory, free_port(), f"tls://127.0.0.1:{silent.getsockname()[1]}", targets)
        listens = " ".join(f"listen {address}:{fleet.port} ssl backlog=1024;" for address in ADDRESSES)
        written = directory / "nginx.conf"
        written.write_text(_NGINX.format(directory=directory, listens=listens), encoding="utf-8")
        command: list[str | Path] = [nginx, "-p", directory, "-c", written, "-e", "/dev/null"]
        stack.enter_context(running(command, ready=listening(fleet.port)))
        port, state = free_port(), directory / "state.sqlite"
        ours = stack.enter_context(
            running(
                [
                    *(sys.executable, "-m", "tests.benchmarks.long_run", "exporter"),
                    f"--config.file={fleet.write_configuration()}",
                    f"--web.listen-address=127.0.0.1:{port}",
                    f"--state.path={state}",
                    "--web.enable-lifecycle",
                    "--log.level=error",
                ],
                ready=answers(f"http://127.0.0.1:{port}/-/healthy"),
                cwd=REPOSITORY,
            )
        )
        for number in range(1, scrapes + 1):
            fleet.step(number)
            if number % RELOADS == 0:
                fleet.replace()
                fleet.write_configuration()
                _reload(port)
            text = scrape(port, timeout=30.0).text
            _check(text, fleet)
            if number % max(1, scrapes // notes) == 0:
                time.sleep(REST)
                yield _note(number, ours.pid, state, text)


def _reload(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", "/-/reload")
    answer = connection.getresponse()
    said = answer.read()
    connection.close()
    if answer.status != http.client.OK:
        raise BenchmarkError(f"the reload gave status {answer.status}: {said[:500]!r}")


def _check(text: str, fleet: Fleet) -> None:
    """
    Each target there is has its series, no other has one, and none is there twice.
    """
    told = set(re.findall(r'^expiry_target_info\{(?:[^}]*,)?target="([^"]*)"', text, re.MULTILINE))
    if told != fleet.targets.keys():
        raise BenchmarkError(f"wrong targets in an answer: {sorted(told ^ fleet.targets.keys())[:5]}")
    left = set(re.findall(r'[{,]target="([^"]*)"', text)) - fleet.targets.keys()
    if left:
        raise BenchmarkError(f"series of targets that were removed: {sorted(left)[:5]}")
    series = [line.rpartition(" ")[0] for line in text.splitlines() if not line.startswith("#")]
    if len(set(series)) != len(series):
        raise BenchmarkError("a series is told twice")


def _note(number: int, pid: int, state: Path, text: str) -> Note:
    pids = family(pid)
    return Note(
        number,
        rss_bytes(pid),
        sum(len(list(Path(f"/proc/{one}/fd").iterdir())) for one in pids),
        sum(len(list(Path(f"/proc/{one}/task").iterdir())) for one in pids),
        sum(one.stat().st_size for one in state.parent.glob(f"{state.name}*")),
        sum(not line.startswith("#") for line in text.splitlines()),
    )


def _tell(note: Note, seconds: float) -> None:
    print(
        f"{seconds:7.0f} s  {note.scrapes:5} scrapes  {note.memory / 1e6:6.1f} MB  {note.descriptors:3} "
        f"descriptors  {note.threads:3} threads  state {note.state / 1e6:.2f} MB  {note.series} series",
        file=sys.stderr,
        flush=True,
    )


def rows(notes: Sequence[Note], targets: int) -> Iterator[Row]:
    """
    Lines of the table: each figure at the end beside what it was after the warm share.
    """
    warm = [one for one in notes if one.scrapes >= WARM * notes[-1].scrapes]
    few = max(1, len(warm) // 5)
    early, late = warm[:few], warm[-few:]
    what = f"{targets} changing targets, {notes[-1].scrapes} scrapes"
    before, after = (median(one.memory for one in some) / 1e6 for some in (early, late))
    yield Row(f"{what}: memory of all processes", after, "MB", before, after / before, at_most=FLAT)
    for name in ("descriptors", "threads"):
        # On a busy machine some that came with the scrape may still be there at one of the notes.
        then, now = (median(getattr(one, name) for one in some) for some in (early, late))
        yield Row(f"{what}: {name} at rest", now, "", then, now / then, at_most=1)
    largest = [max(one.state for one in some) / 1e6 for some in (early, late)]
    yield Row(f"{what}: state file", largest[1], "MB", largest[0], largest[1] / largest[0], at_most=1.1)
    series = [median(one.series for one in some) for some in (early, late)]
    yield Row(f"{what}: series", series[1], "", series[0], series[1] / series[0], at_most=FLAT)


def replayed(directory: Path, targets: int, scrapes: int, every: int) -> list[tuple[int, int]]:
    """
    Objects of Python and lines of an answer after each `every` scrapes of a service in this process, whose
    probe is a fake that reads the server's file: without handshakes, a scrape costs a hundredth. From one
    scrape to the next a minute of its clock goes by. Raises BenchmarkError as `long_run`.
    """
    time_ = [NOW]
    fleet = Fleet(directory, 443, "tls://silent.example.com:443", targets, lambda: time_[0])
    fleet.write_configuration()
    turns = itertools.count()

    async def endpoints(target: Target, _: Dependencies) -> Endpoints:
        host = target.url.host
        addresses: tuple[str, ...] = (host,)
        if host.endswith(".example.com"):
            addresses = tuple(ADDRESSES[(next(turns) + step) % len(ADDRESSES)] for step in range(3))
        return Endpoints(tuple(Endpoint(f"{one}:443", one) for one in addresses))

    async def look(target: Target, _: Endpoint, __: Dependencies, ___: Trace) -> Facts:
        if target.url.host == "silent.example.com":
            raise ProbeError(Reason.HANDSHAKE_TIMEOUT, "it says nothing")
        try:
            pem = (directory / f"{target.name}.pem").read_bytes()
        except FileNotFoundError:
            raise ProbeError(Reason.HANDSHAKE_REFUSED, "it has no certificate") from None
        chain = tuple(one.public_bytes(Encoding.DER) for one in x509.load_pem_x509_certificates(pem))
        return facts(seen_from(chain, "TLSv1.3", "TLS_AES_256_GCM_SHA384", target.name, False, None))

    async def run() -> list[tuple[int, int]]:
        options = Options(state_path=str(directory / "state.sqlite"), processes=1)
        configuration = str(directory / "expiry.yml")
        service = Service(
            lambda: load(configuration, {}), options, asyncio.get_running_loop(), lambda: time_[0]
        )
        service.start()
        found = []
        for number in range(1, scrapes + 1):
            time_[0] += 60
            fleet.step(number)
            if number % RELOADS == 0:
                fleet.replace()
                fleet.write_configuration()
                await service.reload()
            text = service.text(await service.scrape(60.0))
            _check(text, fleet)
            if number % every == 0:
                gc.collect()
                # What is frozen is not among them: it was there before, and no scrape adds to it.
                found.append((len(gc.get_objects()), text.count("\n")))
        await service.close()
        return found

    before, PROBES["tls"] = PROBES["tls"], Probe("wire", endpoints, look)
    try:
        return asyncio.run(run())
    finally:
        PROBES["tls"] = before


def _exporter(arguments: Sequence[str]) -> int:
    """
    The exporter with a resolver that is a fake: a name of example.com has three addresses of this machine,
    others with each question.
    """
    real, turns = socket.getaddrinfo, itertools.count()

    def rotating(host: str, *rest: object, **more: object) -> list[tuple[object, ...]]:
        if not str(host).endswith(".example.com"):
            return real(host, *rest, **more)  # type: ignore[arg-type,return-value]
        first = next(turns)
        some = (ADDRESSES[(first * 3 + step) % len(ADDRESSES)] for step in range(3))
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, 0)) for one in some]

    socket.getaddrinfo = rotating  # type: ignore[assignment]
    return exporter_main(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run and print. The exit status is 0 when every figure is met.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.long_run", description=__doc__)
    parser.add_argument("--targets", type=int, default=1000)
    parser.add_argument("--scrapes", type=int, default=2000)
    options = parser.parse_args(arguments)
    raise_file_limit()
    # So that the processes are ended on SIGTERM too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    notes: list[Note] = []
    began = time.monotonic()
    # Who has seen enough stops it, and is told what was measured so far.
    with contextlib.suppress(KeyboardInterrupt):
        for note in long_run(options.targets, options.scrapes):
            notes.append(note)
            _tell(note, time.monotonic() - began)
    found = list(rows(notes, options.targets))
    print(f"{time.monotonic() - began:.0f} s\n\n{table(found)}")
    return 0 if all(one.met for one in found) else 1


if __name__ == "__main__":
    sys.exit(_exporter(sys.argv[2:]) if sys.argv[1:2] == ["exporter"] else main())
