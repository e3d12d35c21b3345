"""
The servers of `tests.support`, looked at with `openssl s_client`: what a test relies on must hold.
"""

import contextlib
import socket
import subprocess
import time
from pathlib import Path

import pytest

from exporter.demo.minter import Minted
from tests.support import misbehaving
from tests.support.certificates import DAY, NOW, shared_key, staple
from tests.support.servers import Server, Site, haproxy, nginx, s_server, stunnel


def s_client(server: Server, *options: str) -> str:
    """
    The output of a client that does not verify.
    """
    done = subprocess.run(
        ["openssl", "s_client", "-connect", server.authority, "-showcerts", "-nameopt", "RFC2253", *options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    return done.stdout.decode(errors="replace")


def test_nginx_has_sites_kinds_of_keys_and_staples(tmp_path: Path, ca: Minted) -> None:
    """
    SNI selects the site, the client's algorithms the kind of key, and the staple arrives.
    """
    ecdsa, rsa = ca.issue("a-ecdsa"), ca.issue("a-rsa", key=shared_key("rsa-2048"))
    other = ca.issue("b")
    response = staple(other, this_update=NOW, next_update=NOW + DAY)
    sites = (
        Site([ecdsa.chain, rsa.chain], "a.example", settings=["ssl_protocols TLSv1.2"]),
        Site([other.chain], "b.example", staple=response),
    )
    with nginx(tmp_path, *sites) as server:
        a = s_client(server, "-servername", "a.example", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256")
        assert "subject=CN=a-ecdsa" in a
        assert "TLSv1.2" in a
        assert a.count("BEGIN CERTIFICATE") == 2
        assert "subject=CN=a-rsa" in s_client(server, "-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256")
        b = s_client(server, "-servername", "b.example", "-status")
        assert "subject=CN=b" in b
        assert "OCSP Response Status: successful" in b


@pytest.mark.parametrize("host", ["127.0.0.2", "::1"])
def test_servers_listen_on_other_addresses(tmp_path: Path, ca: Minted, host: str) -> None:
    """
    A second IPv4 loopback address and the IPv6 one work for all that take a host.
    """
    leaf = ca.issue("here")
    with nginx(tmp_path, Site([leaf.chain]), host=host) as server:
        assert "subject=CN=here" in s_client(server)
    with s_server(tmp_path, leaf.chain, host=host) as server:
        assert "subject=CN=here" in s_client(server)


def test_haproxy_demands_a_client_certificate(tmp_path: Path, ca: Minted) -> None:
    """
    The handshake fails with the alert; without a client CA it succeeds.
    """
    leaf = ca.issue("proxied")
    with haproxy(tmp_path, leaf.chain, settings="ssl-max-ver TLSv1.2") as server:
        assert "Cipher is ECDHE" in s_client(server)
    with haproxy(tmp_path, leaf.chain, client_ca=ca) as server:
        said = s_client(server, "-ign_eof")
    assert "subject=CN=proxied" in said
    assert "alert certificate required" in said


def test_nginx_asks_for_a_client_certificate_and_does_without(tmp_path: Path, ca: Minted) -> None:
    """
    The request for a certificate is seen, the handshake succeeds.
    """
    with nginx(tmp_path, Site([ca.issue("x").chain], client_ca=ca)) as server:
        said = s_client(server)
    assert "Acceptable client certificate CA names" in said
    assert "alert" not in said


def test_stunnel_presents_its_chain(tmp_path: Path, ca: Minted) -> None:
    """
    The handshake is finished before stunnel finds nobody behind it.
    """
    with stunnel(tmp_path, ca.issue("tunnel").chain, settings=["sslVersionMax = TLSv1.2"]) as server:
        said = s_client(server)
    assert "subject=CN=tunnel" in said
    assert said.count("BEGIN CERTIFICATE") == 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["-tls1"], "Protocol  : TLSv1\n"),
        (["-tls1_1"], "Protocol  : TLSv1.1\n"),
        (["-tls1_2", "-cipher", "NULL-SHA256:@SECLEVEL=0"], "Cipher is NULL-SHA256"),
        (["-tls1_2", "-cipher", "DHE-RSA-AES128-SHA:@SECLEVEL=0"], "Server Temp Key: DH, "),
        (["-tls1_2"], "Server public key is 1024 bit"),
    ],
)
def test_s_server_speaks_what_others_refuse(
    tmp_path: Path, ca: Minted, options: list[str], said: str
) -> None:
    """
    Old protocols, odd ciphers, weak keys.
    """
    leaf = ca.issue("old", key=shared_key("rsa-1024"))
    weak = [] if "-cipher" in options else ["-cipher", "DEFAULT:@SECLEVEL=0"]
    with s_server(tmp_path, leaf.chain, *options, *weak) as server:
        assert said in s_client(server, *options, *weak)


def test_s_server_demands_a_client_certificate_and_staples(tmp_path: Path, ca: Minted) -> None:
    """
    Both at once, since both are options of its own.
    """
    leaf = ca.issue("x")
    response = staple(leaf, this_update=NOW, next_update=NOW + DAY)
    with s_server(tmp_path, leaf.chain, client_ca=ca, staple=response) as server:
        said = s_client(server, "-status", "-ign_eof")
    assert "OCSP Response Status: successful" in said
    assert "alert certificate required" in said


def talk(port: int, words: bytes = b"hello", *, seconds: float = 0.3) -> tuple[bytes, str]:
    """
    What comes within some seconds, and whether that ended in `silence`, `end` or `reset`.
    """
    heard = b""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.settimeout(seconds)
        end = time.monotonic() + seconds
        try:
            connection.sendall(words)
            while time.monotonic() < end:
                if not (data := connection.recv(1 << 16)):
                    return heard, "end"
                heard += data
        except ConnectionError:
            return heard, "reset"
        except TimeoutError:
            pass
    return heard, "silence"


@pytest.mark.parametrize(
    ("answer", "begins", "ends"),
    [
        (misbehaving.hang, b"", "silence"),
        (misbehaving.close, b"", "end"),
        (misbehaving.reset, b"", "reset"),
        (misbehaving.plain_http, b"HTTP/1.1 400 ", "end"),
        (misbehaving.garbage, b"\xff\xfe\xfd", "end"),
        (misbehaving.alert(112), b"\x15\x03\x03\x00\x02\x02\x70", "end"),
        (misbehaving.half_hello, b"\x16\x03\x03\x00\x7a\x02", "silence"),
        (misbehaving.banner, b"220 ", "silence"),
        (misbehaving.slow_hello, b"\x16", "silence"),
        (misbehaving.dripping(b"ab", 0.001), b"abab", "silence"),
    ],
)
def test_misbehaviour_is_as_described(answer: misbehaving.Answer, begins: bytes, ends: str) -> None:
    """
    What is said first, and how it ends; twice, since a server serves more than once.
    """
    with misbehaving.serving(answer) as port:
        for _ in range(2):
            heard, ending = talk(port)
            assert heard.startswith(begins)
            assert bool(heard) == bool(begins)
            assert ending == ends


def test_a_misbehaving_server_ends_with_clients_connected() -> None:
    """
    Hung connections don't delay its end.
    """
    with contextlib.ExitStack() as clients:
        with misbehaving.serving(misbehaving.hang) as port:
            for _ in range(20):
                clients.enter_context(socket.create_connection(("127.0.0.1", port)))
            began = time.monotonic()
        assert time.monotonic() - began < 1


def test_a_refusing_port_refuses_and_an_unanswering_one_does_not_answer() -> None:
    """
    Connection attempts fail at once, or not at all.
    """
    with misbehaving.refusing() as port, pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)
    with misbehaving.unanswering() as port, pytest.raises(TimeoutError):
        socket.create_connection(("127.0.0.1", port), timeout=0.3)
