"""
Source `listening`: what listens on this host and speaks TLS.

Each listening socket is tried once, by one connection, and then remembered while it stays the same.
"""

import asyncio
import ipaddress
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from exporter.discovery.base import Context, Found, Listing, Source, SourceError, rows_in
from exporter.discovery.names import name_to_ask_for
from exporter.model.errors import ProbeError
from exporter.model.hosts import join_host_port
from exporter.model.schemes import SCHEMES
from exporter.model.targets import Target
from exporter.model.urls import parse_url
from exporter.net.pools import Pool
from exporter.probes.base import Endpoint, Trace
from exporter.probes.tls import handshake, openssl
from exporter.probes.tls.connect import open_connection

INTERVAL = 300.0


PATIENCE = 5.0
"""Seconds that one try may take."""


AT_ONCE = 4
"""Tries at the same time."""


SOCKETS_LIMIT = 20_000
"""Listening sockets of one run."""


NAMESPACES_LIMIT = 1000
"""Network namespaces of other processes."""


TABLE_LIMIT = 16 * 1024 * 1024
"""Bytes of one table of sockets."""


_BY_PORT = {
    one.default_port: name
    for name, one in reversed(SCHEMES.items())
    if one.default_port is not None
    and name not in {"dtls", "quic", "h3", "dns", "pem+http", "mssqls", "lmtp"}
}
"""The scheme that a port's number stands for."""


_LISTENING = "0A"


_Tried = dict[str, list[str]]
"""By socket: its scheme and the name on its certificate; an empty scheme for one that speaks no TLS."""


@dataclass(frozen=True, slots=True)
class Socket:
    """
    A listening TCP socket, by the address at which this host reaches it.
    """

    host: str
    port: int
    key: str
    """The same while it is the same socket: the boot, the namespace, the address, and the kernel's number."""
    place: str = ""
    """Whose it is, if it belongs to a container."""


async def run(wanted: bool, context: Context) -> Listing:
    """
    Return a target for each socket that speaks TLS. Raises SourceError.
    """
    if not wanted:
        return Listing(remember=context.remembered)
    pool = Pool("listening sockets", 1)
    notes: dict[str, None] = {}
    try:
        sockets = await pool.run(lambda: list(listening(Path("/proc"), notes)))
    finally:
        pool.close()
    sockets = [one for one in sockets if not context.excluded(Found(_url(one), ""))]
    known = rows_in(context.remembered, 2, str)
    tried: _Tried = {one.key: known[one.key] for one in sockets if one.key in known}
    new = [one for one in sockets if one.key not in tried]
    turns = asyncio.Semaphore(AT_ONCE)
    context.so_far(lambda: dict(tried))

    async def one_try(one: Socket) -> None:
        async with turns:
            tried[one.key] = await _tried(one, context)
            context.progress(f"listening sockets: {len(tried)} of {len(sockets)} are known")

    await asyncio.gather(*map(one_try, new))
    return Listing(tuple(_found(sockets, tried)), tuple(notes), tried)


def _found(sockets: Iterable[Socket], tried: Mapping[str, list[str]]) -> Iterator[Found]:
    for one in sockets:
        scheme, name = tried[one.key]
        if scheme:
            authority = join_host_port(one.host, one.port)
            why = f"listens on {authority} and speaks TLS{one.place}"
            settings = {"server_name": name} if name else {}
            shown = f"{name} on {authority}" if name else ""
            yield Found(f"{scheme}://{authority}", why, shown, settings=settings)


def _url(one: Socket) -> str:
    """
    Return the URL by which a socket is tried.
    """
    return f"{_BY_PORT.get(one.port, 'tls')}://{join_host_port(one.host, one.port)}"


async def _tried(one: Socket, context: Context) -> list[str]:
    """
    Return the scheme by which a socket speaks TLS, and the first name on its certificate.
    """
    url = _url(one)
    scheme, network = url.partition(":")[0], context.network
    target = Target(parse_url(url), "listening")
    trace = Trace(network.loop.time)
    try:
        async with asyncio.timeout(PATIENCE):
            connection = await open_connection(
                target, Endpoint(target.url.authority, one.host), network, trace, trace.clock() + PATIENCE
            )
            try:
                session = handshake.Session(connection, openssl.context("any", None), None, trace)
                try:
                    return [scheme, name_to_ask_for((await session.handshake()).names)]
                except handshake.HandshakeError as error:
                    # A server that refuses us in TLS, or after its certificate, speaks it all the same.
                    return [scheme, name_to_ask_for(error.seen.names)] if error.seen is not None else ["", ""]
                finally:
                    session.close()
            finally:
                connection.close()
    except (ProbeError, OSError, TimeoutError):
        return ["", ""]


def listening(proc: Path, notes: dict[str, None]) -> Iterator[Socket]:
    """
    Yield the listening sockets of this host, and of other network namespaces that can be read, without ours.

    Raises SourceError. Blocks.
    """
    try:
        boot = (proc / "sys/kernel/random/boot_id").read_text("ascii").strip()[:8]
        own = set(_own(proc / "self/fd"))
        here = _rows(proc / "self/net")
        namespace = os.readlink(proc / "self/ns/net")  # noqa: PTH115 - no path, a name
    except OSError as error:
        raise SourceError(
            f"{error.filename} can't be read: {error.strerror}: this source needs /proc"
        ) from None
    seen: set[tuple[str, int]] = set()
    count = 0
    for host, port, inode in here:
        if inode in own:
            continue
        reached = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - read, not bound
        if (reached, port) in seen or (host == "::" and ("127.0.0.1", port) in seen):
            continue
        seen.add((reached, port))
        count += 1
        if count > SOCKETS_LIMIT:
            notes[f"more than {SOCKETS_LIMIT:,} sockets listen: the rest was passed over"] = None
            return
        yield Socket(reached, port, f"{boot} {namespace} {host} {port} {inode}")
    yield from _others(proc, namespace, boot, notes)


def _own(descriptors: Path) -> Iterator[str]:
    """
    Yield the kernel's numbers of this process's sockets.
    """
    for one in descriptors.iterdir():
        try:
            found = re.fullmatch(r"socket:\[(\d+)\]", os.readlink(one))  # noqa: PTH115 - no path, a name
        except OSError:
            continue
        if found is not None:
            yield found[1]


def _others(proc: Path, own: str, boot: str, notes: dict[str, None]) -> Iterator[Socket]:
    """
    Yield the sockets of containers, at the addresses of their namespaces, each namespace once.
    """
    known = {own}
    unreadable = inside = 0
    for process in (one for one in proc.iterdir() if one.name.isdecimal()):
        try:
            namespace = os.readlink(process / "ns/net")  # noqa: PTH115 - no path, a name
            if namespace in known or len(known) > NAMESPACES_LIMIT:
                continue
            known.add(namespace)
            addresses = _addresses((process / "net/fib_trie").read_text("ascii"))
            rows = _rows(process / "net")
        except PermissionError:
            unreadable += 1
            continue
        except (OSError, ValueError):
            continue  # the process ended
        for host, port, inode in rows:
            if ipaddress.ip_address(host).is_loopback:
                inside += 1
                continue
            wild = host in {"0.0.0.0", "::"}  # noqa: S104 - read, not bound
            for reached in addresses if wild else [host]:
                key = f"{boot} {namespace} {reached} {port} {inode}"
                yield Socket(reached, port, key, f", in the container of process {process.name}")
    if unreadable:
        notes["processes of other users can't be looked at: sockets of their containers are not seen"] = None
    if inside:
        notes["containers have sockets on their own loopback address, which this host does not reach"] = None


def _addresses(trie: str) -> list[str]:
    """
    Return a namespace's own IPv4 addresses without loopback, from `fib_trie`.
    """
    found = re.findall(r"\|-- ([0-9.]+)\n\s+/32 host LOCAL", trie)
    return [one for one in dict.fromkeys(found) if not one.startswith("127.")]


def _rows(directory: Path) -> list[tuple[str, int, str]]:
    """
    Return `(address, port, inode)` of the listening sockets in a namespace's tables. Raises OSError.
    """
    answer = []
    for table in ("tcp", "tcp6"):
        path = directory / table
        if table == "tcp6" and not path.exists():
            continue
        with path.open(encoding="ascii") as file:
            for line in file.read(TABLE_LIMIT).split("\n")[1:]:
                words = line.split()
                if len(words) > 9 and words[3] == _LISTENING:
                    host, _, port = words[1].partition(":")
                    answer.append((_address(host), int(port, 16), words[9]))
    return answer


def _address(text: str) -> str:
    """
    Return an address of the kernel's tables: words of 32 bits, each in the order of the machine.
    """
    raw = b"".join(bytes.fromhex(text[at : at + 8])[::-1] for at in range(0, len(text), 8))
    address = ipaddress.ip_address(raw)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


SOURCE = Source("listening", INTERVAL, run, steady=True)
