"""
`expiry-exporter manual`: a chapter of the manual or a runbook, on a terminal or as Markdown.
"""

import argparse
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator

from rich.markdown import Markdown

from exporter.cli.terminal import terminal
from exporter.model.suggestions import closest
from exporter.passwords import shown
from exporter.server import documents
from exporter.server.pages.shelves import Shelf

DESCRIPTION = """\
Print a chapter of the manual, or the runbook of an alert; without a name, the list of
all with a line each.

On a terminal it is laid out and shown by $PAGER. Anywhere else it is the Markdown that
it is written in. A running exporter serves the same at /docs/ and /runbooks/.
"""


EXAMPLES = """\
examples:
  expiry-exporter manual
      what there is

  expiry-exporter manual reasons
      why probes fail and clients refuse, and what to do about each

  expiry-exporter manual ExpirySoon
      what this alert means, and what to do about it

  expiry-exporter manual handshake_timeout
      one reason, or the part of a chapter with this heading

  expiry-exporter manual configuration > configuration.md
      for another reader of Markdown
"""


WIDTH = 100
"""Most columns of a terminal that a chapter takes: longer lines are hard to read."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """
    Add the argument and the help.
    """
    parser.description, parser.epilog = DESCRIPTION, EXAMPLES
    parser.add_argument(
        "chapter",
        nargs="?",
        metavar="CHAPTER",
        help="a chapter, an alert, a reason or another heading, in upper or lower case",
    )


def run(options: argparse.Namespace) -> int:
    """
    Print the document, and return the exit code: 2 when there is none of that name.
    """
    shelves = (documents.manual(), documents.runbooks())
    if options.chapter is None:
        width = min(shutil.get_terminal_size().columns, WIDTH) if sys.stdout.isatty() else None
        sys.stdout.writelines(f"{line}\n" for line in contents(shelves, width))
        return 0
    by_name = {name.lower(): one for shelf in shelves for name, one in shelf.documents.items()}
    found = by_name.get(options.chapter.lower().removesuffix(".md"))
    text = found.text if found is not None else section(options.chapter, shelves)
    if not text:
        # Of the headings those that are one word, such as reasons.
        headings = [name for name, _ in parts(shelves) if " " not in name]
        names = [*(one.name for one in by_name.values()), *headings]
        words = closest(options.chapter, names, listed="`expiry-exporter manual` lists all there is")
        sys.stderr.write(f"expiry-exporter manual: nothing is called {shown(options.chapter)}: {words}\n")
        return 2
    _show(text)
    return 0


def parts(shelves: Iterable[Shelf]) -> Iterator[tuple[str, str]]:
    """
    Yield each heading below the title of a document, with its text to the next heading of its level or above.
    """
    for one in (one for shelf in shelves for one in shelf.documents.values()):
        for found in re.finditer(r"^(##+) (.+)\n", one.text, re.MULTILINE):
            rest = one.text[found.end() :]
            end = re.search(rf"^#{{1,{len(found[1])}}} ", rest, re.MULTILINE)
            yield found[2], found[0] + (rest[: end.start()] if end is not None else rest)


def section(heading: str, shelves: Iterable[Shelf]) -> str:
    """
    Return the part of a document that has this heading, in upper or lower case; empty when none has.
    """
    return next((part for name, part in parts(shelves) if name.lower() == heading.lower()), "")


def contents(shelves: Iterable[Shelf], width: int | None) -> Iterator[str]:
    """
    Yield the documents of the shelves, each with its first sentence, in lines of this width; None: one line
    each.
    """
    for shelf in shelves:
        yield f"{shelf.title}:"
        column = max(map(len, shelf.documents)) + 4
        for name, one in shelf.documents.items():
            line = f"  {name}".ljust(column) + one.about
            yield line if width is None else textwrap.fill(line, width, subsequent_indent=" " * column)
        yield ""
    yield "`expiry-exporter manual NAME` prints one."


def _show(text: str) -> None:
    """
    Show Markdown in the pager of a terminal, else print it unchanged.
    """
    shown = terminal(sys.stdout)
    if shown is None:
        sys.stdout.write(text)
        return
    # As git does: no pager for what fits, colours as they are, and the text stays when the pager ends.
    os.environ.setdefault("LESS", "FRX")
    # A terminal can't follow links to other chapters: their words stay.
    plain = re.sub(r"\[([^\]]+)\]\((?!https?:)[^)]+\)", r"\1", text)
    with shown.console.pager(styles=True):
        shown.console.print(Markdown(plain, hyperlinks=False), width=min(shown.width, WIDTH))
