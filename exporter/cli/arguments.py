"""
What may be written on the command line, and the help that says so.
"""

import argparse
import re
import textwrap
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from exporter import __version__, logs
from exporter.cli import manual
from exporter.model.policies import BUILT_IN
from exporter.model.targets import label_name
from exporter.model.urls import known_schemes
from exporter.report.status import Level
from exporter.server.service import CONCURRENCY

DEFAULT_ADDRESS = ":10119"
"""The exporters' range, 9100 to 9999, is fully allocated and its list goes on above 10000: this one is
free there."""


DESCRIPTION = """\
Says, before an outage, that a certificate is about to run out.

Without a command, serves metrics to Prometheus: each scrape of /metrics looks at
every configured target and tells when what it presents ends, when its renewal is
due, and whether clients trust it.
"""


EXAMPLES = """\
examples:
  expiry-exporter demo
      try it: servers in every state on this machine, metrics and a status page

  expiry-exporter check https://example.com tls://db.internal:5432
      look once, print a table, exit 0 (fine), 1 (warning), 2 (critical) or 3 (unknown)

  expiry-exporter forecast --config.file=expiry.yml
      which alerts will fire on which day of the next 90, if nothing is renewed

  expiry-exporter --config.file=expiry.yml
      serve; a minimal expiry.yml is:
          targets:
            - https://example.com

  expiry-exporter --config.file=expiry.yml --config.check
      say everything that is wrong with a configuration, and exit

  expiry-exporter manual
      the chapters of the manual, and a runbook for each alert

  kill -HUP PID, or curl -X POST http://localhost:10119/-/reload
      load the configuration anew; a bad one changes nothing
"""


CHECK = """\
Look once and print what is found, the most urgent first: what ends when, whether
clients trust it, why it can't be seen, and what to do about it.

In the table, a bar is what is left of a lifetime, and its mark is where the renewal
is due: a bar shorter than that is overdue. When the output is no terminal, the table
has one line for each item, for grep, awk and sort.
"""


CHECK_EXAMPLES = """\
exit code, the most urgent of all:
  0  fine
  1  warning: the renewal is late or due, or something will hurt later
  2  critical: the end is near or over, or clients refuse it; or wrong usage
  3  unknown: it could not be seen, or not be checked as asked; or a bad configuration

examples:
  expiry-exporter check https://example.com
      all addresses of a name, with its chain

  expiry-exporter check smtp://mail.example.com file:///etc/ssl/www.pem domain:example.com
      anything that expires: mail servers, files, domain registrations

  expiry-exporter check --config.file=expiry.yml --only critical,unknown,warning
      what needs a person, among all configured targets

  expiry-exporter check --ca-file ca.pem --server-name db.internal postgres://10.0.0.7
      one server behind a load balancer, under the name and CA that its clients expect

  expiry-exporter check --policy manual https://shop.example.com
      with the deadlines of a certificate that somebody must order

  expiry-exporter check --config.file=expiry.yml | awk '$6 < 30 {print $2, $6}'
      what ends in less than 30 days, and what could not be seen (-)

  expiry-exporter check --output json https://example.com | jq '.endpoints[].findings'
      for a program
"""


FORECAST = """\
Look once and tell which alerts will fire on which day if nothing is renewed and
nothing else changes, as the rules of `expiry-exporter alerts` would: what fires now,
then day by day, grouped by week. The first alert about each thing is in colour;
what follows says the same again, louder.

An alert is told once for a target and item, at the endpoint that is worst. The same
certificate on several targets is one line.
"""


FORECAST_EXAMPLES = """\
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


ALERTS = """\
Write the files that turn metrics into alerts: rules.yml for Prometheus,
alertmanager.yml and templates/ for Alertmanager, and a runbook for each alert.

alertmanager.yml is an example, and yours once it is written: it is never replaced.
"""


ALERTS_EXAMPLES = """\
examples:
  expiry-exporter alerts --output-dir /etc/prometheus/expiry
      all of them

  expiry-exporter alerts --output-dir /etc/prometheus/expiry --force
      after an upgrade: replace rules, templates and runbooks

  expiry-exporter alerts --output-dir new
      elsewhere, to compare the new example with your alertmanager.yml

  expiry-exporter alerts --output-dir . --label team --label squad
      alerts that carry these labels of your targets

  expiry-exporter alerts --output-dir . --web.external-url https://expiry.example.com
      alerts that link to the runbooks that the exporter serves, .../runbooks/ExpirySoon

  expiry-exporter alerts --output-dir . --runbooks-url https://wiki.example.com/runbooks
      alerts that link to where you publish runbooks/, such as .../runbooks/ExpirySoon.md
"""


DASHBOARDS_EXAMPLES = """\
examples:
  expiry-exporter dashboards --output-dir /var/lib/grafana/dashboards/expiry
      where Grafana provisions them from

  expiry-exporter dashboards --output-dir /var/lib/grafana/dashboards/expiry --force
      after an upgrade

  expiry-exporter dashboards --output-dir . --web.external-url https://expiry.example.com
      with links to the exporter's pages and runbooks

  expiry-exporter dashboards --output-dir . --runbooks-url https://wiki.example.com/runbooks
      with links to where you publish the runbooks of `expiry-exporter alerts`
"""


MOST_DAYS = 3660
"""Days that a forecast may have."""


def parser() -> argparse.ArgumentParser:
    """
    The parser. What it gives has the name of the command as `command`.
    """
    raw = argparse.RawDescriptionHelpFormatter
    whole = argparse.ArgumentParser(
        prog="expiry-exporter",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=raw,
        allow_abbrev=False,
    )
    whole.add_argument("--version", action="version", version=f"expiry-exporter {__version__}")
    whole.add_argument(
        "--config.file",
        dest="config_file",
        metavar="FILE",
        default="expiry.yml",
        help="the configuration (default: %(default)s)",
    )
    whole.add_argument(
        "--config.check",
        dest="config_check",
        action="store_true",
        help="say what is wrong with the configuration, and exit",
    )
    whole.add_argument(
        "--state.path",
        dest="state_path",
        metavar="FILE",
        help="keep what was last seen in this file, so that it survives a restart",
    )
    whole.add_argument(
        "--shard.index",
        dest="shard_index",
        metavar="N",
        type=int,
        default=0,
        help="which share of the targets this replica looks at, from 0 (default: %(default)s)",
    )
    whole.add_argument(
        "--shard.total",
        dest="shard_total",
        metavar="N",
        type=_positive,
        default=1,
        help="how many replicas share the targets (default: %(default)s)",
    )
    _add_server_flags(whole)
    _add_log_flags(whole)
    commands = whole.add_subparsers(title="commands", metavar="", dest="command")
    whole.set_defaults(command="serve")
    checking = commands.add_parser(
        "check",
        help="look once and print what is found, the most urgent first",
        formatter_class=raw,
        description=CHECK,
        epilog=f"{CHECK_EXAMPLES}\nschemes:\n{_paragraph(known_schemes())}\n",
    )
    _add_look_flags(checking)
    checking.add_argument(
        "--only",
        metavar="LEVELS",
        type=_levels,
        default=None,
        help="print endpoints of these levels only, such as critical,unknown; the exit code counts all",
    )
    checking.add_argument(
        "--output", choices=("table", "json"), default="table", help="(default: %(default)s)"
    )
    _add_log_flags(checking)
    foretelling = commands.add_parser(
        "forecast",
        help="look once and tell which alerts will fire on which day",
        formatter_class=raw,
        description=FORECAST,
        epilog=FORECAST_EXAMPLES,
    )
    _add_look_flags(foretelling)
    foretelling.add_argument(
        "--days", metavar="N", type=_days, default=90, help="how far to look ahead (default: %(default)s)"
    )
    foretelling.add_argument(
        "--output", choices=("text", "json", "csv"), default="text", help="(default: %(default)s)"
    )
    _add_log_flags(foretelling)
    writing = commands.add_parser(
        "alerts",
        help="write the alerting rules, the Alertmanager example, templates and runbooks",
        formatter_class=raw,
        description=ALERTS,
        epilog=ALERTS_EXAMPLES,
    )
    writing.add_argument("--output-dir", type=Path, required=True, metavar="DIR", help="where to write")
    writing.add_argument(
        "--label",
        dest="labels",
        action="append",
        metavar="NAME",
        type=_label,
        help="a label of your targets for alerts to carry, instead of the usual ones; may be repeated",
    )
    runbooks = writing.add_mutually_exclusive_group()
    _add_url(runbooks, _linked_url, "where people reach the exporter; alerts then link to its runbooks")
    _add_runbooks_flag(runbooks)
    writing.add_argument(
        "--force", action="store_true", help="replace files that differ, but never alertmanager.yml"
    )
    _add_log_flags(writing)
    drawing = commands.add_parser(
        "dashboards",
        help="write the Grafana dashboards",
        formatter_class=raw,
        description="Write the Grafana dashboards: the whole fleet, one target, the exporter itself.\n"
        "Import them, or let Grafana provision them from the directory.",
        epilog=DASHBOARDS_EXAMPLES,
    )
    drawing.add_argument("--output-dir", type=Path, required=True, metavar="DIR", help="where to write")
    _add_url(drawing, _external_url, "where people reach the exporter; dashboards then link to its pages")
    _add_runbooks_flag(drawing)
    drawing.add_argument("--force", action="store_true", help="replace files that differ")
    _add_log_flags(drawing)
    manual.add_to(commands)
    showing = commands.add_parser(
        "demo",
        help="serve with embedded endpoints in every state",
        formatter_class=raw,
        description="Start TLS endpoints in every state on this machine, and serve their metrics.",
    )
    _add_server_flags(showing)
    _add_log_flags(showing)
    showing.set_defaults(state_path=None)
    return whole


def _add_look_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "urls",
        nargs="*",
        metavar="URL",
        help="what to look at, such as https://example.com; or the name of a configured target",
    )
    parser.add_argument(
        "--config.file",
        dest="config_file",
        metavar="FILE",
        help="look at the targets of this configuration, or at those of them that are named",
    )
    parser.add_argument(
        "--policy",
        choices=sorted(BUILT_IN),
        metavar="NAME",
        help=f"how it is renewed: {', '.join(sorted(BUILT_IN))} (default: by kind; servers: automatic)",
    )
    parser.add_argument("--ca-file", metavar="FILE", help="trust anchors, PEM (default: the system's)")
    parser.add_argument(
        "--server-name", metavar="NAME", help="name to send and verify instead of the URL's host"
    )
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=_patience,
        default=10.0,
        help="time for all of it (default: %(default)g)",
    )


def _add_url(parser: argparse._ActionsContainer, reader: Callable[[str], str], words: str) -> None:
    words = f"{words} (https://expiry.example.com)"
    parser.add_argument("--web.external-url", dest="external_url", metavar="URL", type=reader, help=words)


def _add_runbooks_flag(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--runbooks-url",
        dest="runbooks_url",
        metavar="URL",
        type=_linked_url,
        help="where people find the files of runbooks/, to link there (default: the project's repository)",
    )


def _add_server_flags(parser: argparse.ArgumentParser) -> None:
    _add_url(parser, _external_url, "where people reach this server; alerts then link to its pages")
    parser.add_argument(
        "--web.listen-address",
        dest="listen_address",
        metavar="ADDRESS",
        type=_address,
        default=DEFAULT_ADDRESS,
        help="[host]:port to listen on (default: %(default)s)",
    )
    parser.add_argument(
        "--web.timeout-offset",
        dest="timeout_offset",
        metavar="SECONDS",
        type=_seconds,
        default=0.5,
        help="taken off Prometheus's scrape timeout, for the answer to arrive in time (default: %(default)g)",
    )
    parser.add_argument(
        "--sweep.concurrency",
        dest="concurrency",
        metavar="N",
        type=_positive,
        default=CONCURRENCY,
        help="looks under way at a time (default: %(default)s)",
    )


def _add_log_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--log.level",
        dest="log_level",
        choices=tuple(logs.LEVELS),
        default="info",
        help="(default: %(default)s)",
    )
    parser.add_argument(
        "--log.format",
        dest="log_format",
        choices=("logfmt", "json"),
        default="logfmt",
        help="(default: %(default)s)",
    )


def _paragraph(text: str) -> str:
    """
    The text in indented lines, broken between words only.
    """
    return textwrap.fill(
        text, 78, initial_indent="  ", subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )


def _address(text: str) -> tuple[str | None, int]:
    host, separator, port = text.rpartition(":")
    if not separator or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not [host]:port, such as :10119 or 127.0.0.1:10119")
    return host.removeprefix("[").removesuffix("]") or None, int(port)


def _external_url(text: str) -> str:
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a URL: {error}") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or not text.isprintable() or " " in text:
        raise argparse.ArgumentTypeError(f"{text!r} is not a URL such as https://expiry.example.com")
    # The URL is exported and shown: a password has no place in it.
    if "@" in parts.netloc or "?" in text or "#" in text:
        raise argparse.ArgumentTypeError("no user, password, '?' or '#' may be in it")
    return text.rstrip("/")


def _linked_url(text: str) -> str:
    url = _external_url(text)
    # In a rule or a dashboard, braces and '$' would begin a template, and quotes end what they stand in.
    if not re.fullmatch(r"[!%&'()*+,\-./0-9:;=@A-Z\[\]_a-z~]+", url):
        raise argparse.ArgumentTypeError(f"{text!r} has a character that must be percent-encoded in a URL")
    return url


def _label(text: str) -> str:
    try:
        return label_name(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _seconds(text: str) -> float:
    try:
        value = float(text.removesuffix("s"))
    except ValueError:
        value = -1.0
    if not 0 <= value <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 0 to 3600")
    return value


def _patience(text: str) -> float:
    try:
        value = float(text.removesuffix("s"))
    except ValueError:
        value = -1.0
    if not 0 < value <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0, up to 3600")
    return value


def _days(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= MOST_DAYS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of days from 1 to {MOST_DAYS}")
    return int(text)


def _levels(text: str) -> frozenset[Level]:
    known = {level.name.lower(): level for level in Level}
    words = [word.strip().lower() for word in text.split(",")]
    unknown = [word for word in words if word not in known]
    if unknown:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is not one of critical, unknown, warning, ok")
    return frozenset(known[word] for word in words)


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)
