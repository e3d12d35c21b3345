"""
`expiry-exporter forecast`: the alerts to come, for a person, a spreadsheet or a program.
"""

import argparse
import csv
import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby
from typing import TextIO

from rich.text import Text

from exporter.cli import arguments
from exporter.cli.one_shot import looked, warn
from exporter.cli.terminal import (
    GAP,
    STYLES,
    Terminal,
    counted,
    iso,
    minute,
    moment,
    padded,
    terminal,
    widest,
    write_columns,
)
from exporter.engine.scrape import EndpointRow
from exporter.judgement.problems import Key
from exporter.model.foreign_text import printable
from exporter.model.observation import Failed
from exporter.model.policies import DAY, Severity
from exporter.model.reasons import Kind
from exporter.passwords import shown
from exporter.report.forecast import Alert, Forecast, Notification, document, forecast, numbered
from exporter.report.status import NOUNS, Level, lookup_findings
from exporter.report.times import ago, span

MOST_DAYS = 3660
"""Most days that a forecast may cover."""


UNCHECKED_LINES = 5
"""Most endpoints that could not be checked as configured that have a line each."""


DESCRIPTION = """\
Probe once and say which notifications will come on which day if nothing is renewed
and nothing else changes, as the rules and the Alertmanager example of
`expiry-exporter alerts` send them: what fires now, then day by day, grouped by week.
The first one about each item is in colour; later ones about it are not.

All problems of one certificate, on however many targets, are one line for each
severity, and so are alerts of one name without a certificate. Alerts that another
one inhibits are not shown. In a plain list, CSV and JSON each alert has a line, with
the number of its notification; inhibited ones have none.
"""


EXAMPLES = """\
exit code:
  0  the forecast is complete, whatever it says
  2  wrong usage
  3  something could not be seen or checked, so alerts may be missing; or a bad configuration

examples:
  expiry-exporter forecast https://example.com
      the next 90 days

  expiry-exporter forecast --config.file=expiry.yml --days 14
      before a holiday, a change freeze, or a turn on call

  expiry-exporter forecast --config.file=expiry.yml --days 365 --output csv > alerts.csv
      the year, for a spreadsheet

  expiry-exporter forecast --config.file=expiry.yml | grep -w critical
      plain lines when the output is no terminal
"""


HEADINGS = (
    "WHEN",
    "NOTIFICATION",
    "SEVERITY",
    "ALERT",
    "TARGET",
    "ITEM",
    "LOCATION",
    "ENDPOINTS",
    "TARGETS",
    "EXPIRES",
    "REASONS",
)
"""Headings of the plain list, and in lower case of the CSV."""


LEVELS = {Severity.CRITICAL: Level.CRITICAL, Severity.WARNING: Level.WARNING}


NAMED = 3
"""Most targets with the same certificate that are named. The rest are counted."""


UNSEEN = 20
"""Most endpoints that could not be seen that have a sentence each."""


UNFORESEEN = (
    "Not foreseen: revocations, changes of what is served, and servers that go down. Prometheus tells up to "
    "a scrape and an evaluation later, and up to 15 minutes later what must last (`for:`)."
)
"""The last line of each forecast: the alerts that it can't foresee."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """
    Add the flags and the help.
    """
    parser.description, parser.epilog = DESCRIPTION, EXAMPLES
    arguments.add_look_flags(parser)
    parser.add_argument(
        "--days", metavar="N", type=_days, default=90, help="how far to look ahead (default: %(default)s)"
    )
    parser.add_argument(
        "--output", choices=("text", "json", "csv"), default="text", help="(default: %(default)s)"
    )


def run(options: argparse.Namespace) -> int:
    """
    Probe, print which alerts will fire on which day, and return the exit code.
    """
    found = looked("forecast", options)
    if found is None:
        return int(Level.UNKNOWN)
    scrape, refused = found
    foretold = forecast(scrape.endpoints, scrape.at, options.days)
    write = {
        "json": print_json,
        "csv": print_csv,
        "text": print_text,
    }
    write[options.output](foretold, sys.stdout)
    if options.output == "csv":
        # The CSV and the plain list have no place for this.
        sys.stderr.writelines(f"{line}\n" for line in unseen(foretold))
    if not scrape.complete:
        warn("forecast", f"not all was probed in {options.timeout:g} s: raise --timeout")
    # What was not seen may be what fires first: a script must not take this for the whole.
    unknown = [row for row in scrape.endpoints if _unchecked(row)]
    for row in unknown[:UNCHECKED_LINES]:
        warn("forecast", f"{row.target.name} {row.label}: {_unchecked(row)}")
    if len(unknown) > UNCHECKED_LINES:
        warn("forecast", f"so it is with {len(unknown) - UNCHECKED_LINES} more")
    return int(Level.UNKNOWN if refused or foretold.unseen or unknown else Level.OK)


def _unchecked(row: EndpointRow) -> str:
    """
    Return why an endpoint could not be checked as the target asks, in words; empty when it was.
    """
    found = lookup_findings(row.held.facts) if row.held.facts is not None else ()
    return printable(next((one.words for one in found if one.level is Level.UNKNOWN), ""))


def _days(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= MOST_DAYS:
        raise argparse.ArgumentTypeError(f"{shown(text)} is not a whole number of days from 1 to {MOST_DAYS}")
    return int(text)


def print_json(found: Forecast, stream: TextIO) -> None:
    """
    Print the forecast as one JSON document.
    """
    json.dump(document(found), stream, indent=2)
    stream.write("\n")


def print_csv(found: Forecast, stream: TextIO) -> None:
    """
    Print the alerts as comma-separated values (RFC 4180), with times as in RFC 3339.
    """
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(heading.lower() for heading in HEADINGS)
    numbers = numbered(found)
    writer.writerows(_cells(one, numbers) for one in found.alerts)


def print_text(found: Forecast, stream: TextIO) -> None:
    """
    Print the notifications by day and week on a terminal; elsewhere the alerts, a line each. Last, the
    endpoints not seen.
    """
    out = terminal(stream)
    if out is not None:
        _List(out, found).write()
        return
    numbers = numbered(found)
    rows = [("now" if found.firing(one) else iso(one.at), *_cells(one, numbers)[1:]) for one in found.alerts]
    write_columns([HEADINGS, *rows], stream)
    stream.writelines(f"{line}\n" for line in (_summary(found), *unseen(found)))


def _cells(one: Alert, numbers: Mapping[Key, int]) -> tuple[str, ...]:
    return (
        iso(one.at),
        str(numbers.get(one.key, "")),
        one.severity,
        one.name,
        one.target,
        one.item,
        one.location,
        str(one.endpoints),
        str(one.targets),
        iso(one.end) if one.end is not None else "",
        " ".join(one.reasons),
    )


def _summary(found: Forecast) -> str:
    days = counted(round((found.until - found.now) / DAY), "day")
    targets = counted(found.targets, "target")
    if not found.alerts:
        return f"no alert about {targets} in {days}, even if nothing is renewed"
    firing = sum(one.at <= found.now for one in found.notifications)
    counts = Counter(one.severity for one in found.notifications)
    concerned = len({one.target for one in found.alerts})
    return (
        f"{counted(len(found.notifications), 'notification')} ({counts[Severity.CRITICAL]} critical, "
        f"{counts[Severity.WARNING]} warning; {firing} now) of {counted(len(found.alerts), 'alert')} "
        f"in {days} if nothing is renewed, about {concerned} of {targets}"
    )


def unseen(found: Forecast) -> list[str]:
    """
    Return sentences on endpoints not seen: one for each, or for each reason when there are many.
    """
    failures = [
        (row, row.held.observation) for row in found.unseen if isinstance(row.held.observation, Failed)
    ]
    begin = "not seen, so not forecast:"
    if len(failures) <= UNSEEN:
        return [
            printable(f"{begin} {row.target.name} at {row.label} ({failed.reason}: {failed.detail})")
            for row, failed in failures
        ]
    reasons = Counter(failed.reason for _, failed in failures)
    return [f"{begin} {counted(count, 'endpoint')} ({reason})" for reason, count in reasons.most_common()]


@dataclass(frozen=True, slots=True)
class _Line:
    """
    One line of the list on a terminal.
    """

    when: str
    """Time at which it fires; empty when it fires now."""
    severity: Severity
    name: str
    subject: str
    details: str
    news: bool
    """True for the first alert about a thing."""

    @property
    def style(self) -> str:
        """
        Colour of the line's severity for news; dim for an alert that repeats an earlier one.
        """
        return f"bold {STYLES[LEVELS[self.severity]]}" if self.news else "dim"


class _List:
    """
    The list on a terminal: what is sent now, then each week that has notifications, with its days.
    """

    def __init__(self, out: Terminal, found: Forecast) -> None:
        self._out = out
        self._found = found
        # The first notification about a thing is news; those that follow repeat it, louder.
        self._told: set[tuple[str, str]] = set()

    def write(self) -> None:
        """
        Write the whole list.
        """
        found = self._found
        for title, notifications in groupby(found.notifications, key=self._group):
            self._write_group(title, list(notifications))
        for words in unseen(found):
            self._out.line(Text(words, STYLES[Level.UNKNOWN]))
        self._out.line(Text(_summary(found), "bold"))
        self._out.line(Text(UNFORESEEN, "dim"))

    def _group(self, one: Notification) -> str:
        """
        Return the heading above a notification: `Now`, or the week of its time (UTC) by its Monday.
        """
        if one.at <= self._found.now:
            return "Now"
        monday = _monday(one.at)
        if monday == _monday(self._found.now):
            return "Later this week"
        if monday == _monday(self._found.now + 7 * DAY):
            return f"Next week, from Monday {monday}"
        return f"Week of Monday {monday}"

    def _write_group(self, title: str, notifications: Sequence[Notification]) -> None:
        counts = Counter(one.severity for one in notifications)
        said = ", ".join(f"{counts[one]} {one}" for one in reversed(Severity) if counts[one])
        self._out.line(Text.assemble((title, "bold"), GAP, (said, "dim")))
        lines = [self._line(one) for one in notifications]
        name = widest(line.name for line in lines)
        subject = widest(line.subject for line in lines)
        indent = 2 + widest(line.when + GAP * bool(line.when) for line in lines) + 8 + len(GAP)
        wide = indent + name + subject + widest(line.details for line in lines) + 2 * len(GAP)
        day = ""
        for line in lines:
            # A day is named once, on the first of its lines.
            when = line.when if line.when[:10] != day else line.when[10:].rjust(len(line.when))
            day = line.when[:10]
            head = Text(f"{when}{GAP}" if when else "")
            head.append(f"{padded(line.severity, 8)}{GAP}", line.style)
            head.append(padded(line.name, name), line.style)
            about = Text(line.subject, "" if line.news else "dim")
            details = Text(line.details, "dim")
            if wide <= self._out.width:
                about.pad_right(subject - about.cell_len)
                self._out.line(Text.assemble(head, GAP, about, GAP, details), 2)
                continue
            # In a narrow window the rest stands below the alert's name. Its end was printed with the first
            # alert.
            if indent + name + len(GAP) + about.cell_len <= self._out.width:
                self._out.line(Text.assemble(head, GAP, about), 2)
            else:
                self._out.line(head, 2)
                self._out.line(about, indent)
            if line.news:
                self._out.line(details, indent)
        self._out.line()

    def _line(self, told: Notification) -> "_Line":
        """
        Return the line of a notification: its first alert, and what else it is about.
        """
        one = told.alerts[0]
        about = {(each.target, each.item) for each in told.alerts}
        news = not about <= self._told
        self._told |= about
        when = moment(one.at)
        sent = "" if self._found.firing(one) or when is None else f"{when:%a} {when.day:>2} {when:%b %H:%M}"
        named = [printable(target) for target in dict.fromkeys(each.target for each in told.alerts)]
        if len(named) > NAMED + 1 or (len(named) > 1 and not news):
            first = named[: NAMED if news else 1]
            subject = f"{', '.join(first)} and {counted(len(named) - len(first), 'more target')}"
        else:
            subject = ", ".join(named)
        return _Line(sent, one.severity, one.name, subject, self._details(told), news)

    def _details(self, told: Notification) -> str:
        one = told.alerts[0]
        same = [each for each in told.alerts if each.problem is one.problem]
        where = _where(same)
        others = dict.fromkeys(each.name for each in told.alerts if each.problem is not one.problem)
        also = f"; also {', '.join(others)}" if others else ""
        if one.end is None or one.kind is None:
            reasons = dict.fromkeys(reason for each in same for reason in each.reasons)
            return f"{printable(', '.join(reasons))} {where}{also}"
        what = NOUNS[one.kind] if one.item == one.kind else f"{NOUNS[one.kind]} {printable(one.item)}"
        what = "" if one.item == one.kind == Kind.LEAF else f"{what} "
        first = "the first " if len({each.end for each in same}) > 1 else ""
        now = self._found.now
        if one.end <= now:
            ends = f"expired {ago(now - one.end)} ({minute(one.end)})"
        elif one.end <= one.at:
            ends = "expires then"
        elif self._found.firing(one):
            ends = f"expires in {span(one.end - now)} ({minute(one.end)})"
        else:
            ends = f"expires {span(one.end - one.at)} later ({minute(one.end)})"
        targets = len({each.target for each in same})
        shared = f"; the same on {one.targets} targets" if one.targets > targets else ""
        return f"{first}{what}{ends} {where}{shared}{also}"


def _where(same: Sequence[Alert]) -> str:
    one = same[0]
    targets = len({each.target for each in same})
    if targets > 1:
        return f"at {sum(each.endpoints for each in same)} endpoints of {targets} targets"
    more = f" and {counted(one.endpoints - 1, 'other endpoint')}" if one.endpoints > 1 else ""
    return f"at {printable(one.location)}{more}"


def _monday(timestamp: float) -> str:
    """
    Return the Monday of a time's week (UTC), as a date; empty for times that no calendar has.
    """
    when = moment(timestamp)
    return "" if when is None else f"{when - timedelta(days=when.weekday()):%Y-%m-%d}"
