"""
`expiry-exporter alerts`: the files that turn metrics into alerts.
"""

import argparse
from pathlib import Path

from exporter.cli import arguments
from exporter.cli.bundled_files import report, write_alerts

DESCRIPTION = """\
Write the files that turn metrics into alerts: rules.yml for Prometheus,
alertmanager.yml and templates/ for Alertmanager, and a runbook for each alert.

alertmanager.yml is an example, and yours once it is written: it is never replaced.
"""


EXAMPLES = """\
examples:
  expiry-exporter alerts --output-dir /etc/prometheus/expiry
      all of them

  expiry-exporter alerts --output-dir /etc/prometheus/expiry --force
      after an upgrade: replace rules, templates and runbooks

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
    parser.add_argument("--output-dir", type=Path, required=True, metavar="DIR", help="where to write")
    runbooks = parser.add_mutually_exclusive_group()
    words = "where people reach the exporter; alerts then link to its runbooks"
    arguments.add_url(runbooks, arguments.linked_url, words)
    arguments.add_runbooks_flag(runbooks)
    parser.add_argument(
        "--force", action="store_true", help="replace files that differ, but never alertmanager.yml"
    )


def run(options: argparse.Namespace) -> int:
    """
    Write the files, print their paths, and return the exit code.
    """
    return report(
        lambda: write_alerts(
            options.output_dir,
            external_url=options.external_url,
            runbooks_url=options.runbooks_url,
            force=options.force,
        )
    )
