"""
`expiry-exporter dashboards`: the Grafana dashboards.
"""

import argparse
from pathlib import Path

from exporter.cli import arguments
from exporter.cli.bundled_files import report, write_dashboards

DESCRIPTION = """\
Write the Grafana dashboards: the whole fleet, one target, the exporter itself.
Import them, or let Grafana provision them from the directory."""


EXAMPLES = """\
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


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """
    Add the flags and the help.
    """
    parser.description, parser.epilog = DESCRIPTION, EXAMPLES
    parser.add_argument("--output-dir", type=Path, required=True, metavar="DIR", help="where to write")
    words = "where people reach the exporter; dashboards then link to its pages"
    arguments.add_url(parser, arguments.external_url, words)
    arguments.add_runbooks_flag(parser)
    parser.add_argument("--force", action="store_true", help="replace files that differ")


def run(options: argparse.Namespace) -> int:
    """
    Write the files, print their paths, and return the exit code.
    """
    return report(
        lambda: write_dashboards(
            options.output_dir, options.external_url, runbooks_url=options.runbooks_url, force=options.force
        )
    )
