"""
Servers that never stop sending: each is left in time, at a bounded cost, and nothing waits for it meanwhile.
"""

import asyncio
import base64
import gc
import random
import socket
import textwrap
import threading
import time
from collections.abc import Callable, Iterable
from itertools import count, pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from OpenSSL import SSL

from exporter.demo.minter import Minted
from exporter.engine.results import ProbeResult
from exporter.model.observation import Failed, Observed
from exporter.model.proxies import Proxy
from exporter.model.targets import Target
from exporter.probes.tls import openssl
from exporter.probes.tls.handshake import seen_from, seen_in_turns
from exporter.probes.tls.tds_packets import tds_packet
from tests.probes.tls.dtls import servers as dtls_servers
from tests.probes.tls.starttls.test_on_the_wire import scripted
from tests.probes.tls.wire.probing import NAME, detail, see, shown, target, told, watching
from tests.support.certificates import shared_key
from tests.support.misbehaving import Answer, alert, flooding, saying, serving
from tests.support.servers import s_server

if TYPE_CHECKING:
    from exporter.probes.tls.openssl import Offer

# Bounds on processor time, which tracing would multiply.
pytestmark = pytest.mark.no_cover

LONGEST = 0.25
"""Seconds of the processor that the loop may spend before everybody had a turn again."""

DEAREST = 6.0
"""Seconds of the processor that one such server may cost."""

TIMEOUT = 8.0
"""Far more than it takes; well below what a test may take."""


def longest(turns: Iterable[float]) -> float:
    """
    The longest time between one turn and the next.
    """
    return max(after - before for before, after in pairwise(turns))


def probed(one: Target) -> ProbeResult:
    """
    The look at this target, having seen to it that the loop was free for others meanwhile.
    """

    async def run() -> ProbeResult:
        turns = [time.thread_time()]

        async def tick() -> None:
            # The processor's time, which other processes do not add to, as they do to that of a clock.
            while True:
                turns.append(time.thread_time())
                await asyncio.sleep(0.002)

        async with watching() as watch:
            # The contexts of all offers are made once for the life of the process.
            offers: tuple[Offer, ...] = ("usual", "wide", "anonymous")
            for offer in offers:
                openssl.context("any", None, offer=offer)
            # As the exporter does at its start: else the collector goes through the objects of all tests.
            gc.collect()
            gc.freeze()
            turns[0] = time.thread_time()
            ticking = asyncio.ensure_future(tick())
            try:
                made = await watch.probe(one, TIMEOUT + 4)
            finally:
                ticking.cancel()
        turns.append(time.thread_time())
        assert longest(turns) < LONGEST
        assert turns[-1] - turns[0] < DEAREST
        return made.results[0].looks[0]

    return asyncio.run(run())


def record(kind: int, content: bytes) -> bytes:
    """
    A record of TLS in clear (RFC 8446 section 5.1).
    """
    return bytes([kind, 3, 3]) + len(content).to_bytes(2, "big") + content


def message(kind: int, body: bytes) -> bytes:
    """
    A message of a handshake (RFC 8446 section 4).
    """
    return bytes([kind]) + len(body).to_bytes(3, "big") + body


HELLO_REQUEST = message(0, b"")

SERVER_HELLO = record(22, message(2, b"\3\3" + bytes(32) + b"\0\xc0\x2f\0"))
"""TLS 1.2 with ECDHE-RSA-AES128-GCM-SHA256, and no extensions."""

LONG_CERTIFICATES = record(22, b"\x0b" + (100_000).to_bytes(3, "big"))
"""The beginning of a message with certificates, as long as the library takes it."""

FLOODS: dict[str, tuple[Answer, str]] = {
    "requests for a hello": (flooding(record(22, HELLO_REQUEST)), "handshake_endless"),
    "requests for a hello, many in a record": (
        flooding(record(22, HELLO_REQUEST * 4000)),
        "handshake_endless",
    ),
    "requests for a hello, in the middle": (flooding(record(22, HELLO_REQUEST), SERVER_HELLO), "handshake_"),
    "a byte in each record": (
        flooding(record(22, b"\0"), SERVER_HELLO + LONG_CERTIFICATES),
        "handshake_endless",
    ),
    "empty records": (flooding(record(22, b"")), "not_tls"),
    "empty records, in the middle": (flooding(record(22, b""), SERVER_HELLO), "handshake_refused"),
    "changes of ciphers": (flooding(record(20, b"\1")), "handshake_refused"),
    "warnings": (flooding(record(21, bytes([1, 112]))), "handshake_refused"),
    "goodbyes": (flooding(record(21, bytes([1, 0]))), "connection_closed"),
    "data": (flooding(record(23, bytes(16_384))), "handshake_refused"),
    "zeros": (flooding(bytes(1000)), "not_tls"),
}


@pytest.mark.parametrize("name", FLOODS)
def test_a_server_that_never_stops_is_left(name: str) -> None:
    """
    Whatever it sends without end instead of a handshake.
    """
    answer, reason = FLOODS[name]
    with serving(answer) as port:
        look = probed(target(port, timeout=TIMEOUT))
    assert isinstance(look.observation, Failed)
    assert look.observation.reason.startswith(reason), look.observation
    assert look.duration < TIMEOUT


@pytest.mark.parametrize(
    "flood",
    [
        pytest.param(record(22, b"\0"), id="a byte in each record"),
        pytest.param(record(22, HELLO_REQUEST * 4000), id="many messages in a record"),
        pytest.param(record(22, b""), id="empty records"),
        pytest.param(record(21, bytes([1, 112])), id="warnings"),
        pytest.param(record(22, message(2, b"\3\3" + bytes(36))), id="hellos"),
        pytest.param(record(22, message(11, b"\0\0\7\0\0\4junk")), id="certificates"),
    ],
)
def test_one_that_never_stops_in_clear_is_left(flood: bytes) -> None:
    """
    After it refused what the library says twice.
    """
    numbers = count()

    def answer(connection: socket.socket, stop: threading.Event) -> None:
        if next(numbers) < 2:
            alert()(connection, stop)
        else:
            flooding(flood, SERVER_HELLO)(connection, stop)

    with serving(answer) as port:
        look = probed(target(port, timeout=TIMEOUT))
    assert isinstance(look.observation, Failed)
    assert look.observation.reason == "handshake_refused"
    assert look.duration < TIMEOUT


BREAKS: dict[str, tuple[bytes, str, str]] = {
    "a hello beyond all limits": (
        record(22, b"\x02\xff\xff\xff"),
        "bad_certificate",
        "or what it says before them is too large",
    ),
    "certificates beyond all limits": (
        SERVER_HELLO + record(22, b"\x0b\xff\xff\xff"),
        "bad_certificate",
        "more than 100 kB",
    ),
    "no certificate in the list": (
        SERVER_HELLO + record(22, message(11, bytes(3))),
        "bad_certificate",
        "length mismatch",
    ),
    "a hello, then another protocol": (
        SERVER_HELLO + b"HTTP/1.1 400 Bad Request\r\n\r\n",
        "handshake_refused",
        "began with TLS, and went on with what is none",
    ),
    "an alert of no standard": (
        record(21, b"\x02\xc7"),
        "handshake_refused",
        "an alert that TLS does not know",
    ),
}


@pytest.mark.parametrize("name", BREAKS)
def test_what_breaks_the_rules_is_not_called_another_protocol(name: str) -> None:
    """
    Not each message that is too large has certificates.
    """
    said, reason, words = BREAKS[name]
    with serving(saying(said)) as port:
        row = see(port, timeout=TIMEOUT)
    assert told(row) == (reason,)
    assert words in detail(row)


def test_what_was_sent_is_said() -> None:
    """
    And which of the two limits it was.
    """
    with serving(flooding(record(22, HELLO_REQUEST))) as port:
        row = see(port, timeout=TIMEOUT)
    assert detail(row) == "the server does not end the handshake: it sent more than 256 kB"


def slow_requests(connection: socket.socket, stop: threading.Event) -> None:
    """
    An answer: a request for a hello each hundredth of a second.
    """
    connection.recv(1 << 16)
    while not stop.wait(0.01):
        connection.sendall(record(22, HELLO_REQUEST))


def test_one_that_sends_little_is_left_in_time() -> None:
    """
    A connection on which something always comes has its deadline too.
    """
    with serving(slow_requests) as port:
        row = see(port, timeout=0.4)
    assert told(row) == ("handshake_timeout",)
    assert row.held.duration < 0.4 + 0.5


async def test_many_at_once_leave_room_for_the_others() -> None:
    """
    Forty of them in one scrape take no longer turns than one.
    """
    turns = [time.thread_time()]

    async def tick() -> None:
        while True:
            await asyncio.sleep(0.002)
            turns.append(time.thread_time())

    with serving(flooding(record(22, HELLO_REQUEST))) as port:
        targets = [target(port, name=str(number), timeout=TIMEOUT) for number in range(40)]
        async with watching() as watch:
            ticking = asyncio.ensure_future(tick())
            made = await watch.scrape(targets, TIMEOUT)
            ticking.cancel()
    assert {told(row) for row in made.endpoints} == {("handshake_endless",)}
    result = longest(turns)
    assert result < 5 * LONGEST


def expand(secret: bytes, label: str, length: int) -> bytes:
    """
    HKDF-Expand-Label without a context (RFC 8446 section 7.1).
    """
    name = f"tls13 {label}".encode("ascii")
    info = length.to_bytes(2, "big") + bytes([len(name)]) + name + b"\0"
    return HKDFExpand(SHA256(), length, info).derive(secret)


class Keys:
    """
    The server's side of the protection of records in TLS 1.3 (RFC 8446 section 5.2).
    """

    def __init__(self, secret: bytes, number: int) -> None:
        self._secret = secret
        self._begin(number)

    def _begin(self, number: int) -> None:
        self._key = AESGCM(expand(self._secret, "key", 16))
        self._iv = int.from_bytes(expand(self._secret, "iv", 12), "big")
        self._number = number

    def record(self, kind: int, content: bytes) -> bytes:
        """
        The next record.
        """
        header = bytes([23, 3, 3]) + (len(content) + 17).to_bytes(2, "big")
        nonce = (self._iv ^ self._number).to_bytes(12, "big")
        self._number += 1
        return header + self._key.encrypt(nonce, content + bytes([kind]), header)

    def key_update(self) -> bytes:
        """
        The record that changes the key, and wants the same of the client (RFC 8446 section 4.6.3).
        """
        made = self.record(22, message(24, b"\1"))
        self._secret = expand(self._secret, "traffic upd", 32)
        self._begin(0)
        return made

    def ticket(self) -> bytes:
        """
        A record with one ticket (RFC 8446 section 4.6.1).
        """
        return self.record(22, message(4, bytes(8) + b"\1\0" + b"\0\x08" + bytes(8) + b"\0\0"))

    def nothing(self) -> bytes:
        """
        A record without content.
        """
        return self.record(23, b"")


def flooding_after(chain: tuple[Minted, ...], make: Callable[[Keys], bytes]) -> Answer:
    """
    A fake: a server that asks for a client certificate in a real handshake, and then sends these records.
    """
    secrets: list[bytes] = []
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_3_VERSION)
    context.set_tls13_ciphersuites(b"TLS_AES_128_GCM_SHA256")
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.use_certificate(chain[0].certificate)
    context.use_privatekey(chain[0].key)
    for above in chain[1:]:
        context.add_extra_chain_cert(above.certificate)
    context.set_verify(SSL.VERIFY_PEER, lambda *_: True)

    def note(_: SSL.Connection, line: bytes) -> None:
        if line.startswith(b"SERVER_TRAFFIC_SECRET_0 "):
            secrets.append(bytes.fromhex(line.rpartition(b" ")[2].decode("ascii")))

    context.set_keylog_callback(note)

    def answer(connection: socket.socket, stop: threading.Event) -> None:
        session = SSL.Connection(context, None)
        session.set_accept_state()
        done = False
        while not done:
            session.bio_write(connection.recv(1 << 16))
            try:
                session.do_handshake()
                done = True
            except SSL.WantReadError:
                connection.sendall(session.bio_read(1 << 16))
        # Its tickets, each a record with a number.
        sent, number = session.bio_read(1 << 16), 0
        connection.sendall(sent)
        while sent:
            sent, number = sent[5 + int.from_bytes(sent[3:5], "big") :], number + 1
        keys = Keys(secrets[-1], number)
        while not stop.is_set():
            connection.sendall(b"".join(make(keys) for _ in range(100)))

    return answer


@pytest.mark.parametrize("make", [Keys.key_update, Keys.ticket, Keys.nothing])
def test_what_follows_the_handshake_without_end_is_left(leaf: Minted, make: Callable[[Keys], bytes]) -> None:
    """
    Changes of keys, tickets, empty records. What was seen is seen.
    """
    with serving(flooding_after(leaf.chain, make)) as port:
        look = probed(target(port, scheme="https", timeout=TIMEOUT))
    facts = look.observation.facts
    assert facts is not None
    assert [one.der for one in facts.chains[0].certificates] == [one.der for one in leaf.chain]
    if make is Keys.ticket:
        assert isinstance(look.observation, Observed)


WORDS: dict[str, tuple[str, Answer, str]] = {
    "greeting": ("smtp", flooding(b"220-welcome\r\n", first=True), "starttls_unexpected"),
    "a line": ("smtp", flooding(b"2", first=True), "starttls_unexpected"),
    "untagged answers": ("imap", flooding(b"* OK\r\n", b"* OK ready\r\n", first=True), "starttls_unexpected"),
    "MySQL": ("mysql", flooding(b"\xff\xff\xff\0\n", first=True), "starttls_unexpected"),
    "LDAP": ("ldap", flooding(b"\x30\x84\x00\xff\xff\xff"), "starttls_unexpected"),
    "packets of TDS": (
        "mssql",
        scripted("mssql", lambda connection: flooding(tds_packet(b""))(connection, threading.Event())),
        "handshake_endless",
    ),
    "requests in packets of TDS": (
        "mssql",
        scripted(
            "mssql",
            lambda connection: flooding(tds_packet(record(22, HELLO_REQUEST)))(connection, threading.Event()),
        ),
        "handshake_endless",
    ),
    "requests behind a dialogue": (
        "smtp",
        scripted(
            "smtp", lambda connection: flooding(record(22, HELLO_REQUEST))(connection, threading.Event())
        ),
        "handshake_endless",
    ),
}


@pytest.mark.parametrize("name", WORDS)
def test_a_dialogue_that_never_stops_is_left(name: str) -> None:
    """
    As a handshake is.
    """
    scheme, answer, reason = WORDS[name]
    with serving(answer) as port:
        look = probed(target(port, scheme=scheme, timeout=TIMEOUT))
    assert isinstance(look.observation, Failed)
    assert look.observation.reason == reason, look.observation
    assert look.duration < TIMEOUT


@pytest.mark.parametrize("scheme", ["http", "socks5"])
def test_a_proxy_that_never_stops_is_left(scheme: str) -> None:
    """
    As a server is.
    """
    with serving(flooding(b"X-More: 1\r\n", b"HTTP/1.1 200 OK\r\n")) as port:
        proxy = Proxy("http" if scheme == "http" else "socks5", "127.0.0.1", port)
        look = probed(target("www.example:443", proxy=proxy, timeout=TIMEOUT))
    assert isinstance(look.observation, Failed)
    assert look.observation.reason == "proxy_failed"


DATAGRAMS: dict[str, bytes] = {
    "small records": (b"\x16\xfe\xfd" + bytes(8) + b"\0\x0c" + bytes(12)) * 2400,
    "alerts of a later epoch": (b"\x15\xfe\xfd\0\1" + bytes(6) + b"\0\2\1\0") * 4000,
    "garbage": bytes(60_000),
}


@pytest.mark.parametrize("name", DATAGRAMS)
@pytest.mark.parametrize("scheme", ["dtls", "quic"])
def test_datagrams_that_never_stop_are_left(name: str, scheme: str) -> None:
    """
    Also the largest that there are.
    """
    with dtls_servers.flood(DATAGRAMS[name]) as port:
        look = probed(target(port, scheme=scheme, timeout=TIMEOUT))
    assert isinstance(look.observation, Failed)
    assert look.duration < TIMEOUT


@pytest.fixture
def large_group(tmp_path: Path) -> Path:
    """
    Parameters with a number of 10,000 bits, the largest that the library calculates with. It is no prime,
    which no client looks at.
    """
    number = random.Random(1).getrandbits(10_000) | 1 << 9_999 | 1

    def integer(value: int) -> bytes:
        return b"\2\x82" + (1251).to_bytes(2, "big") + value.to_bytes(1251, "big")

    body = integer(number) + b"\2\1\2"
    text = base64.b64encode(b"\x30\x82" + len(body).to_bytes(2, "big") + body).decode("ascii")
    file = tmp_path / "large.pem"
    lines = ["-----BEGIN DH PARAMETERS-----", *textwrap.wrap(text, 64), "-----END DH PARAMETERS-----"]
    file.write_text("\n".join([*lines, ""]), encoding="ascii")
    return file


def test_a_group_that_takes_a_second_is_refused_and_the_leaf_is_seen(
    tmp_path: Path, ca: Minted, large_group: Path
) -> None:
    """
    One message of the server's would keep the library busy for as long as that.
    """
    chain = ca.issue(NAME, [NAME], key=shared_key("rsa-2048")).chain
    options = ("-tls1_2", "-cipher", "DHE-RSA-AES128-SHA:@SECLEVEL=0", "-dhparam", str(large_group))
    with s_server(tmp_path, chain, *options) as server:
        look = probed(target(server, timeout=TIMEOUT))
        row = see(server, timeout=TIMEOUT)
    assert isinstance(look.observation, Failed)
    assert told(row)[0] == "handshake_refused"
    assert "a Diffie-Hellman key exchange with more than 4096 bits" in detail(row)
    assert shown(row, *chain)


def test_a_large_group_in_datagrams_is_refused_too(tmp_path: Path, ca: Minted, large_group: Path) -> None:
    """
    Its messages have another header.
    """
    chain = ca.issue(NAME, [NAME], key=shared_key("rsa-2048")).chain
    options = ("-cipher", "DHE-RSA-AES128-SHA:@SECLEVEL=0", "-dhparam", str(large_group))
    with dtls_servers.openssl(tmp_path, chain, *options) as (port, _):
        row = see(port, scheme="dtls", timeout=TIMEOUT)
    assert told(row)[0] == "handshake_refused"
    assert "more than 4096 bits" in detail(row)
    assert shown(row, *chain)


async def test_of_a_large_chain_each_certificate_is_parsed_in_a_turn_of_its_own(ca: Minted) -> None:
    """
    What is shown may be a tenth of a second of work, and is the same as of one that is parsed in one go.
    """
    turns = 0

    async def tick() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    names = [f"host-{number}.example" for number in range(100)]
    large = tuple(ca.issue(f"{number}", names).der for number in range(10))
    ticking = asyncio.ensure_future(tick())
    for presented, least in ((large[:2], 0), ((*large, b"no"), 10)):
        turns = 0
        seen = await seen_in_turns(presented, "TLSv1.3", "X", None, False, None)
        assert turns >= least
        assert bool(turns) is bool(least)
        again = seen_from(presented, "TLSv1.3", "Y", None, False, None)
        assert seen.chain == again.chain
        assert len(seen.chain.certificates) + len(seen.chain.unread) == len(presented)
    ticking.cancel()
