"""
Tests of the source `listening`, with this host's own sockets.
"""

import asyncio
import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from exporter.demo.minter import Minted
from exporter.discovery import listening as source
from exporter.discovery.base import Context, Listing, SourceError
from exporter.discovery.lists import excluding
from exporter.net.network import Network
from tests.support.certificates import NOW
from tests.support.processes import Running, running, wait_until
from tests.support.servers import Site, nginx

PLAIN = """
import socket, sys
one = socket.create_server(("127.0.0.1", 0))
print(one.getsockname()[1], flush=True)
while True:
    connection, _ = one.accept()
    print("tried", flush=True)
    connection.close()
"""


@pytest.fixture
def plain() -> Iterator[tuple[Running, int]]:
    """
    Another process's server that speaks no TLS, and says each connection.
    """
    with running(["python3", "-c", PLAIN]) as process:
        wait_until(lambda: process.output().strip() != "", deadline=30.0)
        yield process, int(process.output().split()[0])


def only(*ports: int) -> object:
    """
    A replacement for the look at the host, which has only the sockets of this test.
    """
    real = source.listening

    def some(proc: Path, _: dict[str, None]) -> Iterator[source.Socket]:
        return (one for one in real(proc, {}) if one.port in ports and not one.place)

    return some


def found(
    remembered: object = None,
    exclude: Sequence[str] = (),
    so_far: Callable[[Callable[[], object]], None] = lambda _: None,
) -> Listing:
    """
    One run of the source.
    """

    async def run() -> Listing:
        network = Network(asyncio.get_running_loop())
        try:
            context = Context(network, NOW, remembered, excluded=excluding(exclude), so_far=so_far)
            return await source.run(True, context)
        finally:
            network.close()

    return asyncio.run(run())


def test_what_speaks_tls_becomes_a_target_and_nothing_is_tried_twice(
    tmp_path: Path, ca: Minted, plain: tuple[Running, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A web server is found with the name on its certificate; the other is tried once, and remembered.
    """
    process, port = plain
    with nginx(tmp_path, Site([ca.issue("www", ["*.example", "www.example"]).chain])) as server:
        monkeypatch.setattr(source, "listening", only(port, server.port))
        reached: list[Callable[[], object]] = []
        first = found(so_far=reached.append)
        wait_until(lambda: "tried" in process.output(), deadline=30.0)
        again = found(first.remember)
    (one,) = first.found
    assert (one.url, one.name) == (f"tls://{server.authority}", f"www.example on {server.authority}")
    assert one.settings == {"server_name": "www.example"}
    assert (again.found, again.remember) == (first.found, first.remember)
    # A run that is stopped remembers what it has tried.
    assert reached[0]() == first.remember
    assert process.output().count("tried") == 1


def test_what_is_excluded_is_not_tried(plain: tuple[Running, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """
    It may not bear a connection.
    """
    _, port = plain
    monkeypatch.setattr(source, "listening", only(port))
    listing = found(exclude=[f"*:{port}"])
    assert (listing.found, listing.remember) == ((), {})


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["*.example.com"], "www.example.com"),
        ([f"{'c' * 64}.example.com", "a_b.example.com"], "a_b.example.com"),
    ],
)
def test_the_name_that_is_asked_for(
    names: list[str], expected: str, tmp_path: Path, ca: Minted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    One below a wildcard, which would else be a wrong name for an address; none that can't be a host.
    """
    with nginx(tmp_path, Site([ca.issue("www", names).chain])) as server:
        monkeypatch.setattr(source, "listening", only(server.port))
        (one,) = found().found
    assert one.settings == {"server_name": expected}


@pytest.mark.parametrize("remembered", ["text", {"key": 1}, {"key": ["a"]}, [1]])
def test_what_an_other_version_remembered_is_passed_over(
    remembered: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Nothing fails on it.
    """
    monkeypatch.setattr(source, "listening", only())
    assert found(remembered) == Listing(remember={})


def test_our_own_sockets_are_left_out() -> None:
    """
    The exporter does not try its own port.
    """
    with socket.create_server(("127.0.0.1", 0)) as own:
        port = own.getsockname()[1]
        assert port not in [one.port for one in source.listening(Path("/proc"), {})]


def proc(directory: Path, tcp: str, tcp6: str = "") -> Path:
    """
    A copy of what is read below /proc, with these rows: other namespaces need privileges to be made.
    """
    head = (
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
    )
    for process, namespace in (("self", "net:[1]"), ("17", "net:[2]"), ("18", "net:[2]")):
        (directory / process / "net").mkdir(parents=True)
        (directory / process / "ns").mkdir()
        (directory / process / "fd").mkdir()
        (directory / process / "ns" / "net").symlink_to(namespace)
        (directory / process / "net" / "tcp").write_text(head + tcp, "ascii")
        (directory / process / "net" / "tcp6").write_text(head + tcp6, "ascii")
        (directory / process / "net" / "fib_trie").write_text(
            "Local:\n  |-- 127.0.0.1\n     /32 host LOCAL\n  |-- 172.17.0.2\n     /32 host LOCAL\n", "ascii"
        )
    boot = directory / "sys/kernel/random"
    boot.mkdir(parents=True)
    (boot / "boot_id").write_text("0123456789abcdef\n", "ascii")
    return directory


def row(address: str, inode: int, state: str = "0A") -> str:
    """
    A row of /proc/net/tcp.
    """
    return f"   0: {address} 00000000:0000 {state} 0:0 00:0 0     0        0 {inode} 1\n"


def test_addresses_of_the_tables(tmp_path: Path) -> None:
    """
    IPv4, IPv6, wildcards and connections; containers are reached at their own addresses, each once.
    """
    tcp = row("0100007F:01BB", 1) + row("00000000:20FB", 2) + row("0100007F:1F90", 3, "01")
    tcp6 = row("00000000000000000000000000000000:20FB", 4) + row("B80D0120000000000000000001000000:01BB", 5)
    notes: dict[str, None] = {}
    places = [
        (one.host, one.port, bool(one.place)) for one in source.listening(proc(tmp_path, tcp, tcp6), notes)
    ]
    assert places[:3] == [("127.0.0.1", 443, False), ("127.0.0.1", 8443, False), ("2001:db8::1", 443, False)]
    assert ("172.17.0.2", 8443, True) in places[3:]
    assert list(notes) == [
        "containers have sockets on their own loopback address, which this host does not reach"
    ]


def test_no_proc(tmp_path: Path) -> None:
    """
    The message says what could not be read.
    """
    with pytest.raises(SourceError, match="boot_id can't be read"):
        list(source.listening(tmp_path, {}))
