"""
The real servers of each protocol: what they present is seen, and those without TLS say so.
"""

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from exporter.minter import Minted
from exporter.probes import PROBES, WIRE
from tests.starttls import daemons
from tests.support.servers import Chain
from tests.wire.probing import detail, look, shown, target, told

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

SCRIPTED = {"rdp", "mssql", "mssqls", "mongodb", "amqps"}
"""Schemes of servers that Debian does not have, or (RabbitMQ) has with a whole Erlang."""

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


def test_each_scheme_of_the_wire_has_a_real_server_or_a_scripted_one() -> None:
    """
    No scheme is added without a server that speaks it.
    """
    served = {
        *("smtp", "submission", "smtps", "imap", "imaps", "pop3", "pop3s", "sieve", "lmtp", "ldap", "ldaps"),
        *("xmpp", "xmpps", "xmpp-server", "xmpps-server", "ftp", "ftps", "postgres", "mysql", "irc", "ircs"),
        *("nntp", "nntps", "rediss", "dot"),
    }
    wire = {scheme for scheme, probe in PROBES.items() if probe is WIRE}
    assert wire == served | SCRIPTED | {"https", "tls"}
