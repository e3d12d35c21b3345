"""
Settings and fixtures that many tests share.
"""

import os

import pytest
from hypothesis import settings

from exporter.minter import Minted
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
