"""
Writes the pictures of the dashboards to grafana/pictures, which the README shows.
"""

import tempfile
from pathlib import Path

from tests.grafana.render import history
from tests.grafana.render.browser import RenderError, Theme, renderer
from tests.grafana.written import DASHBOARDS, DIRECTORY
from tests.replay.timeline import JOB

PICTURES = DIRECTORY / "pictures"

THEMES: tuple[Theme, ...] = ("dark", "light")

CHOSEN = {"job": JOB, "target": "https://shop.example.com", "status": "https://expiry.example.com"}
"""The fleet, and of its targets the one that was renewed and not deployed everywhere."""


def main() -> None:
    """
    Write all of them. Raises RenderError when a panel has an error.
    """
    PICTURES.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as directory,
        renderer() as browser,
        history.world(Path(directory)) as known,
    ):
        for name, dashboard in DASHBOARDS.items():
            for theme in THEMES:
                with browser.show(dashboard, f"http://{known.address}", theme, CHOSEN) as shown:
                    if shown.errors:
                        raise RenderError(f"{name}, {theme}: {shown.errors}")
                    file = PICTURES / f"{name}-{theme}.png"
                    file.write_bytes(shown.small_picture())
                    print(f"{file.relative_to(DIRECTORY.parent)}, {file.stat().st_size // 1000} kB")


if __name__ == "__main__":
    main()
