"""
Documents on real web servers: what is in them, and every way in which they can't be had.
"""

import asyncio
import contextlib
import http.server
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from exporter.config import Config, target_for
from exporter.metrics import EndpointRow
from exporter.minter import root as new_root
from exporter.observation import Failed
from exporter.probes import url as module
from exporter.targets import Proxy, Target, TargetError, parse_url
from tests.formats.samples import issuer, key_set, kubeconfig, leaf, old_pkcs12_store, root, x5c
from tests.support.certificates import NOW
from tests.support.processes import free_port
from tests.support.web_server import Page, WebServer, web_server
from tests.wire.probing import scrape, tls_server, watching


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


def outcome(row: EndpointRow) -> str:
    """
    `seen`, or the reason of the failure.
    """
    observation = row.held.observation
    return str(observation.reason) if isinstance(observation, Failed) else "seen"


def detail(row: EndpointRow) -> str:
    """
    The sentence of a failed look.
    """
    assert isinstance(row.held.observation, Failed)
    return row.held.observation.detail


def names(row: EndpointRow) -> list[str]:
    """
    The names of the items that are held.
    """
    return [item.name for item in row.held.facts.items] if row.held.facts is not None else []


def test_a_bundle_over_http(server: WebServer) -> None:
    """
    The endpoint is the server, and its path and query are asked for as written.
    """
    server.pages["/ca.pem?v=1"] = Page(root().pem + issuer().pem)
    row = look(f"pem+{server.url('/ca.pem?v=1')}")
    assert outcome(row) == "seen"
    assert row.label == f"127.0.0.1:{server.port}"
    assert names(row) == ["certificate-1", "certificate-2"]


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
    assert names(row) == ["cluster/prod"]


def test_nobody_listens_and_no_such_name() -> None:
    """
    Reasons are those of every other connection.
    """
    assert outcome(look(f"pem+http://127.0.0.1:{free_port()}/")) == "connection_refused"
    assert outcome(look("pem+https://does-not-exist.invalid/")) == "dns_failed"


def test_a_server_that_says_nothing_runs_out_of_time() -> None:
    """
    The target's timeout holds for the whole document.
    """
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as silent:
        # It listens, and nobody accepts.
        row = look(f"pem+http://127.0.0.1:{silent.server_port}/", timeout=0.3)
    assert outcome(row) == "timeout"


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
def https_server(body: bytes) -> Iterator[tuple[int, bytes]]:
    """
    The port of an HTTPS server that answers everything with this, and the trust anchor of its certificate.
    """

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Last-Modified", "Fri, 15 Jan 2027 00:00:00 GMT")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        # Python's own TLS client judges by the clock of the day.
        anchor = new_root("Web", not_before=0, not_after=4_000_000_000)
        issued = anchor.issue("127.0.0.1", ["127.0.0.1"])
        server.socket = tls_server([issued]).wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_port, anchor.pem
        server.shutdown()
        thread.join()


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
    assert names(trusted) == ["one"]
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
