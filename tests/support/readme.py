"""
The README as tests read it: its tables and its fenced blocks.
"""

import re
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
README = REPOSITORY / "README.md"

Table = list[list[str]]
"""Rows of cells, without the headings."""

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def fenced(language: str) -> list[str]:
    """
    The fenced blocks of this language, in the order of the page.
    """
    return [found[2] for found in _FENCE.finditer(README.read_text(encoding="utf-8")) if found[1] == language]


def headings() -> list[str]:
    """
    All headings, without those that are comments in a fenced block.
    """
    return _HEADING.findall(_FENCE.sub("", README.read_text(encoding="utf-8")))


def table(first: str, second: str) -> Table:
    """
    The rows of the one table whose first two columns have these headings. Raises ValueError if there is none.
    """
    text = _FENCE.sub("", README.read_text(encoding="utf-8"))
    found = [
        rows
        for rows in map(_rows, re.findall(r"^(?:\|.*\|\n)+", text, re.MULTILINE))
        if rows[0][:2] == [first, second]
    ]
    if len(found) != 1:
        raise ValueError(f"the README has {len(found)} tables that begin with {first}, {second}")
    return found[0][2:]


def section_table(heading: str) -> Table:
    """
    The rows of the first table under this heading. Raises ValueError if there is none.
    """
    _, found, rest = README.read_text(encoding="utf-8").partition(f"# {heading}\n")
    lines = re.search(
        r"^(?:\|.*\|\n)+", re.split(r"^#", rest, maxsplit=1, flags=re.MULTILINE)[0], re.MULTILINE
    )
    if not found or lines is None:
        raise ValueError(f"the README has no table under the heading {heading}")
    return _rows(lines[0])[2:]


def code(cell: str) -> list[str]:
    """
    What stands between backquotes in a cell.
    """
    return re.findall(r"`([^`]+)`", cell)


def _rows(text: str) -> Table:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]
