"""
A name server that never answers, and all that is got by HTTP: in namespaces of their own, since the system's
resolver asks the servers of /etc/resolv.conf.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import asyncio, pathlib, socket, sys
from exporter.engine.monitor import Monitor
from exporter.model.targets import Target
from exporter.model.urls import parse_url
from exporter.model.errors import ProbeError
from exporter.net.http import download
from exporter.probes.dependencies import Dependencies
from tests.formats.samples import leaf
from tests.probes.kubernetes.looking import of
from tests.support.rows import outcome
from tests.support.web_server import Page, web_server

def document(authority):
    return Target(parse_url(f"pem+http://{authority}/a.pem"), authority, timeout=30)

async def main(server):
    network = Dependencies(asyncio.get_running_loop())
    monitor = Monitor(network, 16, network.clock)
    here = document(f"127.0.0.1:{server.port}")
    silent = [document(f"{number}.example") for number in range(40)]
    silent.append(of("prod/*", kubeconfig=pathlib.Path(sys.argv[1]), timeout=30))
    made = await monitor.scrape([*silent, here], 20)
    print(sorted({outcome(row) for row in made.endpoints if row.target is not here}))
    print([outcome(row) for row in made.endpoints if row.target is here])
    try:
        await download(network.resolver, "http://list.example/a.crl", 1000)
    except ProbeError as error:
        print(error.reason, "list.example" in error.detail)
    network.close()

with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent, web_server() as server:
    silent.bind(("127.0.0.1", 53))
    server.pages["/a.pem"] = Page(leaf().pem)
    asyncio.run(main(server))
"""


def test_it_holds_up_neither_others_nor_the_end(tmp_path: Path) -> None:
    """
    Forty documents, a look-up and an API server with names that nobody answers for: each says so within the
    limit of all look-ups of names, another document is read, and the process ends while they go on.
    """
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("namespaces need util-linux")
    resolv, kubeconfig = tmp_path / "resolv.conf", tmp_path / "config"
    # The system would wait for four minutes.
    resolv.write_text("nameserver 127.0.0.1\noptions timeout:30 attempts:4\n")
    kubeconfig.write_text(
        "{current-context: c, contexts: [{name: c, context: {cluster: c}}],"
        " clusters: [{name: c, cluster: {server: 'https://api.example'}}]}"
    )
    inside = 'ip link set lo up && mount --bind "$1" /etc/resolv.conf && exec "$2" -c "$3" "$4"'
    arguments = ["sh", str(resolv), sys.executable, PROGRAM, str(kubeconfig)]
    command = [unshare, "--net", "--mount", "sh", "-c", inside, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if "unshare failed" in done.stderr:
        pytest.skip(done.stderr)
    assert done.stdout.splitlines() == ["['dns_timeout']", "['seen']", "dns_timeout True"], done.stderr
    assert (done.returncode, "Traceback" in done.stderr) == (0, False)
