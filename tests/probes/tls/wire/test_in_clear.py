"""
Servers that the library can't speak with: their certificates are seen in clear, and the failure stays.
"""

import socket
import threading
from itertools import count
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from exporter.demo.minter import Minted
from tests.probes.tls.starttls import daemons
from tests.probes.tls.wire.probing import NAME, detail, items, see, shown, tls, told
from tests.support import misbehaving
from tests.support.certificates import shared_key
from tests.support.misbehaving import Answer, serving
from tests.support.servers import gnutls, s_server


@pytest.fixture
def rsa(ca: Minted) -> Minted:
    """
    A good leaf for NAME with an RSA key.
    """
    return ca.issue(NAME, [NAME], key=shared_key("rsa-2048"))


@pytest.mark.parametrize(
    ("priority", "chosen"),
    [
        ("+ARCFOUR-128:+RSA:+SHA1", "RC4-SHA"),
        ("+ARCFOUR-128:+RSA:+MD5", "RC4-MD5"),
        ("+ARCFOUR-128:+ECDHE-RSA:+SHA1", "ECDHE-RSA-RC4-SHA"),
        ("+3DES-CBC:+RSA:+SHA1", "DES-CBC3-SHA"),
    ],
)
@pytest.mark.parametrize(("version", "protocol"), [("TLS1.0", "TLSv1"), ("TLS1.2", "TLSv1.2")])
def test_ciphers_that_the_library_gave_up(
    tmp_path: Path, rsa: Minted, anchors: str, priority: str, chosen: str, version: str, protocol: str
) -> None:
    """
    The certificate is judged as any other, and so are protocol and cipher.
    """
    only = f"NONE:+VERS-{version}:{priority}:+COMP-NULL:+CURVE-ALL:+SIGN-ALL:+CTYPE-X509"
    with gnutls(tmp_path, rsa.chain, "--priority", only) as server:
        row = see(server, ca_file=anchors)
    weak = ("weak_protocol", "weak_cipher") if version == "TLS1.0" else ("weak_cipher",)
    assert told(row) == ("handshake_refused", *weak), row.held.observation
    assert shown(row, *rsa.chain)
    assert (tls(row).protocol, tls(row).cipher) == (protocol, chosen)
    assert "its certificate was seen all the same" in detail(row)
    assert f"({protocol} with {chosen})" in detail(row)


def test_a_certificate_for_others_is_seen_where_the_server_would_do_without(
    tmp_path: Path, ca: Minted, anchors: str
) -> None:
    """
    To this client it could show none, and would agree on a cipher without any.
    """
    odd = ca.issue(NAME, [NAME], key=ec.generate_private_key(ec.SECP256K1()))
    options = ("-tls1_2", "-serverpref", "-cipher", "aNULL:ALL:@SECLEVEL=0")
    with s_server(tmp_path, odd.chain, *options) as server:
        row = see(server, ca_file=anchors)
    assert told(row) == ("handshake_refused",), row.held.observation
    assert shown(row, *odd.chain)


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
def test_it_follows_a_dialogue_too(ca: Minted, anchors: str, scheme: str) -> None:
    """
    STARTTLS leads to it as to any handshake.
    """
    odd = ca.issue(NAME, [NAME], key=ec.generate_private_key(ec.SECP256K1()))
    limits = [f"smtpd_tls_{kind}protocols = <=TLSv1.2" for kind in ("", "mandatory_")]
    with daemons.postfix(odd.chain, *limits, "tls_eecdh_auto_curves = secp256k1") as ports:
        row = see(ports[scheme], scheme=scheme, ca_file=anchors)
    assert told(row)[0] == "handshake_refused", row.held.observation
    assert shown(row, *odd.chain)


def test_both_kinds_of_keys(tmp_path: Path, rsa: Minted, anchors: str) -> None:
    """
    Of a server with one of them that kind is seen, by its usual name.
    """
    only = "NONE:+VERS-TLS1.2:+ARCFOUR-128:+RSA:+SHA1:+COMP-NULL:+SIGN-ALL:+CTYPE-X509"
    with gnutls(tmp_path, rsa.chain, "--priority", only) as server:
        row = see(server, ca_file=anchors, keys="both")
    assert told(row) == ("handshake_refused", "weak_cipher"), row.held.observation
    assert items(row)[0] == "leaf-rsa"


def refusing_twice(flight: bytes) -> Answer:
    """
    A fake: an alert for the first two connections, and these bytes, byte by byte, for the third.
    """
    numbers = count()

    def answer(connection: socket.socket, stop: threading.Event) -> None:
        connection.recv(1 << 16)
        if next(numbers) < 2:
            connection.sendall(b"\x15\3\1\0\2\2\x28")
        else:
            for position in range(len(flight)):
                connection.sendall(flight[position : position + 1])
        misbehaving.close(connection, stop)

    return answer


def record(kind: int, content: bytes, version: bytes = b"\3\0") -> bytes:
    """
    A record in clear (RFC 5246 section 6.2.1).
    """
    return bytes([kind]) + version + len(content).to_bytes(2) + content


def message(kind: int, body: bytes) -> bytes:
    """
    A message of a handshake (RFC 5246 section 7.4).
    """
    return bytes([kind]) + len(body).to_bytes(3) + body


def certificates(*ders: bytes) -> bytes:
    """
    A Certificate message.
    """
    listed = b"".join(len(der).to_bytes(3) + der for der in ders)
    return message(11, len(listed).to_bytes(3) + listed)


def hello(version: bytes = b"\3\0", suite: int = 0x0005) -> bytes:
    """
    A ServerHello, of SSL 3.0 with RC4 unless told otherwise.
    """
    return message(2, version + bytes(32) + b"\0" + suite.to_bytes(2) + b"\0")


DONE = message(14, b"")


def in_pieces(flight: bytes) -> bytes:
    """
    The messages in records of a hundred bytes, with a warning of an unknown name before them.
    """
    warning = record(21, bytes([1, misbehaving.UNRECOGNIZED_NAME]))
    pieces = (flight[begin : begin + 100] for begin in range(0, len(flight), 100))
    return warning + b"".join(record(22, piece) for piece in pieces)


def test_the_oldest_protocol_in_pieces(leaf: Minted, anchors: str) -> None:
    """
    SSL 3.0, which no server here speaks any more.
    """
    flight = hello() + certificates(*(one.der for one in leaf.chain)) + DONE
    with serving(refusing_twice(in_pieces(flight))) as port:
        row = see(port, ca_file=anchors)
    assert told(row) == ("handshake_refused", "weak_protocol", "weak_cipher"), row.held.observation
    assert shown(row, *leaf.chain)
    assert (tls(row).protocol, tls(row).cipher) == ("SSLv3", "RC4-SHA")


def test_a_request_for_a_certificate_and_a_staple_are_seen(leaf: Minted, anchors: str) -> None:
    """
    They follow the certificate. What the server says without end after it does not matter.
    """
    staple = message(22, b"\1\0\0\4junk")
    flight = hello(b"\3\3", 0x1234) + certificates(leaf.der) + staple + message(13, b"\0")
    with serving(refusing_twice(record(22, flight))) as port:
        row = see(port, ca_file=anchors)
    assert told(row)[0] == "handshake_refused"
    assert "staple_invalid" in told(row)
    assert tls(row).client_certificate_requested
    assert tls(row).cipher == "0x1234"


@pytest.mark.parametrize(
    "flight",
    [
        pytest.param(b"HTTP/1.1 400 Bad Request\r\n\r\n", id="text"),
        pytest.param(record(22, hello()) + record(23, b"secret"), id="secret"),
        pytest.param(record(22, hello()) + b"\x16\3\0\xff\xff", id="long record"),
        pytest.param(record(22, certificates(b"early") + hello() + DONE), id="early"),
        pytest.param(record(22, hello(b"\3\4") + certificates(b"new") + DONE), id="newer"),
        pytest.param(record(22, hello() + certificates() + DONE), id="empty"),
        pytest.param(record(22, hello() + DONE), id="none"),
        pytest.param(record(22, message(2, b"\3\3")), id="short"),
        pytest.param(record(22, hello()) + record(21, b"\1\0"), id="goodbye"),
        pytest.param(record(22, hello()) + record(21, b""), id="no alert"),
    ],
)
def test_what_shows_no_certificate_keeps_the_first_failure(flight: bytes) -> None:
    """
    Whatever a third answer is.
    """
    with serving(refusing_twice(flight)) as port:
        row = see(port)
    assert told(row) == ("handshake_refused",)
    assert "alert handshake failure" in detail(row)
    assert row.held.facts is None


def test_a_leaf_that_can_not_be_read_hides_no_other(leaf: Minted, anchors: str) -> None:
    """
    Its place is a fault.
    """
    flight = hello() + certificates(b"junk", *(one.der for one in leaf.chain[1:])) + DONE
    with serving(refusing_twice(record(22, flight))) as port:
        row = see(port, ca_file=anchors)
    assert told(row)[0] == "handshake_refused"
    assert items(row) == ["chain-1"]
