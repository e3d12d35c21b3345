"""
The header of the PROXY protocol, before servers that refuse connections without it.
"""

import threading
from pathlib import Path
from socket import socket
from typing import Literal

import pytest

from exporter.demo.minter import Minted
from tests.probes.tls.proxies.programs import microsocks
from tests.probes.tls.wire.probing import look, see, shown, target, told
from tests.support.misbehaving import serving
from tests.support.servers import haproxy


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_server_that_wants_the_header_is_seen(
    tmp_path: Path, leaf: Minted, anchors: str, version: Literal["v1", "v2"]
) -> None:
    """
    HAProxy, directly and by way of a proxy; without the header it hangs up or answers with an alert.
    """
    with haproxy(tmp_path, leaf.chain, settings="accept-proxy") as server, microsocks() as proxy:
        direct, tunnelled, without = look(
            target(server, name="direct", ca_file=anchors, proxy_protocol=version),
            target(server, name="tunnelled", ca_file=anchors, proxy_protocol=version, proxy=proxy),
            target(server, name="without", ca_file=anchors),
        )
    assert [told(direct), told(tunnelled)] == [("seen",), ("seen",)], direct.held.observation
    assert shown(direct, *leaf.chain)
    assert told(without)[0] != "seen"


def test_the_header_comes_first_and_names_this_client() -> None:
    """
    Before the first byte of TLS, with the addresses and ports of this very connection.
    """
    heard: list[tuple[bytes, int]] = []

    def answer(connection: socket, _stop: threading.Event) -> None:
        heard.append((connection.recv(1 << 16), connection.getpeername()[1]))

    with serving(answer) as port:
        see(port, proxy_protocol="v1")
    said, client_port = heard[0]
    assert said.startswith(f"PROXY TCP4 127.0.0.1 127.0.0.1 {client_port} {port}\r\n".encode())
