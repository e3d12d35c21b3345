"""
Dialogues over real connections: bad ends, and scripted servers for what Debian does not have.
"""

import contextlib
import ssl
import threading
from collections.abc import Callable, Sequence
from socket import socket

import pytest

from exporter.demo.minter import Minted
from exporter.model.observation import Failed
from exporter.probes.tls.starttls import DIALOGUES
from exporter.probes.tls.tds_packets import tds_data, tds_packet
from tests.probes.tls.starttls.test_dialogues import GOOD, NAMES
from tests.probes.tls.wire.probing import detail, explain, look, see, shown, target, tls_server, told
from tests.support import misbehaving
from tests.support.misbehaving import Answer, serving
from tests.support.servers import Server

TIMEOUT = 0.4


def scripted(scheme: str, end: Callable[[socket], None], *, last: bytes = b"") -> Answer:
    """
    A fake: the good answers of a scheme, with `last` right behind them, and then this end.
    """
    _, answers = GOOD[scheme]

    def answer(connection: socket, _stop: threading.Event) -> None:
        # Who speaks first is the server where it greets.
        greets = not DIALOGUES[scheme](NAMES)[0].say
        for number, said in enumerate(answers):
            if number or not greets:
                connection.recv(1 << 16)
            connection.sendall(said + (last if number == len(answers) - 1 else b""))
        end(connection)

    return answer


def tls_end(chain: Sequence[Minted]) -> Callable[[socket], None]:
    """
    The TLS that a dialogue led to.
    """
    context = tls_server(chain)

    def end(connection: socket) -> None:
        # What the client says before its hello (MySQL's request) is no part of TLS.
        if connection.recv(5, 2) == b"\x20\0\0\x01\0":
            connection.recv(36)
        with context.wrap_socket(connection, server_side=True) as secure:
            secure.recv(1)

    return end


def tds_end(chain: Sequence[Minted], size: int) -> Callable[[socket], None]:
    """
    A TLS handshake wrapped in packets of TDS with so many bytes of data each.
    """
    context = tls_server(chain)
    context.maximum_version = ssl.TLSVersion.TLSv1_2

    def end(connection: socket) -> None:
        coming, going = ssl.MemoryBIO(), ssl.MemoryBIO()
        secure = context.wrap_bio(coming, going, server_side=True)
        waiting, done = b"", False
        while not done:
            try:
                secure.do_handshake()
                done = True
            except ssl.SSLWantReadError:
                pass
            if flight := going.read():
                packets = [tds_packet(flight[i : i + size]) for i in range(0, len(flight), size)]
                connection.sendall(b"".join(packets))
            if not done:
                received = connection.recv(1 << 16)
                if not received:
                    return
                inside, waiting = tds_data(waiting + received)
                coming.write(inside)

    return end


SCRIPTED = ["smtp", "imap", "pop3", "ftp", "nntp", "irc", "sieve", "ldap", "xmpp", "postgres", "mysql", "rdp"]


@pytest.mark.parametrize("scheme", SCRIPTED)
def test_a_scripted_server_is_seen(leaf: Minted, anchors: str, scheme: str) -> None:
    """
    The handshake begins where the dialogue ended, and not a byte is lost.
    """
    with serving(scripted(scheme, tls_end(leaf.chain))) as port:
        row = see(port, scheme=scheme, ca_file=anchors)
    assert told(row) == ("seen",), row.held.observation
    assert shown(row, *leaf.chain)


@pytest.mark.parametrize("size", [100, 4088])
def test_a_scripted_sql_server_is_seen(leaf: Minted, anchors: str, size: int) -> None:
    """
    Its handshake travels in packets, however it is cut into them.
    """
    with serving(scripted("mssql", tds_end(leaf.chain, size))) as port:
        row = see(port, scheme="mssql", ca_file=anchors)
    assert told(row) == ("seen",), row.held.observation
    assert shown(row, *leaf.chain)


@pytest.mark.parametrize(
    "said",
    [b"", b"\x05\0\0\x03\xffabc", b"\x10\0\0\x03", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\xff" * 20_000],
)
@pytest.mark.parametrize("stays", [True, False])
def test_what_comes_of_the_login_at_mysql_is_no_failure(
    leaf: Minted, anchors: str, said: bytes, stays: bool
) -> None:
    """
    Silence, a refusal, half a packet, nonsense or too much, with or without an end: what was seen is seen,
    and in time.
    """
    context = tls_server(leaf.chain)

    def end(connection: socket) -> None:
        connection.recv(36)
        with context.wrap_socket(connection, server_side=True) as secure:
            assert b"expiry-exporter" in secure.recv(1 << 16)
            secure.sendall(said)
            if stays:
                secure.recv(1)

    with serving(scripted("mysql", end)) as port:
        row = see(port, scheme="mysql", ca_file=anchors, timeout=TIMEOUT)
    assert told(row) == ("seen",), row.held.observation
    assert row.held.duration < TIMEOUT + 0.5


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_mysql_that_demands_a_client_certificate(
    leaf: Minted, anchors: str, version: ssl.TLSVersion
) -> None:
    """
    In TLS 1.3 its refusal comes after the login was sent. It is told as of any other server.
    """
    context = tls_server(leaf.chain)
    context.maximum_version = version
    context.verify_mode = ssl.CERT_REQUIRED

    def end(connection: socket) -> None:
        connection.recv(36)
        with contextlib.suppress(ssl.SSLError):
            context.wrap_socket(connection, server_side=True)
        hang(connection)

    with serving(scripted("mysql", end)) as port:
        row = see(port, scheme="mysql", ca_file=anchors)
    assert told(row) == ("client_certificate_required",), row.held.observation
    assert shown(row, *leaf.chain)


def hang(connection: socket) -> None:
    """
    Say nothing more.
    """
    misbehaving.hang(connection, threading.Event())


def says(data: bytes) -> Callable[[socket], None]:
    """
    An end: these bytes once the client has begun its handshake, and then nothing more.
    """

    def end(connection: socket) -> None:
        connection.recv(1 << 16)
        connection.sendall(data)
        hang(connection)

    return end


def resets(connection: socket) -> None:
    """
    Break the connection once the client has said something.
    """
    connection.recv(1 << 16)
    misbehaving.reset(connection, threading.Event())


def resets_after(said: bytes) -> Answer:
    """
    The beginning of a dialogue, and then that.
    """

    def answer(connection: socket, _stop: threading.Event) -> None:
        connection.sendall(said)
        resets(connection)

    return answer


def closes(_: socket) -> None:
    """
    Hang up.
    """


@pytest.mark.parametrize("scheme", ["smtp", "imap", "ldap", "postgres", "xmpp"])
@pytest.mark.parametrize("last", [b"250 injected\r\n", b"\x16\x03\x03\x00\x7a\x02\x00\x00\x76"])
def test_bytes_after_the_go_ahead_are_a_failure(scheme: str, last: bytes) -> None:
    """
    Lines, and TLS that comes too early.
    """
    with serving(scripted(scheme, hang, last=last)) as port:
        row = see(port, scheme=scheme, timeout=TIMEOUT)
    assert told(row) == ("starttls_unexpected",), row.held.observation
    assert "after the server's go-ahead" in detail(row)


def test_bytes_that_come_a_moment_later_are_the_same_failure() -> None:
    """
    After the client's first bytes of TLS, in clear.
    """
    with serving(scripted("smtp", says(b"250 injected\r\n"))) as port:
        row = see(port, scheme="smtp", timeout=TIMEOUT)
    assert told(row) == ("starttls_unexpected",)
    assert "after the server's go-ahead" in detail(row)


ENDS: dict[str, tuple[str, Answer, str, str]] = {
    "silence": ("smtp", misbehaving.hang, "handshake_timeout", "no greeting came in time"),
    "silence where the client begins": (
        "postgres",
        misbehaving.hang,
        "handshake_timeout",
        "no answer to SSLRequest came in time",
    ),
    "half a line": (
        "imap",
        misbehaving.saying(b"* OK still think", first=True),
        "handshake_timeout",
        "heard until then: '* OK still think'",
    ),
    "half a greeting": (
        "smtp",
        misbehaving.saying(b"220-wait\r\n", first=True),
        "handshake_timeout",
        "did not finish its greeting in time; heard until then: '220-wait'",
    ),
    "one byte each hundredth": (
        "smtp",
        misbehaving.dripping(b"220-wait\r\n", 0.01),
        "handshake_timeout",
        "did not finish its greeting",
    ),
    "an endless banner": (
        "smtp",
        misbehaving.saying(b"220-welcome\r\n" * 10_000, first=True),
        "starttls_unexpected",
        "no end of it",
    ),
    "closed at once": (
        "smtp",
        misbehaving.close,
        "connection_closed",
        "closed the connection instead of its",
    ),
    "reset": ("smtp", misbehaving.reset, "connection_reset", "connection"),
    "reset within": ("smtp", resets_after(b"220 a\r\n"), "connection_reset", "instead of its answer to EHLO"),
    "reset inside of packets": ("mssql", scripted("mssql", resets), "connection_reset", "connection broke"),
    "another protocol": (
        "imap",
        misbehaving.saying(b"SSH-2.0-OpenSSH_9.2\r\n", first=True),
        "starttls_unexpected",
        "SSH-2.0-OpenSSH_9.2",
    ),
    "TLS from the first byte": (
        "smtp",
        misbehaving.saying(b"\x15\x03\x01\x00\x02\x02\x28", first=True),
        "starttls_unexpected",
        "began with TLS",
    ),
    "refused": (
        "imap",
        misbehaving.saying(b"* PREAUTH hello\r\n", first=True),
        "starttls_refused",
        "the server refused TLS: it is logged in already",
    ),
    "turned away": (
        "smtp",
        misbehaving.saying(b"554 go away\r\n", first=True),
        "server_refused",
        "greeting: the server turned us away: 554 go away",
    ),
    "silence after the go-ahead": (
        "smtp",
        scripted("smtp", hang),
        "handshake_timeout",
        "did not finish the TLS handshake",
    ),
    "closed after the go-ahead": ("smtp", scripted("smtp", closes), "connection_", "connection"),
    "TLS that is not in packets": (
        "mssql",
        scripted("mssql", says(b"\x16\x03\x03\x00\x7a\x02")),
        "starttls_unexpected",
        "no packet of TDS",
    ),
    "closed inside of packets": ("mssql", scripted("mssql", closes), "connection_", "connection"),
    "silence inside of packets": (
        "mssql",
        scripted("mssql", hang),
        "handshake_timeout",
        "did not finish the TLS",
    ),
    "an alert in a packet": (
        "mssql",
        scripted("mssql", says(tds_packet(b"\x15\x03\x03\x00\x02\x02\x28"))),
        "handshake_refused",
        "handshake failure",
    ),
}


@pytest.mark.parametrize("name", ENDS)
def test_a_bad_end_has_its_reason_and_harms_no_other(healthy: Server, name: str) -> None:
    """
    It comes in time, names the step, and the healthy target of the same sweep is seen.
    """
    scheme, answer, reason, words = ENDS[name]
    with serving(answer) as port:
        bad, good = look(target(port, scheme=scheme, timeout=TIMEOUT), target(healthy))
    assert told(bad)[0].startswith(reason), bad.held.observation
    assert words in detail(bad)
    assert bad.held.facts is None
    assert bad.held.duration < 2 * TIMEOUT + 0.5
    assert told(good)[0] == "seen"


def test_a_scrape_that_is_over_names_the_step() -> None:
    """
    What a person reads is where the dialogue stood.
    """
    with serving(misbehaving.saying(b"220 ready\r\n", first=True)) as port:
        (row,) = look(target(port, scheme="smtp"), timeout=TIMEOUT)
    assert told(row) == ("timeout",)
    assert "answer to EHLO" in detail(row)


def test_the_steps_are_told_to_a_person_who_asks(leaf: Minted) -> None:
    """
    That TLS may begin is one of them.
    """
    with serving(scripted("smtp", tls_end(leaf.chain))) as port:
        seen = explain(target(port, scheme="smtp"))
    assert not isinstance(seen.observation, Failed)
    assert "smtp: TLS may begin" in [words for _, words in seen.steps]


def test_xmpp_is_asked_for_the_expected_name() -> None:
    """
    The name that is verified is the one in `to`.
    """
    heard: list[bytes] = []

    def answer(connection: socket, _stop: threading.Event) -> None:
        heard.append(connection.recv(1 << 16))

    with serving(answer) as port:
        see(port, scheme="xmpp", server_name="chat.example", timeout=TIMEOUT)
    assert b" to='chat.example' " in heard[0]
