"""
The TLS library as `probes.tls` uses it: also what is private there, so that an upgrade shows itself here.
"""

import asyncio
import os
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from OpenSSL import SSL
from OpenSSL.SSL import _ffi, _lib  # type: ignore[attr-defined] # private: what these tests are about

from exporter.demo.minter import Minted
from exporter.model.errors import ProbeError
from exporter.model.observation import Tls
from exporter.model.reasons import Reason
from exporter.net.connection import Readiness, connect
from exporter.net.regular_files import read
from exporter.pki.client_certificate import client_leaf, load_client_certificate
from exporter.probes.base import Trace
from exporter.probes.tls import handshake, openssl
from exporter.probes.tls.messages import certificates_in
from exporter.probes.tls.openssl import Offer
from tests.support import misbehaving
from tests.support.certificates import DAY, NOW, staple, write_pair
from tests.support.misbehaving import serving
from tests.support.servers import Server, s_server

if TYPE_CHECKING:
    from exporter.probes.tls.suites import Keys

NAME = "www.example"


def content(path: str) -> bytes:
    """
    Return what is in a file now. Raises ProbeError.
    """
    return read(path, 100_000)[0]


async def shake(
    port: int,
    *,
    name: str | None = NAME,
    offer: Offer = "usual",
    then: Callable[[handshake.Session], Awaitable[None]] | None = None,
) -> handshake.Seen:
    """
    The certificates and parameters that a server at this port of 127.0.0.1 shows. `then`: what follows.
    """
    loop = asyncio.get_running_loop()
    readiness = Readiness(loop)
    try:
        connection = await connect(readiness, "127.0.0.1", port, loop.time() + 10)
        session = handshake.Session(
            connection, openssl.context("any", None, offer=offer), name, Trace(loop.time)
        )
        try:
            seen = await session.handshake()
            if then is not None:
                await then(session)
            return seen
        finally:
            session.close()
            connection.close()
    finally:
        readiness.close()


PRIVATE = sorted(set(re.findall(r"_lib\.(\w+)", Path(openssl.__file__).read_text("utf-8"))))
"""Names of the binding that the module uses."""


def test_the_private_names_are_found() -> None:
    """
    The expression above sees what it is meant to see.
    """
    assert {"SSL_do_handshake", "SSL_CTX_set_cert_cb", "SSL_get_peer_cert_chain"} <= set(PRIVATE)


@pytest.mark.parametrize("name", PRIVATE)
def test_a_private_name_exists(name: str) -> None:
    """
    The installed pyOpenSSL has it.
    """
    assert hasattr(_lib, name)


def test_private_attributes_exist() -> None:
    """
    The C objects of a context and a connection, its memory, the foreign functions, and the maker of errors.
    """
    context = SSL.Context(SSL.TLS_METHOD)
    assert _ffi.typeof(context._context) is _ffi.typeof("SSL_CTX *")
    connection = SSL.Connection(context, None)
    assert _ffi.typeof(connection._ssl) is _ffi.typeof("SSL *")
    assert callable(connection._raise_ssl_error)
    for memory in (connection._into_ssl, connection._from_ssl):
        assert _ffi.typeof(memory) is _ffi.typeof("BIO *")
        assert _lib.BIO_get_mem_data(memory, _ffi.NULL) == 0


def test_a_conversation_lacks_only_what_it_does_not_need() -> None:
    """
    What pyOpenSSL's own is made of besides is for callbacks, and it notes each one by its C object.
    """
    context = openssl.context("any", None)
    theirs, ours = SSL.Connection(context, None), openssl.Conversation(context, NAME, wants_staple=True)
    callbacks = ("verify", "cookie", "alpn")
    missing = {name for name in vars(theirs).keys() - vars(ours) if not any(one in name for one in callbacks)}
    assert missing == {"_app_data"}
    assert vars(ours).keys() <= vars(theirs).keys()
    assert ours.get_servername() == NAME.encode()
    assert (ours.version, ours.cipher, ours.presented) == (theirs.get_protocol_version_name(), "", ())
    noted = SSL.Connection._reverse_mapping
    assert theirs._ssl in noted
    assert ours._ssl not in noted


def test_private_calls_give_what_public_ones_do(tmp_path: Path, ca: Minted) -> None:
    """
    The chain in its order and the staple, byte for byte, and that no certificate was asked for.
    """
    leaf = ca.issue(NAME, [NAME])
    response = staple(leaf, this_update=NOW, next_update=NOW + DAY)
    with s_server(tmp_path, leaf.chain, staple=response) as server:
        seen = asyncio.run(shake(server.port))
    assert [one.der for one in seen.chain.certificates] == [one.der for one in leaf.chain]
    assert seen.tls == Tls("TLSv1.3", "TLS_AES_128_GCM_SHA256", NAME, False, response)


def test_no_path_to_an_anchor_is_looked_for(tmp_path: Path, ca: Minted) -> None:
    """
    Trust is judged elsewhere: the library gives up before it compares one certificate with another.
    """

    async def compare(session: handshake.Session) -> None:
        assert _lib.SSL_get_verify_result(session._tls._ssl) == _lib.X509_V_ERR_CERT_CHAIN_TOO_LONG

    leaf = ca.issue(NAME, [NAME])
    with s_server(tmp_path, leaf.chain) as server:
        assert len(asyncio.run(shake(server.port, then=compare)).chain.certificates) == 2


def test_what_was_agreed_on_has_the_names_of_public_calls(tmp_path: Path, ca: Minted) -> None:
    """
    Version and cipher suite, in a conversation that is under way.
    """

    async def compare(session: handshake.Session) -> None:
        tls = session._tls
        assert tls.version == tls.get_protocol_version_name() == "TLSv1.2"
        assert tls.cipher == tls.get_cipher_name()

    with s_server(tmp_path, ca.issue(NAME, [NAME]).chain, "-tls1_2") as server:
        asyncio.run(shake(server.port, then=compare))


def test_the_names_of_groups_and_algorithms_are_known() -> None:
    """
    Every context can be made: the library takes every list of names.
    """
    kinds: tuple[Keys, ...] = ("any", "rsa", "ecdsa")
    offers: tuple[Offer, ...] = ("usual", "wide")
    for keys in kinds:
        for offer in offers:
            for datagrams in (False, True):
                openssl.context(keys, None, offer=offer, datagrams=datagrams)
    for datagrams in (False, True):
        openssl.context("any", None, offer="anonymous", datagrams=datagrams)


def test_a_list_that_the_library_refuses_is_no_small_matter() -> None:
    """
    It would be a fault of ours, not of a server.
    """
    with pytest.raises(AssertionError, match="refused a list"):
        openssl._check(0)


def test_contexts_are_remembered(tmp_path: Path, ca: Minted) -> None:
    """
    One for each combination; a client certificate has its own until its files change.
    """
    usual = openssl.context("any", None)
    assert openssl.context("any", None) is usual
    assert openssl.context("rsa", None) is not usual
    assert openssl.context("any", None, offer="wide") is not usual
    assert openssl.context("any", None, alpn="dot") is openssl.context("any", None, alpn="dot") is not usual
    assert openssl.context("any", None, datagrams=True) is not usual
    certificate, key = (str(file) for file in write_pair(tmp_path, "client", ca.issue("a").chain))
    client = load_client_certificate(certificate, key, None, content)
    assert load_client_certificate(certificate, key, None, content) is client
    assert openssl.context("any", client) is openssl.context("any", client) is not usual
    write_pair(tmp_path, "client", ca.issue("b").chain)
    assert load_client_certificate(certificate, key, None, content) is not client


def test_the_same_answer_is_the_same_object(tmp_path: Path, ca: Minted) -> None:
    """
    What a server showed before is not parsed again; another server name is another answer.
    """
    with s_server(tmp_path, ca.issue(NAME, [NAME]).chain) as server:

        async def twice() -> None:
            first = await shake(server.port)
            assert await shake(server.port) is first
            assert await shake(server.port, name=None) is not first

        asyncio.run(twice())


def hellos(server: Server) -> int:
    """
    How many ClientHello messages the server printed (`-msg`).
    """
    return server.process.output().count("ClientHello")


@pytest.mark.parametrize(("group", "count"), [("X25519", 1), ("P-256", 2), ("P-384", 2), ("P-521", 2)])
def test_a_server_may_ask_for_another_key_share(tmp_path: Path, ca: Minted, group: str, count: int) -> None:
    """
    HelloRetryRequest (RFC 8446 section 4.1.4): a second ClientHello follows on the same connection.
    """
    leaf = ca.issue(NAME, [NAME])
    with s_server(tmp_path, leaf.chain, "-groups", group, "-msg", "-tls1_3") as server:
        seen = asyncio.run(shake(server.port))
        assert hellos(server) == count
    assert seen.chain.leaf.der == leaf.der


def test_a_handshake_that_ends_early_has_the_error_and_what_was_seen(tmp_path: Path, ca: Minted) -> None:
    """
    Nothing before the certificate, the chain after it; and the note of the request is gone afterwards.
    """
    with serving(misbehaving.alert()) as port, pytest.raises(handshake.HandshakeError) as caught:
        asyncio.run(shake(port))
    assert caught.value.seen is None
    leaf = ca.issue(NAME, [NAME])
    with (
        s_server(tmp_path, leaf.chain, "-tls1_2", client_ca=ca) as server,
        pytest.raises(handshake.HandshakeError) as caught,
    ):
        asyncio.run(shake(server.port))
    seen = caught.value.seen
    assert seen is not None
    assert [one.der for one in seen.chain.certificates] == [one.der for one in leaf.chain]
    assert seen.tls.client_certificate_requested
    assert openssl._requested == set()


def test_errors_that_others_left_are_not_taken_for_ours(
    tmp_path: Path, ca: Minted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The library's queue of errors belongs to the thread, and before OpenSSL 4 each call looked at it: those of
    the handshake, and those after it.
    """

    def leave_an_error() -> None:
        memory = _lib.BIO_new_mem_buf(b"no certificate", 14)
        assert _lib.d2i_X509_bio(memory, _ffi.NULL) == _ffi.NULL
        _lib.BIO_free(memory)
        assert _lib.ERR_peek_error() != 0

    async def hear(session: handshake.Session) -> None:
        leave_an_error()
        assert await session.verdict(b"") == b""
        leave_an_error()

    monkeypatch.setattr(handshake, "VERDICT_TIMEOUT", 0.1)

    with s_server(tmp_path, ca.issue(NAME, [NAME]).chain) as server:
        leave_an_error()
        assert asyncio.run(shake(server.port, then=hear)).tls.protocol == "TLSv1.3"


def test_a_server_without_a_certificate_says_so(tmp_path: Path, ca: Minted) -> None:
    """
    An anonymous cipher is agreed on, and there is nothing to report.
    """
    options = ("-nocert", "-tls1_2", "-cipher", "ADH-AES128-SHA:@SECLEVEL=0")
    with (
        s_server(tmp_path, ca.issue(NAME, [NAME]).chain, *options) as server,
        pytest.raises(ProbeError, match="ADH-AES128-SHA") as caught,
    ):
        asyncio.run(shake(server.port, offer="anonymous"))
    assert caught.value.reason is Reason.NO_CERTIFICATE


ENTRY = b"\0\0\3one"
"""A certificate in a message, with its length."""


@pytest.mark.parametrize(
    ("body", "with_extensions", "found"),
    [
        (b"\0\0\x0c" + ENTRY + b"\0\0\3two", False, (b"one", b"two")),
        (b"\0\0\0\x12" + ENTRY + b"\0\0" + b"\0\0\3two" + b"\0\2xx", True, (b"one", b"two")),
        (b"\2cc\0\0\x08" + ENTRY + b"\0\0", True, (b"one",)),
        (b"\0\0\0", False, ()),
        (b"", False, ()),
        (b"", True, ()),
        (b"\xff", True, ()),
        (b"\0\0\xff" + ENTRY + b"\xff\xff\xffcut off", False, (b"one", b"cut off")),
        (b"\0\0\xff" + ENTRY + b"\0\0\0\0\0\1", False, (b"one", b"")),
        (bytes(3) + ENTRY + bytes(3 * 30_000), False, (b"one", *(b"",) * 99)),
    ],
)
def test_certificates_are_found_in_their_message(
    body: bytes, found: tuple[bytes, ...], *, with_extensions: bool
) -> None:
    """
    In the message of both versions, whole or damaged.
    """
    assert certificates_in(body, with_extensions=with_extensions) == found


def test_a_pipe_is_no_client_certificate(tmp_path: Path) -> None:
    """
    It is refused, not opened: nobody may ever write to it, and nothing else would have its turn meanwhile.
    """
    pipe = tmp_path / "client.pem"
    os.mkfifo(pipe)
    with pytest.raises(ProbeError, match="is a pipe") as caught:
        load_client_certificate(str(pipe), None, None, content)
    assert caught.value.reason is Reason.CLIENT_CERTIFICATE_UNUSABLE
    assert client_leaf(str(pipe), content) is None
