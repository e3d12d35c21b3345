"""
Source `certificate_transparency`: fakes of crt.sh and Cert Spotter, which answer in their formats.
"""

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from exporter.cli.main import main
from exporter.config.reader import parse
from exporter.config.sources import TransparencySource
from exporter.discovery import certificate_transparency as module
from exporter.discovery.base import Context, Listing, SourceError
from exporter.discovery.runner import Discovery
from exporter.net.network import Network
from exporter.yaml_lines import ConfigError
from tests.support.resolvers import Names, asks

HOUR = 3600.0


NOW = 1_800_000_000.0
"""2027-01-15T08:00:00Z"""


Query = dict[str, list[str]]


@dataclass(slots=True)
class FakeLogs:
    """
    A fake of both services: answers what a test says, and remembers what it was asked.
    """

    port: int = 0
    answer: Callable[[Query], tuple[int, Any, dict[str, str]]] = lambda _: (200, [], {})
    """From the query to status, body (bytes, or what becomes JSON) and headers."""
    endless: bool = False
    silent: bool = False
    asked: list[Query] = field(default_factory=list)
    tokens: list[str | None] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        """
        Its address.
        """
        return f"http://127.0.0.1:{self.port}/api"

    def says(self, body: Any, status: int = 200, **headers: str) -> None:
        """
        Give the same answer to all from now on.
        """
        self.answer = lambda _: (status, body, headers)


@pytest.fixture
def logs() -> Iterator[FakeLogs]:
    """
    A fake that listens.
    """
    fake = FakeLogs()

    class Handler(BaseHTTPRequestHandler):
        """
        Answers as the fake says.
        """

        def do_GET(self) -> None:
            query = parse_qs(urlsplit(self.path).query)
            fake.asked.append(query)
            fake.tokens.append(self.headers.get("Authorization"))
            status, body, headers = fake.answer(query)
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            with contextlib.suppress(ConnectionError):
                if fake.silent:
                    self.wfile.write(b"[")
                    fake.over.wait(120)
                for _ in range(1024 if fake.endless else 0):
                    self.wfile.write(b" " * 1024 * 1024)
                self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """
            Nothing: the test knows what was asked.
            """

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        fake.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield fake
        finally:
            fake.over.set()
            server.shutdown()
            thread.join()


def crt_sh(*names: str, end: str = "2027-03-01T00:00:00", number: int = 7) -> dict[str, Any]:
    """
    One element of crt.sh's answer.
    """
    return {
        "issuer_ca_id": 295814,
        "issuer_name": "C=US, O=Let's Encrypt, CN=R11",
        "common_name": names[0],
        "name_value": "\n".join(names),
        "id": number,
        "entry_timestamp": "2026-12-01T00:58:31.123",
        "not_before": "2026-12-01T00:00:00",
        "not_after": end,
        "serial_number": "03a1",
        "result_count": 2,
    }


def cert_spotter(number: int, *names: str, end: str = "2027-03-01T00:00:00Z") -> dict[str, Any]:
    """
    One element of Cert Spotter's answer.
    """
    return {
        "id": str(number),
        "tbs_sha256": "00",
        "cert_sha256": "00",
        "dns_names": names,
        "issuer": {"friendly_name": "Let's Encrypt", "name": "C=US, O=Let's Encrypt, CN=R11"},
        "not_before": "2026-12-01T00:00:00Z",
        "not_after": end,
        "revoked": False,
    }


def settings(logs: FakeLogs, **given: Any) -> TransparencySource:
    """
    The settings as a configuration gives them.
    """
    usual = {"domains": ["example.com"], "source": "crt.sh", "url": logs.url, "token_file": None}
    return TransparencySource.model_construct(**{**usual, **given})


def run(given: TransparencySource, remembered: Any = None, now: float = NOW, **more: Any) -> Listing:
    """
    One run. What is remembered goes through JSON, as in the state. `more` is of the context.
    """

    async def once() -> Listing:
        network = Network(asyncio.get_running_loop())
        try:
            context = Context(network, now, json.loads(json.dumps(remembered)), **more)
            return await module.SOURCE.run(given, context)
        finally:
            network.close()

    return asyncio.run(once())


def failed(given: TransparencySource, remembered: Any = None, now: float = NOW) -> SourceError:
    """
    The failure of a run.
    """
    with pytest.raises(SourceError) as told:
        run(given, remembered, now)
    return told.value


def urls(listing: Listing | None) -> list[str]:
    """
    The URLs that were found.
    """
    return [one.url for one in listing.named] if listing is not None else []


def test_crt_sh(logs: FakeLogs) -> None:
    """
    Names that can be targets, each once, with the certificate that is valid longest; the others are told.
    """
    long = ".".join(["a" * 61] * 4)
    logs.says(
        [
            crt_sh("www.example.com", "WWW.example.com", "*.apps.example.com", end="2027-02-01T00:00:00"),
            crt_sh("www.example.com", "shop.example.com", number=8),
            crt_sh("old.example.com", end="2027-01-15T07:59:59"),
            crt_sh("xn--bcher-kva.example.com", "b\u00fccher.example.com", "gone.example.com"),
            crt_sh("a_b.example.com", f"{long}.example.com", "admin@example.com", "x y.example.com"),
            crt_sh("example.com", "example.org", "badexample.com", "lame.example.com"),
            crt_sh("localhost.example.com"),
            {"issuer_name": "of another form"},
        ]
    )
    listing = run(settings(logs))
    names = ("", "gone.", "lame.", "shop.", "www.", "xn--bcher-kva.")
    assert urls(listing) == [f"https://{name}example.com" for name in names]
    why = "on a certificate by C=US, O=Let's Encrypt, CN=R11 until 2027-03-01: number 8 at crt.sh"
    assert listing.named[4].why == why
    assert listing.notes == (
        f"entries that are not host names: 2, such as {long[:80]}...",
        "localhost, which is another host for each client: 1, such as localhost.example.com",
        "names with an underscore, which no host has: 1, such as a_b.example.com",
        "wildcards, which can't be asked for: 1, such as *.apps.example.com",
    )
    wanted = {"q": ["%.example.com"], "output": ["json"], "exclude": ["expired"], "deduplicate": ["Y"]}
    assert logs.asked == [wanted, {**wanted, "q": ["example.com"]}]


def test_what_a_log_says_is_only_text(logs: FakeLogs) -> None:
    """
    Numbers come with what terminals act on, or are none; a certificate ends after the last year that has a
    name, or at what is no time of RFC 3339. The others are found all the same, and all that is kept can be
    written and read again.
    """
    odd = "\x1b[31m\u202e\x07\ud800"
    logs.says(
        [
            {**crt_sh("odd.example.com"), "id": odd, "serial_number": odd},
            {**crt_sh("list.example.com"), "id": [[[]]]},
            {**crt_sh("late.example.com", end="9999-12-31T23:59:59-23:59"), "id": 9},
            {**crt_sh("early.example.com", end="0001-01-01T00:00:00+23:59"), "id": 9},
            {**crt_sh("leap.example.com", end="9999-12-31T23:59:60Z"), "id": 9},
            {**crt_sh("week.example.com", end="2027-W09-1"), "id": 9},
            {**crt_sh("long.example.com"), "name_value": "b\u00fc" * 30_000 + ".example.com"},
            crt_sh("www.example.com"),
        ]
    )
    listing = run(settings(logs))
    assert urls(listing) == ["https://odd.example.com", "https://www.example.com"]
    why = "on a certificate by C=US, O=Let's Encrypt, CN=R11 until 2027-03-01: number "
    assert listing.named[0].why == rf"{why}\u001b[31m\u202e\u0007\ud800 at crt.sh"
    told = {one.reference: one.serial for one in module.SOURCE.issuances(listing.remember)}
    assert told == {r"number \u001b[31m\u202e\u0007\ud800 at crt.sh": "", "number 7 at crt.sh": "3a1"}


def test_an_answer_is_kept_for_hours(logs: FakeLogs) -> None:
    """
    Over a restart too; what ended meanwhile goes. Another server's answer is not used.
    """
    logs.says([crt_sh("www.example.com"), crt_sh("short.example.com", end="2027-01-15T09:00:00")])
    first = run(settings(logs))
    assert len(first.named) == 2
    second = run(settings(logs), first.remember, NOW + 2 * HOUR)
    assert (urls(second), len(logs.asked)) == (["https://www.example.com"], 2)
    logs.says([crt_sh("new.example.com")])
    third = run(settings(logs), second.remember, NOW + 6 * HOUR)
    assert (urls(third), len(logs.asked)) == (["https://new.example.com"], 4)
    other = settings(logs, url=f"{logs.url}?key=1")
    run(other, third.remember, NOW + 6 * HOUR)
    assert len(logs.asked) == 6
    for damaged in (7, {"place": ["crt.sh", logs.url], "domains": {"example.com": [1, 2, "", {"a": [1]}]}}):
        assert urls(run(settings(logs), damaged)) == ["https://new.example.com"]


def test_a_run_that_is_stopped_keeps_the_answers_that_it_has(logs: FakeLogs) -> None:
    """
    Their domains are not asked for again after a restart.
    """
    logs.says([crt_sh("www.example.com")])
    reached: list[Callable[[], Any]] = []
    halves: list[Any] = []

    def stop(words: str) -> None:
        if words.endswith("2 of 2"):
            halves.append(json.loads(json.dumps(reached[-1]())))

    both = settings(logs, domains=["example.com", "example.org"])
    run(both, so_far=reached.append, progress=stop)
    asked = len(logs.asked)
    again = run(both, halves[0])
    assert len(logs.asked) == asked + asked // 2
    assert "https://www.example.com" in urls(again)


def test_too_many_requests_then_good(logs: FakeLogs) -> None:
    """
    The pause that the server asks for goes to the runner, other domains wait too, the last answer stays.
    """
    given = settings(logs, domains=["example.com", "example.org"])
    logs.answer = lambda query: (200, [crt_sh(f"www{query['q'][0][1:]}")], {})
    first = run(given)
    both = ["https://www.example.com", "https://www.example.org"]
    assert urls(first) == both
    logs.says(b"slow down", 429, Retry_After="7200")
    error = failed(given, first.remember, NOW + 6 * HOUR)
    assert "example.com" in str(error)
    assert "status 429, too many requests" in str(error)
    assert (error.retry_after, urls(error.listing), len(logs.asked)) == (7200, both, 5)
    logs.says(b"", 503, Retry_After="Sat, 01 Jan 2028 00:00:00 GMT")
    assert failed(given, None, NOW).retry_after == 86400
    logs.says([])
    assert error.listing is not None
    assert urls(run(given, error.listing.remember, NOW + 8 * HOUR)) == []


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        *((b"", 502, "status 502"), (b"", 403, "check `token_file`"), (b"<html>", 200, "no list")),
        *((b"{}", 200, "no list"), (b"[1]", 200, "no list"), (b'[{"id": 1}]', 200, "no list")),
        *((b"[" * 100_000, 200, "no list"), (b"\xff", 200, "no list"), (b"", 200, "no list")),
    ],
)
@pytest.mark.parametrize("source", ["crt.sh", "certspotter"])
def test_what_is_no_answer_is_told(logs: FakeLogs, body: bytes, status: int, words: str, source: str) -> None:
    """
    A domain that fails holds up no other: what there is comes with the failure, and only it is asked again.
    """

    def answer(query: Query) -> tuple[int, Any, dict[str, str]]:
        if "example.com" in f"{query}":
            return status, body, {}
        good = crt_sh("a.example.org") if source == "crt.sh" else cert_spotter(1, "a.example.org")
        return 200, [] if "after" in query else [good], {}

    logs.answer = answer
    given = settings(logs, source=source, domains=["example.com", "example.org"])
    error = failed(given)
    assert words in str(error)
    assert urls(error.listing) == ["https://a.example.org"]
    assert error.listing is not None
    before = len(logs.asked)
    failed(given, error.listing.remember, NOW + 60)
    assert len(logs.asked) == before + 1
    assert failed(settings(logs, source=source)).listing is None


def test_an_endless_answer_is_refused(logs: FakeLogs) -> None:
    """
    Before more than the limit was kept.
    """
    logs.endless = True
    assert f"more than {module.SIZE_LIMIT:,} bytes" in str(failed(settings(logs)))


def test_a_slow_answer_is_given_up(logs: FakeLogs, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    After the limit.
    """
    monkeypatch.setattr(module, "ANSWER_TIMEOUT", 0.3)
    logs.silent = True
    assert "did not end its answer in 0.3 s" in str(failed(settings(logs)))


def pages(query: Query) -> tuple[int, Any, dict[str, str]]:
    """
    Three certificates, one on each page.
    """
    number = int(query.get("after", ["0"])[0]) + 1
    return 200, [cert_spotter(number, f"n{number}.example.com")] if number <= 3 else [], {}


def test_cert_spotter_is_read_page_by_page(logs: FakeLogs, tmp_path: Path) -> None:
    """
    With the token; the next run asks only for what is newer.
    """
    (tmp_path / "token").write_text("k123\n")
    given = settings(logs, source="certspotter", token_file=str(tmp_path / "token"))
    logs.answer = pages
    first = run(given)
    assert urls(first) == [f"https://n{number}.example.com" for number in (1, 2, 3)]
    assert first.named[0].why == "on a certificate by Let's Encrypt until 2027-03-01: number 1 at certspotter"
    assert set(logs.tokens) == {"Bearer k123"}
    wanted = {"domain": ["example.com"], "include_subdomains": ["true"], "expand": ["dns_names", "issuer"]}
    assert logs.asked[:2] == [wanted, {**wanted, "after": ["1"]}]
    again = run(given, first.remember, NOW + 6 * HOUR)
    assert (urls(again), logs.asked[4:]) == (urls(first), [{**wanted, "after": ["3"]}])


def test_pages_go_on_where_they_were_refused(logs: FakeLogs, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    By the server, or by the limit; and a server that repeats its last page ends them.
    """
    given = settings(logs, source="certspotter")
    logs.answer = lambda query: pages(query) if len(logs.asked) < 3 else (429, b"", {"Retry-After": "5"})
    error = failed(given)
    assert error.listing is not None
    assert (len(error.listing.named), error.retry_after) == (2, 5)
    monkeypatch.setattr(module, "PAGES", 1)
    logs.answer = pages
    limited = run(given, error.listing.remember, NOW + 60)
    assert (len(limited.named), len(limited.notes)) == (3, 1)
    assert "more than 1 pages" in limited.notes[0]
    logs.says([cert_spotter(3, "n3.example.com")])
    assert run(given, limited.remember, NOW + 120).notes == ()


def test_names_are_bounded(logs: FakeLogs, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Over all domains, and told.
    """
    monkeypatch.setattr(module, "NAMES_LIMIT", 3)
    logs.answer = lambda query: (200, [crt_sh(*(f"{n}{query['q'][0][1:]}" for n in "ab"))], {})
    listing = run(settings(logs, domains=["example.com", "example.org"]))
    assert len(listing.named) == 3
    assert listing.notes == ("example.org: more than 3 names in all: the others are left out",)


def test_a_run_ends(logs: FakeLogs, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The next one goes on with the domains that were not asked for.
    """
    monkeypatch.setattr(module, "RUN", -1.0)
    listing = run(settings(logs))
    assert listing.notes == ("domains that are not asked for yet: 1; the next run goes on with them",)
    assert logs.asked == []


def test_a_token_that_is_none_is_refused(logs: FakeLogs, tmp_path: Path) -> None:
    """
    Without a word of it.
    """
    given = settings(logs, source="certspotter", token_file=str(tmp_path / "token"))
    assert "there is no file" in str(failed(given))
    (tmp_path / "token").write_text("two\nlines")
    assert str(failed(given)).endswith("must hold one line: the token")


def test_a_redirect_gets_no_token(logs: FakeLogs, tmp_path: Path) -> None:
    """
    It may lead to another server.
    """
    (tmp_path / "token").write_text("k123")
    elsewhere = f"http://localhost:{logs.port}/elsewhere"
    logs.answer = lambda _: (302 if len(logs.asked) == 1 else 200, [], {"Location": elsewhere})
    given = settings(logs, source="certspotter", token_file=str(tmp_path / "token"))
    assert run(given).named == ()
    assert logs.tokens == ["Bearer k123", None]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("{domains: 10.0.0.1}", "must be a registered domain"),
        ("{domains: com}", "must be a registered domain"),
        ("{domains: ['a b.com']}", "is not a host name"),
        ("{domains: example.com, token_file: a}", "crt.sh takes no token"),
        ("{domains: example.com, url: ftp://a}", "must be a URL"),
    ],
)
def test_settings_with_a_fault_are_refused(given: str, words: str) -> None:
    """
    When the configuration is read.
    """
    with pytest.raises(ConfigError, match=words):
        parse(f"discover:\n- certificate_transparency: {given}".encode(), "expiry.yml", {})


def test_discover_prints_what_there_is(
    logs: FakeLogs, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    With the failure on standard error, and in the exit code.
    """
    real = socket.getaddrinfo

    def asked(host: str, *others: Any) -> Any:
        return real("127.0.0.1" if host == "www.example.org" else host, *others)

    monkeypatch.setattr(socket, "getaddrinfo", asked)
    logs.answer = lambda query: (
        (200, [crt_sh("www.example.org", end="2999-01-01T00:00:00")], {})
        if "example.org" in query["q"][0]
        else (502, b"", {})
    )
    given = f"certificate_transparency: {{domains: [example.com, example.org], url: '{logs.url}'}}"
    assert main(["discover", given]) == 1
    out, err = capsys.readouterr()
    assert [one.name for one in parse(out.encode(), "expiry.yml", {}).targets] == ["https://www.example.org"]
    assert "until 2999-01-01: number 7 at crt.sh" in out
    assert "example.com" in err
    assert "status 502" in err


async def test_its_targets_join_the_others(logs: FakeLogs) -> None:
    """
    Also when only a part could be read; then the source counts as failing.
    """
    domains = "[B\u00dccher.example, example.com]"
    text = f"discover:\n- certificate_transparency: {{domains: {domains}, url: {logs.url}}}"
    logs.answer = lambda query: (
        (200, [crt_sh("www.xn--bcher-kva.example", end="2999-01-01T00:00:00")], {})
        if "xn--bcher-kva" in query["q"][0]
        else (502, b"", {})
    )
    loop = asyncio.get_running_loop()
    network = Network(loop)
    asks(network, Names())
    discovery = Discovery(network, parse(text.encode(), "expiry.yml", {}))
    try:
        discovery.start()
        async with asyncio.timeout(60):
            while discovery.pending:  # noqa: ASYNC110 - of several threads
                await asyncio.sleep(0.01)
        feed = next(iter(discovery.feeds.values()))
        assert feed.success is False
        assert [(one.url.normal, one.source) for one in discovery.targets] == [
            ("https://www.xn--bcher-kva.example:443", "certificate_transparency")
        ]
    finally:
        await discovery.close()
        network.close()
