"""
The server name that is sent, and which certificate a server shows for it.
"""

from pathlib import Path

import pytest

from exporter.demo.minter import Minted
from tests.probes.tls.wire.probing import NAME, Names, items, leaf_of, see, shown, tls, told
from tests.support.certificates import shared_key
from tests.support.servers import Server, Site, haproxy, nginx, s_server

BOOKS = "xn--bcher-kva.example"


@pytest.fixture
def sites(ca: Minted) -> list[Site]:
    """
    A default site, one for NAME, and one with an internationalised name.
    """
    return [Site([ca.issue("default", ["default.example"]).chain], "default.example")] + [
        Site([ca.issue(name, [name]).chain], name) for name in (NAME, BOOKS)
    ]


@pytest.mark.parametrize(
    ("server_name", "shows", "expected"),
    [
        (NAME, NAME, ("seen",)),
        ("default.example", "default", ("seen",)),
        ("unknown.example", "default", ("seen", "name_mismatch")),
        (BOOKS, BOOKS, ("seen",)),
    ],
)
def test_the_server_name_selects_the_certificate(
    tmp_path: Path, sites: list[Site], anchors: str, server_name: str, shows: str, expected: tuple[str, ...]
) -> None:
    """
    `server_name` replaces the URL's host both as the name that is sent and as the one that is expected.
    """
    with nginx(tmp_path, *sites) as server:
        row = see(server, server_name=server_name, ca_file=anchors)
    assert (leaf_of(row).common_name, told(row)) == (shows, expected)
    assert tls(row).server_name == server_name


def test_no_name_is_sent_to_an_address(tmp_path: Path, sites: list[Site], anchors: str) -> None:
    """
    RFC 6066 section 3: the default site answers, and its certificate is not good for the address.
    """
    with nginx(tmp_path, *sites) as server:
        row = see(server, server_name=None, ca_file=anchors)
    assert leaf_of(row).common_name == "default"
    assert tls(row).server_name is None
    assert told(row) == ("seen", "name_mismatch")


def test_a_server_that_refuses_unknown_names(tmp_path: Path, leaf: Minted, anchors: str) -> None:
    """
    HAProxy with `strict-sni` ends the handshake with an alert before any certificate.
    """
    with haproxy(tmp_path, leaf.chain, settings="strict-sni") as server:
        assert told(see(server, ca_file=anchors)) == ("seen",)
        assert told(see(server, server_name="other.example")) == ("handshake_refused",)


def test_an_internationalised_host(tmp_path: Path, sites: list[Site], anchors: str) -> None:
    """
    Written with its umlaut in the URL, it is sent and expected as A-labels.
    """
    # See Names for why the look-up is a fake.
    names = Names(**{BOOKS.removesuffix(".example").replace("-", "_"): ["127.0.0.1"]})
    with nginx(tmp_path, *sites) as server:
        row = see(f"bücher.example:{server.port}", server_name=None, ca_file=anchors, names=names)
    assert (leaf_of(row).common_name, tls(row).server_name, told(row)) == (BOOKS, BOOKS, ("seen",))
    assert row.label == f"127.0.0.1:{server.port}"


@pytest.fixture
def rsa(ca: Minted) -> Minted:
    """
    A good leaf for NAME with an RSA key.
    """
    return ca.issue(NAME, [NAME], key=shared_key("rsa-2048"))


@pytest.mark.parametrize("protocol", ["TLSv1.2", "TLSv1.3"])
def test_both_kinds_of_keys(tmp_path: Path, leaf: Minted, rsa: Minted, anchors: str, protocol: str) -> None:
    """
    With `keys: both` a server's RSA and ECDSA certificates are items side by side.
    """
    site = Site([rsa.chain, leaf.chain], settings=[f"ssl_protocols {protocol}"])
    with nginx(tmp_path, site) as server:
        row = see(server, keys="both", ca_file=anchors)
        usual = see(server, ca_file=anchors)
    assert told(row) == told(usual) == ("seen",)
    assert items(row) == ["leaf-rsa", "chain-rsa-1", "leaf-ecdsa", "chain-ecdsa-1"]
    held = row.held.facts
    assert held is not None
    assert [chain.leaf.der for chain in held.chains] == [rsa.der, leaf.der]
    assert items(usual) == ["leaf", "chain-1"]
    assert shown(usual, *leaf.chain)


def test_a_fault_of_the_kind_that_usual_clients_do_not_ask_for(
    tmp_path: Path, ca: Minted, leaf: Minted, anchors: str
) -> None:
    """
    The RSA certificate is expired, and old clients are locked out: only `keys: both` tells.
    """
    begin = ca.certificate.not_valid_before_utc
    old = ca.issue(
        NAME, [NAME], key=shared_key("rsa-2048"), not_before=begin, not_after=begin.replace(month=6)
    )
    with nginx(tmp_path, Site([old.chain, leaf.chain])) as server:
        assert told(see(server, ca_file=anchors)) == ("seen",)
        assert told(see(server, keys="both", ca_file=anchors)) == ("seen", "expired")


@pytest.mark.parametrize(
    ("key", "expected"),
    [("rsa-2048", "rsa"), ("ecdsa-256", "ecdsa"), ("ecdsa-521", "ecdsa"), ("ed25519", "ecdsa")],
)
@pytest.mark.parametrize("protocol", ["-tls1_2", "-tls1_3"])
def test_a_server_with_one_kind_is_no_failure(
    tmp_path: Path, ca: Minted, anchors: str, key: str, expected: str, protocol: str
) -> None:
    """
    `keys: both` gives what there is.
    """
    one = ca.issue(NAME, [NAME], key=shared_key(key))
    with s_server(tmp_path, one.chain, protocol) as server:
        row = see(server, keys="both", ca_file=anchors)
    assert told(row) == ("seen",)
    assert items(row) == [f"leaf-{expected}", f"chain-{expected}-1"]


def test_both_kinds_of_a_server_that_is_down(healthy: Server) -> None:
    """
    A failure is the failure of either.
    """
    row = see(f"127.0.0.99:{healthy.port}", keys="both")
    assert told(row) == ("connection_refused",)
