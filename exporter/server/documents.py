"""
The manual and the runbooks as they ship with the exporter.
"""

from functools import lru_cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from exporter.server.pages.shelves import Document, Shelf

CHAPTERS = (
    *("install", "configuration", "servers", "files", "kubernetes", "domains", "dns", "revocation"),
    *("discovery", "metrics", "reasons", "policies", "alerting", "pages-and-api", "dashboards"),
    *("scaling", "security", "comparison", "glossary"),
)
"""The chapters of the manual in the order in which they are read. Each is a file NAME.md."""


@lru_cache(maxsize=1)
def manual() -> Shelf:
    """
    Return the chapters of the manual.
    """
    directory = files("exporter") / "manual"
    return Shelf(
        "docs",
        "Manual",
        "The manual of the version that answers here. Search this page for a heading: each reason has one.",
        True,
        {name: _document(directory / f"{name}.md") for name in CHAPTERS},
    )


@lru_cache(maxsize=1)
def runbooks() -> Shelf:
    """
    Return the runbooks, by the name of their alert.
    """
    found = sorted((shipped("alerts", "alerts") / "runbooks").iterdir(), key=lambda one: one.name)
    documents = map(_document, found)
    return Shelf(
        "runbooks",
        "Runbooks",
        "What each alert means, and what to do about it.",
        # All of them have the same headings.
        False,
        {one.name: one for one in documents},
    )


def shipped(installed_name: str, source_name: str) -> Traversable:
    """
    Return a directory of files that ship: inside the installed package, or beside it in a source tree.
    """
    package = files("exporter")
    installed = package / installed_name
    return installed if installed.is_dir() else Path(str(package)).parent / source_name


def _document(file: Traversable) -> Document:
    return Document(file.name.removesuffix(".md"), file.read_text(encoding="utf-8"))
