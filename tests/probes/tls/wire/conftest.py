"""
What the tests of the wire probe share.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from exporter.demo.minter import Minted
from tests.probes.tls.wire.probing import NAME
from tests.support.servers import Server, Site, nginx


@pytest.fixture
def anchors(tmp_path: Path, ca: Minted) -> str:
    """
    The PEM file with the root of `ca`.
    """
    assert ca.issuer is not None
    file = tmp_path / "anchors.pem"
    file.write_bytes(ca.issuer.pem)
    return str(file)


@pytest.fixture
def leaf(ca: Minted) -> Minted:
    """
    A good leaf for NAME.
    """
    return ca.issue(NAME, [NAME])


@pytest.fixture(scope="session")
def healthy(tmp_path_factory: pytest.TempPathFactory, ca: Minted) -> Iterator[Server]:
    """
    A server with nothing wrong, which others must not harm.
    """
    with nginx(tmp_path_factory.mktemp("healthy"), Site([ca.issue(NAME, [NAME]).chain])) as server:
        yield server
