"""
Real proxies before real servers: what is behind them is seen, and their refusals have a reason.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest

from exporter.demo.minter import Minted
from exporter.model.proxies import Proxy
from tests.probes.tls.proxies.programs import CREDENTIALS, microsocks, tinyproxy
from tests.probes.tls.starttls import daemons
from tests.probes.tls.wire.probing import NAME, Names, detail, explain, facts, look, see, target, told
from tests.support import misbehaving
from tests.support.servers import Server

Serve = Callable[..., AbstractContextManager[Proxy]]


@pytest.fixture(params=["http", "socks5"])
def serve(request: pytest.FixtureRequest, tmp_path: Path) -> Serve:
    """
    Starts a proxy of either kind.
    """
    if request.param == "http":
        return lambda **settings: tinyproxy(tmp_path, **settings)
    return microsocks


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_server_behind_a_proxy_is_seen(healthy: Server, anchors: str, serve: Serve, host: str) -> None:
    """
    By its address, or by a name: the proxy alone looks it up, and the one endpoint is called by it.
    """
    # Without names in it, whoever asks this resolver fails.
    names = Names()
    with serve() as proxy:
        row = see(f"{host}:{healthy.port}", scheme="https", proxy=proxy, ca_file=anchors, names=names)
    assert told(row) == ("seen",), row.held.observation
    assert row.label == f"{host}:{healthy.port}"
    assert facts(row).chains[0].leaf.common_name == NAME


def test_a_proxy_is_found_by_its_name(healthy: Server, serve: Serve) -> None:
    """
    The system's resolver knows it.
    """
    with serve() as proxy:
        row = see(healthy, proxy=replace(proxy, host="localhost"))
    assert told(row)[0] == "seen", row.held.observation


def test_what_a_server_says_first_is_not_lost(leaf: Minted, anchors: str, serve: Serve) -> None:
    """
    A greeting may come together with the proxy's answer.
    """
    with serve() as proxy, daemons.dovecot(leaf.chain) as ports:
        rows = look(
            *(
                target(ports[scheme], scheme=scheme, ca_file=anchors, proxy=proxy)
                for scheme in ("imap", "lmtp")
            )
        )
    assert [told(row) for row in rows] == [("seen",), ("seen",)], [row.held.observation for row in rows]


def test_a_proxy_that_wants_a_password_gets_it(healthy: Server, serve: Serve) -> None:
    """
    With the credentials the server is seen.
    """
    with serve(closed=True) as proxy:
        row = see(healthy, proxy=replace(proxy, credentials=CREDENTIALS))
    assert told(row)[0] == "seen", row.held.observation


def test_a_proxy_that_wants_no_password_is_gone_through_with_one(healthy: Server, serve: Serve) -> None:
    """
    As other clients do: one setting for an open proxy and a closed one.
    """
    with serve() as proxy:
        row = see(healthy, proxy=replace(proxy, credentials=CREDENTIALS))
    assert told(row)[0] == "seen", row.held.observation


@pytest.mark.parametrize("credentials", [None, "probe:wrong-s3cret"])
def test_a_proxy_refuses_who_has_no_or_another_password(
    healthy: Server, serve: Serve, credentials: str | None
) -> None:
    """
    The reason is the proxy, in its words, and no secret is told.
    """
    with serve(closed=True) as proxy:
        one = target(healthy, proxy=replace(proxy, credentials=credentials))
        (row,) = look(one)
        steps = explain(one).steps
    assert told(row) == ("proxy_failed",)
    assert f"the proxy {proxy.scheme}://127.0.0.1:{proxy.port}: " in detail(row)
    words = {"http": ("407", "401"), "socks5": ("password",)}[proxy.scheme]
    assert any(word in detail(row) for word in words)
    everything = f"{detail(row)} {steps} {one!r} {one.proxy}"
    assert "s3cret" not in everything


def test_a_port_that_nothing_listens_on_is_the_proxys_news(healthy: Server, serve: Serve) -> None:
    """
    Its words are told, and the next target is not harmed.
    """
    with serve() as proxy, misbehaving.refusing() as port:
        bad, good = look(target(port, proxy=proxy), target(healthy, proxy=proxy))
    assert told(bad) == ("proxy_failed",)
    words = {"http": "500", "socks5": "connection refused"}[proxy.scheme]
    assert words in detail(bad)
    assert told(good)[0] == "seen"


def test_a_proxy_with_rules(tmp_path: Path, healthy: Server) -> None:
    """
    A port that it does not allow is refused in its words.
    """
    with tinyproxy(tmp_path, ports=(443,)) as proxy:
        row = see(healthy, proxy=proxy)
    assert told(row) == ("proxy_failed",)
    assert "403" in detail(row)
