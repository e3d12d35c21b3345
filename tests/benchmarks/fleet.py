"""
What is probed in the benchmarks: nginx behind a two-certificate chain, slow and silent servers.
"""

import contextlib
import json
import shutil
import socket
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from exporter.demo.minter import root
from tests.support.processes import free_port, listening, running

DAY = 86400.0
REPOSITORY = Path(__file__).resolve().parents[2]

# Each closed connection holds its pair of addresses for a while (TIME_WAIT): one server address has about
# 28,000 of them, and looking for a free one becomes dear for the client long before.
ADDRESSES = tuple(f"127.0.0.{number}" for number in range(1, 21))

_NGINX = """
daemon off;
pid {directory}/nginx.pid;
error_log stderr warn;
worker_processes 1;
worker_rlimit_nofile 16384;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_certificate {directory}/chain.pem;
    ssl_certificate_key {directory}/key.pem;
    server {{
        {listens}
        location / {{ return 204; }}
    }}
    server {{
        listen 127.0.0.1:{status_port};
        location / {{ stub_status; }}
    }}
}}
"""


@dataclass(frozen=True, slots=True)
class Fleet:
    """
    A running nginx that answers TLS on one port of every address.
    """

    directory: Path
    port: int
    status_port: int

    @property
    def ca_file(self) -> Path:
        """
        The trust anchor of the chain that nginx presents.
        """
        return self.directory / "ca.pem"

    def endpoints(self, count: int, port: int | None = None) -> list[str]:
        """
        `count` times `ip:port`, going round the addresses. Without a port it is nginx's own.
        """
        return [f"{ADDRESSES[number % len(ADDRESSES)]}:{port or self.port}" for number in range(count)]

    def accepted(self) -> int:
        """
        Connections that nginx accepted so far, without those for this question.
        """
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://127.0.0.1:{self.status_port}/", timeout=5) as answer:
            # "server accepts handled requests" and then the numbers; only these questions are requests.
            accepted, _, requests = answer.read().decode().splitlines()[2].split()
        return int(accepted) - int(requests)


@contextlib.contextmanager
def fleet(directory: Path) -> Iterator[Fleet]:
    """
    Certificates and an nginx with one worker, ready to be probed.
    """
    nginx = shutil.which("nginx") or "/usr/sbin/nginx"
    now = time.time()
    authority = root("Benchmark Root", not_before=now - DAY, not_after=now + 3650 * DAY)
    issuer = authority.issue("Benchmark Issuer", ca=True)
    leaf = issuer.issue(
        "localhost", ["localhost", *ADDRESSES], not_before=now - 10 * DAY, not_after=now + 80 * DAY
    )
    (directory / "ca.pem").write_bytes(authority.pem)
    (directory / "chain.pem").write_bytes(leaf.chain_pem)
    (directory / "key.pem").write_bytes(leaf.key_pem)
    it = Fleet(directory, free_port(), free_port())
    configuration = directory / "nginx.conf"
    listens = " ".join(f"listen {address}:{it.port} ssl backlog=4096;" for address in ADDRESSES)
    configuration.write_text(
        _NGINX.format(directory=directory, listens=listens, status_port=it.status_port), encoding="utf-8"
    )
    with running(
        [nginx, "-p", directory, "-c", configuration, "-e", "stderr"], ready=listening(it.status_port)
    ):
        yield it


@contextlib.contextmanager
def relay(upstream: Fleet, delay: float) -> Iterator[int]:
    """
    The port of a relay before nginx that hands on each answer `delay` seconds after the client spoke.
    """
    port = free_port()
    argv = [sys.executable, "-m", "tests.benchmarks.relay", port, upstream.port, delay]
    with running(list(map(str, argv)), ready=listening(port), cwd=REPOSITORY):
        yield port


@contextlib.contextmanager
def silence() -> Iterator[int]:
    """
    The port of a server that takes connections (the kernel does) and never says a word.
    """
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as server:
        yield server.getsockname()[1]


def configuration(directory: Path, endpoints: Sequence[str], ca_file: Path, scheme: str = "tls") -> Path:
    """
    A configuration file of ours with one target for each endpoint, named t0, t1 and so on.
    """
    targets = [
        {
            "url": f"{scheme}://{endpoint}",
            "name": f"t{number}",
            "server_name": "localhost",
            "ca_file": str(ca_file),
        }
        for number, endpoint in enumerate(endpoints)
    ]
    path = directory / f"expiry-{scheme}-{len(endpoints)}.yml"
    # JSON is YAML.
    path.write_text(json.dumps({"targets": targets}, indent=1), encoding="utf-8")
    return path


def blackbox_configuration(directory: Path, ca_file: Path) -> Path:
    """
    A configuration file of blackbox_exporter whose module `tls` judges by the same trust file.
    """
    module = {
        "prober": "tcp",
        "timeout": "10s",
        "tcp": {"tls": True, "tls_config": {"ca_file": str(ca_file), "server_name": "localhost"}},
    }
    path = directory / "blackbox.yml"
    path.write_text(json.dumps({"modules": {"tls": module}}), encoding="utf-8")
    return path
