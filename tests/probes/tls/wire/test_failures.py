"""
Servers that can't be seen: each failure has its reason, ends in time, and harms no other target.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from exporter.probes.base import Trace
from exporter.probes.tls import wire
from tests.probes.tls.wire.probing import detail, look, target, told
from tests.support import misbehaving
from tests.support.misbehaving import serving
from tests.support.servers import Server

TIMEOUT = 0.4

HELLO = bytes([22, 3, 3, 0, 122, 2, 0, 0, 118, 3, 3]) + bytes(116)


def ends(data: bytes) -> Callable[[], AbstractContextManager[int]]:
    """
    A server that says this after the client's first words, and hangs up.
    """
    return lambda: serving(misbehaving.saying_goodbye(data))


def does(answer: misbehaving.Answer) -> Callable[[], AbstractContextManager[int]]:
    """
    A server that does this with each connection.
    """
    return lambda: serving(answer)


CASES: dict[str, tuple[Callable[[], AbstractContextManager[int]], str, str]] = {
    "nothing listens": (misbehaving.refusing, "connection_refused", "nothing listens there"),
    "packets are dropped": (misbehaving.unanswering, "connect_timeout", "did not answer"),
    "silence": (does(misbehaving.hang), "handshake_timeout", "did not finish the TLS handshake"),
    "one byte a second": (does(misbehaving.slow_hello), "handshake_timeout", "did not finish"),
    "one byte each hundredth": (
        does(misbehaving.dripping(HELLO, 0.01)),
        "handshake_timeout",
        "did not finish",
    ),
    "half a ServerHello": (does(misbehaving.half_hello), "handshake_timeout", "did not finish"),
    "half a ServerHello, then the end": (ends(HELLO[:40]), "connection_closed", "closed the connection"),
    "plain HTTP": (does(misbehaving.plain_http), "not_tls", "does not speak TLS"),
    "an SSH server": (
        does(misbehaving.saying(b"SSH-2.0-OpenSSH_9.2\r\n", first=True)),
        "not_tls",
        "does not speak TLS",
    ),
    "a mail server": (does(misbehaving.banner), "not_tls", "does not speak TLS"),
    "garbage": (does(misbehaving.garbage), "not_tls", "does not speak TLS"),
    "zeros": (ends(bytes(100)), "not_tls", "does not speak TLS"),
    "another message than ServerHello": (
        ends(bytes([22, 3, 3, 0, 4, 20, 0, 0, 0])),
        "handshake_refused",
        "unexpected message",
    ),
    "reset": (does(misbehaving.reset), "connection_reset", "connection"),
    "closed at once": (does(misbehaving.close), "connection_closed", "closed the connection"),
    "alert handshake_failure": (
        does(misbehaving.alert()),
        "handshake_refused",
        "handshake failure",
    ),
    "alert unrecognized_name": (
        does(misbehaving.alert(misbehaving.UNRECOGNIZED_NAME)),
        "handshake_refused",
        "unrecognized name",
    ),
    "alert protocol_version": (does(misbehaving.alert(70)), "handshake_refused", "protocol version"),
    "alert internal_error": (does(misbehaving.alert(80)), "handshake_refused", "internal error"),
    # It is about our hello, not about a certificate of the server's.
    "alert decode_error": (does(misbehaving.alert(50)), "handshake_refused", "alert decode error"),
}


@pytest.mark.parametrize(("serve", "reason", "words"), CASES.values(), ids=list(CASES))
def test_a_failure_has_its_reason_and_harms_no_other(
    healthy: Server,
    serve: Callable[[], AbstractContextManager[int]],
    reason: str,
    words: str,
) -> None:
    """
    It ends within the target's timeout, and the healthy target of the same sweep is seen.
    """
    with serve() as port:
        bad, good = look(target(port, timeout=TIMEOUT), target(healthy))
    assert told(bad) == (reason,)
    assert words in detail(bad)
    assert bad.held.facts is None
    assert bad.label == f"127.0.0.1:{port}"
    # A connection is given up at the next tick; the rest is room for a busy machine.
    assert bad.held.duration < TIMEOUT + 0.5
    assert told(good)[0] == "seen"


def test_an_address_without_a_route(healthy: Server) -> None:
    """
    The kernel's refusal is a reason of its own.
    """
    # 240.0.0.0/4 is reserved (RFC 1112 section 4): with or without a default route nothing answers there.
    bad, good = look(target("255.255.255.255:443", timeout=TIMEOUT), target(healthy))
    assert told(bad) == ("network_unreachable",)
    assert "255.255.255.255 port 443" in detail(bad)
    assert told(good)[0] == "seen"


def test_all_failures_at_once(healthy: Server) -> None:
    """
    One sweep over every kind of failure takes as long as the longest.
    """
    with misbehaving.serving(misbehaving.hang) as silent, misbehaving.unanswering() as dropped:
        targets = [target(healthy)] + [
            target(port, name=f"{port} {number}", timeout=TIMEOUT)
            for port in (silent, dropped)
            for number in range(20)
        ]
        rows = look(*targets)
    assert [told(row)[0] for row in rows] == ["seen"] + ["handshake_timeout"] * 20 + ["connect_timeout"] * 20
    assert max(row.held.duration for row in rows) < TIMEOUT + 1


@pytest.mark.parametrize(
    ("scheme", "timeout", "ends", "expected"),
    [
        # (target's own timeout, when the scrape ends): when the look ends, if it begins at 100
        ("smtp", None, 109.5, 109.25),
        ("smtp", None, 130.0, 129.75),
        ("smtp", 3.0, 109.5, 103.0),
        ("smtp", 30.0, 109.5, 130.0),
        # It began too late: the scrape cuts it off.
        ("smtp", None, 101.0, 105.0),
        ("tls", None, 109.5, 105.0),
        ("tls", 7.0, 109.5, 107.0),
    ],
)
def test_a_dialogue_ends_by_itself_just_before_the_scrape(
    scheme: str, timeout: float | None, ends: float, expected: float
) -> None:
    """
    So that its failure says what it waited for.
    """
    one = target(25, scheme=scheme, timeout=timeout)
    assert wire._deadline(one, Trace(lambda: 100.0, deadline=ends)) == expected


def test_a_greeting_that_never_comes_has_its_reason(healthy: Server) -> None:
    """
    When the scrape's time is nearly over, with nothing configured.
    """
    with serving(misbehaving.hang) as port:
        bad, good = look(target(port, scheme="smtp"), target(healthy), timeout=6.0)
    assert told(bad) == ("handshake_timeout",)
    assert "no greeting came in time" in detail(bad)
    assert 5.5 < bad.held.duration < 6.0
    assert told(good)[0] == "seen"
