"""
Proxies that are not there, or are no proxies: each has its reason in time, and harms no other target.
"""

import threading
from base64 import b64encode
from socket import socket

import pytest

from exporter.model.errors import ProbeError
from exporter.model.proxies import Proxy
from exporter.model.reasons import Reason
from tests.probes.tls.wire.probing import Names, detail, look, see, target, told
from tests.support import misbehaving
from tests.support.misbehaving import Answer, serving
from tests.support.servers import Server

TIMEOUT = 0.4

CASES: dict[str, tuple[str, Answer, str]] = {
    "silence, http": ("http", misbehaving.hang, "no answer to CONNECT came in time"),
    "silence, socks5": ("socks5", misbehaving.hang, "no answer to the proxy's greeting came in time"),
    "half an answer": ("http", misbehaving.saying(b"HTTP/1.1 200 OK\r\nX:"), "did not finish its answer"),
    "an endless answer": (
        "http",
        misbehaving.saying(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 9000),
        "no end of it",
    ),
    "another protocol, http": ("http", misbehaving.saying(b"SSH-2.0-x\r\n"), "no answer of an HTTP proxy"),
    "another protocol, socks5": ("socks5", misbehaving.saying(b"HTTP/1.1 400 no\r\n"), "no answer of SOCKS5"),
    "a method that was not offered": ("socks5", misbehaving.saying(b"\x05\x01"), "not offered"),
    "a page behind the go-ahead": (
        "http",
        misbehaving.saying(b"HTTP/1.1 200 OK\r\n\r\n<html>Please log in"),
        "speaks first: '<html>Please log in'",
    ),
    "bytes behind the go-ahead, socks5": (
        "socks5",
        misbehaving.answering(b"\x05\x00", b"\x05\x00\x00\x01\xc0\x00\x02\x01\x1f\x90" + b"220 a\r\n"),
        "speaks first: '220 a'",
    ),
    "a refusal": (
        "http",
        misbehaving.saying(b"HTTP/1.1 403 \x1b[31mForbidden\r\n\r\n"),
        r"403 \u001b[31mForbidden",
    ),
    "a redirection": ("http", misbehaving.saying(b"HTTP/1.0 302 Login\r\n\r\n"), "302 Login"),
    "closed": ("http", misbehaving.close, "closed the connection"),
    "reset": ("socks5", misbehaving.reset, "connection"),
}


@pytest.mark.parametrize("name", CASES)
def test_a_bad_proxy_has_its_reason_and_harms_no_other(healthy: Server, name: str) -> None:
    """
    It is the proxy that failed, in its words, and in time.
    """
    scheme, answer, words = CASES[name]
    with serving(answer) as port:
        proxy = Proxy("http" if scheme == "http" else "socks5", "127.0.0.1", port)
        bad, good = look(target("www.example:443", proxy=proxy, timeout=TIMEOUT), target(healthy))
    assert told(bad) == ("proxy_failed",), bad.held.observation
    assert words in detail(bad)
    assert f"the proxy {scheme}://127.0.0.1:{port}" in detail(bad)
    assert bad.label == "www.example:443"
    assert bad.held.duration < TIMEOUT + 0.5
    assert told(good)[0] == "seen"


def test_a_proxy_that_is_not_there() -> None:
    """
    A refused connection, dropped packets and an unknown name are all the proxy's.
    """
    with misbehaving.refusing() as port:
        row = see("www.example:443", proxy=Proxy("http", "127.0.0.1", port))
    assert told(row) == ("proxy_failed",)
    assert "refused the connection" in detail(row)
    with misbehaving.unanswering() as port:
        row = see("www.example:443", proxy=Proxy("http", "127.0.0.1", port), timeout=TIMEOUT)
    assert told(row) == ("proxy_failed",)
    assert "did not answer" in detail(row)
    names = Names()
    names.failure = ProbeError(Reason.DNS_NOT_FOUND, "the name 'proxy.example' has no address")
    row = see("www.example:443", proxy=Proxy("http", "proxy.example", 3128), names=names)
    assert told(row) == ("proxy_failed",)
    assert "'proxy.example' has no address" in detail(row)


def test_a_scrape_that_is_over_while_the_proxy_thinks() -> None:
    """
    The step is named.
    """
    with serving(misbehaving.hang) as port:
        (row,) = look(target("www.example:443", proxy=Proxy("http", "127.0.0.1", port)), timeout=TIMEOUT)
    assert told(row) == ("timeout",)
    assert "answer to CONNECT" in detail(row)


@pytest.mark.parametrize("secret", ["hunter22", b64encode(b"me:hunter22").decode()])
def test_a_proxy_that_repeats_the_password_is_not_quoted(secret: str) -> None:
    """
    Whether as it is or as it was sent.
    """
    said = f"HTTP/1.1 407 you said {secret}\r\n\r\n".encode()
    with serving(misbehaving.saying(said)) as port:
        row = see("www.example:443", proxy=Proxy("http", "127.0.0.1", port, "me:hunter22"))
    assert told(row) == ("proxy_failed",)
    assert secret not in detail(row)
    assert "407 you said [hidden]" in detail(row)


def test_no_credentials_are_sent_to_a_proxy_that_chose_another_method() -> None:
    """
    SOCKS5: both methods are offered, and the password only goes to who asked for one.
    """
    heard: list[bytes] = []

    def answer(connection: socket, _stop: threading.Event) -> None:
        heard.append(connection.recv(100))
        connection.sendall(b"\x05\x00")
        heard.append(connection.recv(100))

    with serving(answer) as port:
        row = see("www.example:443", proxy=Proxy("socks5", "127.0.0.1", port, "me:hunter22"))
    assert told(row) == ("proxy_failed",)
    assert heard[0] == b"\x05\x02\x00\x02"
    assert b"hunter22" not in b"".join(heard)
    assert heard[1].startswith(b"\x05\x01\x00\x03\x0bwww.example")
