"""
Downloads: the reason for every way in which there is no answer, the same for look-ups and for documents.
"""

import asyncio

import pytest

from exporter.model.errors import ProbeError
from exporter.model.reasons import Reason
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


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


REDIRECT = b"HTTP/1.1 302 Found\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n"


PACKED = b"HTTP/1.1 200 OK\r\nContent-Encoding: deflate\r\n"


SOON, AMPLE = 1.0, 60.0
"""
Seconds in which an answer must have come: where none comes, which is waited for, and where the server's own
words decide, however slow the machine is.
"""


def reasons(url: str, timeout: float = AMPLE) -> list[str]:
    """
    Why a look-up and a document at this URL fail.
    """

    async def document() -> str:
        async with watching(NOW) as watch:
            target = Target(parse_url(f"pem+{url}"), "document", timeout=timeout)
            (row,) = await scrape(watch, target, timeout=AMPLE)
            return outcome(row)

    with pytest.raises(ProbeError) as caught:
        downloaded(url, timeout=timeout)
    return [str(caught.value.reason), asyncio.run(document())]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (misbehaving.close, "connection_closed"),
        (misbehaving.reset, "connection_reset"),
        (misbehaving.saying(b"220 hello\r\n\r\n"), "http_failed"),
        (misbehaving.saying(PACKED + b"Content-Length: 9\r\n\r\nunpacked!"), "http_failed"),
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


@pytest.mark.parametrize(
    "answer", [misbehaving.hang, misbehaving.saying(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n12345")]
)
def test_an_answer_that_does_not_come_or_end_is_a_failure_of_http(answer: Answer) -> None:
    """
    When the time is over.
    """
    with serving(answer) as port:
        assert reasons(f"http://127.0.0.1:{port}/a", SOON) == ["http_failed"] * 2


ENDLESS = {
    "interim responses": misbehaving.flooding(b"HTTP/1.1 100 Continue\r\n\r\n"),
    "early hints": misbehaving.flooding(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"),
    "chunks of one byte": misbehaving.flooding(b"1\r\na\r\n", CHUNKED),
    "an extension of a chunk": misbehaving.flooding(b"a=b;", CHUNKED + b"1;"),
}
"""What costs more to read than to send, and is no content."""


@pytest.mark.parametrize("name", ENDLESS)
def test_a_server_that_never_comes_to_the_point_is_left(name: str) -> None:
    """
    Long before the time is over, and it says so.
    """
    with serving(ENDLESS[name]) as port, pytest.raises(ProbeError) as caught:
        downloaded(f"http://127.0.0.1:{port}/a", 20_000_000, timeout=60.0)
    assert caught.value.reason is Reason.HTTP_FAILED
    assert "sends without end, and next to no content" in str(caught.value)


@pytest.mark.parametrize(
    ("head", "answered"),
    [
        (CHUNKED, b"".join(b"64\r\n" + bytes(100) + b"\r\n" for _ in range(20_000)) + b"0\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n", bytes(2_000_000)),
        (b"HTTP/1.1 103 Early Hints\r\n\r\n" * 20 + b"HTTP/1.0 200 OK\r\n\r\n", bytes(2_000_000)),
    ],
)
def test_a_large_answer_in_an_odd_form_is_read(head: bytes, answered: bytes) -> None:
    """
    Small chunks and hints are in order, as long as there is content.
    """
    with serving(misbehaving.saying_goodbye(head + answered)) as port:
        got = downloaded(f"http://127.0.0.1:{port}/a", 20_000_000)
    assert got.body == bytes(2_000_000)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (misbehaving.hang, "took the connection and did not answer in 0.5 s"),
        (misbehaving.answering(REDIRECT), "/b took the connection and did not answer in 0.5 s"),
        (misbehaving.saying(HEAD + b"only this"), "did not end its answer in 0.5 s: 54 bytes came"),
        (misbehaving.saying(b"SSH-2.0-secret\r\n\r\n"), "is no proper HTTP: "),
        (misbehaving.saying(CHUNKED + b"secret\r\n"), "is no proper HTTP: Invalid character in chunk size"),
        (misbehaving.saying(PACKED + b"Content-Length: 9\r\n\r\nunpacked!"), "can't be unpacked"),
        (
            misbehaving.saying(PACKED.replace(b"deflate", b"br") + b"Content-Length: 2\r\n\r\n\x0b\0"),
            "packed in a way that was not asked for",
        ),
    ],
)
def test_what_went_wrong_is_said_in_words(answer: Answer, words: str) -> None:
    """
    And what a service says that speaks no HTTP is not repeated, nor a status that nobody sent.
    """
    with serving(answer) as port, pytest.raises(ProbeError) as caught:
        downloaded(f"http://127.0.0.1:{port}/a", timeout=0.5)
    assert words in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "400" not in str(caught.value).replace(str(port), "PORT")


def test_a_host_that_is_down_is_no_web_server_that_is_silent() -> None:
    """
    The reason names the step that took too long.
    """
    with misbehaving.unanswering() as port, pytest.raises(ProbeError) as caught:
        downloaded(f"http://127.0.0.1:{port}/a", timeout=0.5)
    assert caught.value.reason is Reason.CONNECT_TIMEOUT


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
