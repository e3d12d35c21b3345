"""
Protocols, ciphers, groups and keys, from the oldest that a server here can speak to the newest.
"""

import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from OpenSSL import SSL
from OpenSSL.SSL import _lib  # type: ignore[attr-defined] # pyOpenSSL has no call for groups

from exporter.demo.minter import Minted
from exporter.model.observation import Failed
from tests.probes.tls.wire.probing import NAME, detail, explain, see, shown, target, tls, told
from tests.support.certificates import shared_key
from tests.support.misbehaving import serving
from tests.support.servers import Site, nginx, s_server, stunnel

WEAK = ("-cipher", "ALL:@SECLEVEL=0")


@pytest.fixture
def rsa(ca: Minted) -> Minted:
    """
    A good leaf for NAME with an RSA key.
    """
    return ca.issue(NAME, [NAME], key=shared_key("rsa-2048"))


@pytest.mark.parametrize(
    ("options", "protocol", "expected"),
    [
        (["-tls1", *WEAK], "TLSv1", ("seen", "weak_protocol")),
        (["-tls1_1", *WEAK], "TLSv1.1", ("seen", "weak_protocol")),
        (["-tls1_2"], "TLSv1.2", ("seen",)),
        (["-tls1_3"], "TLSv1.3", ("seen",)),
        # With all of them a server chooses the best: that it still knows old ones is not seen.
        ([*WEAK], "TLSv1.3", ("seen",)),
    ],
)
def test_every_protocol_is_seen(
    tmp_path: Path, leaf: Minted, anchors: str, options: list[str], protocol: str, expected: tuple[str, ...]
) -> None:
    """
    TLS 1.0 and 1.1 are seen too, and are the fault.
    """
    with s_server(tmp_path, leaf.chain, *options) as server:
        row = see(server, ca_file=anchors)
    assert (tls(row).protocol, told(row)) == (protocol, expected)
    assert shown(row, *leaf.chain)


@pytest.mark.parametrize(
    ("cipher", "expected"),
    [
        ("ECDHE-RSA-AES256-GCM-SHA384", ("seen",)),
        ("ECDHE-RSA-CHACHA20-POLY1305", ("seen",)),
        ("ECDHE-RSA-AES128-SHA", ("seen",)),
        # The key exchange of RSA itself, which TLS 1.3 gave up.
        ("AES128-GCM-SHA256", ("seen",)),
        ("AES256-SHA", ("seen",)),
        ("DHE-RSA-AES128-GCM-SHA256", ("seen",)),
        ("NULL-SHA256", ("seen", "weak_cipher")),
        ("ECDHE-RSA-NULL-SHA", ("seen", "weak_cipher")),
        # Only the second, wider try offers these.
        ("ECDHE-ARIA128-GCM-SHA256", ("seen",)),
        ("ECDHE-RSA-CAMELLIA128-SHA256", ("seen",)),
        ("AES128-CCM8", ("seen",)),
    ],
)
def test_every_cipher_of_a_certificate_is_seen(
    tmp_path: Path, rsa: Minted, anchors: str, cipher: str, expected: tuple[str, ...]
) -> None:
    """
    A server that knows one cipher only is seen, whichever it is.
    """
    with s_server(tmp_path, rsa.chain, "-tls1_2", "-cipher", f"{cipher}:@SECLEVEL=0") as server:
        row = see(server, ca_file=anchors)
    assert (tls(row).cipher, told(row)) == (cipher, expected)


@pytest.mark.parametrize("cipher", ["ADH-AES128-SHA", "AECDH-AES128-SHA", "AECDH-NULL-SHA"])
def test_an_anonymous_cipher_shows_no_certificate(tmp_path: Path, leaf: Minted, cipher: str) -> None:
    """
    The failure names the cipher.
    """
    with s_server(tmp_path, leaf.chain, "-nocert", "-tls1_2", "-cipher", f"{cipher}:@SECLEVEL=0") as server:
        row = see(server)
    assert told(row) == ("no_certificate",)
    assert cipher in detail(row)


def test_a_small_group_for_diffie_hellman(tmp_path: Path, rsa: Minted, anchors: str) -> None:
    """
    A server with 512 bits (Logjam) is seen.
    """
    parameters = tmp_path / "dh.pem"
    subprocess.run(
        ["openssl", "dhparam", "-dsaparam", "-out", parameters, "512"], check=True, capture_output=True
    )
    options = ("-tls1_2", "-cipher", "DHE-RSA-AES128-SHA:@SECLEVEL=0", "-dhparam", str(parameters))
    with s_server(tmp_path, rsa.chain, *options) as server:
        row = see(server, ca_file=anchors)
    assert (tls(row).cipher, told(row)) == ("DHE-RSA-AES128-SHA", ("seen",))


@pytest.mark.parametrize(
    "options",
    [
        ("-groups", "X25519"),
        ("-groups", "P-256"),
        ("-groups", "P-384"),
        ("-groups", "P-521"),
        ("-groups", "P-521", "-tls1_2"),
        ("-groups", "X448"),
        ("-groups", "X448", "-tls1_2"),
        ("-groups", "ffdhe2048"),
        ("-groups", "ffdhe4096"),
        ("-groups", "ffdhe8192"),
        ("-groups", "brainpoolP256r1", "-tls1_2"),
        ("-groups", "brainpoolP512r1", "-tls1_2"),
    ],
    ids=" ".join,
)
def test_every_group_is_seen(tmp_path: Path, leaf: Minted, anchors: str, options: tuple[str, ...]) -> None:
    """
    A server that knows one group only is seen, whichever it is.
    """
    with s_server(tmp_path, leaf.chain, *options) as server:
        row = see(server, ca_file=anchors)
    assert told(row) == ("seen",), row.held.observation
    assert shown(row, *leaf.chain)


@contextmanager
def group_server(chain: tuple[Minted, ...], group: bytes) -> Iterator[int]:
    """
    The port of a server that only knows this group, with the TLS library of the exporter: it is newer than
    the system's, which knows no post-quantum groups.
    """
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.use_certificate(chain[0].certificate)
    context.use_privatekey(chain[0].key)
    for above in chain[1:]:
        context.add_extra_chain_cert(above.certificate)
    assert _lib.SSL_CTX_set1_curves_list(context._context, group) == 1

    def answer(connection: socket.socket, _stop: threading.Event) -> None:
        session = SSL.Connection(context, connection)
        session.set_accept_state()
        with suppress(SSL.Error):
            session.do_handshake()
            session.recv(1)

    with serving(answer) as port:
        yield port


@pytest.mark.parametrize("group", [b"X25519MLKEM768", b"SecP256r1MLKEM768"])
def test_a_server_that_only_knows_a_post_quantum_group_is_seen(
    leaf: Minted, anchors: str, group: bytes
) -> None:
    """
    The first try offers none of these; the second one does.
    """
    with group_server(leaf.chain, group) as port:
        row = see(port, ca_file=anchors)
        steps = [words for _, words in explain(target(port)).steps]
    assert told(row) == ("seen",)
    assert shown(row, *leaf.chain)
    assert sum("trying again" in words for words in steps) == 1


def test_a_usual_server_needs_one_try(tmp_path: Path, leaf: Minted) -> None:
    """
    One connection, no second look.
    """
    with s_server(tmp_path, leaf.chain) as server:
        steps = [words for _, words in explain(target(server)).steps]
    assert sum(words.startswith("connecting") for words in steps) == 1


def test_a_server_that_refuses_everything_is_tried_four_times_and_says_why(
    tmp_path: Path, rsa: Minted
) -> None:
    """
    A pre-shared key is what we have none of.
    """
    options = ("-tls1_2", "-psk", "00ff", "-cipher", "PSK-AES128-GCM-SHA256")
    with s_server(tmp_path, rsa.chain, *options) as server:
        look = explain(target(server))
    assert isinstance(look.observation, Failed)
    assert look.observation.reason == "handshake_refused"
    assert "handshake failure" in look.observation.detail
    assert sum(words.startswith("connecting") for _, words in look.steps) == 4


@pytest.mark.parametrize("versions", ["TLSv1.2", "TLSv1.3"])
def test_proper_servers(tmp_path: Path, leaf: Minted, anchors: str, versions: str) -> None:
    """
    Nginx and stunnel with one protocol each.
    """
    with nginx(tmp_path, Site([leaf.chain], settings=[f"ssl_protocols {versions}"])) as server:
        row = see(server, scheme="https", ca_file=anchors)
    assert (tls(row).protocol, told(row)) == (versions, ("seen",))
    limits = [f"sslVersionMin = {versions}", f"sslVersionMax = {versions}"]
    with stunnel(tmp_path, leaf.chain, settings=limits) as server:
        row = see(server, ca_file=anchors)
    assert (tls(row).protocol, told(row)) == (versions, ("seen",))
