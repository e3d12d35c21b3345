"""
The README and the manual as tests read them: headings, tables and fenced blocks.
"""

import re
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
README = REPOSITORY / "README.md"
MANUAL = REPOSITORY / "exporter" / "manual"
DOCUMENTS = (README, *sorted(MANUAL.glob("*.md")))
"""Whatever people read about the program, the README first."""

Table = list[list[str]]
"""Rows of cells, without the headings."""

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PASTED = re.compile(r"^(?:.*<<'END'.*\n(?:.*\n)*?END|.+)$", re.MULTILINE)
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def whole_text() -> str:
    """
    The README and all chapters, one after the other.
    """
    return "\n".join(one.read_text(encoding="utf-8") for one in DOCUMENTS)


def prose(document: Path) -> str:
    """
    The text of a document without its fenced blocks.
    """
    return _FENCE.sub("", document.read_text(encoding="utf-8"))


def fenced(language: str, text: str = "") -> list[str]:
    """
    The fenced blocks of this language in a text, or in all documents in their order.
    """
    return [found[2] for found in _FENCE.finditer(text or whole_text()) if found[1] == language]


def pasted() -> list[str]:
    """
    The commands of the README, in their order; what follows `<<'END'` belongs to its command.
    """
    blocks = fenced("sh", README.read_text(encoding="utf-8"))
    return [one for block in blocks for one in _PASTED.findall(block)]


def anchors(document: Path) -> list[str]:
    """
    Where links with a `#` may lead in a document, as GitHub makes it of headings.
    """
    headings = _HEADING.findall(prose(document))
    return [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings]


def table(first: str, second: str) -> Table:
    """
    The rows of the one table whose first two columns have these headings. Raises ValueError if there is none.
    """
    found = [
        rows
        for rows in map(_rows, re.findall(r"^(?:\|.*\|\n)+", _FENCE.sub("", whole_text()), re.MULTILINE))
        if rows[0][:2] == [first, second]
    ]
    if len(found) != 1:
        raise ValueError(f"there are {len(found)} tables that begin with {first}, {second}")
    return found[0][2:]


def sections(document: Path, heading: str, level: int) -> dict[str, list[str]]:
    """
    The parts of this level (3 for `###`) below a heading of level 2: their paragraphs by their own heading.
    """
    _, found, rest = prose(document).partition(f"\n## {heading}\n")
    if not found:
        raise ValueError(f"{document.name} has no heading {heading}")
    _, *parts = re.split(rf"^{'#' * level} ", rest.partition("\n## ")[0], flags=re.MULTILINE)
    found_parts = (re.split(r"^#", part, maxsplit=1, flags=re.MULTILINE)[0].partition("\n") for part in parts)
    return {
        name: [" ".join(one.split()) for one in re.split(r"\n{2,}", text.strip())]
        for name, _, text in found_parts
    }


def code(cell: str) -> list[str]:
    """
    The code spans of a cell.
    """
    return re.findall(r"`([^`]+)`", cell)


def _rows(text: str) -> Table:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]
