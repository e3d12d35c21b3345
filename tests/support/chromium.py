"""
Debian's Chromium, driven by Playwright.
"""

import contextlib
import shutil
from collections.abc import Iterator

from playwright.sync_api import Browser, sync_playwright

ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


class NoChromiumError(RuntimeError):
    """
    It is not installed.
    """


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """
    A browser; while it lives, no other loop can run in this thread. Raises NoChromiumError.
    """
    program = shutil.which("chromium")
    if program is None:
        raise NoChromiumError("chromium is not installed: tests/run installs it")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=list(ARGUMENTS))
        yield started
        started.close()
