"""
What strangers may make the exporter do and say: servers, certificates, name servers, callers of `/probe`.
"""

import asyncio
import contextlib
import json
import logging
import selectors
import socket
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from exporter.cli import main
from exporter.config.reader import parse
from exporter.config.settings import Config, NotAllowedError, target_for
from exporter.demo.minter import Minted
from exporter.logs import LogfmtFormatter
from exporter.model.destinations import Range
from exporter.model.errors import ProbeError
from exporter.model.hosts import parse_ip
from exporter.model.proxies import Proxy
from exporter.model.reasons import Reason
from exporter.model.targets import Target
from exporter.model.urls import parse_url
from exporter.server.app import application
from exporter.server.service import Options, Service
from tests.lookups.revocation.making import lists_at, responders_at
from tests.probes.tls.wire.probing import NAME, Names, look, see, target, told
from tests.support import misbehaving
from tests.support.certificates import NOW
from tests.support.rows import detail
from tests.support.servers import Site, nginx, s_server
from tests.support.web_server import Page, WebServer, downloaded, web_server

Client = TestClient[web.Request, web.Application]

METADATA = "169.254.169.254"


@contextlib.asynccontextmanager
async def serving(config: Config, names: Names | None = None) -> AsyncIterator[Client]:
    """
    A client of a server with this configuration, and look-ups that are a fake: see `probing.Names`.
    """
    service = Service(lambda: config, Options(), asyncio.get_running_loop(), lambda: NOW)
    if names is not None:
        object.__setattr__(service.dependencies, "resolver", names)
    try:
        async with TestClient(TestServer(application(service, 0.5))) as client:
            yield client
    finally:
        await service.close()


async def get(client: Client, path: str, **query: str) -> tuple[int, str]:
    """
    Status and text of an answer.
    """
    async with client.get(path, params=query) as answer:
        return answer.status, await answer.text()


def run(work: Coroutine[Any, Any, None]) -> None:
    """
    Until the end.
    """
    asyncio.run(work)


def log(caplog: pytest.LogCaptureFixture) -> str:
    """
    What was logged, as it is written.
    """
    return "\n".join(map(LogfmtFormatter().format, caplog.records))


@pytest.fixture
def server() -> Iterator[WebServer]:
    """
    A web server on loopback.
    """
    with web_server() as made:
        yield made


# What they say.

HOSTILE = "a\x1b[31m\x07\r\x85\u202eb"
"""Colours a terminal, rings its bell, overwrites a line, begins a new one, and turns the text round."""

PAGES = ("/metrics", "/", "/unwatched", "/api/v1/items", "/api/v1/unwatched", "/targets")
"""What tells of all targets."""

SHOWN = r"a\u001b[31m\u0007\r\u0085\u202eb"


def test_a_hostile_subject_is_raw_nowhere(
    tmp_path: Path, ca: Minted, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """
    Neither in metrics, nor among the steps, on pages, in JSON, the calendar or the log, nor on a terminal.
    """
    caplog.set_level(logging.DEBUG)
    minted = ca.issue(HOSTILE, [NAME, "b\x1b.example"])

    async def work(one: Target) -> None:
        async with serving(Config((one,))) as client:
            pages = {path: (await get(client, path))[1] for path in (*PAGES, "/targets/odd", "/calendar.ics")}
            pages["debug"] = (await get(client, "/probe", target="odd", debug="true"))[1]
        for path, text in pages.items():
            # In JSON an escape of its own would be undone by who reads it.
            read = "\n".join(map(str, _values(json.loads(text)))) if text.startswith(("{", "[")) else text
            for raw in "\x1b\x07\x85\u202e":
                assert raw not in read, path
            if path != "/calendar.ics":
                assert "\r" not in read, path
        assert SHOWN.replace("\\", r"\\") in pages["/metrics"]
        assert SHOWN in json.loads(pages["/api/v1/items"])["items"][0]["subject"]

    with s_server(tmp_path, minted.chain) as running:
        run(work(target(running, name="odd")))
        main.main(["check", "--output=json", f"tls://{running.authority}"])
        main.main(["check", f"tls://{running.authority}"])
    written = capsys.readouterr()
    assert SHOWN.replace("\\", r"\\") in written.out
    for text in (log(caplog), written.out, written.err):
        assert not set(text) & set("\x1b\x07\r\x85\u202e")


def _values(value: Any) -> Iterator[Any]:
    if isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _values(one)
    else:
        yield value


BANNERS = {
    "smtp": (b"554 5.7.1 build-agent-7.internal says no\r\n", "554 ("),
    "imap": (b"* BYE build-agent-7.internal is full\r\n", "its words"),
    "ftp": (b"build-agent-7.internal FTP\r\n", "its words"),
    "ldap": (b"SSH-2.0-build-agent-7.internal\r\n", "its words"),
    "mysql": (b"\x19\x00\x00\x00\xff\x15\x04build-agent-7.internal", "its words"),
    "mssql": (b"build-agent-7.internal", "its words"),
    "postgres": (b"build-agent-7.internal", "its words"),
    "rdp": (b"build-agent-7.internal", "its words"),
    "https": (b"build-agent-7.internal", "does not speak TLS"),
}


SPEAK_FIRST = {"smtp", "imap", "ftp", "mysql"}


@pytest.mark.parametrize("scheme", BANNERS)
def test_a_caller_does_not_read_what_a_service_says(scheme: str, caplog: pytest.LogCaptureFixture) -> None:
    """
    Else anybody could read the banners of what only the exporter reaches. Who configured the target can.
    """
    caplog.set_level(logging.DEBUG)
    banner, instead = BANNERS[scheme]

    async def work(port: int) -> None:
        url = f"{scheme}://127.0.0.1:{port}"
        known = Target(parse_url(url), "known", timeout=2.0)
        async with serving(Config((known,))) as client:
            texts = [(await get(client, "/probe", target=url, debug=debug))[1] for debug in ("true", "false")]
            assert instead in texts[0]
            said = log(caplog)
            for text in (*texts, said):
                assert "agent-7" not in text
                assert banner[:8].hex(" ") not in text
            _, text = await get(client, "/probe", target="known", debug="true")
            quoted = "agent-7" in text or banner[:8].hex(" ") in text
            assert quoted == (scheme != "https")

    with misbehaving.serving(misbehaving.saying(banner, first=scheme in SPEAK_FIRST)) as port:
        run(work(port))


def test_what_a_service_says_is_no_format(caplog: pytest.LogCaptureFixture) -> None:
    """
    Among the steps it stands as it came.
    """

    async def work(port: int) -> None:
        known = Target(parse_url(f"smtp://127.0.0.1:{port}"), "known", timeout=2.0)
        async with serving(Config((known,))) as client:
            _, text = await get(client, "/probe", target="known", debug="true")
        assert "failed: server_refused" in text
        assert "100%s %d full" in text
        assert "internal error" not in log(caplog)

    with misbehaving.serving(misbehaving.saying(b"554 100%s %d full\r\n", first=True)) as port:
        run(work(port))


def test_the_command_shows_what_a_service_says(capsys: pytest.CaptureFixture[str]) -> None:
    """
    Who starts it reaches the service anyway.
    """
    with misbehaving.serving(misbehaving.saying(BANNERS["smtp"][0], first=True)) as port:
        main.main(["check", f"smtp://127.0.0.1:{port}"])
    assert "build-agent-7.internal says no" in " ".join(capsys.readouterr().out.split())


def test_a_proxy_s_password_is_hidden_in_what_comes_through_it(caplog: pytest.LogCaptureFixture) -> None:
    """
    Also in the words of the server behind it, which it may have written itself.
    """
    said = b"HTTP/1.1 200 OK\r\n\r\n554 hunter22 or bWU6aHVudGVyMjI= or %68unter22 is no password\r\n"
    caplog.set_level(logging.DEBUG)
    with misbehaving.serving(misbehaving.saying(said)) as port:
        row = see("mail.example:25", scheme="smtp", proxy=Proxy("http", "127.0.0.1", port, "me:hunter22"))
    assert "[hidden] or [hidden] or" in detail(row)
    assert "hunter22 " not in detail(row) + log(caplog)


def test_a_proxy_of_the_environment_is_not_quoted_with_its_password(
    monkeypatch: pytest.MonkeyPatch, server: WebServer
) -> None:
    """
    It is sent to the proxy, and hidden in its words; `~/.netrc` is not used.
    """
    server.pages["http://crl.example/a"] = Page(status=302, headers={"Location": "http://x.example/hunter22"})
    monkeypatch.setenv("http_proxy", f"http://me:hunter%32%32@127.0.0.1:{server.port}")
    monkeypatch.delenv("no_proxy", raising=False)
    with pytest.raises(ProbeError, match="repeats the credentials") as caught:
        downloaded("http://crl.example/a")
    assert "hunter" not in caught.value.detail
    said = b"HTTP/1.1 2x0 hunter22 bWU6aHVudGVyMjI=\r\n\r\n"
    with misbehaving.serving(misbehaving.saying(said)) as port:
        monkeypatch.setenv("http_proxy", f"http://me:hunter22@127.0.0.1:{port}")
        with pytest.raises(ProbeError, match="is no proper HTTP") as caught:
            downloaded("http://crl.example/a?token=opensesame")
    for secret in ("hunter22", "bWU6aHVudGVyMjI", "opensesame"):
        assert secret not in caught.value.detail


def test_a_query_is_in_no_message_and_on_no_page(server: WebServer, caplog: pytest.LogCaptureFixture) -> None:
    """
    It may be a token. A redirect that repeats it, or has one of its own, is shown without.
    """
    caplog.set_level(logging.DEBUG)
    server.pages["/a?token=opensesame"] = Page(
        status=302, headers={"Location": "ftp://u:opensesame@a.example/?token=opensesame"}
    )
    one = Target(parse_url(f"pem+http://127.0.0.1:{server.port}/a?token=opensesame"), "doc")

    async def work() -> None:
        async with serving(Config((one,))) as client:
            for path in (*PAGES, "/targets/doc"):
                _, text = await get(client, path)
                assert "opensesame" not in text, path
            _, text = await get(client, "/probe", target="doc", debug="true")
            assert "leads to no web page" in text
            assert "opensesame" not in text + log(caplog)

    run(work())


# Where they lead.


def relaying(port: int) -> misbehaving.Answer:
    """
    A proxy that leads every CONNECT to this port of this host.
    """

    def answer(near: socket.socket, stop: threading.Event) -> None:
        while not near.recv(65536).endswith(b"\r\n\r\n"):
            pass
        near.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        with socket.create_connection(("127.0.0.1", port)) as far, selectors.DefaultSelector() as selector:
            selector.register(near, selectors.EVENT_READ, far)
            selector.register(far, selectors.EVENT_READ, near)
            while not stop.is_set():
                for key, _ in selector.select(0.05):
                    data = key.fileobj.recv(65536)  # type: ignore[union-attr]  # a socket
                    if not data:
                        return
                    key.data.sendall(data)

    return answer


async def steps_with(words: str, one: Target) -> str:
    """
    The steps of a look at a target, once these words are among them: look-ups go on in the background.
    """
    async with serving(Config((one,))) as client, asyncio.timeout(20):
        while True:
            _, text = await get(client, "/probe", target=one.name, debug="true")
            if words in text:
                return text
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("kind", ["crl", "ocsp"])
def test_a_certificate_does_not_lead_to_this_host(
    tmp_path: Path, ca: Minted, server: WebServer, kind: str
) -> None:
    """
    Its server is somewhere on the internet, as far as is known, and names a place on loopback.
    """
    place = server.url("/x?do=harm")
    extension = lists_at(place) if kind == "crl" else responders_at(place)
    leaf = ca.issue(NAME, [NAME], extensions=[extension])

    async def work(one: Target) -> None:
        text = await steps_with("who says so", one)
        assert f"it is not asked: {server.url('/x')}?... leads to 127.0.0.1, a loopback address" in text

    with (
        nginx(tmp_path, Site([leaf.chain])) as running,
        misbehaving.serving(relaying(running.port)) as port,
    ):
        proxy = Proxy("http", "127.0.0.1", port)
        run(work(target(f"{NAME}:443", name="x", proxy=proxy, crl=kind == "crl", ocsp=kind == "ocsp")))
    assert server.asked == []


def test_a_server_on_this_host_does_not_lead_to_the_metadata(tmp_path: Path, ca: Minted) -> None:
    """
    What is near it, it may name; what is elsewhere not.
    """
    leaf = ca.issue(NAME, [NAME], extensions=[lists_at(f"http://{METADATA}/latest/")])

    async def work(one: Target) -> None:
        text = await steps_with("metadata", one)
        assert "revocation list: http_failed: it is not asked" in text

    with nginx(tmp_path, Site([leaf.chain])) as running:
        run(work(target(running, name="x", crl=True)))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "[::1]", "0.0.0.0"])
def test_a_name_is_judged_by_the_address_that_is_connected_to(server: WebServer, host: str) -> None:
    """
    However it is written, and whatever it resolves to.
    """
    with pytest.raises(ProbeError, match=r"it is not asked: .* a loopback address"):
        downloaded(f"http://{host}:{server.port}/a", own=frozenset({Range.PRIVATE}))
    assert server.asked == []
    if host == "localhost":
        server.pages["/a"] = Page(b"good")
        got = downloaded(f"http://{host}:{server.port}/a", own=frozenset({Range.LOOPBACK}))
        assert got.body == b"good"


def test_redirects_of_look_ups_are_judged_at_each_step(server: WebServer) -> None:
    """
    The operator's own server may be here, and may lead to another place here, but not to the metadata.
    """
    server.pages["/a"] = Page(status=302, headers={"Location": server.url("/b")})
    server.pages["/b"] = Page(status=302, headers={"Location": f"http://{METADATA}/latest"})
    with pytest.raises(ProbeError, match=r"a redirect is not followed: .* metadata"):
        downloaded(server.url("/a"))
    assert [path for _, path, _ in server.asked] == ["/a", "/b"]


def test_redirects_through_a_proxy_are_judged_by_the_addresses_in_them(
    server: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    It resolves the names; what is known here is judged here.
    """
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.port}")
    monkeypatch.delenv("no_proxy", raising=False)
    for where in ("127.0.0.1:9", "localhost:9", f"{METADATA}", "10.0.0.1", "[::ffff:10.0.0.1]"):
        server.pages["http://rdap.example/a"] = Page(status=302, headers={"Location": f"http://{where}/"})
        with pytest.raises(ProbeError, match="a redirect is not followed"):
            downloaded("http://rdap.example/a")
    assert {path for _, path, _ in server.asked} == {"http://rdap.example/a"}


def test_redirects_of_documents_are_judged(server: WebServer) -> None:
    """
    By the same rule.
    """
    server.pages["/a"] = Page(status=302, headers={"Location": f"http://{METADATA}/latest/user-data"})
    row = see(server.port, scheme="pem+http")
    assert told(row) == ("http_failed",)
    server.pages["/"] = server.pages["/a"]
    row = see(server.port, scheme="pem+http")
    assert "a redirect is not followed" in detail(row)
    assert "metadata" in detail(row)


# What callers of /probe may ask for.


@pytest.mark.parametrize(
    ("allow", "url", "addresses", "permitted"),
    [
        # As the manual promises.
        (["*"], "https://a.example", ["127.0.0.1"], True),
        (["https://*"], "https://a.example", ["127.0.0.1"], True),
        # A name leads to public and internal servers, and not to this host.
        (["https://*.example"], "https://a.example", ["8.8.8.8", "10.0.0.1", "fd12::1"], True),
        (["https://*.example"], "https://a.example", ["8.8.8.8", "127.0.0.1"], False),
        (["https://*.example"], "https://a.example", [METADATA], False),
        (["https://*.example"], "https://a.example", ["fe80::1"], False),
        (["https://*.example"], "https://a.example", ["::ffff:127.0.0.1"], False),
        (["https://*.example"], "https://a.example", ["64:ff9b::a9fe:a9fe"], False),
        (["https://*.example"], "https://a.example", ["0.0.0.0"], False),
        (["https://*.example", "127.0.0.0/8"], "https://a.example", ["127.0.0.1"], True),
        (["https://*.example", "https://127.0.0.1"], "https://a.example", ["127.0.0.1"], True),
        (["https://*.example", "https://127.0.0.1"], "https://a.example", ["127.0.0.2"], False),
        # Names that always mean this host.
        (["https://localhost:*"], "https://localhost:8443", ["127.0.0.1", "::1"], True),
        (["localhost"], "tls://localhost:8443", ["127.0.0.1", "::1"], True),
        (["db"], "postgres://db", ["10.0.0.1"], True),
        (["db-*"], "postgres://db-1", ["127.0.0.1"], False),
        (["tls*"], "tls://a.example:1", ["127.0.0.1"], True),
        # Networks permit whatever leads there, by any name and port.
        (["10.0.0.0/8"], "https://a.example", ["10.1.2.3"], True),
        (["10.0.0.0/8"], "smtp://a.example", ["10.1.2.3"], True),
        (["10.0.0.0/8"], "https://a.example", ["10.1.2.3", "8.8.8.8"], False),
        (["10.0.0.0/8"], "https://a.example", ["127.0.0.1"], False),
        (["10.0.0.0/8"], "https://a.example", ["::ffff:10.0.0.1"], True),
        (["10.1.2.3"], "https://a.example", ["10.1.2.3"], True),
        (["[2001:db8::]/32"], "https://a.example", ["2001:db8::1"], True),
        (["2001:db8::/32"], "https://a.example", ["2001:db8::1"], True),
        # Addresses in the URL.
        (["10.0.0.0/8"], "https://10.1.2.3", [], True),
        (["10.0.0.0/8"], "https://8.8.8.8", [], None),
        (["10.0.0.0/8"], "https://[::ffff:10.0.0.1]", [], True),
        (["10.0.0.0/8"], "https://[::ffff:8.8.8.8]", [], None),
        # Ports, and ranges of them.
        (["10.0.0.0/8:443"], "https://a.example", ["10.1.2.3"], True),
        (["10.0.0.0/8:443"], "https://a.example:8443", ["10.1.2.3"], False),
        (["[2001:db8::]/32:8000-8999"], "https://a.example:8443", ["2001:db8::1"], True),
        (["[2001:db8::1]:443"], "https://[2001:db8::1]:444", [], None),
        (["*.example:443"], "https://a.example", ["8.8.8.8"], True),
        (["*.example:443"], "https://a.example:444", ["8.8.8.8"], None),
        (["*.example:443"], "https://a.example", ["127.0.0.1"], False),
        # `*` is everything but what gives a cloud's credentials away, in each of its forms.
        (["*"], "https://a.example", [METADATA], False),
        (["*"], "https://169.254.1.1", [], None),
        (["https://*"], "https://a.example", ["fe80::1"], False),
        (["*"], "https://a.example", ["fd00:ec2::254"], False),
        (["*"], "https://a.example", ["100.100.100.200"], False),
        (["*"], "https://a.example", ["::ffff:169.254.169.254"], False),
        (["*"], "https://a.example", ["64:ff9b::a9fe:a9fe"], False),
        (["*", "169.254.0.0/16"], "https://a.example", ["169.254.1.1"], True),
        (["*", f"https://{METADATA}"], "https://a.example", [METADATA], True),
        # Names without a scheme.
        (["*.example"], "smtp://a.example:587", ["8.8.8.8"], True),
        (["*.example"], "smtp://a.example:587", ["127.0.0.1"], False),
        (["a.example"], "https://b.example", [], None),
        # What reads with the exporter's own rights is never meant by them.
        (["10.0.0.0/8", "*.example"], "pem+https://10.0.0.1/a", [], None),
        (["10.0.0.0/8", "*.example"], "pem+https://a.example/a", [], None),
        (["pem+https://a.example/*"], "pem+https://a.example/a", ["127.0.0.1"], False),
        ([], "https://a.example", [], None),
    ],
)
def test_what_is_connected_to_is_what_is_permitted(
    allow: list[str], url: str, addresses: list[str], permitted: bool | None
) -> None:
    """
    None: it is refused before the name is looked up.
    """
    config = Config(probe_allow=tuple(allow))
    if permitted is None:
        with pytest.raises(NotAllowedError, match=r"probe\.allow"):
            target_for(config, url, None)
        return
    one = target_for(config, url, None)
    assert one.forbids is not None
    found = [parse_ip(text) for text in addresses or [one.url.host]]
    refused = [one.forbids(ip) for ip in found if ip is not None]
    assert any(refused) != permitted
    assert all("probe.allow" in why for why in refused if why)


def test_where_a_proxy_resolves_names_networks_permit_none() -> None:
    """
    Nobody knows where it would lead.
    """
    config = parse(
        b"{targets: [], defaults: {proxy: 'http://proxy:3128'}, probe: {allow: [10.0.0.0/8, '*.a.example']}}",
        "expiry.yml",
        {},
    )
    assert target_for(config, "https://10.0.0.1", None).proxy is not None
    assert target_for(config, "https://x.a.example", None).proxy is not None
    with pytest.raises(NotAllowedError):
        target_for(config, "https://x.example", None)


def test_a_name_that_is_bent_to_this_host_is_status_403(caplog: pytest.LogCaptureFixture) -> None:
    """
    The first look-up gives a good address, the next ones lead here: each is judged, and none is connected to.
    """
    names = Names(evil=["127.0.0.1"], good=["127.0.0.1"])

    async def work(port: int) -> None:
        config = Config(probe_allow=(f"https://*.example:{port}", f"https://127.0.0.9:{port}"))
        async with serving(config, names) as client:
            url = f"https://evil.example:{port}"
            names.addresses["evil"] = ["127.0.0.9"]
            status, _ = await get(client, "/probe", target=url)
            assert status == 200
            names.addresses["evil"] = ["127.0.0.1"]
            for debug in ("true", "false"):
                status, text = await get(client, "/probe", target=url, debug=debug)
                assert status == 403
                assert "evil.example has the address 127.0.0.1, a loopback address" in text
                assert "add the address" in text
            status, text = await get(client, "/probe", target=f"https://127.0.0.1:{port}")
            assert status == 403
            assert "does not permit it" in text

    with socket.create_server(("127.0.0.1", 0)) as listener:
        run(work(listener.getsockname()[1]))
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()
    assert str(Reason.ADDRESS_NOT_ALLOWED) in log(caplog)


def test_a_document_s_name_is_judged_when_it_is_connected_to(server: WebServer) -> None:
    """
    What is asked of a document that nobody configured, at its first place.
    """
    url = parse_url(f"pem+http://localhost:{server.port}/a")
    (row,) = look(Target(url, "a", forbids=lambda address: f"no {address}"))
    assert told(row) == ("address_not_allowed",)
    assert "no 127.0.0.1" in detail(row)
    assert server.asked == []
