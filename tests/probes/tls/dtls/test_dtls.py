"""
DTLS: what a server presents is seen, over a bad network too, and each failure has its reason in time.
"""

import contextlib
import json
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from exporter.cli.main import main
from exporter.demo.minter import Minted
from exporter.model.hosts import TargetError
from exporter.model.proxies import Proxy
from exporter.model.urls import parse_url
from exporter.probes.tls.dtls import BYTES_LIMIT, DATAGRAMS_LIMIT, PAYLOAD, is_record, records
from tests.probes.tls.dtls import servers
from tests.probes.tls.dtls.servers import answering, flood, way
from tests.probes.tls.wire.probing import (
    NAME,
    detail,
    explain,
    facts,
    items,
    look,
    see,
    shown,
    target,
    tls,
    told,
)
from tests.support.certificates import DAY, NOW, authority, shared_key, staple, write_pair
from tests.support.servers import LOOPBACK, Server

TIMEOUT = 0.6


@contextlib.contextmanager
def s_server(directory: Path, chain: tuple[Minted, ...]) -> Iterator[int]:
    """
    The port of an `openssl s_server`.
    """
    with servers.openssl(directory, chain) as (port, _):
        yield port


Serve = Callable[[Path, tuple[Minted, ...]], AbstractContextManager[int]]


@pytest.mark.parametrize("serve", [s_server, servers.libcoap])
def test_a_real_server_is_seen(tmp_path: Path, leaf: Minted, anchors: str, serve: Serve) -> None:
    """
    The whole chain, byte for byte, and what was agreed on; with OpenSSL and with GnuTLS; again and again.
    """
    with serve(tmp_path, leaf.chain) as port:
        rows = [see(port, scheme="dtls", ca_file=anchors) for _ in range(3)]
    for row in rows:
        assert told(row) == ("seen",), row.held.observation
        assert shown(row, *leaf.chain)
        assert tls(row).protocol == "DTLSv1.2"
        assert tls(row).server_name == NAME


def test_a_server_with_an_ipv6_address_is_seen(tmp_path: Path, leaf: Minted) -> None:
    """
    It is called by its address in brackets.
    """
    with servers.openssl(tmp_path, leaf.chain, host="::1") as (port, _):
        row = see(f"[::1]:{port}", scheme="dtls")
    assert told(row)[0] == "seen"
    assert row.label == f"[::1]:{port}"


def test_an_expired_rsa_certificate_is_seen(tmp_path: Path, ca: Minted, anchors: str) -> None:
    """
    Observed first, judged later, as over TCP.
    """
    old = ca.issue(NAME, [NAME], key=shared_key("rsa-2048"), not_before=1.0, not_after=2.0)
    with servers.openssl(tmp_path, old.chain) as (port, _):
        row = see(port, scheme="dtls", ca_file=anchors)
    assert told(row) == ("seen", "expired"), row.held.observation


OLD: dict[str, tuple[str, tuple[str, str], str]] = {
    "DTLS 1.0": ("-dtls1", ("-cipher", "DEFAULT:@SECLEVEL=0"), "DTLSv1"),
    "a rare cipher": ("-dtls", ("-cipher", "ECDHE-ECDSA-CAMELLIA128-SHA256"), "DTLSv1.2"),
    "a rare group": ("-dtls", ("-groups", "brainpoolP256r1"), "DTLSv1.2"),
}


@pytest.mark.parametrize("name", OLD)
def test_an_old_or_odd_server_is_seen(tmp_path: Path, leaf: Minted, anchors: str, name: str) -> None:
    """
    The second try offers all that the library has.
    """
    version, options, protocol = OLD[name]
    with servers.openssl(tmp_path, leaf.chain, *options, version=version) as (port, _):
        row = see(port, scheme="dtls", ca_file=anchors)
    assert told(row) == ("seen",), row.held.observation
    assert tls(row).protocol == protocol


def test_both_certificates_of_a_server_are_seen(tmp_path: Path, ca: Minted, leaf: Minted) -> None:
    """
    With `keys: both`, as over TCP.
    """
    rsa = ca.issue(NAME, [NAME], key=shared_key("rsa-2048"))
    certificate, key = write_pair(tmp_path, "rsa", rsa.chain[:1])
    options = ("-dcert", str(certificate), "-dkey", str(key))
    with servers.openssl(tmp_path, leaf.chain, *options) as (port, _):
        row = see(port, scheme="dtls", keys="both")
    assert [chain.leaf.der for chain in facts(row).chains] == [rsa.der, leaf.der]
    assert {"leaf-rsa", "leaf-ecdsa"} <= set(items(row))


def test_a_server_chooses_by_the_name_and_staples(tmp_path: Path, ca: Minted, leaf: Minted) -> None:
    """
    The name in SNI selects the certificate, and the response that comes with it is seen.
    """
    other = ca.issue("other.example", ["other.example"])
    certificate, key = write_pair(tmp_path, "other", other.chain[:1])
    response = staple(leaf, this_update=NOW, next_update=NOW + DAY)
    (tmp_path / "staple").write_bytes(response)
    options = ("-servername", "other.example", "-cert2", str(certificate), "-key2", str(key))
    with servers.openssl(tmp_path, leaf.chain, *options, "-status_file", str(tmp_path / "staple")) as (
        port,
        _,
    ):
        usual = see(port, scheme="dtls")
        named = see(port, scheme="dtls", server_name="other.example")
    assert facts(usual).chains[0].leaf.der == leaf.der
    assert tls(usual).staple == response
    assert facts(named).chains[0].leaf.der == other.der


def client(directory: Path, ca: Minted, *names: str) -> dict[str, Any]:
    """
    Settings of a target with a client certificate by this CA.
    """
    made = ca.issue("probe", names, extended_key_usage=[ExtendedKeyUsageOID.CLIENT_AUTH.dotted_string])
    certificate, key = write_pair(directory, "client", made.chain)
    return {"client_certificate_file": str(certificate), "client_key_file": str(key)}


def test_a_client_certificate_is_shown_in_datagrams_that_pass(tmp_path: Path, leaf: Minted) -> None:
    """
    A large one is cut into pieces that every network takes.
    """
    clients = authority("Clients").issuer
    assert clients is not None
    ours = client(tmp_path, clients, *(f"a-rather-long-name-{number}.example" for number in range(200)))
    sizes: list[int] = []

    def passes(_number: int, datagram: bytes, from_server: bool) -> list[bytes]:
        if not from_server:
            sizes.append(len(datagram))
        return [datagram]

    with servers.openssl(tmp_path, leaf.chain, client_ca=clients) as (port, _), way(port, passes) as near:
        row = see(near, scheme="dtls", **ours)
    assert told(row)[0] == "seen", row.held.observation
    assert tls(row).client_certificate_requested
    assert sum(sizes) > 5000
    assert PAYLOAD - 200 < max(sizes) <= PAYLOAD


def test_a_client_certificate_may_be_demanded_or_refused(tmp_path: Path, leaf: Minted) -> None:
    """
    What the server presents is still seen.
    """
    clients = authority("Clients").issuer
    assert clients is not None
    with servers.openssl(tmp_path, leaf.chain, client_ca=clients) as (port, _):
        none = see(port, scheme="dtls")
        bad = see(port, scheme="dtls", **client(tmp_path, authority("Strangers")))
    assert told(none)[0] == "client_certificate_required"
    assert told(bad)[0] == "client_certificate_refused"
    assert shown(none, *leaf.chain)
    assert "client" in items(bad)


def test_a_client_certificate_of_no_use_does_not_hide_the_server(tmp_path: Path, leaf: Minted) -> None:
    """
    Whether it is demanded or not: the failure is ours, and what the server shows is seen.
    """
    clients = authority("Clients").issuer
    assert clients is not None
    settings = client(tmp_path, clients)
    Path(settings["client_key_file"]).unlink()
    for demanded in (None, clients):
        with servers.openssl(tmp_path, leaf.chain, client_ca=demanded) as (port, _):
            row = see(port, scheme="dtls", **settings)
        assert told(row)[0] == "client_certificate_unusable"
        assert shown(row, *leaf.chain)
        assert items(row)[-1] == "client"


def test_a_server_without_a_certificate_says_so(tmp_path: Path, leaf: Minted) -> None:
    """
    An anonymous cipher is agreed on, and there is nothing to report.
    """
    options = ("-nocert", "-cipher", "ADH-AES128-SHA:@SECLEVEL=0")
    with servers.openssl(tmp_path, leaf.chain, *options) as (port, _):
        row = see(port, scheme="dtls")
    assert told(row) == ("no_certificate",)


LOST: dict[str, tuple[bool, int]] = {
    "the first hello": (False, 0),
    "the hello with the cookie": (False, 1),
    "the demand for a cookie": (True, 0),
    "the beginning of the server's flight": (True, 1),
    "the certificate": (True, 2),
}


@pytest.mark.parametrize("name", LOST)
def test_what_is_lost_is_sent_again(tmp_path: Path, leaf: Minted, anchors: str, name: str) -> None:
    """
    Whichever datagram it was, by the timer of one side or the other (RFC 6347 section 4.2.4).
    """
    lost = LOST[name]
    count = [0, 0]

    def passes(number: int, datagram: bytes, from_server: bool) -> list[bytes]:
        count[from_server] += 1
        return [] if (from_server, number) == lost else [datagram]

    with s_server(tmp_path, leaf.chain) as port, way(port, passes) as near:
        row = see(near, scheme="dtls", ca_file=anchors)
    assert told(row) == ("seen",), row.held.observation
    assert shown(row, *leaf.chain)
    assert 0.5 < row.held.duration < 3
    assert count[0] > 2


def test_what_comes_twice_or_from_somebody_else_changes_nothing(
    tmp_path: Path, leaf: Minted, anchors: str
) -> None:
    """
    Copies, empty datagrams, and what is no record, before each one.
    """
    noise = (b"", b"\0", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x16\x03\x03\0\x7a" + bytes(200))

    def passes(_number: int, datagram: bytes, from_server: bool) -> list[bytes]:
        return [*noise, datagram, datagram] if from_server else [datagram, datagram]

    with s_server(tmp_path, leaf.chain) as port, way(port, passes) as near:
        row = see(near, scheme="dtls", ca_file=anchors)
    assert told(row) == ("seen",), row.held.observation
    assert shown(row, *leaf.chain)


def test_a_long_chain_comes_within_the_limit(tmp_path: Path, ca: Minted) -> None:
    """
    Almost as many bytes as the library takes, in pieces.
    """
    large = ca.issue(NAME, [NAME, *(f"{'x' * 60}.{number}.example" for number in range(1200))])
    came: list[int] = []

    def passes(_number: int, datagram: bytes, from_server: bool) -> list[bytes]:
        if from_server:
            came.append(len(datagram))
        return [datagram]

    with servers.openssl(tmp_path, large.chain, "-mtu", "576") as (port, _), way(port, passes) as near:
        row = see(near, scheme="dtls")
    assert told(row)[0] == "seen", row.held.observation
    assert sum(came) > 80_000
    assert max(came) <= 576
    assert len(came) < DATAGRAMS_LIMIT / 5


@contextlib.contextmanager
def silence() -> Iterator[int]:
    """
    A port whose server says nothing.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind((LOOPBACK, 0))
        yield int(silent.getsockname()[1])


@contextlib.contextmanager
def nobody() -> Iterator[int]:
    """
    A port that nobody has any more.
    """
    with silence() as port:
        pass
    yield port


def says(*datagrams: bytes) -> AbstractContextManager[int]:
    """
    A server that answers each datagram with these.
    """

    def answer(server: socket.socket, _: bytes, client: tuple[str, int]) -> None:
        for datagram in datagrams:
            server.sendto(datagram, client)

    return answering(answer)


def record(kind: int, content: bytes, number: int = 0) -> bytes:
    """
    A record of DTLS 1.2 in the clear (RFC 6347 section 4.1).
    """
    return bytes([kind, 0xFE, 0xFD]) + number.to_bytes(8, "big") + len(content).to_bytes(2, "big") + content


def handshake(kind: int, body: bytes, number: int = 0) -> bytes:
    """
    A whole message of the handshake in a record of its own (RFC 6347 section 4.2.2).
    """
    length = len(body).to_bytes(3, "big")
    return record(22, bytes([kind]) + length + number.to_bytes(2, "big") + bytes(3) + length + body, number)


def cookie(number: int) -> bytes:
    """
    HelloVerifyRequest, as answer to the hello with this number.
    """
    return handshake(3, bytes([0xFE, 0xFF, 20]) + bytes(20), number)


def asks_for_cookies() -> AbstractContextManager[int]:
    """
    A server that is never content with a cookie.
    """

    def answer(server: socket.socket, datagram: bytes, client: tuple[str, int]) -> None:
        # The number of the message stands behind the record's header, the kind and the length.
        if is_record(datagram) and datagram[13] == 1:
            server.sendto(cookie(int.from_bytes(datagram[17:19], "big")), client)

    return answering(answer)


HANDSHAKE_FAILURE = record(21, bytes([2, 40]))
"""An alert, fatal."""

HALF = record(22, bytes([2]) + (70).to_bytes(3, "big") + bytes(5) + (10).to_bytes(3, "big") + bytes(10))
"""The first bytes of a hello whose rest never comes."""


ENDS: dict[str, tuple[Callable[[], AbstractContextManager[int]], str, str]] = {
    "silence": (silence, "connect_timeout", "no answer by UDP"),
    "nobody": (nobody, "connection_refused", "nothing listens there"),
    "garbage": (lambda: says(b"", b"\0", bytes(1200)), "not_tls", "does not speak DTLS"),
    "TLS": (lambda: says(b"\x15\x03\x03\x00\x02\x02\x28" + bytes(20)), "not_tls", "does not speak DTLS"),
    "an alert": (lambda: says(HANDSHAKE_FAILURE), "handshake_refused", "handshake failure"),
    "half a hello": (lambda: says(HALF), "handshake_timeout", "did not finish the DTLS handshake in time"),
    "an empty message": (lambda: says(record(22, bytes(40))), "handshake_refused", "unexpected message"),
    "a record out of turn": (lambda: says(record(23, bytes(9))), "not_tls", "unexpected record"),
    "a part of a message beyond all limits": (
        lambda: says(record(22, bytes.fromhex("02ffffff0000000005000001") + b"x")),
        "handshake_refused",
        "can't be put together",
    ),
}


@pytest.mark.parametrize("name", ENDS)
def test_a_bad_end_has_its_reason_and_harms_no_other(healthy: Server, name: str) -> None:
    """
    It comes in time, and the healthy target of the same sweep is seen.
    """
    make, reason, words = ENDS[name]
    with make() as port:
        bad, good = look(target(port, scheme="dtls", timeout=TIMEOUT), target(healthy))
    assert told(bad)[0].startswith(reason), bad.held.observation
    assert words in detail(bad)
    assert bad.held.facts is None
    assert bad.held.duration < TIMEOUT + 0.5
    assert told(good)[0] == "seen"


_MANY, _MUCH = f"{DATAGRAMS_LIMIT} datagrams", f"{BYTES_LIMIT // 1024} kB"

ENDLESS: dict[str, tuple[Callable[[], AbstractContextManager[int]], str, str]] = {
    "demands for cookies": (asks_for_cookies, "handshake_endless", _MANY),
    "garbage": (lambda: flood(bytes(1200)), "not_tls", _MUCH),
    "empty datagrams": (lambda: flood(b""), "not_tls", _MANY),
    "records": (lambda: flood(HALF), "handshake_endless", _MANY),
    "datagrams full of records": (lambda: flood(HALF * 1800), "handshake_endless", _MUCH),
}


@pytest.mark.parametrize("name", ENDLESS)
def test_what_has_no_end_is_ended_and_harms_no_other(healthy: Server, name: str) -> None:
    """
    Before its time is over, since it keeps the exporter busy all the while.
    """
    make, reason, much = ENDLESS[name]
    with make() as port:
        bad, good = look(target(port, scheme="dtls", timeout=9.0), target(healthy))
    assert told(bad) == (reason,), bad.held.observation
    assert f"it sent more than {much}" in detail(bad)
    assert bad.held.duration < 8
    assert told(good)[0] == "seen"


def test_a_scrape_that_is_over_names_the_step() -> None:
    """
    As for every other kind.
    """
    with silence() as port:
        (row,) = look(target(port, scheme="dtls"), timeout=0.4)
    assert told(row) == ("timeout",)
    assert "handshake" in detail(row)


def test_a_proxy_for_tcp_is_no_way_for_dtls() -> None:
    """
    It is said what to do, instead of going around the proxy.
    """
    row = see("www.example:443", scheme="dtls", proxy=Proxy("http", LOOPBACK, 9))
    assert told(row) == ("proxy_failed",)
    assert detail(row) == (
        "http://127.0.0.1:9 is for TCP, and DTLS is not: set `proxy: none` for this target"
    )


def test_the_port_must_be_named() -> None:
    """
    Each protocol over DTLS has its own.
    """
    with pytest.raises(TargetError, match=r"names no port: write dtls://coap\.example:PORT"):
        parse_url("dtls://coap.example")


def test_the_steps_are_told(tmp_path: Path, leaf: Minted) -> None:
    """
    To a person who asks.
    """
    with servers.openssl(tmp_path, leaf.chain, "-cipher", "ECDHE-ECDSA-CAMELLIA128-SHA256") as (port, _):
        steps = [words for _, words in explain(target(port, scheme="dtls")).steps]
    assert steps[0] == f"DTLS handshake with 127.0.0.1 port {port}, server name {NAME}"
    assert "trying again" in steps[1]
    assert steps[-1] == "handshake done: DTLSv1.2, ECDHE-ECDSA-CAMELLIA128-SHA256"


def test_check_prints_what_it_finds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    The leaf and what is above it, on the command line.
    """
    chain = authority().issue(LOOPBACK, [LOOPBACK]).chain
    with s_server(tmp_path, chain) as port:
        main(["check", "--output", "json", f"dtls://{LOOPBACK}:{port}"])
    (said,) = json.loads(capsys.readouterr().out)["endpoints"]
    assert said["target"] == f"dtls://{LOOPBACK}:{port}"
    assert said["probe"]["success"]
    assert [(one["item"], one["subject"]) for one in said["items"]] == [
        ("leaf", f"CN={LOOPBACK}"),
        ("chain-1", "CN=Test Intermediate"),
    ]


def test_records_are_told_from_other_bytes_and_from_each_other() -> None:
    """
    By their headers, also where one is cut off.
    """
    assert all(is_record(one) for one in (cookie(0), HANDSHAKE_FAILURE, HALF))
    assert not any(is_record(one) for one in (b"", b"\x16\xfe", record(22, b""), b"\x16\x03\x03" + bytes(20)))
    assert list(records(cookie(1) + HANDSHAKE_FAILURE)) == [cookie(1), HANDSHAKE_FAILURE]
    assert list(records(HALF + cookie(2)[:20])) == [HALF, cookie(2)[:20]]
    assert list(records(b"")) == []
