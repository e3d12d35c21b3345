"""
Terminal output that commands share: widths, colours, bars, plain columns.
"""

from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from datetime import UTC, datetime
from itertools import groupby
from typing import TextIO

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from exporter.judgement.verdicts import JudgedItem
from exporter.model.foreign_text import printable
from exporter.report.status import Level

STYLES = {Level.OK: "green", Level.WARNING: "yellow", Level.CRITICAL: "red", Level.UNKNOWN: "magenta"}


GAP = "  "
"""Blanks between columns."""


@dataclass(frozen=True, slots=True)
class Glyphs:
    """
    The characters that bars and cut texts are drawn with.
    """

    left: str
    over: str
    due: str
    arrow: str
    more: str


FINE = Glyphs("█", "░", "┃", "→", "…")


ASCII = Glyphs("#", ".", "|", "->", "...")


@dataclass(frozen=True, slots=True)
class Terminal:
    """
    A terminal to write on.
    """

    console: Console
    glyphs: Glyphs

    @property
    def width(self) -> int:
        """
        The width in columns.
        """
        return self.console.width

    def line(self, text: Text | str = "", indent: int = 0) -> None:
        """
        Write a line after `indent` blanks; a line that is too long is wrapped at the same indent.
        """
        whole = text if isinstance(text, Text) else Text(text)
        room = max(self.width - indent, 20)
        # Nearly every line fits, and to find that out by wrapping would take most of the time.
        for part in [whole] if whole.cell_len <= room else whole.wrap(self.console, room):
            part.rstrip()
            self.console.print(Text.assemble(" " * indent, part), soft_wrap=True)


def terminal(stream: TextIO) -> Terminal | None:
    """
    Return the terminal behind the stream; None for a file, a pipe, or a dumb terminal.

    Honours NO_COLOR, COLUMNS and TERM=dumb.
    """
    if not stream.isatty():
        return None
    console = Console(file=stream, highlight=False, markup=False, emoji=False)
    if console.is_dumb_terminal:
        return None
    return Terminal(console, FINE if _can_write(stream, FINE) else ASCII)


def _can_write(stream: TextIO, glyphs: Glyphs) -> bool:
    try:
        "".join(astuple(glyphs)).encode(stream.encoding or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


def joined(texts: Iterable[str]) -> str:
    """
    Return the texts on one line, as `this; that`, without the full stops of those that are sentences.
    """
    return "; ".join(text if text.endswith("..") else text.removesuffix(".") for text in texts)


def bar(judged: JudgedItem, now: float, width: int, glyphs: Glyphs) -> Text:
    """
    Return a bar of the share of the lifetime that is left, with a mark where the renewal is due.

    The bar shrinks to the left. Once it is shorter than the mark, the renewal is overdue. Its colour is that
    of the last deadline that has passed, whatever else may be wrong.
    """
    item, due = judged.item, judged.deadlines
    lifetime = item.not_after - item.not_before

    def cells(left: float) -> int:
        return round(width * min(max(left / lifetime, 0.0), 1.0)) if lifetime > 0 else 0

    left = cells(item.not_after - now)
    if item.not_before <= now < item.not_after:
        # The last hours of ten years can be seen too.
        left = max(left, 1)
    mark = min(cells(item.not_after - due.renewal_due), width - 1) if due is not None else None
    cells_of = [(glyphs.left, STYLES[_lateness(judged, now)])] * left + [(glyphs.over, "dim")] * (
        width - left
    )
    if mark is not None:
        cells_of[mark] = (glyphs.due, "bold")
    text = Text()
    for (glyph, style), run in groupby(cells_of):
        text.append(glyph * len(list(run)), style)
    return text


def _lateness(judged: JudgedItem, now: float) -> Level:
    due = judged.deadlines
    if due is None or now < due.warning:
        return Level.OK
    return Level.WARNING if now < due.critical else Level.CRITICAL


def padded(text: str, width: int) -> str:
    """
    Return the text padded with blanks to this width; a longer text is returned as it is.
    """
    return text if cell_len(text) >= width else set_cell_size(text, width)


def widest(texts: Iterable[str]) -> int:
    """
    Return the columns that the widest text takes; 0 without texts.
    """
    return max(map(cell_len, texts), default=0)


def write_columns(rows: Sequence[Sequence[str]], stream: TextIO) -> None:
    """
    Write rows in aligned columns for grep and awk: a line each, without colour and trailing blanks.

    An empty cell is `-`, so that the other cells keep their column numbers.
    """
    rows = [[printable(cell) or "-" for cell in row] for row in rows]
    widths = [widest(column) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [padded(cell, width) for cell, width in zip(row, widths, strict=True)]
        stream.write(f"{GAP.join(cells).rstrip()}\n")


def counted(count: int, noun: str) -> str:
    """
    Return a number with its noun: `1 target`, `2 targets`.
    """
    return f"{count} {noun}{'' if count == 1 else 's'}"


def moment(timestamp: float) -> datetime | None:
    """
    Return the time in UTC of a timestamp in seconds since the epoch; None outside the years 1 to 9999.
    """
    try:
        return datetime.fromtimestamp(timestamp, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def minute(timestamp: float) -> str:
    """
    Return the time in UTC to the minute, for a person: `2027-03-31 08:00`.
    """
    found = moment(timestamp)
    return f"{timestamp:.0f}" if found is None else found.strftime("%Y-%m-%d %H:%M")


def iso(timestamp: float) -> str:
    """
    Return the time in UTC to the second, without a blank (RFC 3339): `2027-03-31T08:00:00Z`.
    """
    found = moment(timestamp)
    return f"{timestamp:.0f}" if found is None else found.strftime("%Y-%m-%dT%H:%M:%SZ")
