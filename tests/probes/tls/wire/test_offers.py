"""
What is offered to a server: first what ordinary clients offer, so that its choice is the one they get; then
more, for servers that refuse that; without certificates last of all.
"""

import socket
import subprocess
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from OpenSSL import SSL
from OpenSSL.SSL import _lib  # type: ignore[attr-defined] # pyOpenSSL has no call for groups

from exporter.demo.minter import Minted
from exporter.model.observation import Failed
from tests.probes.tls.wire.probing import NAME, detail, explain, leaf_of, see, shown, target, tls, told
from tests.support import misbehaving
from tests.support.certificates import shared_key
from tests.support.misbehaving import Answer, serving
from tests.support.servers import s_server

PREFERS = ("-tls1_2", "-serverpref")
"""A server of TLS 1.2 whose own order of ciphers decides."""


@pytest.fixture
def rsa(ca: Minted) -> Minted:
    """
    A good leaf for NAME with an RSA key.
    """
    return ca.issue(NAME, [NAME], key=shared_key("rsa-2048"))


def other(directory: Path, kind: str) -> tuple[Path, Path]:
    """
    The files of a certificate that signed itself, and of its key: `dsa`, or the name of a curve.
    """
    certificate, key = directory / "other.pem", directory / "other.key"

    def openssl(*arguments: str | Path) -> None:
        subprocess.run(["openssl", *arguments], check=True, capture_output=True)

    if kind == "dsa":
        openssl("dsaparam", "-genkey", "-noout", "-out", key, "1024")
    else:
        openssl("ecparam", "-genkey", "-noout", "-name", kind, "-out", key)
    openssl("req", "-x509", "-key", key, "-out", certificate, "-subj", f"/CN={NAME}", "-days", "30")
    return certificate, key


@pytest.mark.parametrize(
    ("first", "agreed"),
    [("aNULL", "ECDHE-RSA"), ("eNULL", "ECDHE-RSA"), ("ADH-AES256-SHA", "ECDHE-RSA"), ("kDHE", "ECDHE-RSA")],
)
def test_what_ordinary_clients_do_not_offer_is_not_chosen(
    tmp_path: Path, rsa: Minted, anchors: str, first: str, agreed: str
) -> None:
    """
    A server that prefers an anonymous cipher shows us its certificate, as it does to others.
    """
    with s_server(tmp_path, rsa.chain, *PREFERS, "-cipher", f"{first}:ALL:aNULL:@SECLEVEL=0") as server:
        row = see(server, ca_file=anchors)
    assert told(row) == ("seen",), row.held.observation
    assert shown(row, *rsa.chain)
    assert tls(row).cipher.startswith(agreed)


@pytest.mark.parametrize(
    ("kind", "first"),
    [
        ("dsa", "aDSS"),
        ("brainpoolP256r1", "aECDSA"),
        ("secp224r1", "aECDSA"),
        ("secp256k1", "aECDSA"),
    ],
)
def test_a_certificate_that_ordinary_clients_do_not_take_hides_none(
    tmp_path: Path, rsa: Minted, anchors: str, kind: str, first: str
) -> None:
    """
    A server with two certificates that prefers the odd one.
    """
    certificate, key = other(tmp_path, kind)
    odd = ("-dcert", str(certificate), "-dkey", str(key), "-cipher", f"{first}:ALL:@SECLEVEL=0")
    with s_server(tmp_path, rsa.chain, *PREFERS, *odd) as server:
        row = see(server, ca_file=anchors)
    assert told(row) == ("seen",), row.held.observation
    assert leaf_of(row).der == rsa.der


def has_group(name: bytes) -> bool:
    """
    True when the TLS library can be told to use this group.
    """
    return bool(_lib.SSL_CTX_set1_curves_list(SSL.Context(SSL.TLS_METHOD)._context, name) == 1)


@pytest.mark.parametrize("kind", ["dsa", "brainpoolP256r1", "brainpoolP512r1", "secp224r1", "secp256k1"])
def test_an_odd_certificate_is_seen_where_there_is_no_other(tmp_path: Path, rsa: Minted, kind: str) -> None:
    """
    By the second try, if the library has its curve. Else in clear, and the server refuses the handshake.

    It would also agree to show no certificate, which nobody asks for before.
    """
    known = not kind.startswith("secp") or has_group(kind.encode("ascii"))
    certificate, key = other(tmp_path, kind)
    only = ("-tls1_2", "-cert", str(certificate), "-key", str(key), "-cipher", "ALL:@SECLEVEL=0")
    with s_server(tmp_path, rsa.chain[:1], *only) as server:
        row = see(server)
    assert told(row)[0] == ("seen" if known else "handshake_refused"), row.held.observation
    assert leaf_of(row).subject == f"CN={NAME}"
    assert leaf_of(row).der != rsa.der


@pytest.mark.parametrize("suite", ["TLS_AES_128_CCM_SHA256", "TLS_AES_128_CCM_8_SHA256"])
def test_the_rarer_suites_of_the_newest_protocol_are_seen(
    tmp_path: Path, leaf: Minted, anchors: str, suite: str
) -> None:
    """
    As small devices have them (RFC 8446 section 9.1).
    """
    with s_server(tmp_path, leaf.chain, "-tls1_3", "-ciphersuites", suite) as server:
        row = see(server, ca_file=anchors)
    assert (told(row), tls(row).cipher) == (("seen",), suite)


def ending(end: Answer, chain: Sequence[Minted], seen: list[bytes]) -> Answer:
    """
    A fake: a server that knows the group X448 only, and ends the connection of a client that does not offer
    it in its own way. `seen` gets each hello.
    """
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.use_certificate(chain[0].certificate)
    context.use_privatekey(chain[0].key)
    for above in chain[1:]:
        context.add_extra_chain_cert(above.certificate)
    assert _lib.SSL_CTX_set1_curves_list(context._context, b"X448") == 1

    def answer(connection: socket.socket, stop: threading.Event) -> None:
        hello = connection.recv(1 << 16)
        seen.append(hello)
        groups = hello.find(b"\x00\x0a", 43)
        while not _is_list_of_groups(hello, groups):
            groups = hello.find(b"\x00\x0a", groups + 1)
        size = int.from_bytes(hello[groups + 4 : groups + 6], "big")
        offered = hello[groups + 6 : groups + 6 + size]
        if b"\x00\x1e" not in [offered[i : i + 2] for i in range(0, size, 2)]:
            end(connection, stop)
            return
        session = SSL.Connection(context, None)
        session.set_accept_state()
        session.bio_write(hello)
        with suppress(SSL.Error, OSError):
            while True:
                with suppress(SSL.WantReadError):
                    session.do_handshake()
                    break
                connection.sendall(session.bio_read(1 << 16))
                session.bio_write(connection.recv(1 << 16))

    return answer


def _is_list_of_groups(hello: bytes, position: int) -> bool:
    """
    True when the extension with the groups (RFC 8446 section 4.2.7) begins here.
    """
    outer, inner = (int.from_bytes(hello[position + at : position + at + 2], "big") for at in (2, 4))
    return outer == inner + 2


def reset(connection: socket.socket, stop: threading.Event) -> None:
    """
    Break the connection (RST), once the client has spoken.
    """
    connection.recv(1 << 16)
    misbehaving.reset(connection, stop)


@pytest.mark.parametrize("end", [misbehaving.close, misbehaving.reset])
def test_a_server_that_just_closes_is_tried_again(leaf: Minted, anchors: str, end: Answer) -> None:
    """
    Not every server says in an alert that nothing fits (RFC 8446 section 4.1.1 demands it).
    """
    hellos: list[bytes] = []
    with serving(ending(end, leaf.chain, hellos)) as port:
        row = see(port, ca_file=anchors)
    assert told(row) == ("seen",), row.held.observation
    assert shown(row, *leaf.chain)
    assert len(hellos) == 2


@pytest.mark.parametrize(
    ("end", "reason"), [(misbehaving.close, "connection_closed"), (reset, "connection_reset")]
)
def test_one_that_closes_always_keeps_its_reason(end: Answer, reason: str) -> None:
    """
    After three tries.
    """
    with serving(end) as port:
        look = explain(target(port))
    assert isinstance(look.observation, Failed)
    assert look.observation.reason == reason
    assert sum(words.startswith("connecting") for _, words in look.steps) == 3


def test_the_first_failure_is_told_when_the_others_showed_nothing() -> None:
    """
    That there is no answer to a second try is not what keeps clients out.
    """
    first = threading.Lock()

    def answer(connection: socket.socket, stop: threading.Event) -> None:
        if first.acquire(blocking=False):
            misbehaving.close(connection, stop)
        else:
            misbehaving.hang(connection, stop)

    with serving(answer) as port:
        row = see(port, timeout=0.6)
    assert told(row) == ("connection_closed",)


def test_a_server_without_any_certificate_says_so_at_last(tmp_path: Path, leaf: Minted) -> None:
    """
    In the fourth try, and the sentence says that nothing else was to be had.
    """
    options = ("-nocert", "-tls1_2", "-cipher", "ALL:aNULL:@SECLEVEL=0")
    with s_server(tmp_path, leaf.chain, *options) as server:
        row = see(server)
        steps = [words for _, words in explain(target(server)).steps]
    assert told(row) == ("no_certificate",)
    assert "which shows no certificate, and on none that shows one" in detail(row)
    assert sum(words.startswith("connecting") for words in steps) == 4
