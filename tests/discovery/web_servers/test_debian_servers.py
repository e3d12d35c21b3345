"""
What the source finds in a configuration is what the server with this configuration presents.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from exporter.demo.minter import Minted
from exporter.discovery.web_servers.source import listed
from exporter.model.policies import DAY
from exporter.report.exposition import Exposition
from tests.discovery.web_servers.looking import files, presented, scraped
from tests.probes.tls.starttls import daemons
from tests.support.certificates import NOW, authority, write_pair
from tests.support.processes import free_port, listening, running, wait_until
from tests.support.servers import Site, haproxy, nginx


@pytest.fixture
def pair(tmp_path: Path, ca: Minted) -> tuple[Path, Path]:
    """
    Certificate and key for two names.
    """
    leaf = ca.issue("www", ["www.example", "static.example"])
    return write_pair(tmp_path, "www", leaf.chain)


def test_nginx_that_was_not_reloaded_is_said(tmp_path: Path) -> None:
    """
    The certificate is renewed on disk, nginx still has the old one: no more than its configuration is named.
    """
    ca = authority("Deployed")
    old = ca.issue("www.example", ["www.example"], not_before=NOW - 85 * DAY, not_after=NOW + 5 * DAY)
    new = ca.issue("www.example", ["www.example"], not_before=NOW, not_after=NOW + 90 * DAY)
    with nginx(tmp_path, Site([old.chain], "www.example")) as server:
        (path,) = files(listed([str(tmp_path)]).found)
        Path(path).write_bytes(new.chain_pem)
        listing = listed([str(tmp_path / "nginx.conf")])
        scrape = scraped(listing.found)
    name = f"www.example on {server.authority}"
    assert [row.target.name for row in scrape.endpoints] == [f"file://{path}", name]
    text = Exposition().text([], scrape.endpoints, {}, scrape.problems)
    said = [line for line in text.splitlines() if 'problem="not_deployed"' in line]
    assert said
    assert all(f'target="{name}"' in line for line in said)
    assert listing.notes == ()


def test_nginx_with_several_sites(tmp_path: Path, ca: Minted) -> None:
    """
    Each name is asked for at the port, and gets its own certificate.
    """
    sites = [Site([ca.issue(name, [name]).chain], name) for name in ("one.example", "two.example")]
    with nginx(tmp_path, *sites) as server:
        found = listed([str(tmp_path)]).found
        assert presented(found) == {
            f"{one}.example on {server.authority}": f"{one}.example" for one in ("one", "two")
        }


def test_haproxy(tmp_path: Path, ca: Minted) -> None:
    """
    Each certificate is asked for by its own name.
    """
    chains = [ca.issue(name, [name]).chain for name in ("one.example", "two.example")]
    with haproxy(tmp_path, *chains) as server:
        found = listed([str(tmp_path)]).found
        assert presented(found) == {
            f"{one}.example on {server.authority}": f"{one}.example" for one in ("one", "two")
        }
    assert len(files(found)) == 2


def test_haproxy_that_passes_on(tmp_path: Path, ca: Minted) -> None:
    """
    A server behind it presents the certificate for each name that its rules have.
    """
    (tmp_path / "nginx").mkdir()
    (tmp_path / "haproxy").mkdir()
    names = [f"{one}.example" for one in ("one", "two", "three", "four")]
    sites = [Site([ca.issue(name, [name]).chain], name) for name in names]
    port, config = free_port(), tmp_path / "haproxy/haproxy.cfg"
    (tmp_path / "haproxy/map").write_text("three.example web\n", "utf-8")
    with nginx(tmp_path / "nginx", *sites) as server:
        config.write_text(
            f"""global
 noreuseport
defaults
 mode tcp
 timeout client 5s
 timeout connect 5s
 timeout server 5s
frontend in
 bind 127.0.0.1:{port}
 tcp-request inspect-delay 5s
 tcp-request content accept if {{ req_ssl_hello_type 1 }}
 acl one req.ssl_sni -i one.example
 use_backend web if one
 use_backend %[req.ssl_sni,lower,map({tmp_path}/haproxy/map)] if {{ req.ssl_sni -i three.example }}
 default_backend other
backend web
 server a {server.authority}
backend other
 use-server b if {{ req.ssl_sni -i two.example }}
 server b {server.authority}
""",
            "utf-8",
        )
        with running(["haproxy", "-db", "-q", "-f", str(config)]):
            wait_until(listening(port), deadline=30.0)
            listing = listed([str(config)])
            shown = presented(listing.found)
    assert shown == {f"{name} on 127.0.0.1:{port}": name for name in names[:3]}
    assert listing.notes == ()


def test_nginx_with_what_another_server_says_of_its_address(tmp_path: Path, ca: Minted) -> None:
    """
    The PROXY protocol is asked of all that listen there.
    """
    chains = [ca.issue(name, [name]).chain for name in ("one.example", "two.example")]
    port = free_port()
    sites = [
        Site([chains[0]], "one.example", settings=[f"listen 127.0.0.1:{port} ssl proxy_protocol"]),
        Site([chains[1]], "two.example", settings=[f"listen 127.0.0.1:{port}"]),
    ]
    with nginx(tmp_path, *sites) as server:
        shown = presented(listed([str(tmp_path)]).found)
    assert shown == {
        f"{one}.example on 127.0.0.1:{at}": f"{one}.example"
        for one in ("one", "two")
        for at in (port, server.port)
    }


def test_nginx_with_a_server_of_its_own_for_loopback(tmp_path: Path, ca: Minted) -> None:
    """
    Whatever the name, what listens there is presented, and not what listens at all addresses.
    """
    chains = [ca.issue(name, [name]).chain for name in ("one.example", "two.example")]
    port = free_port()
    sites = [
        Site([chains[0]], "one.example", settings=[f"listen 127.0.0.1:{port} ssl"]),
        Site([chains[1]], "two.example", settings=[f"listen {port} ssl"]),
    ]
    with nginx(tmp_path, *sites) as server:
        listing = listed([str(tmp_path)])
        shown = presented(listing.found)
    assert shown == {
        f"one.example on 127.0.0.1:{port}": "one.example",
        f"one.example on {server.authority}": "one.example",
        f"two.example on {server.authority}": "two.example",
    }
    (note,) = listing.notes
    assert note.endswith(f"at 127.0.0.1:{port} another site is presented instead")


def test_haproxy_lists_ranges_and_redirects(tmp_path: Path, ca: Minted) -> None:
    """
    A `bind` without TLS, `localhost`, a range of ports, and a list whose wildcard selects no name at its top.
    """
    first, listed_one = ca.issue("first", ["first.example"]), ca.issue("wild", ["wb.example", "*.wb.example"])
    bundle = tmp_path / "wild.pem"
    certificate, key = write_pair(tmp_path, "wild", listed_one.chain)
    bundle.write_bytes(certificate.read_bytes() + key.read_bytes())
    (tmp_path / "list").write_text(f"{bundle} *.wb.example\n", "utf-8")
    plain, ranged = free_port(), free_port()
    more = (
        f"crt-list {tmp_path}/list\n  bind localhost:{plain}\n"
        f"  bind localhost:{ranged}-{ranged} ssl crt {tmp_path}/haproxy-0.bundle"
    )
    with haproxy(tmp_path, first.chain, settings=more) as server:
        listing = listed([str(tmp_path)])
        shown = presented(listing.found)
    first_shown = {f"first.example on 127.0.0.1:{port}": "first" for port in (server.port, ranged)}
    assert shown == {**first_shown, f"www.wb.example on 127.0.0.1:{server.port}": "wild"}
    assert files(listing.found) == [f"{tmp_path}/haproxy-0.bundle", str(bundle)]
    assert listing.notes == ()


def test_nginx_localhost_and_a_range(tmp_path: Path, ca: Minted) -> None:
    """
    The names of a certificate whose file only nginx knows are asked for.
    """
    other = free_port()
    name = "www.example"
    site = Site([ca.issue(name, [name]).chain], name, settings=[f"listen localhost:{other}-{other} ssl"])
    with nginx(tmp_path, site) as server:
        config = tmp_path / "nginx.conf"
        text = config.read_text("utf-8")
        listing = listed([str(config)])
        shown = presented(listing.found)
        (path,) = files(listing.found)
        config.write_text(text.replace(f"ssl_certificate {path}", "ssl_certificate $x"), "utf-8")
        without = listed([str(config)])
    assert shown == {f"{name} on 127.0.0.1:{port}": name for port in (server.port, other)}
    assert files(without.found) == []
    assert [one.name for one in without.found] == list(shown)


def test_apache(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    """
    Debian's httpd with a variable, a condition, an include and an alias.
    """
    certificate, key = pair
    port = free_port()
    modules = "/usr/lib/apache2/modules"
    (tmp_path / "envvars").write_text("export APACHE_RUN_DIR=/nonexistent\n", "utf-8")
    (tmp_path / "sites").mkdir()
    (tmp_path / "sites" / "www.conf").write_text(
        "<IfModule mod_ssl.c>\n<VirtualHost *:${PORT}>\n"
        " ServerName www.example\n ServerAlias \\\n  static.example *.example\n"
        f" SSLEngine on\n SSLCertificateFile {certificate}\n"
        f" SSLCertificateKeyFile {key}\n</VirtualHost>\n</IfModule>\n",
        "utf-8",
    )
    config = tmp_path / "apache2.conf"
    config.write_text(
        f"ServerRoot {tmp_path}\nDefine PORT {port}\nPidFile {tmp_path}/pid\nErrorLog /dev/stderr\n"
        f"DefaultRuntimeDir {tmp_path}\nMutex file:{tmp_path}\nServerName localhost\n"
        f"LoadModule mpm_event_module {modules}/mod_mpm_event.so\n"
        f"LoadModule authz_core_module {modules}/mod_authz_core.so\n"
        f"LoadModule ssl_module {modules}/mod_ssl.so\n"
        "Listen 127.0.0.1:${PORT}\nIncludeOptional sites/*.conf\n"
        "<IfModule mod_none.c>\nSSLCertificateFile none\n</IfModule>\n",
        "utf-8",
    )
    with running(["apache2", "-X", "-f", config], ready=listening(port)):
        listing = listed([str(tmp_path)])
        assert presented(listing.found) == {
            f"{name}.example on 127.0.0.1:{port}": "www" for name in ("www", "static")
        }
    assert files(listing.found) == [str(certificate)]
    assert listing.notes == ()


def test_apache_macros(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    """
    Virtual hosts by a macro, as people write them who have many.
    """
    certificate, key = pair
    port = free_port()
    modules = "/usr/lib/apache2/modules"
    config = tmp_path / "apache2.conf"
    config.write_text(
        f"ServerRoot {tmp_path}\nPidFile {tmp_path}/pid\nErrorLog /dev/stderr\n"
        f"DefaultRuntimeDir {tmp_path}\nMutex file:{tmp_path}\nServerName localhost\n"
        f"LoadModule mpm_event_module {modules}/mod_mpm_event.so\n"
        f"LoadModule authz_core_module {modules}/mod_authz_core.so\n"
        f"LoadModule macro_module {modules}/mod_macro.so\n"
        f"LoadModule ssl_module {modules}/mod_ssl.so\n"
        f"Listen 127.0.0.1:{port}\n"
        "<Macro TLS $dir>\n SSLEngine on\n SSLCertificateFile $dir/www.pem\n"
        f" SSLCertificateKeyFile {key}\n</Macro>\n"
        f"<Macro Site $domain>\n<VirtualHost *:{port}>\n ServerName $domain.example\n"
        f" Use TLS {tmp_path}\n</VirtualHost>\n</Macro>\n"
        "Use Site www\nUse Site static\nUndefMacro Site\n",
        "utf-8",
    )
    (tmp_path / "www.pem").write_bytes(certificate.read_bytes())
    with running(["apache2", "-X", "-f", config], ready=listening(port)):
        listing = listed([str(tmp_path)])
        assert presented(listing.found) == {
            f"{name}.example on 127.0.0.1:{port}": "www" for name in ("www", "static")
        }
    assert files(listing.found) == [f"{tmp_path}/www.pem"]
    assert listing.notes == ()


def test_caddy(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    """
    A certificate of its own by a snippet, and one that Caddy made and keeps.
    """
    certificate, key = pair
    port, other = free_port(), free_port()
    (tmp_path / "sites").mkdir()
    (tmp_path / "sites" / "www").write_text(
        f"https://www.example:{port}, https://static.example:{port} {{\n"
        f" import cert {certificate} {key}\n}}\n",
        "utf-8",
    )
    config = tmp_path / "Caddyfile"
    config.write_text(
        "{\n admin off\n skip_install_trust\n auto_https disable_redirects\n"
        f" storage file_system {tmp_path}/storage\n default_bind 127.0.0.1\n}}\n"
        "(cert) {\n tls {args.0} {args.1}\n}\nimport sites/*\n"
        f"own.example:{other} {{\n tls internal\n respond ok # no more\n}}\n",
        "utf-8",
    )
    kept = tmp_path / "storage/certificates/local/own.example/own.example.crt"
    with running(
        ["caddy", "run", "--config", config, "--adapter", "caddyfile"],
        ready=lambda: listening(port)() and listening(other)() and kept.exists(),
        env={"HOME": str(tmp_path)},
    ):
        expected = {
            f"www.example on 127.0.0.1:{port}": "www",
            f"static.example on 127.0.0.1:{port}": "www",
            f"own.example on 127.0.0.1:{other}": "",
        }
        listing = listed([str(tmp_path)])
        # It keeps what it made for itself a moment before it serves it.
        wait_until(lambda: presented(listing.found) == expected, deadline=60, what="all are served")
    assert files(listing.found) == [str(certificate), str(kept)]
    assert listing.notes == ()


@contextlib.contextmanager
def directory_of(
    start: Callable[[], "contextlib.AbstractContextManager[daemons.Ports]"], monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Path, daemons.Ports]]:
    """
    A running server, and the directory with its configuration.
    """
    seen: list[Path] = []
    real = daemons.daemon

    def noting(here: daemons.Place, *rest: object) -> object:
        seen.append(here.directory)
        return real(here, *rest)  # type: ignore[arg-type] # passed on as they are

    monkeypatch.setattr(daemons, "daemon", noting)
    with start() as ports:
        yield seen[-1], ports


def test_postfix(ca: Minted, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The services with TLS, by the options of each, and not the one without.
    """
    chain = ca.issue("mail", ["mail.example"]).chain
    with directory_of(lambda: daemons.postfix(chain), monkeypatch) as (directory, ports):
        listing = listed([str(directory)])
        shown = presented(listing.found)
    assert shown == {
        f"mail.example on 127.0.0.1:{ports[one]}": "mail" for one in ("smtp", "submission", "smtps")
    }
    assert files(listing.found) == [f"{directory}/both.pem"]
    assert listing.notes == ()


def test_postfix_behind_postscreen(ca: Minted, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Port 25 of many mail hosts: no service `smtpd` listens there.
    """
    chain = ca.issue("mail", ["mail.example"]).chain
    start = functools.partial(daemons.postfix, chain, "postscreen_greet_wait = 1s", screened=True)
    with directory_of(start, monkeypatch) as (directory, ports):
        listing = listed([str(directory)])
        shown = presented(listing.found)
    assert shown == {f"mail.example on 127.0.0.1:{ports['smtp']}": "mail"}


def test_dovecot(ca: Minted, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    All listeners, each by its protocol.
    """
    chain = ca.issue("mail", ["mail.example"]).chain
    with directory_of(lambda: daemons.dovecot(chain), monkeypatch) as (directory, ports):
        listing = listed([str(directory)])
        shown = presented(listing.found)
    assert shown == {f"mail.example on 127.0.0.1:{port}": "mail" for port in ports.values()}
    assert files(listing.found) == [f"{directory}/server.pem"]
