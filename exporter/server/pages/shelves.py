"""
Documents that ship with the exporter, and the shelves on which they stand: plain values. Pure.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Document:
    """
    One document: a chapter of the manual, or a runbook.
    """

    name: str
    """Its name in URLs: `reasons`, `ExpirySoon`."""
    text: str
    """Markdown (CommonMark with tables) that begins with a heading of level 1."""

    @property
    def title(self) -> str:
        """
        The words of its first line.
        """
        return self.text.partition("\n")[0].removeprefix("# ")

    @property
    def about(self) -> str:
        """
        The first sentence, without its links.
        """
        paragraphs = (" ".join(one.split()) for one in self.text.split("\n\n"))
        first = next((one for one in paragraphs if not one.startswith("#")), "")
        return re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", first).partition(". ")[0].removesuffix(".") + "."


@dataclass(frozen=True, slots=True)
class Shelf:
    """
    The documents below one URL.
    """

    place: str
    """First segment of that URL's path, `docs` or `runbooks`."""
    title: str
    intro: str
    shows_headings: bool
    """True where the list of its documents shows the headings of each."""
    documents: Mapping[str, Document]
    """By name, in the order in which they are listed."""
