"""
Downloads: the reason for every way in which there is no answer, the same for look-ups and for documents.
"""

import asyncio

import pytest

from exporter.model.errors import ProbeError
from exporter.model.targets import Target
from exporter.model.urls import parse_url
from exporter.net.http import ERROR_LIMIT
from tests.probes.tls.wire.probing import scrape, watching
from tests.support import misbehaving
from tests.support.certificates import NOW
from tests.support.misbehaving import Answer, serving
from tests.support.rows import outcome
from tests.support.web_server import downloaded

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 30000000\r\n\r\n"


def reasons(url: str) -> list[str]:
    """
    Why a look-up and a document at this URL fail.
    """

    async def document() -> str:
        async with watching(NOW) as watch:
            (row,) = await scrape(watch, Target(parse_url(f"pem+{url}"), "document", timeout=0.5))
            return outcome(row)

    with pytest.raises(ProbeError) as caught:
        downloaded(url, timeout=0.5)
    return [str(caught.value.reason), asyncio.run(document())]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (misbehaving.close, "connection_closed"),
        (misbehaving.reset, "connection_reset"),
        (misbehaving.hang, "timeout"),
        (misbehaving.saying(b"220 hello\r\n\r\n"), "http_failed"),
        (misbehaving.saying_goodbye(HEAD + b"only this"), "connection_closed"),
        (misbehaving.flooding(bytes(65536), HEAD), "file_too_large"),
        (misbehaving.flooding(b"X-Header: 1\r\n", b"HTTP/1.1 200 OK\r\n"), "http_failed"),
        (misbehaving.saying_goodbye(b"HTTP/1.1 302 Found\r\nLocation: http://[\r\n\r\n"), "http_failed"),
    ],
)
def test_what_a_server_does_has_its_reason(answer: Answer, reason: str) -> None:
    """
    Whatever asked it.
    """
    with serving(answer) as port:
        assert reasons(f"http://127.0.0.1:{port}/a") == [reason] * 2


def test_what_is_in_the_way_has_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Nobody listens, no TLS is spoken, a proxy is down.
    """
    with misbehaving.refusing() as port, serving(misbehaving.saying(b"220 hello\r\n")) as plain:
        assert reasons(f"http://127.0.0.1:{port}/a") == ["connection_refused"] * 2
        assert reasons(f"https://127.0.0.1:{plain}/a") == ["handshake_refused"] * 2
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{port}")
        monkeypatch.delenv("no_proxy", raising=False)
        assert reasons("http://192.0.2.1/a") == ["proxy_failed"] * 2
        monkeypatch.setenv("http_proxy", "socks5://127.0.0.1:1")
        assert reasons("http://192.0.2.1/a") == ["proxy_failed"] * 2


def test_a_page_that_says_what_is_wrong_is_cut() -> None:
    """
    However long it is, its status is told.
    """
    with serving(misbehaving.flooding(bytes(65536), HEAD.replace(b"200", b"500"))) as port:
        got = downloaded(f"http://127.0.0.1:{port}/a", 20_000_000)
    assert (got.status, len(got.body)) == (500, ERROR_LIMIT)
