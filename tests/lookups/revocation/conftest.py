"""
What the tests of revocations share.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from exporter.demo.minter import Minted
from tests.lookups.revocation.making import issuer_of
from tests.support.web_server import WebServer, web_server


@pytest.fixture
def anchors(tmp_path: Path, ca: Minted) -> str:
    """
    The PEM file with the root of `ca`.
    """
    file = tmp_path / "anchors.pem"
    file.write_bytes(issuer_of(ca).pem)
    return str(file)


@pytest.fixture
def web() -> Iterator[WebServer]:
    """
    A web server without pages.
    """
    with web_server() as server:
        yield server
