"""
A target is asked for what its server presents to others: each of these was an alarm about a server in order.

What the servers present was seen on Debian's. No server runs here.
"""

from pathlib import Path

import pytest

from exporter.demo.minter import Minted
from exporter.discovery.base import Listing
from exporter.discovery.web_servers.source import listed
from tests.discovery.web_servers.looking import files


def read(directory: Path, ca: Minted, text: str, name: str, **more: str) -> Listing:
    """
    What is found in a configuration. DIR is its directory, with certificates for each `NAME.example`.
    """
    for one in ("mail", "one", "web"):
        (directory / f"{one}.pem").write_bytes(ca.issue(one, [f"{one}.example"]).chain_pem)
    (directory / "wild.pem").write_bytes(
        ca.issue("wild", ["preview.example", "*.preview.example", "www.shop.example"]).chain_pem
    )
    for file, content in {name: text, **{key.replace("_", "."): one for key, one in more.items()}}.items():
        (directory / file).write_text(content.replace("DIR", str(directory)), "utf-8")
    return listed([str(directory / name)])


def wires(listing: Listing) -> list[str]:
    """
    URL, name, and `proxied` of each target that is no file.
    """
    return [
        " ".join(
            [one.url, one.settings["server_name"], *["proxied" for key in one.settings if "proxy" in key]]
        )
        for one in listing.found
        if not one.url.startswith("file:")
    ]


DOVECOT = """protocols = imap lmtp
listen = 127.0.0.1, 127.0.0.2
ssl_cert = <DIR/mail.pem
service imap-login {
  inet_listener imap {
    port = 0
  }
}
service lmtp {
  inet_listener lmtp {
    port = 24
  }
}
service doveadm {
  inet_listener {
    port = 4000
    ssl = yes
  }
}
"""


def test_dovecot_has_other_certificates_at_logins_only(tmp_path: Path, ca: Minted) -> None:
    """
    LMTP and doveadm present the one for all, whatever the name; an address with its own presents no other.
    """
    listing = read(
        tmp_path,
        ca,
        f"{DOVECOT}local_name one.example {{\n  ssl_cert = <DIR/one.pem\n}}\n"
        "local 127.0.0.2 {\n  ssl_cert = <DIR/web.pem\n}\n",
        "dovecot.conf",
    )
    assert wires(listing) == [
        "imaps://127.0.0.1:993 mail.example",
        "lmtp://127.0.0.1:24 mail.example",
        "lmtp://127.0.0.2:24 mail.example",
        "tls://127.0.0.1:4000 mail.example",
        "tls://127.0.0.2:4000 mail.example",
        "imaps://127.0.0.1:993 one.example",
        "imaps://127.0.0.2:993 one.example",
        "imaps://127.0.0.2:993 web.example",
    ]
    assert len(files(listing.found)) == 3


@pytest.mark.parametrize(
    ("networks", "asked"),
    [("", False), ("10.0.0.0/8 ::1", False), ("10.0.0.0/8, 127.0.0.1", True), ("127.0.0.0/8", True)],
)
def test_dovecot_turns_away_who_is_no_proxy_of_its_own(
    tmp_path: Path, ca: Minted, networks: str, asked: bool
) -> None:
    """
    A listener behind a load balancer takes the PROXY protocol from that one only.
    """
    listing = read(
        tmp_path,
        ca,
        f"protocols = lmtp\nlisten = *\nssl_cert = <DIR/mail.pem\nhaproxy_trusted_networks = {networks}\n"
        "service lmtp {\n  inet_listener lmtp {\n    port = 24\n    haproxy = yes\n  }\n}\n",
        "dovecot.conf",
    )
    assert wires(listing) == (["lmtp://127.0.0.1:24 mail.example proxied"] if asked else [])
    assert [("does not have 127.0.0.1" in note) for note in listing.notes] == ([] if asked else [True])


def test_postfix_behind_a_proxy(tmp_path: Path, ca: Minted) -> None:
    """
    It waits for the PROXY protocol before its greeting.
    """
    listing = read(
        tmp_path,
        ca,
        "smtpd_tls_cert_file = DIR/mail.pem\nsmtpd_tls_security_level = may\n"
        "smtpd_upstream_proxy_protocol = haproxy\ninet_interfaces = loopback-only\n",
        "main.cf",
        master_cf="2501 inet n - y - - smtpd\n2502 inet n - y - - smtpd -o smtpd_upstream_proxy_protocol=\n"
        "2503 inet n - y - 1 postscreen\n"
        "2504 inet n - y - 1 postscreen -o postscreen_upstream_proxy_protocol=haproxy\n",
    )
    assert wires(listing) == [
        "smtp://127.0.0.1:2501 mail.example proxied",
        "smtp://127.0.0.1:2502 mail.example",
        "smtp://127.0.0.1:2503 mail.example",
        "smtp://127.0.0.1:2504 mail.example proxied",
    ]


HOST = "<VirtualHost {}>\nServerName {}.example\nSSLEngine on\nSSLCertificateFile web.pem\n{}</VirtualHost>\n"


@pytest.mark.parametrize(("named", "asked"), [("ServerName one.example:443\n", ["one.example"]), ("", [])])
def test_apache_a_host_without_a_name(tmp_path: Path, ca: Minted, named: str, asked: list[str]) -> None:
    """
    The first one at an address has all names that no host has; others have that of the server.
    """
    no_name = HOST.replace("ServerName {}.example\n", "# {}\n")
    listing = read(
        tmp_path,
        ca,
        f"Listen 1001\nListen 1002\n{named}"
        + HOST.format("*:1001", "a", "")
        + no_name.format("*:1001 *:1002", "", "").replace("web.pem", "mail.pem"),
        "httpd.conf",
    )
    assert wires(listing) == [
        "https://127.0.0.1:1001 a.example",
        "https://127.0.0.1:1002 mail.example",
        *(f"https://127.0.0.1:1001 {one}" for one in asked),
    ]
    assert [("is the default at its address" in note) for note in listing.notes] == ([] if asked else [True])


@pytest.mark.parametrize("name", ["", "server_name _;", 'server_name "";', "server_name $hostname;"])
def test_nginx_a_server_without_a_name(tmp_path: Path, ca: Minted, name: str) -> None:
    """
    The default one of an address has all names that no server has; another one has none.
    """
    listing = read(
        tmp_path,
        ca,
        "server { listen 1001 ssl; server_name web.example; ssl_certificate web.pem; }\n"
        f"server {{ listen 1001 ssl; listen 1002 ssl; {name} ssl_certificate mail.pem; }}\n",
        "nginx.conf",
    )
    assert wires(listing) == ["https://127.0.0.1:1001 web.example", "https://127.0.0.1:1002 mail.example"]
    assert [("is the default at its address" in note) for note in listing.notes] == [True]
    assert len(files(listing.found)) == 2


def test_apache_proxy_protocol_is_of_an_address(tmp_path: Path, ca: Minted) -> None:
    """
    Whichever of its hosts says it.
    """
    listing = read(
        tmp_path,
        ca,
        "Listen 1001\nListen 1002\n"
        + HOST.format("*:1001", "a", "")
        + HOST.format("*:1001", "b", "RemoteIPProxyProtocol On\n")
        + HOST.format("*:1002", "c", ""),
        "httpd.conf",
    )
    assert wires(listing) == [
        "https://127.0.0.1:1001 a.example proxied",
        "https://127.0.0.1:1001 b.example proxied",
        "https://127.0.0.1:1002 c.example",
    ]


def test_apache_what_is_said_for_all_hosts(tmp_path: Path, ca: Minted) -> None:
    """
    The server itself answers only where no virtual host takes every connection. A file without TLS counts.
    """
    listing = read(
        tmp_path,
        ca,
        "Listen 1001\nListen 1002\nRemoteIPProxyProtocol On\nServerName one.example\nSSLEngine on\n"
        "SSLCertificateFile one.pem\n"
        + HOST.format("*:1002", "a", "")
        + HOST.format("*:1002", "b", "SSLEngine off\n").replace("web.pem", "mail.pem"),
        "httpd.conf",
    )
    assert wires(listing) == [
        "https://127.0.0.1:1002 a.example proxied",
        "https://127.0.0.1:1001 one.example proxied",
    ]
    assert files(listing.found) == [f"{tmp_path}/{one}.pem" for one in ("web", "mail", "one")]


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        (r"~^(?<sub>.+)\.preview\.example$", "www.preview.example"),
        (r"~^(www\.)?(?<domain>.+)$", "preview.example"),
        ("www.shop.*", "www.shop.example"),
        (r"~^\d+\.preview\.example$", ""),
        (r"~^(?:(?:[a-z.]+)+)+!$", ""),
        (r"~^[a-z]*[a-z.]*[a-z.]*[a-z.]*!$", ""),
        (r"~^(?<unclosed", ""),
    ],
)
def test_nginx_names_by_a_pattern(tmp_path: Path, ca: Minted, name: str, asked: str) -> None:
    """
    One on the certificate that the pattern selects, since any other gets another certificate.
    """
    server = 'server {{ listen 1001 ssl{}; server_name "{}"; ssl_certificate {}.pem; }}\n'
    listing = read(
        tmp_path,
        ca,
        server.format(" default_server", "web.example", "web") + server.format("", name, "wild"),
        "nginx.conf",
    )
    assert wires(listing)[1:] == ([f"https://127.0.0.1:1001 {asked}"] if asked else [])
    assert [("is a pattern" in note) for note in listing.notes] == ([] if asked else [True])
