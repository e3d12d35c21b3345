"""
Stapled OCSP responses are kept byte for byte.
"""

from pathlib import Path

import pytest

from exporter.demo.minter import Minted, root
from tests.probes.tls.wire.probing import NAME, items, see, shown, tls, told
from tests.support.certificates import DAY, NOW, staple
from tests.support.servers import Server, Site, gnutls, nginx, s_server


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
@pytest.mark.parametrize("revoked_at", [None, NOW - DAY])
def test_the_staple_of_s_server(
    tmp_path: Path, leaf: Minted, anchors: str, version: str, revoked_at: float | None
) -> None:
    """
    What it says is a fault when it says that the certificate is revoked.
    """
    response = staple(leaf, this_update=NOW, next_update=NOW + DAY, revoked_at=revoked_at)
    with s_server(tmp_path, leaf.chain, version, staple=response) as server:
        row = see(server, ca_file=anchors)
    assert told(row) == (("seen",) if revoked_at is None else ("seen", "revoked"))
    assert tls(row).staple == response


def test_the_staple_of_nginx(tmp_path: Path, leaf: Minted) -> None:
    """
    The same from a proper server.
    """
    response = staple(leaf, this_update=NOW, next_update=NOW + DAY)
    with nginx(tmp_path, Site([leaf.chain], staple=response)) as server:
        assert tls(see(server)).staple == response


def test_no_staple(healthy: Server) -> None:
    """
    None stands for a server that staples nothing.
    """
    assert tls(see(healthy)).staple is None


@pytest.mark.parametrize("versions", ["NORMAL:-VERS-TLS1.3", "NORMAL"])
@pytest.mark.parametrize("junk", [b"junk", b"\x30\x80", b"\0", b"x" * 10_000])
def test_junk_as_staple_hides_no_certificate(
    tmp_path: Path, leaf: Minted, anchors: str, versions: str, junk: bytes
) -> None:
    """
    What is no OCSP response, at which the library ends the handshake, is a fault beside the certificates.
    """
    with gnutls(tmp_path, leaf.chain, "--priority", versions, staple=junk) as server:
        row = see(server, ca_file=anchors)
    assert told(row) == ("seen", "staple_invalid"), row.held.observation
    assert shown(row, *leaf.chain)
    assert items(row) == ["leaf", "chain-1"]
    assert tls(row).staple == b""


def test_junk_as_staple_is_told_where_the_issuer_is_not_known(tmp_path: Path) -> None:
    """
    A response that nobody can read is one whoever should have signed it.
    """
    lone = root(not_before=NOW - DAY, not_after=NOW + DAY).issue(NAME, [NAME])
    with gnutls(tmp_path, [lone], staple=b"junk") as server:
        row = see(server)
    assert "staple_invalid" in told(row)
    assert shown(row, lone)
