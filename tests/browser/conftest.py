"""
The browser, and the servers whose pages it is shown.
"""

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Dialog, Page, ViewportSize

from tests.browser import scenes
from tests.support.chromium import chromium
from tests.support.pages import serving
from tests.support.processes import answers, free_port, running

SCREENSHOTS = Path(__file__).parents[2] / ".tests" / "screenshots"
"""Where pictures of the pages are put."""

WIDE = ViewportSize(width=1280, height=900)
NARROW = ViewportSize(width=360, height=740)

Open = Callable[..., Page]
"""Opens a tab: `width`, `scheme`, `script`."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """
    Debian's Chromium, for one module: while it lives, no other loop can run in this thread.
    """
    with chromium() as started:
        yield started


@pytest.fixture
def tab(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Open]:
    """
    Opens tabs, in which nothing may be refused by the policy or fail in a script.

    At the end there is a picture of each.
    """
    opened: list[Page] = []
    said: list[str] = []

    def dismiss(dialog: Dialog) -> None:
        said.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def open_tab(*, size: ViewportSize = WIDE, scheme: str = "light", script: bool = True) -> Page:
        context = browser.new_context(
            viewport=size,
            color_scheme="dark" if scheme == "dark" else "light",
            java_script_enabled=script,
        )
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", dismiss)
        opened.append(page)
        return page

    yield open_tab
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"[^\w-]+", "-", request.node.name).strip("-")
    for number, page in enumerate(opened):
        page.screenshot(path=SCREENSHOTS / f"{name}{f'-{number}' if number else ''}.png")
        page.context.close()
    assert said == []


@pytest.fixture(scope="module")
def mixed() -> Iterator[str]:
    """
    The address of the pages of a fleet with something of everything.
    """
    with serving(scenes.mixed()) as url:
        yield url


@pytest.fixture(scope="module")
def large() -> Iterator[str]:
    """
    The address of the pages of 2,500 targets.
    """
    with serving(scenes.large(2500)) as url:
        yield url


@pytest.fixture(scope="module")
def demo() -> Iterator[str]:
    """
    The address of the demo, as a newcomer starts it.
    """
    port = free_port()
    command = [sys.executable, "-m", "exporter", "demo", f"--web.listen-address=127.0.0.1:{port}"]
    url = f"http://127.0.0.1:{port}"
    with running(command, ready=answers(f"{url}/-/healthy")):
        yield url
