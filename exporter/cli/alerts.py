"""
`expiry-exporter alerts`: the files that turn metrics into alerts.
"""

import argparse
import re
import sys
from pathlib import Path

from exporter import __version__
from exporter.cli import arguments
from exporter.cli.bundled_files import FORMATS, RELEASE, RuleStyle, installed_rules, report, write_alerts
from exporter.cli.rule_formats import FormatError
from exporter.passwords import shown

_LABEL_NAME = re.compile(r"([a-z0-9.-]{1,253}/)?[A-Za-z0-9]([\w.-]{0,61}[A-Za-z0-9])?", re.ASCII)
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([\w.-]{0,61}[A-Za-z0-9])?)?", re.ASCII)

DESCRIPTION = """\
Write the files that turn metrics into alerts: the rules, alertmanager.yml and
templates/ for Alertmanager, and a runbook for each alert.

The rules are written for what evaluates them (--format):
  prometheus   rules.yml, for Prometheus, Thanos, Mimir and vmalert
  operator     prometheusrule.yml, a manifest for the Prometheus Operator
  grafana      grafana-alerts.yml, a provisioning file for alert rules that Grafana
               evaluates, and grafana-recording.yml with what it should record

alertmanager.yml is an example, and yours once it is written: it is never replaced.

--check compares rules that are in use with those that this version would write.
"""


EXAMPLES = """\
examples:
  expiry-exporter alerts --output-dir /etc/prometheus/expiry
      all of them

  expiry-exporter alerts --output-dir /etc/prometheus/expiry --force
      after an upgrade: replace rules, templates and runbooks

  expiry-exporter alerts --check /etc/prometheus/expiry/rules.yml
      are they of this version, and what differs; exit 0 (the same), 1 (they differ)
      or 2 (can't be read)

  kubectl get prometheusrule expiry-exporter -o yaml | expiry-exporter alerts --check -
      the same for a manifest in a cluster

  expiry-exporter alerts --output-dir . --format operator --metadata-label release=monitoring
      a manifest with the label by which your Prometheus selects rules

  expiry-exporter alerts --output-dir /etc/grafana/provisioning/alerting --format grafana
      --grafana-datasource PBFA97CFB590B2093
      for Grafana, with the UID of its Prometheus data source

  expiry-exporter alerts --output-dir new
      elsewhere, to compare the new example with your alertmanager.yml

  expiry-exporter alerts --output-dir . --web.external-url https://expiry.example.com
      alerts that link to the runbooks that the exporter serves, .../runbooks/ExpirySoon

  expiry-exporter alerts --output-dir . --runbooks-url https://wiki.example.com/runbooks
      alerts that link to where you publish runbooks/, such as .../runbooks/ExpirySoon.md
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """
    Add the flags and the help.
    """
    parser.description, parser.epilog = DESCRIPTION, EXAMPLES
    todo = parser.add_mutually_exclusive_group(required=True)
    todo.add_argument("--output-dir", type=Path, metavar="DIR", help="where to write")
    todo.add_argument(
        "--check", metavar="FILE", help="compare rules in use, of any format, and write nothing; - reads them"
    )
    parser.add_argument(
        "--format",
        choices=FORMATS,
        default="prometheus",
        help="what evaluates the rules (default: %(default)s)",
    )
    add_label_flag(parser, "label of the manifest")
    parser.add_argument(
        "--grafana-datasource",
        dest="datasource",
        metavar="UID",
        type=_uid,
        default="prometheus",
        help="Grafana's Prometheus data source (default: %(default)s)",
    )
    runbooks = parser.add_mutually_exclusive_group()
    words = "where people reach the exporter; alerts then link to its runbooks"
    arguments.add_url(runbooks, arguments.linked_url, words)
    arguments.add_runbooks_flag(runbooks)
    parser.add_argument(
        "--force", action="store_true", help="replace files that differ, but never alertmanager.yml"
    )


def run(options: argparse.Namespace) -> int:
    """
    Write the files and print their paths, or compare; return the exit code.
    """
    style = RuleStyle(
        options.format, dict(options.metadata_labels or [RELEASE]), options.datasource, options.external_url
    )
    if options.check is not None:
        return _check(options.check, style)
    return report(
        lambda: write_alerts(
            options.output_dir, style, runbooks_url=options.runbooks_url, force=options.force
        )
    )


def _check(path: str, style: RuleStyle) -> int:
    """
    Print what differs between the rules in the file (`-`: standard input) and those of this version.
    """
    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")
        wrote, lines = installed_rules(text, style)
    except (OSError, UnicodeDecodeError, FormatError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        sys.stderr.write(f"expiry-exporter alerts: can't compare {path}: {reason}\n")
        return 2
    if not lines:
        sys.stdout.write(f"{path} has the rules of this version, {__version__}\n")
        return 0
    by = f"version {wrote}" if wrote else "a version that it does not name"
    sys.stdout.write(
        f"{path} differs from the rules of this version, {__version__}; it was written by {by}:\n"
    )
    sys.stdout.writelines(f"  {line}\n" for line in lines)
    return 1


def label(text: str) -> tuple[str, str]:
    """
    Return name and value of a label as Kubernetes takes it. Raises argparse.ArgumentTypeError.
    """
    name, separator, value = text.partition("=")
    if not separator or not _LABEL_NAME.fullmatch(name) or not _LABEL_VALUE.fullmatch(value):
        raise argparse.ArgumentTypeError(f"{shown(text)} is not a label NAME=VALUE as Kubernetes takes it")
    return name, value


def add_label_flag(parser: argparse.ArgumentParser, words: str) -> None:
    """
    Add the flag for labels of manifests; `words` are its help.
    """
    parser.add_argument(
        "--metadata-label",
        dest="metadata_labels",
        action="append",
        type=label,
        metavar="NAME=VALUE",
        help=f"{words}, may be repeated (default: release=kube-prometheus-stack)",
    )


def _uid(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,40}", text):
        raise argparse.ArgumentTypeError(
            f"{shown(text)} is no UID of a data source: Grafana shows it in the address of the data source's "
            "page"
        )
    return text
