"""
The commands that look once and print: `check` and `forecast`.
"""

import argparse
import asyncio
import io
import logging
import os
import sys
import time
from dataclasses import replace

from rich.console import Console

from exporter.cli import check
from exporter.cli import forecast as forecast_command
from exporter.config.reader import load
from exporter.config.settings import Config, target_for
from exporter.engine.scrape import EndpointRow, Scrape
from exporter.model.foreign_text import printable
from exporter.model.targets import Target
from exporter.model.urls import SCHEMES, TargetError
from exporter.report.forecast import forecast
from exporter.report.status import Level, lookup_findings
from exporter.server.service import CONCURRENCY, fitting
from exporter.yaml_lines import ConfigError

UNCHECKED_LINES = 5
"""Endpoints that could not be checked as asked of which a forecast has a line each."""


def print_check(options: argparse.Namespace) -> int:
    """
    Look, print what is found, and return the exit code.
    """
    if options.only is not None and options.output != "table":
        return _misused("check", "--only is for the table: choose by `level` in the JSON document")
    found = _looked("check", options)
    if found is None:
        return int(Level.UNKNOWN)
    scrape, refused = found
    now = time.time()
    if options.output == "json":
        check.print_json(scrape, now, sys.stdout, refused)
    else:
        check.print_table(scrape, now, sys.stdout, options.only or frozenset(Level), refused)
    return int(check.level(scrape, now, refused))


def print_forecast(options: argparse.Namespace) -> int:
    """
    Look, print which alerts will fire on which day, and return the exit code.
    """
    found = _looked("forecast", options)
    if found is None:
        return int(Level.UNKNOWN)
    scrape, refused = found
    foretold = forecast(scrape.endpoints, scrape.at, options.days)
    write = {
        "json": forecast_command.print_json,
        "csv": forecast_command.print_csv,
        "text": forecast_command.print_text,
    }
    write[options.output](foretold, sys.stdout)
    if options.output == "csv":
        # Its lines have no place for this.
        sys.stderr.writelines(f"{line}\n" for line in forecast_command.unseen(foretold))
    if not scrape.complete:
        _warn("forecast", f"not all was looked at in {options.timeout:g} s: raise --timeout")
    # What was not seen may be what fires first: a script must not take this for the whole.
    unknown = [row for row in scrape.endpoints if _unchecked(row)]
    for row in unknown[:UNCHECKED_LINES]:
        _warn("forecast", f"{row.target.name} {row.label}: {_unchecked(row)}")
    if len(unknown) > UNCHECKED_LINES:
        _warn("forecast", f"so it is with {len(unknown) - UNCHECKED_LINES} more")
    return int(Level.UNKNOWN if refused or foretold.unseen or unknown else Level.OK)


def _unchecked(row: EndpointRow) -> str:
    """
    What was to be checked at an endpoint and could not be, in words; empty when all was.
    """
    found = lookup_findings(row.held.facts) if row.held.facts is not None else ()
    return printable(next((one.words for one in found if one.level is Level.UNKNOWN), ""))


def _looked(command: str, options: argparse.Namespace) -> tuple[Scrape, list[str]] | None:
    """
    One scrape of what the command is asked to look at, and what of it is no target, which has been said.

    None when there is nothing to look at, which has been said. Ends the process when nothing was asked for.
    """
    if not options.urls and options.config_file is None:
        sys.exit(_misused(command, f"name a URL after `{command}`, or a configuration by --config.file"))
    try:
        config = Config() if options.config_file is None else load(options.config_file, os.environ)
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        return None
    # `probe.allow` is about strangers. Whoever starts this command may read what the command can.
    config = replace(config, probe_allow=("*", *(f"{scheme}:*" for scheme in SCHEMES)))
    if not options.urls and not config.targets:
        _warn(command, f"{options.config_file} has no targets to look at")
        return None
    targets: dict[str, Target] = {}
    refused: list[str] = []
    for name in dict.fromkeys(options.urls or [target.name for target in config.targets]):
        try:
            targets[name] = _with_flags(target_for(config, name, options.policy), options)
        except TargetError as error:
            _warn(command, str(error))
            refused.append(name)
    # Encodings of terminals that lack a character of a name must not stop the rest.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    console = Console(stderr=True) if sys.stderr.isatty() else None
    # Each failure stands in what is printed: no line of log beside it.
    logging.getLogger().setLevel(logging.ERROR)
    scrape = asyncio.run(check.look(tuple(targets.values()), options.timeout, fitting(CONCURRENCY), console))
    return scrape, refused


def _with_flags(target: Target, options: argparse.Namespace) -> Target:
    """
    The target with what the command line says of all targets.
    """
    soon = options.timeout - min(1.0, options.timeout / 10)
    return replace(
        target,
        # Whoever starts this command named it, and may read what servers say.
        forbids=None,
        ca_file=options.ca_file or target.ca_file,
        server_name=options.server_name or target.server_name,
        # A configuration has its own. Without one, a single look may take all the time there is. Either ends
        # before the whole does: a look knows what it waited for, the whole only that its time is over.
        timeout=soon if options.config_file is None else min(target.patience, soon),
    )


def _misused(command: str, message: str) -> int:
    _warn(command, f"error: {message} (expiry-exporter {command} --help shows examples)")
    return 2


def _warn(command: str, message: str) -> None:
    sys.stderr.write(f"expiry-exporter {command}: {message}\n")
