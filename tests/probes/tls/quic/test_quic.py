"""
QUIC, with the server of aioquic: what it presents is seen, and each failure has its reason in time.
"""

import asyncio
import contextlib
import queue
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from aioquic.asyncio.server import serve
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.crypto import CryptoPair
from aioquic.quic.packet import QuicProtocolVersion
from cryptography.hazmat.primitives.serialization import Encoding

from exporter.demo.minter import Minted
from exporter.model.observation import Failed
from exporter.model.proxies import Proxy
from exporter.probes.tls.quic_conversation import BYTES_LIMIT
from tests.probes.tls.dtls.servers import flood
from tests.probes.tls.wire.probing import (
    NAME,
    detail,
    explain,
    items,
    leaf_of,
    look,
    see,
    shown,
    target,
    tls,
    told,
)
from tests.probes.tls.wire.test_floods import probed
from tests.support.certificates import VALIDITY, remade, shared_key, utc_time, validity, write_pair
from tests.support.servers import Server

TIMEOUT = 0.6


@contextlib.contextmanager
def quic_server(
    directory: Path, chain: Sequence[Minted], protocol: str = "h3", above: "Sequence[Shown]" = ()
) -> Iterator[int]:
    """
    The port of a server with this chain that knows this protocol (ALPN), in a thread of its own.

    Above the leaf it shows what it is told to.
    """
    certificate, key = write_pair(directory, "quic", chain)
    configuration = QuicConfiguration(is_client=False, alpn_protocols=[protocol])
    configuration.load_cert_chain(certificate, key)
    if above:
        configuration.certificate_chain = list(above)
    loop = asyncio.new_event_loop()
    stop = loop.create_future()
    ports: queue.Queue[int] = queue.Queue()

    async def run() -> None:
        server = await serve("127.0.0.1", 0, configuration=configuration)
        assert server._transport is not None
        ports.put(server._transport.get_extra_info("sockname")[1])
        await stop
        server.close()

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()))
    thread.start()
    try:
        yield ports.get(timeout=5)
    finally:
        loop.call_soon_threadsafe(stop.set_result, None)
        thread.join()
        loop.close()


@pytest.mark.parametrize(("scheme", "protocol"), [("h3", "h3"), ("quic", "h3"), ("quic", "doq")])
def test_a_server_is_seen(tmp_path: Path, leaf: Minted, anchors: str, scheme: str, protocol: str) -> None:
    """
    The whole chain, byte for byte, and what was agreed on.
    """
    with quic_server(tmp_path, leaf.chain, protocol) as port:
        row = see(port, scheme=scheme, ca_file=anchors)
    assert told(row) == ("seen",), row.held.observation
    assert shown(row, *leaf.chain)
    assert tls(row).protocol == "TLSv1.3"
    assert tls(row).cipher.startswith("TLS_")
    assert tls(row).server_name == NAME


def test_an_expired_rsa_certificate_is_seen(tmp_path: Path, ca: Minted, anchors: str) -> None:
    """
    Observed first, judged later, as over TCP.
    """
    old = ca.issue(NAME, [NAME], key=shared_key("rsa-2048"), not_before=1.0, not_after=2.0)
    with quic_server(tmp_path, old.chain) as port:
        row = see(port, scheme="h3", ca_file=anchors)
    assert told(row) == ("seen", "expired"), row.held.observation


class Shown:
    """
    Stands for a certificate that a server shows and the library can't read: it has these bytes.
    """

    def __init__(self, encoded: bytes) -> None:
        self._encoded = encoded

    def public_bytes(self, _: Encoding) -> bytes:
        """
        The bytes, whatever they are.
        """
        return self._encoded


@pytest.mark.parametrize(
    ("end", "found", "names"),
    [
        ("2701220800Z", ("seen", "malformed"), ["leaf", "chain-1", "chain-2"]),
        ("270230080000Z", ("seen", "malformed"), ["leaf", "chain-2"]),
    ],
)
def test_a_certificate_that_the_library_can_not_read_hides_no_leaf(
    tmp_path: Path, ca: Minted, leaf: Minted, anchors: str, end: str, found: tuple[str, ...], names: list[str]
) -> None:
    """
    What can be read is facts and the rest a fault, as over TCP.
    """
    odd = remade(ca, {VALIDITY: validity(utc_time("270114080000Z"), utc_time(end))})
    with quic_server(tmp_path, leaf.chain, above=[Shown(odd.der), Shown(ca.der)]) as port:
        row = see(port, scheme="h3", ca_file=anchors)
    assert told(row) == found, row.held.observation
    assert items(row) == names
    assert leaf_of(row).der == leaf.der


def test_a_server_of_another_protocol_refuses(tmp_path: Path, leaf: Minted) -> None:
    """
    The alert is named.
    """
    with quic_server(tmp_path, leaf.chain, "doq") as port:
        row = see(port, scheme="h3")
    assert told(row) == ("handshake_refused",)
    assert "alert" in detail(row)


def test_silence_and_refusal_have_their_reasons_and_harm_no_other(healthy: Server) -> None:
    """
    A port without a server is told at once, one that says nothing in time.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as closed:
            closed.bind(("127.0.0.1", 0))
            nobody = closed.getsockname()[1]
        rows = look(
            target(silent.getsockname()[1], scheme="quic", timeout=TIMEOUT),
            target(nobody, scheme="quic", timeout=TIMEOUT),
            target(healthy),
        )
    assert [told(row)[0] for row in rows] == ["connect_timeout", "connection_refused", "seen"]
    assert "no answer by UDP" in detail(rows[0])
    assert rows[0].held.duration < TIMEOUT + 0.5


def test_garbage_is_no_answer() -> None:
    """
    Datagrams that are not QUIC change nothing but the words.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(5)

        def answer() -> None:
            _, client = server.recvfrom(2000)
            for size in (0, 1, 20, 1200):
                server.sendto(bytes(range(250)) * 5 if size == 1200 else bytes(size), client)

        thread = threading.Thread(target=answer)
        thread.start()
        row = see(server.getsockname()[1], scheme="quic", timeout=TIMEOUT)
        thread.join()
    assert told(row) == ("handshake_timeout",)
    assert "did not finish the QUIC handshake" in detail(row)


def test_what_has_no_end_is_ended_and_harms_no_other(healthy: Server) -> None:
    """
    A server that never stops sending is left before its time is over.
    """
    with flood(bytes(1200)) as port:
        bad, good = look(target(port, scheme="quic", timeout=9.0), target(healthy))
    assert told(bad) == ("handshake_endless",), bad.held.observation
    assert f"more than {BYTES_LIMIT // 1024} kB" in detail(bad)
    assert bad.held.duration < 8
    assert told(good)[0] == "seen"


def packets(hello: bytes, frames: Callable[[int], bytes]) -> Iterator[bytes]:
    """
    Large datagrams for the client whose first one this is: packets that it understands, each with the frames
    for its number.
    """
    size = hello[5]
    server_id, client_id = hello[6 : 6 + size], hello[7 + size : 7 + size + hello[6 + size]]
    keys = CryptoPair()
    keys.setup_initial(cid=server_id, is_client=False, version=QuicProtocolVersion.VERSION_1)
    for number in range(1 << 16):
        content = frames(number)
        length = (0x80000000 | 2 + len(content) + 16).to_bytes(4, "big")
        ids = bytes([len(client_id)]) + client_id + b"\x08" + bytes(8)
        header = b"\xc1\0\0\0\1" + ids + b"\0" + length + number.to_bytes(2, "big")
        yield keys.encrypt_packet(header, content, number)


def pings(_: int) -> bytes:
    """
    PING frames (RFC 9000 section 19.2), each of which is work.
    """
    return b"\1" * 3900


def single_bytes(number: int) -> bytes:
    """
    CRYPTO frames (RFC 9000 section 19.6) with every second byte of a message.
    """
    places = range(1000 * number, 1000 * (number + 1), 2)
    return b"".join(b"\x06" + (0x80000000 | place).to_bytes(4, "big") + b"\1x" for place in places)


@pytest.mark.parametrize(
    ("frames", "words"),
    [
        pytest.param(pings, f"more than {BYTES_LIMIT // 1024} kB", id="pings"),
        pytest.param(single_bytes, "pieces with holes between them", id="single bytes"),
    ],
)
def test_what_is_understood_and_has_no_end_is_ended_too(frames: Callable[[int], bytes], words: str) -> None:
    """
    Within its time, at a bounded cost, and nothing else waits for it.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(10)

        def answer() -> None:
            hello, client = server.recvfrom(2000)
            # It is over when the client is gone, which a second datagram to its closed port tells.
            server.connect(client)
            with contextlib.suppress(OSError):
                for datagram in packets(hello, frames):
                    server.send(datagram)

        thread = threading.Thread(target=answer)
        thread.start()
        seen = probed(target(server.getsockname()[1], scheme="quic", timeout=30.0))
        thread.join()
    assert isinstance(seen.observation, Failed)
    assert seen.observation.reason == "handshake_endless", seen.observation
    assert words in seen.observation.detail


def test_what_the_library_says_of_a_server_is_no_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """
    It is the reason of the failure, which is told once.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(10)

        def answer() -> None:
            hello, client = server.recvfrom(2000)
            size = hello[5]
            server_id, client_id = hello[5 : 6 + size], hello[6 + size : 7 + size + hello[6 + size]]
            # Version negotiation (RFC 9000 section 17.2.1), with a version that nobody has.
            server.sendto(b"\x80\0\0\0\0" + client_id + server_id + b"\x0a\x0a\x0a\x0a", client)

        thread = threading.Thread(target=answer)
        thread.start()
        seen = probed(target(server.getsockname()[1], scheme="quic", timeout=TIMEOUT))
        thread.join()
    assert isinstance(seen.observation, Failed)
    assert "Could not find a common protocol version" in seen.observation.detail
    assert [one for one in caplog.records if one.name == "quic"] == []


def test_a_proxy_for_tcp_is_no_way_for_quic() -> None:
    """
    It is said what to do, instead of going around the proxy.
    """
    row = see("www.example:443", scheme="h3", proxy=Proxy("http", "127.0.0.1", 9))
    assert told(row) == ("proxy_failed",)
    assert "set `proxy: none`" in detail(row)


def test_without_the_library_only_quic_fails(healthy: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The sentence says how to install it.
    """
    # What the import system does when a library is not there, which it is in the tests' environment.
    monkeypatch.setitem(sys.modules, "aioquic.quic.configuration", None)
    monkeypatch.delitem(sys.modules, "exporter.probes.tls.quic_conversation", raising=False)
    monkeypatch.delattr("exporter.probes.tls.quic_conversation", raising=False)
    bad, good = look(target("127.0.0.1:443", scheme="h3"), target(healthy))
    assert told(bad) == ("internal_error",)
    assert "expiry-exporter[quic]" in detail(bad)
    assert told(good)[0] == "seen"


def test_the_steps_are_told(tmp_path: Path, leaf: Minted) -> None:
    """
    To a person who asks.
    """
    with quic_server(tmp_path, leaf.chain) as port:
        steps = [words for _, words in explain(target(port, scheme="h3")).steps]
    assert steps[0].startswith("QUIC handshake with 127.0.0.1")
    assert steps[-1].startswith("handshake done: TLS_")
