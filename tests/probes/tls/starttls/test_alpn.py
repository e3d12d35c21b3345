"""
ALPN (RFC 7301): schemes whose protocol may share a port say which one they mean, and the others say nothing.
"""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from socket import socket

import pytest

from exporter.demo.minter import Minted
from exporter.model.schemes import SCHEMES
from tests.probes.tls.starttls.daemons import Ports, daemon, place
from tests.probes.tls.wire.probing import NAME, explain, leaf_of, see, shown, target, tls_server, told
from tests.support.misbehaving import serving
from tests.support.servers import LOOPBACK, Server, s_server

OFFERED = {"xmpps": "xmpp-client", "xmpps-server": "xmpp-server", "dot": "dot", "mssqls": "tds/8.0"}
"""As registered at IANA (TLS Application-Layer Protocol Negotiation Protocol IDs)."""

SILENT = [
    *("https", "tls", "smtps", "imaps", "pop3s", "ftps", "ldaps", "nntps", "ircs"),
    *("rediss", "amqps", "mongodb"),
]

KNOWN = [*OFFERED.values(), "http/1.1", "h2", "imap", "pop3", "ftp", "irc", "nntp", "postgresql"]


def test_these_are_all() -> None:
    """
    No scheme begins to offer something without a test.
    """
    assert {name: scheme.alpn for name, scheme in SCHEMES.items() if scheme.alpn} == OFFERED


@pytest.mark.parametrize("scheme", [*OFFERED, *SILENT])
def test_what_a_scheme_offers_is_what_the_server_gets(leaf: Minted, anchors: str, scheme: str) -> None:
    """
    One protocol, or none: then a server that knows them all chooses none.
    """
    context = tls_server(leaf.chain)
    context.set_alpn_protocols(KNOWN)
    chosen: list[str | None] = []

    def answer(connection: socket, _stop: threading.Event) -> None:
        with context.wrap_socket(connection, server_side=True) as secure:
            chosen.append(secure.selected_alpn_protocol())
            secure.recv(1)

    with serving(answer) as port:
        row = see(port, scheme=scheme, ca_file=anchors)
    assert told(row) == ("seen",), row.held.observation
    assert shown(row, *leaf.chain)
    assert chosen == [OFFERED.get(scheme)]


@pytest.mark.parametrize("scheme", OFFERED)
def test_a_server_that_knows_another_protocol_is_seen_all_the_same(
    tmp_path: Path, leaf: Minted, anchors: str, scheme: str
) -> None:
    """
    It refuses with the alert `no_application_protocol`; the second try names none, and says so.
    """
    with s_server(tmp_path, leaf.chain, "-alpn", "http/1.1") as server:
        row = see(server, scheme=scheme, ca_file=anchors)
        steps = [words for _, words in explain(target(server, scheme=scheme)).steps]
    assert told(row) == ("seen",), row.held.observation
    assert f"connected; TLS handshake, server name {NAME}, ALPN {OFFERED[scheme]}" in steps
    assert any(words.endswith("all that the library has, without ALPN") for words in steps)
    assert f"connected; TLS handshake, server name {NAME}" in steps


@contextlib.contextmanager
def shared_port(web: Server, chat: Server, chain: tuple[Minted, ...]) -> Iterator[Ports]:
    """
    An HAProxy that hands a connection on by its ALPN, without ending TLS itself.
    """
    with place(chain) as here:

        def command(ports: Ports) -> list[str | Path]:
            config = here.write(
                "haproxy.cfg",
                "global\n  noreuseport",
                "defaults\n  mode tcp\n  timeout client 10s\n  timeout connect 1s\n  timeout server 10s",
                f"frontend shared\n  bind {LOOPBACK}:{ports['shared']}",
                "  tcp-request inspect-delay 5s",
                "  tcp-request content accept if { req.ssl_hello_type 1 }",
                "  use_backend chat if { req.ssl_alpn -m found } { req.ssl_alpn xmpp-client }",
                "  default_backend web",
                f"backend web\n  server web {web.authority}",
                f"backend chat\n  server chat {chat.authority}",
            )
            return ["haproxy", "-db", "-q", "-f", config]

        with daemon(here, ("shared",), command) as ports:
            yield ports


def test_the_server_that_is_meant_is_seen_behind_a_shared_port(
    tmp_path: Path, ca: Minted, healthy: Server
) -> None:
    """
    Each has its own certificate (XEP-0368 section 3, with port 443).
    """
    own = ca.issue("chat", [NAME])
    with s_server(tmp_path, own.chain) as chat, shared_port(healthy, chat, own.chain) as ports:
        as_chat = see(ports["shared"], scheme="xmpps")
        as_web = see(ports["shared"], scheme="https")
    assert leaf_of(as_chat).der == own.der
    assert leaf_of(as_web).der != own.der
