"""
The browser, and what the dashboards are shown.
"""

from collections.abc import Iterator

import pytest

from tests.grafana.render import browser, history
from tests.support.prometheus import Prometheus, prometheus


@pytest.fixture(scope="module")
def renderer() -> Iterator[browser.Renderer]:
    """
    Chromium with the page that shows dashboards.
    """
    with browser.renderer() as made:
        yield made


@pytest.fixture(scope="package")
def known(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """
    A Prometheus that knows the fleet's last week, and the demo since a moment.
    """
    with history.world(tmp_path_factory.mktemp("history")) as made:
        yield made


@pytest.fixture(scope="package")
def ignorant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """
    A Prometheus that scrapes nothing.
    """
    with prometheus(tmp_path_factory.mktemp("ignorant"), {}) as made:
        yield made
