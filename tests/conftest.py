"""
Settings and fixtures that many tests share.
"""

import logging
import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from exporter.demo.minter import Minted
from tests.support.certificates import authority

# No deadline: how long one example takes says more about the machine than about the code.
settings.register_profile("person", deadline=None)
# In CI the same examples each time: a red run is then about the change.
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "person")


@pytest.fixture(scope="session")
def ca() -> Minted:
    """
    An intermediate CA; its root is `ca.issuer`. Both are valid for years around `NOW`.
    """
    return authority()


@pytest.fixture(autouse=True)
def _logging_restored() -> Iterator[None]:
    """
    The logging of the process is after each test what it was before: commands that run in it change it.
    """
    top, access = logging.getLogger(), logging.getLogger("aiohttp.access")
    handlers, level, disabled = top.handlers[:], top.level, access.disabled
    yield
    top.handlers[:] = handlers
    top.setLevel(level)
    access.disabled = disabled
    logging.captureWarnings(capture=False)
