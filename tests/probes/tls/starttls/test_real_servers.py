"""
The real servers of each protocol: what they present is seen, and those without TLS say so.
"""

import contextlib
import functools
import re
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from exporter.demo.minter import Minted
from exporter.model.probers import WIRE
from exporter.model.schemes import SCHEMES
from exporter.model.targets import USUAL_PATIENCE
from exporter.probes.tls.handshake import VERDICT_TIMEOUT
from tests.probes.tls.starttls import daemons
from tests.probes.tls.starttls.test_on_the_wire import SCRIPTED
from tests.probes.tls.wire.probing import detail, look, see, shown, target, tls, told
from tests.support.certificates import authority, write_pair
from tests.support.processes import wait_until
from tests.support.servers import Chain

Serve = Callable[[Chain], AbstractContextManager[daemons.Ports]]

SERVERS: dict[str, Serve] = {
    "postfix": daemons.postfix,
    "dovecot": daemons.dovecot,
    "slapd": daemons.slapd,
    "prosody": daemons.prosody,
    "vsftpd": functools.partial(daemons.vsftpd, scheme="ftp"),
    "vsftpd, TLS at once": functools.partial(daemons.vsftpd, scheme="ftps"),
    "postgres": daemons.postgres,
    "mariadb": daemons.mariadb,
    "inspircd": daemons.inspircd,
    "inn": functools.partial(daemons.inn, scheme="nntp"),
    "inn, TLS at once": functools.partial(daemons.inn, scheme="nntps"),
    "redis": daemons.redis,
    "unbound": daemons.unbound,
}

WITHOUT: dict[str, tuple[Serve, str]] = {
    "slapd": (functools.partial(daemons.slapd, with_tls=False), "result 2 (protocolError): unsupported"),
    "vsftpd": (functools.partial(daemons.vsftpd, scheme="ftp-off"), "530 Please login with USER and PASS."),
    "postgres": (functools.partial(daemons.postgres, with_tls=False), "N, which means that TLS is off"),
    "mariadb": (functools.partial(daemons.mariadb, with_tls=False), "has TLS switched off"),
}


@pytest.mark.parametrize("name", SERVERS)
def test_a_real_server_is_seen(leaf: Minted, anchors: str, name: str) -> None:
    """
    The whole chain of each of its ports is seen and trusted; a port where TLS is off says so in its words.
    """
    with SERVERS[name](leaf.chain) as ports:
        rows = look(
            *(
                target(port, scheme=scheme.removesuffix("-off"), name=scheme, ca_file=anchors)
                for scheme, port in ports.items()
            )
        )
    for scheme, row in zip(ports, rows, strict=True):
        if scheme.endswith("-off"):
            assert told(row) == ("starttls_refused",)
            assert "STARTTLS is not among what it offers: 250-mail.example" in detail(row)
        else:
            assert told(row) == ("seen",), (scheme, row.held.observation)
            assert shown(row, *leaf.chain), scheme


def test_a_postfix_that_prefers_anonymous_ciphers_is_seen(leaf: Minted, anchors: str) -> None:
    """
    As TLS 1.2 at most and its own order of ciphers make it: its usual list begins with anonymous ones.
    """
    limits = [f"smtpd_tls_{kind}protocols = <=TLSv1.2" for kind in ("", "mandatory_")]
    with daemons.postfix(leaf.chain, *limits, "tls_preempt_cipherlist = yes") as ports:
        rows = [see(ports[scheme], scheme=scheme, ca_file=anchors) for scheme in ("smtp", "smtps")]
    for row in rows:
        assert told(row) == ("seen",), row.held.observation
        assert shown(row, *leaf.chain)
        assert tls(row).protocol == "TLSv1.2"


def test_a_postscreen_that_lets_strangers_wait_is_seen(leaf: Minted, anchors: str) -> None:
    """
    Within a usual scrape, and with nothing configured: it begins a greeting at once, whose end comes after
    six seconds.
    """
    wait = "postscreen_greet_wait = 6s"
    with daemons.postfix(leaf.chain, wait, screened=True) as ports:
        row = see(ports["smtp"], scheme="smtp", ca_file=anchors)
    assert told(row) == ("seen",), row.held.observation
    assert shown(row, *leaf.chain)
    assert row.held.duration > USUAL_PATIENCE


@pytest.mark.parametrize("name", WITHOUT)
def test_a_real_server_without_tls_refuses_in_its_words(leaf: Minted, name: str) -> None:
    """
    The reason is its refusal, and the sentence has what it said.
    """
    serve, words = WITHOUT[name]
    with serve(leaf.chain) as ports:
        ((scheme, port),) = ports.items()
        (row,) = look(target(port, scheme=scheme.removesuffix("-off")))
    assert told(row) == ("starttls_refused",)
    assert words in detail(row)


@pytest.mark.parametrize(
    "users",
    [
        (),
        # What answers a login of nobody is the plugin of somebody.
        tuple(f"CREATE USER u{number} IDENTIFIED VIA ed25519 USING PASSWORD('x')" for number in range(9)),
        ("CREATE USER ''",),
    ],
    ids=["usual", "other plugins", "anybody"],
)
def test_looks_at_mariadb_do_not_lock_this_host_out(
    leaf: Minted, anchors: str, users: tuple[str, ...]
) -> None:
    """
    It counts clients that leave in the middle, and blocks their address. A look goes to its end, at once;
    where others did not, it is told so.
    """
    with daemons.strict_mariadb(leaf.chain) as database:
        if users:
            database.make(*users)
        one = target(f"{database.host}:{database.port}", scheme="mysql", ca_file=anchors)
        rows = [row for _ in range(3 * daemons.PATIENCE) for row in look(one)]
        assert [told(row) for row in rows] == [("seen",)] * len(rows)
        assert all(shown(row, *leaf.chain) for row in rows)
        assert max(row.held.duration for row in rows) < VERDICT_TIMEOUT
        assert database.counted() == 0
        assert database.login().returncode == 0

        for _ in range(daemons.PATIENCE + 1):
            with socket.create_connection((database.host, database.port)) as leaving:
                assert leaving.recv(4096)
        wait_until(lambda: database.login().returncode != 0, what="the block of this host")
        (row,) = look(one)
    assert told(row) == ("server_refused",)
    assert "error 1129: Host" in detail(row)


def test_a_real_server_that_is_full_is_not_one_without_tls(leaf: Minted) -> None:
    """
    The reason is that it refused all service, in its words.
    """
    with daemons.vsftpd(leaf.chain, "ftp", "max_clients=1") as ports, contextlib.ExitStack() as stack:

        def held() -> bool:
            # The connection that showed that it listens may still have the one place.
            holding = stack.enter_context(socket.create_connection(("127.0.0.1", ports["ftp"])))
            return holding.recv(4096).startswith(b"220")

        wait_until(held, what="a place in it")
        (row,) = look(target(ports["ftp"], scheme="ftp"))
    assert told(row) == ("server_refused",)
    assert "421 There are too many connected users" in detail(row)


WORSE = re.compile(r"\[(warning|error|critical|alert|emergency)\]")
"""Levels above `notice` in RabbitMQ's log."""


def test_rabbitmq_is_seen_and_logs_no_error(leaf: Minted, anchors: str) -> None:
    """
    The whole chain is seen; to RabbitMQ each look is a client that said goodbye.
    """
    looks = 30
    with daemons.rabbitmq(leaf.chain) as broker:
        rows = [see(broker.port, scheme="amqps", ca_file=anchors) for _ in range(looks)]
        left = "connection_closed_with_no_data_received"
        wait_until(
            lambda: broker.log().count(left) + broker.log().count("handshake_timeout") >= looks,
            what="the end of each connection in the log",
        )
        log = broker.log()
    for row in rows:
        assert told(row) == ("seen",)
        assert shown(row, *leaf.chain)
        assert not tls(row).client_certificate_requested
    assert not WORSE.search(log), log


def test_rabbitmq_that_demands_a_client_certificate(tmp_path: Path, leaf: Minted, anchors: str) -> None:
    """
    With `verify_peer` and `fail_if_no_peer_cert` none is a failure, one by a stranger another, a good one is
    a success; the chain is always shown, and a refusal is no error of the server's.
    """

    def client(name: str, ca: Minted) -> dict[str, str]:
        minted = ca.issue(name, extended_key_usage=[ExtendedKeyUsageOID.CLIENT_AUTH.dotted_string])
        certificate, key = write_pair(tmp_path, name, minted.chain)
        return {"client_certificate_file": str(certificate), "client_key_file": str(key)}

    clients = authority("Clients")
    good, stranger = client("good", clients), client("stranger", authority("Strangers"))
    with daemons.rabbitmq(leaf.chain, client_ca=clients.issuer) as broker:
        without, wrong, right = look(
            *(
                target(broker.port, scheme="amqps", name=str(number), ca_file=anchors, **shows)
                for number, shows in enumerate(({}, stranger, good))
            )
        )
        ends = ("Certificate required", "Unknown CA", "connection_closed_with_no_data_received")
        wait_until(lambda: all(end in broker.log() for end in ends), what="the three ends in the log")
        log = broker.log()
    assert told(without) == ("client_certificate_required",)
    assert "has none configured" in detail(without)
    assert told(wrong) == ("client_certificate_refused",)
    assert "refused our client certificate" in detail(wrong)
    assert told(right) == ("seen",)
    for row in (without, wrong, right):
        assert shown(row, *leaf.chain)
        assert tls(row).client_certificate_requested
    assert not WORSE.search(log), log


def test_each_scheme_of_the_wire_has_a_real_server_or_a_scripted_one() -> None:
    """
    No scheme is added without a server that speaks it.
    """
    served = {
        *("smtp", "submission", "smtps", "imap", "imaps", "pop3", "pop3s", "sieve", "lmtp", "ldap", "ldaps"),
        *("xmpp", "xmpps", "xmpp-server", "xmpps-server", "ftp", "ftps", "postgres", "mysql", "irc", "ircs"),
        *("nntp", "nntps", "rediss", "dot", "amqps"),
    }
    # Debian has no servers of these: one is in a test of its own, and two begin with TLS like any other.
    others = {"mssql", "mssqls", "mongodb", "https", "tls"}
    wire = {scheme for scheme, meaning in SCHEMES.items() if meaning.prober == WIRE}
    assert wire == served | others | {*SCRIPTED}
