"""
Stapled OCSP responses are kept byte for byte.
"""

from pathlib import Path

import pytest

from exporter.minter import Minted
from tests.support.certificates import DAY, NOW, staple
from tests.support.servers import Server, Site, nginx, s_server
from tests.wire.probing import see, tls, told


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
