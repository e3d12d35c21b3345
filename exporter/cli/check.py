"""
`expiry-exporter check`: probe once, print the result, exit with the codes of monitoring plugins.
"""

import argparse
import json
import math
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TextIO

from rich.text import Text

from exporter.cli import arguments
from exporter.cli.details import details
from exporter.cli.one_shot import looked, misused
from exporter.cli.terminal import (
    GAP,
    STYLES,
    Terminal,
    bar,
    counted,
    iso,
    joined,
    minute,
    padded,
    terminal,
    widest,
    write_columns,
)
from exporter.engine.scrape import EndpointRow, Scrape
from exporter.judgement.verdicts import JudgedItem
from exporter.model.foreign_text import printable
from exporter.model.policies import DAY
from exporter.model.schemes import SCHEMES, Form
from exporter.passwords import shown
from exporter.report import json_items
from exporter.report.inventory import Inventory
from exporter.report.status import URGENCY, Finding, Level, Status, worst
from exporter.report.times import in_text, span

DESCRIPTION = """\
Probe once and print what is found, the most urgent first: what expires when, whether
clients trust it, why it can't be seen, and what to do about it.

In the table, a bar shows how much of a lifetime is left. The mark in it is where the
renewal is due: a shorter bar is overdue. If the output is not a terminal, the table
has one line for each item, for grep, awk and sort.
"""


EXAMPLES = """\
exit code, the most urgent of all:
  0  fine
  1  warning: the renewal is late or due, clients refuse it and always did, or something
     will fail later
  2  critical: it expires soon or has expired; or wrong usage
  3  unknown: it could not be probed, or not be checked as asked; or a bad configuration

examples:
  expiry-exporter check example.com
      all addresses of a name, with its chain

  expiry-exporter check mail.example.com:25 /etc/ssl/www.pem - < names.txt
      by its port, a file, and a name or URL in each line

  expiry-exporter check smtp://mail.example.com file:///etc/ssl/www.pem domain:example.com
      anything that expires: mail servers, files, domain registrations

  expiry-exporter check --config.file=expiry.yml --only critical,unknown,warning
      what needs a person, among all configured targets

  expiry-exporter check --ca-file ca.pem --server-name db.internal postgres://10.0.0.7
      one server behind a load balancer, under the name and CA that its clients expect

  expiry-exporter check --policy manual https://shop.example.com
      with the deadlines of a certificate that somebody must order

  expiry-exporter manual policies
      who renews when: all built-in policies for --policy

  expiry-exporter check --config.file=expiry.yml | awk '$6 < 30 {print $2, $6}'
      what expires in less than 30 days, and what could not be probed (-)

  expiry-exporter check --output json https://example.com | jq '.endpoints[].findings'
      for a program
"""


HEADINGS = ("STATE", "TARGET", "LOCATION", "ITEM", "EXPIRES", "DAYS", "WHAT TO KNOW")
"""Headings of the plain table."""


MEANINGS = {
    Level.CRITICAL: "act now",
    Level.UNKNOWN: "could not be seen or checked",
    Level.WARNING: "act soon",
    Level.OK: "fine",
}


FINE_LINES = 5
"""Most items of one endpoint that a terminal shows though they are fine. The rest are counted."""


LEFT_OUT_REASONS = 5
"""Most reasons for leaving something out of a target that are printed one by one."""


WIDE = 110
"""Columns of a terminal from which on a bar has 20; else 10."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """
    Add the flags and the help.
    """
    parser.description = DESCRIPTION
    parser.epilog = f"{EXAMPLES}\nschemes:\n{_paragraph(_known_schemes())}\n"
    arguments.add_look_flags(parser)
    parser.add_argument(
        "--only",
        metavar="LEVELS",
        type=_levels,
        default=None,
        help="print endpoints of these levels only, such as critical,unknown; the exit code counts all",
    )
    parser.add_argument("--output", choices=("table", "json"), default="table", help="(default: %(default)s)")
    parser.add_argument(
        "-v",
        "--verbose",
        action="store_true",
        help="below the table: verification; subject, issuer, names, key, deadlines of all items",
    )


def run(options: argparse.Namespace) -> int:
    """
    Probe, print the result, and return the exit code.
    """
    if options.only is not None and options.output != "table":
        return misused("check", "--only is for the table: choose by `level` in the JSON document")
    found = looked("check", options)
    if found is None:
        return int(Level.UNKNOWN)
    scrape, refused = found
    inventory, now = Inventory(scrape), time.time()
    if options.output == "json":
        print_json(inventory, now, sys.stdout, refused)
    else:
        only = options.only or frozenset(Level)
        print_table(inventory, now, sys.stdout, only, refused)
        if options.verbose:
            print_details(inventory, now, sys.stdout, only)
    return int(level(inventory, now, refused))


def _known_schemes() -> str:
    """
    Return every scheme as the beginning of a URL, in alphabetical order.
    """
    return ", ".join(
        f"{name}{':' if one.form is Form.NAME else '://'}" for name, one in sorted(SCHEMES.items())
    )


def _paragraph(text: str) -> str:
    """
    Return the text in indented lines, broken between words only.
    """
    return textwrap.fill(
        text, 78, initial_indent="  ", subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )


def _levels(text: str) -> frozenset[Level]:
    known = {level.name.lower(): level for level in Level}
    words = [word.strip().lower() for word in text.split(",")]
    unknown = [word for word in words if word not in known]
    if unknown:
        raise argparse.ArgumentTypeError(f"{shown(unknown[0])} is not one of critical, unknown, warning, ok")
    return frozenset(known[word] for word in words)


def level(inventory: Inventory, now: float, refused: Collection[str] = ()) -> Level:
    """
    Return the most urgent level of all endpoints: the exit code. `refused` are texts that are no target:
    UNKNOWN.
    """
    return worst([*(one.level for one in inventory.entries(now)), *[Level.UNKNOWN] * len(refused)])


@dataclass(frozen=True, slots=True)
class Line:
    """
    One line of the table: an item of an endpoint, or an endpoint without a known item.
    """

    level: Level
    judged: JudgedItem | None
    findings: tuple[Finding, ...]
    """Findings about the item; on an endpoint's first leaf also those about the whole endpoint."""

    @property
    def name(self) -> str:
        """
        The item's name; empty when none is known.
        """
        return printable(self.judged.item.name) if self.judged is not None else ""


@dataclass(frozen=True, slots=True)
class Entry:
    """
    One endpoint in the table.
    """

    level: Level
    row: EndpointRow
    lines: tuple[Line, ...]
    """At least one, the most urgent first."""


def entries(inventory: Inventory, now: float) -> list[Entry]:
    """
    Return the endpoints in the order of the table: the most urgent first, and among equals the first to end.
    """
    found = [_entry(row, inventory.status(row, now)) for row in inventory.scrape.endpoints]
    found.sort(key=lambda one: (*_rank(one.lines[0]), one.row.target.name, one.row.label))
    return found


def _entry(row: EndpointRow, found: Status) -> Entry:
    """
    Return an endpoint with a line for each item that has deadlines or findings.
    """
    findings = found.findings
    named = {one.item for one in findings}
    shown = [
        one
        for one in (row.verdict.items if row.verdict is not None else ())
        if one.deadlines is not None or one.item.name in named
    ]
    lines = [_line(one, [what for what in findings if what.item == one.item.name]) for one in shown]
    lines = sorted(lines, key=_rank) or [_line(None, [])]
    names = {one.item.name for one in shown}
    about_all = [what for what in findings if what.item not in names]
    # A fault of the whole endpoint belongs to its leaf: a list of its issuer is not to be blamed.
    place = next((at for at, one in enumerate(lines) if one.name.startswith("leaf")), 0)
    # In the order of the status: an end comes before why clients refuse it.
    here = [*about_all, *lines[place].findings]
    lines[place] = _line(lines[place].judged, [what for what in findings if what in here])
    return Entry(found.level, row, tuple(sorted(lines, key=_rank)))


def _line(judged: JudgedItem | None, findings: Sequence[Finding]) -> Line:
    ordered = tuple(sorted(findings, key=lambda one: -URGENCY.index(one.level)))
    return Line(worst(one.level for one in ordered), judged, ordered)


def _rank(line: Line) -> tuple[int, float]:
    end = line.judged.item.not_after if line.judged is not None else math.inf
    return -URGENCY.index(line.level), end


def print_table(
    inventory: Inventory,
    now: float,
    stream: TextIO,
    only: Collection[Level] = frozenset(Level),
    refused: Collection[str] = (),
) -> None:
    """
    Print the endpoints with one of these levels as a table, the most urgent first, and the number at each
    level.

    In groups and in colour on a terminal; elsewhere plain, with a line for each item. `refused` are texts
    that are no target: they have no line, but are counted as unknown.
    """
    scrape, found = inventory.scrape, entries(inventory, now)
    shown = [one for one in found if one.level in only]
    counts = Counter(one.level for one in found)
    counts[Level.UNKNOWN] += len(refused)
    summary = ", ".join(f"{counts[one]} {one.name.lower()}" for one in reversed(URGENCY))
    if len(shown) < len(found):
        summary += f" ({len(found) - len(shown)} of them not shown)"
    if not scrape.complete:
        summary += f"; not all was probed in {scrape.timeout:g} s: raise --timeout"
    out = terminal(stream)
    if out is None:
        lines = [_cells(one.row, line, now) for one in shown for line in one.lines]
        if found:
            write_columns([HEADINGS, *lines], stream)
        stream.writelines(f"{words}\n" for words in _left_out(scrape))
        stream.write(f"{summary}\n")
    else:
        _Table(out, now, shown).write()
        for words in _left_out(scrape):
            out.line(Text(words, "dim"))
        out.line(Text(summary, "bold"))


def print_details(inventory: Inventory, now: float, stream: TextIO, only: Collection[Level]) -> None:
    """
    Print all that is known of the endpoints with one of these levels, in the order of the table.
    """
    for one in entries(inventory, now):
        if one.level in only:
            stream.write("\n")
            stream.writelines(f"{line}\n" for line in details(one.row))


def _left_out(scrape: Scrape) -> Iterator[str]:
    """
    Yield a line for each target of which something is left out: how much, and why.
    """
    for one in scrape.results:
        whys = Counter(place.why for place in one.left_out)
        told = whys.most_common(LEFT_OUT_REASONS)
        more = sum(whys.values()) - sum(count for _, count in told)
        reasons = [f"{count} ({printable(why)})" for why, count in told] + [f"{more} more"] * bool(more)
        if reasons:
            yield f"left out of {printable(one.target.name)}: {'; '.join(reasons)}"


def _cells(row: EndpointRow, line: Line, now: float) -> tuple[str, ...]:
    item = line.judged.item if line.judged is not None else None
    # Rounded down: what has ended has less than 0, and nothing has more than it really has.
    days = "" if item is None else f"{math.floor((item.not_after - now) / DAY * 10) / 10:.1f}"
    return (
        line.level.name,
        row.target.name,
        row.label,
        item.name if item is not None else "",
        iso(item.not_after) if item is not None else "",
        days,
        joined(one.words for one in line.findings) or "fine",
    )


class _Table:
    """
    The table on a terminal: a group for each level; below each line its findings and their remedies.
    """

    def __init__(self, out: Terminal, now: float, shown: Sequence[Entry]) -> None:
        self._out = out
        self._now = now
        self._shown = shown
        # Each remedy is printed once: a hundred servers may need the same.
        self._told: set[str] = set()
        self._bar = 20 if out.width >= WIDE else 10
        self._target = widest(["TARGET", *(printable(one.row.target.name) for one in shown)])
        self._location = widest(["LOCATION", *(printable(one.row.label) for one in shown)])
        names = {line.name for one in shown for line in one.lines} - {""}
        # Most endpoints have one item, a leaf. Where all are such, that need not be said.
        self._item = 0 if names <= {"leaf"} else widest(["ITEM", *names])
        place = self._target + self._location + 2 * len(GAP)
        # Where a line has no room for all, the place stands on a line of its own.
        self._stacked = len(GAP) + place + len(self._values("", "", "", "")) > out.width

    def write(self) -> None:
        """
        Write the whole table.
        """
        if self._shown:
            place = Text(self._place("TARGET", "LOCATION"), "dim")
            values = self._values("ITEM", padded("LIFE", self._bar), "LEFT", "EXPIRES (UTC)")
            self._write_columns(place, values)
        for level in reversed(URGENCY):
            group = [one for one in self._shown if one.level is level]
            if not group:
                continue
            title = Text.assemble(
                (f" {level.name} ", f"bold reverse {STYLES[level]}"),
                (f" {counted(len(group), 'endpoint')}: {MEANINGS[level]}", STYLES[level]),
            )
            self._out.line(title)
            for one in group:
                self._write_entry(one)
            self._out.line()
        if any(line.judged is not None for one in self._shown for line in one.lines):
            glyphs = self._out.glyphs
            sample = f"{glyphs.left * 4}{glyphs.over}{glyphs.due}{glyphs.over * 2}"
            words = f"{sample}  what is left of its life; shorter than {glyphs.due}: its renewal is overdue"
            self._out.line(Text(words, "dim"))

    def _place(self, target: str, location: str) -> str:
        if self._stacked:
            return f"{target}{GAP}{location}"
        return f"{padded(target, self._target)}{GAP}{padded(location, self._location)}"

    def _values(self, item: str, life: Text | str, left: str, ends: str) -> Text:
        name = f"{padded(item, self._item)}{GAP}" if self._item else ""
        return Text.assemble(name, life or " " * self._bar, f"{GAP}{left:>9}{GAP}{ends:<16}")

    def _write_columns(self, place: Text, values: Text) -> None:
        if self._stacked:
            self._out.line(place, 2)
            self._out.line(values, 4)
        else:
            self._out.line(Text.assemble(place, GAP, values), 2)

    def _write_entry(self, entry: Entry) -> None:
        place = Text(self._place(printable(entry.row.target.name), printable(entry.row.label)))
        fine = 0
        for number, line in enumerate(entry.lines):
            fine += line.level is Level.OK
            if fine <= FINE_LINES:
                self._write_line(line, place if number == 0 else None)
        if fine > FINE_LINES:
            more = counted(fine - FINE_LINES, "more item")
            self._out.line(Text(f"{self._out.glyphs.more} {more}, fine, expiring later", "dim"), 4)

    def _write_line(self, line: Line, place: Text | None) -> None:
        """
        Write an item. `place` stands before it; None when it already stands on the line above.
        """
        if line.judged is None:
            self._out.line(place or Text(), 2)
        else:
            end = line.judged.item.not_after
            left = span(end - self._now) if end >= self._now else "expired"
            life = bar(line.judged, self._now, self._bar, self._out.glyphs)
            values = self._values(line.name, life, left, minute(end))
            if place is None and self._stacked:
                self._out.line(values, 4)
            else:
                self._write_columns(place or Text(self._place("", "")), values)
        for one in line.findings:
            words = Text(printable(one.words), STYLES[one.level])
            if one.item is not None:
                words.append(_subject(line), "dim")
            self._out.line(words, 4)
            if one.advice and one.advice not in self._told:
                self._told.add(one.advice)
                self._out.line(Text(f"{self._out.glyphs.arrow} {printable(one.advice)}", "dim"), 4)


def _subject(line: Line) -> str:
    """
    Return the subject of a certificate, in brackets, where the item's name does not imply that it is the
    server's.
    """
    if line.judged is None or line.judged.item.certificate is None or line.name.startswith("leaf"):
        return ""
    return f" ({printable(line.judged.item.certificate.subject)})"


def print_json(inventory: Inventory, now: float, stream: TextIO, refused: Collection[str] = ()) -> None:
    """
    Print the endpoints as JSON: `{"level": ..., "refused": [...], "seen_at": ..., "endpoints": [...]}`.

    Times are in seconds since the epoch, and once more as text in `rfc3339`. `refused` are texts that are no
    target.
    """
    head: dict[str, object] = {
        "level": level(inventory, now, refused).name.lower(),
        "refused": list(refused),
        "seen_at": inventory.scrape.at,
    }
    found = [json_items.endpoint(row, inventory, now) for row in inventory.scrape.endpoints]
    json.dump({**in_text(head, "seen_at"), "endpoints": found}, stream, indent=2)
    stream.write("\n")
