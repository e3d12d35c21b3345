"""
What is said to proxies, and the header of the PROXY protocol, byte for byte.
"""

import time
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.probes.tls.dialogue import Steps
from exporter.probes.tls.proxies import http_connect, proxy_header, socks5
from tests.probes.tls.starttls.test_dialogues import play

GREETED = b"\x05\x00"
CONNECTED = b"\x05\x00\x00\x01\xc0\x00\x02\x01\x1f\x90"
"""RFC 1928 section 6: succeeded, bound to 192.0.2.1 port 8080."""

WAYS: dict[str, Steps] = {
    "http": http_connect("www.example:443", None),
    "http, password": http_connect("www.example:443", "me:secret"),
    "socks5": socks5("www.example", 443, None),
    "socks5, password": socks5("www.example", 443, "me:secret"),
}


def test_connect_names_the_host_and_the_port() -> None:
    """
    With credentials in Base64 (RFC 7617 section 2) if there are any.
    """
    (said,) = play(WAYS["http"], [b"HTTP/1.1 200 OK\r\n\r\n"]).said
    assert (
        said
        == b"CONNECT www.example:443 HTTP/1.1\r\nHost: www.example:443\r\nUser-Agent: expiry-exporter\r\n\r\n"
    )
    (said,) = play(WAYS["http, password"], []).said
    assert said.endswith(b"\r\nProxy-Authorization: Basic bWU6c2VjcmV0\r\n\r\n")


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("www.example", b"\x03\x0bwww.example"),
        ("192.0.2.1", b"\x01\xc0\x00\x02\x01"),
        ("2001:db8::1", b"\x04\x20\x01\x0d\xb8" + bytes(11) + b"\x01"),
        ("fe80::1%eth0", b"\x04\xfe\x80" + bytes(13) + b"\x01"),
    ],
)
def test_socks_takes_names_and_addresses(host: str, address: bytes) -> None:
    """
    RFC 1928 section 5.
    """
    said = play(socks5(host, 443, None), [GREETED, CONNECTED]).said
    assert said == (b"\x05\x01\x00", b"\x05\x01\x00" + address + b"\x01\xbb")


def test_socks_sends_the_password_once_it_is_asked_for() -> None:
    """
    RFC 1929 section 2.
    """
    said = play(WAYS["socks5, password"], [b"\x05\x02", b"\x01\x00", CONNECTED]).said
    assert said[:2] == (b"\x05\x02\x00\x02", b"\x01\x02me\x06secret")
    said = play(WAYS["socks5, password"], [b"\x05\x00", CONNECTED]).said
    assert not any(b"secret" in part for part in said)


GOOD: dict[str, tuple[str, Sequence[bytes]]] = {
    "http": ("http", (b"HTTP/1.1 200 Connection established\r\nVia: 1.1 a\r\n\r\n",)),
    "http 1.0, bare": ("http", (b"HTTP/1.0 200\r\n\r\n",)),
    "http, another success": ("http", (b"HTTP/1.1 204 fine\n\n",)),
    "socks5": ("socks5", (GREETED, CONNECTED)),
    "socks5, by name": ("socks5", (GREETED, b"\x05\x00\x00\x03\x01a\x1f\x90")),
    "socks5, IPv6": ("socks5", (GREETED, b"\x05\x00\x00\x04" + bytes(18))),
    "socks5, password": ("socks5, password", (b"\x05\x02", b"\x01\x00", CONNECTED)),
    "socks5, password not wanted": ("socks5, password", (GREETED, CONNECTED)),
}


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("cut", [1, 3, 1 << 20])
def test_what_comes_through_a_proxy_is_left_alone(name: str, cut: int) -> None:
    """
    However the network cuts it: behind the last byte of the proxy's answer the tunnel begins.
    """
    way, answers = GOOD[name]
    played = play(WAYS[way], (*answers[:-1], answers[-1] + b"220 greeting\r\n"), cut)
    assert (played.verdict, played.left) == ("tls", b"220 greeting\r\n")


@pytest.mark.parametrize(
    ("way", "answers", "verdict", "words"),
    [
        ("http", [b"HTTP/1.1 407 Proxy Authentication Required\r\n"], "refused", "407 Proxy Authentication"),
        ("http", [b"ICY 200 OK\r\n"], "unexpected", "no answer of an HTTP proxy"),
        ("http", [b"HTTP/1.1 OK\r\n"], "unexpected", "no answer of an HTTP proxy"),
        ("socks5", [b"\x05\xff"], "refused", "it wants a password"),
        ("socks5, password", [b"\x05\xff"], "refused", "it takes no password"),
        ("socks5, password", [b"\x05\x02", b"\x01\x01"], "refused", "refused the user or the password"),
        ("socks5, password", [b"\x05\x02", b"\x05\x00"], "unexpected", "no answer to a password"),
        ("socks5", [b"\x04\x5a"], "unexpected", "no answer of SOCKS5"),
        ("socks5", [GREETED, b"\x05\x02\x00\x01\x00"], "refused", "its rules do not allow it"),
        ("socks5", [GREETED, b"\x05\x05\x00\x01\x00"], "refused", "connection refused"),
        ("socks5", [GREETED, b"\x05\x63\x00\x01\x00"], "refused", "reply 99"),
        ("socks5", [GREETED, b"\x05\x00\x00\x09\x00"], "unexpected", "no kind of address"),
        ("socks5", [GREETED, b"\x00\x00\x00\x01\x00"], "unexpected", "no answer of SOCKS5"),
        ("socks5", [GREETED + CONNECTED], "unexpected", "without being asked"),
    ],
)
def test_what_a_proxy_says_otherwise(way: str, answers: list[bytes], verdict: str, words: str) -> None:
    """
    Refusals are told from what is no such protocol.
    """
    played = play(WAYS[way], answers)
    assert played.verdict == verdict
    assert words in played.message


@given(
    st.sampled_from(sorted(WAYS)),
    st.lists(st.binary(min_size=1, max_size=40), max_size=8),
    st.integers(1, 40),
)
def test_no_bytes_lead_anywhere_else(way: str, answers: list[bytes], cut: int) -> None:
    """
    Whatever a proxy says: one of four ends, quickly.
    """
    started = time.process_time()
    played = play(WAYS[way], answers, cut)
    assert played.verdict in {"tls", "waiting", "refused", "unexpected"}
    assert played.message.isprintable()
    assert time.process_time() - started < 1


V4 = (("192.0.2.7", 50000), ("192.0.2.1", 443))
V6 = (("2001:db8::7", 50000), ("fe80::1%eth0", 443))
SIGNATURE = b"\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a"


def test_the_header_names_both_ends() -> None:
    """
    Byte for byte as proxy-protocol.txt (2.1 and 2.2) has them.
    """
    assert proxy_header("v1", *V4) == b"PROXY TCP4 192.0.2.7 192.0.2.1 50000 443\r\n"
    assert proxy_header("v1", *V6) == b"PROXY TCP6 2001:db8::7 fe80::1 50000 443\r\n"
    assert proxy_header("v2", *V4) == SIGNATURE + bytes.fromhex("21 11 000c c0000207 c0000201 c350 01bb")
    v6 = "21 21 0024 20010db8000000000000000000000007 fe800000000000000000000000000001 c350 01bb"
    assert proxy_header("v2", *V6) == SIGNATURE + bytes.fromhex(v6)


def test_the_header_owns_up_when_the_end_is_not_known() -> None:
    """
    Behind a proxy that looked the name up.
    """
    assert proxy_header("v1", V4[0], None) == b"PROXY UNKNOWN\r\n"
    assert proxy_header("v2", V4[0], None) == SIGNATURE + bytes.fromhex("20 00 0000")
