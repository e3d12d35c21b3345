"""
Documents on real web servers: what is in them, and every way in which they can't be had.
"""

import asyncio
import contextlib
import http.server
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from exporter.config.settings import Config, target_for
from exporter.demo.minter import Minted
from exporter.demo.minter import root as new_root
from exporter.engine.scrape import EndpointRow
from exporter.model.errors import ProbeError
from exporter.model.hosts import TargetError
from exporter.model.proxies import Proxy
from exporter.model.reasons import Reason
from exporter.model.targets import Target
from exporter.model.urls import parse_url
from exporter.net.http import destination
from exporter.net.tls_contexts import system_context
from exporter.probes.files import url as module
from tests.formats.samples import issuer, key_set, kubeconfig, leaf, old_pkcs12_store, root, x5c
from tests.probes.tls.wire.probing import scrape, tls_server, watching
from tests.support.certificates import NOW, write_pair
from tests.support.processes import free_port
from tests.support.rows import detail, items, outcome
from tests.support.servers import Site, haproxy, nginx
from tests.support.web_server import Page, WebServer, downloaded, web_server


@pytest.fixture
def server() -> Iterator[WebServer]:
    """
    A web server without pages.
    """
    with web_server() as made:
        yield made


def look(url: str, **settings: object) -> EndpointRow:
    """
    The row of the one endpoint of this URL.
    """
    parsed = parse_url(url)

    async def run() -> EndpointRow:
        async with watching(NOW) as watch:
            target = replace(Target(parsed, url), **settings)  # type: ignore[arg-type]  # fields of Target
            (row,) = await scrape(watch, target)
            return row

    return asyncio.run(run())


def test_a_bundle_over_http(server: WebServer) -> None:
    """
    The endpoint is the server, and its path and query are asked for as written.
    """
    server.pages["/ca.pem?v=1"] = Page(root().pem + issuer().pem)
    row = look(f"pem+{server.url('/ca.pem?v=1')}")
    assert outcome(row) == "seen"
    assert row.label == f"127.0.0.1:{server.port}"
    assert items(row) == ["certificate-1", "certificate-2"]


@pytest.mark.parametrize(
    ("page", "reason"),
    [
        (Page(b"hello"), "format_unknown"),
        (Page(leaf().pem[:100]), "format_broken"),
        (Page(leaf().key_pem), "nothing_expires"),
        (Page(old_pkcs12_store()), "keystore_locked"),
        (Page(status=403), "access_denied"),
        (Page(status=401), "access_denied"),
        (Page(status=429), "rate_limited"),
        (Page(status=500), "http_failed"),
        (Page(status=304), "http_failed"),
        (Page(status=302), "http_failed"),
        (Page(status=302, headers={"Location": "file:///etc/passwd"}), "http_failed"),
        (Page(status=302, headers={"Location": "/x"}), "http_failed"),
        (Page(bytes(module.SIZE_LIMIT + 1)), "file_too_large"),
    ],
)
def test_what_goes_wrong_has_its_reason(server: WebServer, page: Page, reason: str) -> None:
    """
    Of the status, of a redirect that leads nowhere or round in a circle, and of the content.
    """
    server.pages["/x"] = page
    row = look(f"pem+{server.url('/x')}")
    assert outcome(row) == reason
    if page.status >= 400:
        assert str(page.status) in detail(row)


def test_a_redirect_within_the_scheme_is_followed(server: WebServer) -> None:
    """
    Whether it is a path or a whole URL.
    """
    server.pages["/a"] = Page(status=301, headers={"Location": "/b"})
    server.pages["/b"] = Page(status=307, headers={"Location": server.url("/c")})
    server.pages["/c"] = Page(leaf().pem, headers={"Last-Modified": "nonsense"})
    assert outcome(look(f"pem+{server.url('/a')}")) == "seen"


def test_a_document_names_no_files_of_this_host(server: WebServer) -> None:
    """
    A kubeconfig from elsewhere does not make the exporter read its own files.
    """
    server.pages["/config"] = Page(kubeconfig(admin={"client-certificate": "/etc/passwd"}))
    row = look(f"pem+{server.url('/config')}")
    assert outcome(row) == "seen"
    assert items(row) == ["cluster/prod"]


def test_nobody_listens_and_no_such_name() -> None:
    """
    Reasons are those of every other connection.
    """
    assert outcome(look(f"pem+http://127.0.0.1:{free_port()}/")) == "connection_refused"
    assert outcome(look("pem+https://does-not-exist.invalid/")) in {"dns_not_found", "dns_failed"}


def test_a_server_that_says_nothing_runs_out_of_time() -> None:
    """
    The target's timeout holds for the whole document.
    """
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as silent:
        # It listens, and nobody accepts.
        row = look(f"pem+http://127.0.0.1:{silent.server_port}/", timeout=0.3)
    assert outcome(row) == "http_failed"
    assert "did not answer in 0.3 s" in detail(row)


def test_socks_is_refused(server: WebServer) -> None:
    """
    The HTTP library speaks to HTTP proxies only.
    """
    proxy = Proxy("socks5", "127.0.0.1", 1080)
    assert outcome(look(f"pem+{server.url('/')}", proxy=proxy)) == "proxy_failed"


@pytest.mark.parametrize(
    ("scheme", "line"), [("pem+http", "GET http://e.example"), ("pem+https", "CONNECT e.")]
)
def test_an_http_proxy_is_asked_with_its_credentials(scheme: str, line: str) -> None:
    """
    For the whole URL, or for a connection; its answer is not the server's.
    """
    heard: list[bytes] = []

    def answer(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            heard.append(connection.recv(65536))
            connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer, args=(listener,))
        thread.start()
        proxy = Proxy("http", "127.0.0.1", listener.getsockname()[1], credentials="user:secret")
        row = look(f"{scheme}://e.example/ca.pem", proxy=proxy)
        thread.join()
    assert heard[0].decode().startswith(line)
    assert b"Proxy-Authorization: Basic dXNlcjpzZWNyZXQ=" in heard[0]
    assert outcome(row) in {"access_denied", "proxy_failed"}
    assert "secret" not in detail(row)


@contextlib.contextmanager
def https_server(body: bytes, *, location: str = "") -> Iterator[tuple[int, bytes]]:
    """
    The port of an HTTPS server that answers everything with this, and the trust anchor of its certificate.

    With a location it sends everybody there.
    """

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(302 if location else 200)
            self.send_header("Last-Modified", "Fri, 15 Jan 2027 00:00:00 GMT")
            if location:
                self.send_header("Location", location)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        anchor = of_today()
        issued = anchor.issue("127.0.0.1", ["127.0.0.1"])
        server.socket = tls_server([issued]).wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_port, anchor.pem
        server.shutdown()
        thread.join()


def of_today(name: str = "Web") -> Minted:
    """
    A CA: Python's own TLS client judges by the clock of the day, and so does nginx.
    """
    return new_root(name, not_before=0, not_after=4_000_000_000)


def test_a_redirect_from_https_to_http_is_refused(tmp_path: Path, server: WebServer) -> None:
    """
    Nobody is asked there, and what the address has in it beside the path is not told.
    """
    server.pages["/x?token=sesame"] = Page(leaf().pem)
    with https_server(b"", location=server.url("/x?token=sesame").replace("://", "://user:hunter2@")) as made:
        port, anchor = made
        (tmp_path / "ca.pem").write_bytes(anchor)
        row = look(f"pem+https://127.0.0.1:{port}/a", ca_file=str(tmp_path / "ca.pem"))
    assert outcome(row) == "http_failed"
    assert f"from HTTPS to plain HTTP, {server.url('/x')}?..." in detail(row)
    assert "sesame" not in detail(row)
    assert "hunter2" not in detail(row)
    assert server.asked == []


def test_downloads_refuse_it_too(tmp_path: Path, server: WebServer) -> None:
    """
    Lists of registries, and all else that is looked up in the background.
    """
    server.pages["/x"] = Page(b"{}")
    with https_server(b"", location=server.url("/x")) as (port, anchor):
        (tmp_path / "ca.pem").write_bytes(anchor)
        trust = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
        with pytest.raises(ProbeError, match="from HTTPS to plain HTTP") as caught:
            downloaded(f"https://127.0.0.1:{port}/a", trust=trust)
    assert caught.value.reason is Reason.HTTP_FAILED
    assert server.asked == []


def test_downloads_trust_the_system_as_it_is_when_one_needs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Not as it was when a library was imported, which may have seen none.
    """
    with https_server(b"here") as (port, anchor):
        (tmp_path / "ca.pem").write_bytes(anchor)
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        system_context.cache_clear()
        try:
            assert downloaded(f"https://127.0.0.1:{port}/a").body == b"here"
        finally:
            system_context.cache_clear()


def test_downloads_follow_other_redirects(server: WebServer) -> None:
    """
    What was posted is posted again after 307 and 308 only.
    """
    server.pages["/a"] = Page(status=307, headers={"Location": "b"})
    server.pages["/b"] = Page(status=303, headers={"Location": server.url("/c")})
    server.pages["/c"] = Page(b"here")
    got = downloaded(server.url("/a"), body=b"question")
    assert got.body == b"here"
    assert server.asked == [("POST", "/a", b"question"), ("POST", "/b", b"question"), ("GET", "/c", b"")]


@pytest.mark.parametrize(
    ("location", "words"),
    [("/a", "more than 3 redirects"), ("ftp://a.example/", "no web page"), ("", "no web page")],
)
def test_downloads_that_lead_nowhere_say_so(server: WebServer, location: str, words: str) -> None:
    """
    Round in a circle, and to what is not HTTP.
    """
    server.pages["/a"] = Page(status=302, headers={"Location": location})
    with pytest.raises(ProbeError, match=words):
        downloaded(server.url("/a"))


@given(st.text(), st.text())
def test_no_location_is_a_surprise(url: str, location: str) -> None:
    """
    Whatever a server writes there, it is followed by HTTPS, or refused.
    """
    for base in ("https://a.example/x", f"https://a.example/{url}"):
        with contextlib.suppress(ProbeError):
            assert destination(base, location).startswith("https://")


def test_a_key_set_over_https_by_a_private_ca(tmp_path: Path) -> None:
    """
    `ca_file` is what the web server is trusted by; without it, the system's store refuses it.
    """
    with https_server(key_set({"kid": "one", "x5c": x5c(leaf())})) as (port, anchor):
        (tmp_path / "ca.pem").write_bytes(anchor)
        url = f"jwks+https://127.0.0.1:{port}/keys"
        trusted = look(url, ca_file=str(tmp_path / "ca.pem"))
        refused = look(url)
        missing = look(url, ca_file=str(tmp_path / "none.pem"))
    assert outcome(trusted) == "seen"
    assert items(trusted) == ["one"]
    assert outcome(refused) == "http_failed"
    assert "ca_file" in detail(refused)
    assert outcome(missing) == "http_failed"
    assert "ca_file" in detail(missing)


def test_documents_and_files_are_probed_only_where_the_configuration_names_their_scheme() -> None:
    """
    `/probe` would else read this host's files and its network for anybody who asks.
    """
    for url in ("file:///etc/passwd", "pem+https://internal.example/x"):
        with pytest.raises(TargetError, match=r"probe\.allow"):
            target_for(Config(), url, None)
        assert target_for(Config(probe_allow=(url.partition("/")[0] + "*",)), url, None).url.text == url


class Wanting:
    """
    A web server that wants a client certificate, and a target of it.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.anchor, self.clients = of_today(), of_today("Clients")
        (directory / "ca.pem").write_bytes(self.anchor.pem)
        (directory / "www").mkdir()
        (directory / "www" / "bundle.pem").write_bytes(leaf().pem)

    @contextlib.contextmanager
    def nginx(self) -> Iterator[str]:
        """
        `host:port` of an nginx with `ssl_verify_client on`.
        """
        chain = self.anchor.issue("127.0.0.1", ["127.0.0.1"]).chain
        site = Site([chain], client_ca=self.clients, root=self.directory / "www")
        with nginx(self.directory, site) as running:
            yield running.authority

    def shown(self, name: str, by: Minted, password: bytes | None = None) -> dict[str, object]:
        """
        Settings of a target with a new client certificate of this CA.
        """
        made = by.issue("exporter", extended_key_usage=["1.3.6.1.5.5.7.3.2"])
        certificate, key = write_pair(self.directory, name, [made])
        if password is not None:
            encrypted = made.key.private_bytes(
                Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(password)
            )
            key.write_bytes(encrypted)
        return {"client_certificate_file": str(certificate), "client_key_file": str(key)}

    def look(self, place: str, **settings: object) -> EndpointRow:
        """
        The row of the bundle at this place.
        """
        return look(f"pem+https://{place}/bundle.pem", ca_file=str(self.directory / "ca.pem"), **settings)


@pytest.fixture
def wanting(tmp_path: Path) -> Wanting:
    """
    Files for such a server.
    """
    return Wanting(tmp_path)


def test_a_document_behind_a_client_certificate(wanting: Wanting) -> None:
    """
    It is shown, also with a pass phrase, and is itself an item of the endpoint.
    """
    with wanting.nginx() as place:
        plain = wanting.look(place, **wanting.shown("one", wanting.clients))
        locked = wanting.shown("two", wanting.clients, b"sesame")
        opened = wanting.look(place, **locked, client_key_password="sesame")
    for row in (plain, opened):
        assert outcome(row) == "seen"
        assert items(row) == ["leaf", "client"]


def test_a_server_that_wants_one_and_gets_none_or_another(wanting: Wanting) -> None:
    """
    By a page with status 400. Our certificate is an item nevertheless: it may be what is wrong.
    """
    with wanting.nginx() as place:
        without = wanting.look(place)
        wrong = wanting.look(place, **wanting.shown("wrong", of_today("Others")))
    assert outcome(without) == "client_certificate_required"
    assert outcome(wrong) == "client_certificate_refused"
    assert items(without) == []
    assert items(wrong) == ["client"]


def test_a_server_that_ends_the_handshake_over_it(wanting: Wanting) -> None:
    """
    As HAProxy does, in both versions of TLS.
    """
    chain = wanting.anchor.issue("127.0.0.1", ["127.0.0.1"]).chain
    for version in ("TLSv1.2", "TLSv1.3"):
        settings = f"ssl-min-ver {version} ssl-max-ver {version}"
        with haproxy(wanting.directory, chain, client_ca=wanting.clients, settings=settings) as running:
            wrong = wanting.look(running.authority, **wanting.shown("wrong", of_today("Others")))
            without = wanting.look(running.authority)
        assert outcome(wrong) == "client_certificate_refused", detail(wrong)
        # Before TLS 1.3 there was no alert for it.
        assert outcome(without) in {"client_certificate_required", "handshake_refused"}, detail(without)
        if version == "TLSv1.3":
            assert outcome(without) == "client_certificate_required"


def test_a_client_certificate_that_cant_be_used_says_so(wanting: Wanting) -> None:
    """
    Nothing is asked then, and the pass phrase is in no message.
    """
    with wanting.nginx() as place:
        locked = wanting.shown("locked", wanting.clients, b"sesame")
        for password in (None, "hunter2"):
            row = wanting.look(place, **locked, client_key_password=password)
            assert outcome(row) == "client_certificate_unusable"
            assert "locked" in detail(row)
            assert "hunter2" not in detail(row)
        missing = wanting.look(place, client_certificate_file=str(wanting.directory / "none.pem"))
    assert outcome(missing) == "client_certificate_unusable"


def test_it_is_not_shown_where_a_redirect_leads(wanting: Wanting) -> None:
    """
    The other server was not named by anybody who configured it.
    """
    with contextlib.ExitStack() as stack:
        place = stack.enter_context(wanting.nginx())
        port, anchor = stack.enter_context(https_server(b"", location=f"https://{place}/bundle.pem"))
        both = wanting.directory / "both.pem"
        both.write_bytes(anchor + wanting.anchor.pem)
        settings = {**wanting.shown("one", wanting.clients), "ca_file": str(both)}
        row = look(f"pem+https://127.0.0.1:{port}/", **settings)
    assert outcome(row) == "client_certificate_required"


def test_without_tls_there_is_nobody_to_show_it_to(wanting: Wanting, server: WebServer) -> None:
    """
    So it is no item.
    """
    server.pages["/x"] = Page(leaf().pem)
    row = look(f"pem+{server.url('/x')}", **wanting.shown("one", wanting.clients))
    assert items(row) == ["leaf"]
