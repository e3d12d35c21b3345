"""
One scrape of the targets of a command: `check` and `forecast`.
"""

import argparse
import asyncio
import io
import logging
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from exporter.cli.arguments import DEFAULT_CONFIG
from exporter.cli.discovered import with_discovered
from exporter.cli.shorthand import meant, named, taken_for_host
from exporter.config.reader import load
from exporter.config.settings import Config, target_for
from exporter.engine.monitor import Monitor
from exporter.engine.open_files import fitting
from exporter.engine.scrape import Scrape
from exporter.model.coverage import Rules
from exporter.model.errors import ProbeError
from exporter.model.hosts import TargetError
from exporter.model.schemes import SCHEMES
from exporter.model.targets import Target
from exporter.net import event_loop
from exporter.net.named_files import LIMIT
from exporter.net.regular_files import is_there, read
from exporter.passwords import without_secrets
from exporter.pki.trust import TrustStore, TrustStoreError
from exporter.probes.dependencies import Dependencies
from exporter.yaml_lines import ConfigError

EMPTY = "an empty text is no target: is a variable of the shell not set?"


def looked(command: str, options: argparse.Namespace) -> tuple[Scrape, list[str]] | None:
    """
    Return one scrape of the command's targets, and the texts that are no target. Prints the faults of those.

    None when no target is left, after printing why. Ends the process when the command line names none.
    """
    texts = list(dict.fromkeys(named(options.urls)))
    file = options.config_file or _usual_config(options.urls, texts)
    if not options.urls and file is None:
        words = f"name a URL after `{command}`, or a configuration by --config.file"
        sys.exit(misused(command, f"{words}; there is no {DEFAULT_CONFIG} in this directory"))
    # Of a configuration that nobody asked for only names count, and of these only those that are no URLs:
    # whoever writes a URL means just that.
    whole = options.config_file is not None or not options.urls
    config = _loaded(command, file, needed=whole)
    if config is None:
        return None
    # Each failure is part of the output: no log line beside it.
    logging.getLogger().setLevel(logging.ERROR)
    timeout = options.timeout
    refused: list[str] = []
    if config.discover:
        began = time.monotonic()
        # Whoever names targets may mean one that was found: that is known from the state alone.
        patience = 0.0 if options.urls else timeout / 2
        config, refused = with_discovered(
            config, options.state_path, patience, lambda words: warn(command, words)
        )
        timeout -= time.monotonic() - began
    if not options.urls and not config.targets:
        warn(command, f"{file} has no targets to probe")
        return None
    if options.ca_file is not None and (why := _unusable(options.ca_file)):
        warn(command, f"--ca-file: {why}")
        return None
    targets: dict[str, Target] = {}
    names = dict.fromkeys(target.name for target in config.targets if whole or not _is_url(target.name))
    for text in texts if options.urls else names:
        name, remark = meant(text, names)
        if remark := remark or taken_for_host(text, name, names, file):
            warn(command, remark)
        own = config if whole or name in names else _ANY
        try:
            targets[name] = _with_flags(
                _target(own, name, options.policy), options, configured=own is not _ANY
            )
        except TargetError as error:
            warn(command, str(error))
            refused.append(without_secrets(text))
    if not targets and not refused:
        warn(command, "there is no target: standard input names none")
        return None
    # Encodings of terminals that lack a character of a name must not stop the rest.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    console = Console(stderr=True) if sys.stderr.isatty() else None
    rules = config.coverage if config.coverage.alert and not options.urls else None
    scrape = event_loop.run(look(tuple(targets.values()), timeout, fitting(None), console, rules))
    return scrape, refused


_ANY = Config(probe_allow=("*", "0.0.0.0/0", "::/0", *(f"{scheme}:*" for scheme in SCHEMES)))
"""
The configuration of what is named on the command line. `probe.allow` is about strangers: whoever starts a
command may read what the command can.
"""


def _usual_config(urls: Sequence[str], texts: Sequence[str]) -> str | None:
    """
    Return the configuration to use where none is named; None without one, and where only URLs are named.
    """
    wanted = not urls or any(not _is_url(text) for text in texts)
    return DEFAULT_CONFIG if wanted and Path(DEFAULT_CONFIG).is_file() else None


def _is_url(text: str) -> bool:
    return "://" in text


def _loaded(command: str, file: str | None, *, needed: bool) -> Config | None:
    """
    Return the content of a configuration, that of `None` without a target. Prints its faults.

    None when it has some and is `needed`; without it, the names of its targets are not known.
    """
    if file is None:
        return _ANY
    try:
        return replace(load(file, os.environ), probe_allow=_ANY.probe_allow)
    except ConfigError as error:
        if needed:
            sys.stderr.write(f"{error}\n")
            return None
        warn(command, f"{file} has faults, so the names of its targets are not known here: {error.faults[0]}")
        return _ANY


def _target(config: Config, name: str, policy: str | None) -> Target:
    """
    Return the target of a URL, or of a configured name. Raises TargetError.
    """
    if not name.strip():
        raise TargetError(EMPTY)
    return target_for(config, name, policy)


def _unusable(ca_file: str) -> str:
    """
    Return why a file of trust anchors can't be used; empty when it can.
    """
    # A target may be all files of a directory, and these may not.
    if is_there(ca_file) and Path(ca_file).is_dir():
        return f"{ca_file} is a directory: name one PEM file"
    try:
        TrustStore.from_pem(read(ca_file, LIMIT)[0])
    except ProbeError as error:
        return error.detail.replace(ca_file, without_secrets(ca_file))
    except TrustStoreError as error:
        return f"no usable trust anchors in {ca_file}: {error}"
    return ""


async def look(
    targets: Sequence[Target],
    timeout: float,
    concurrency: int,
    console: Console | None,
    rules: Rules | None = None,
) -> Scrape:
    """
    Return one scrape of the targets, with all its look-ups. Shows progress on the console, if any.

    `rules` say what is told of names that none of them looks at; None: there are other targets.
    """
    dependencies = Dependencies(asyncio.get_running_loop())
    try:
        watch = Monitor(dependencies, concurrency, time.time)
        scrape = asyncio.ensure_future(watch.look_once(targets, timeout, rules))
        if console is not None:
            await _show_progress(watch, scrape, len(targets), console)
        return await scrape
    finally:
        dependencies.close()


async def _show_progress(
    watch: Monitor, scrape: "asyncio.Future[Scrape]", count: int, console: Console
) -> None:
    columns = (TextColumn("probing"), BarColumn(), MofNCompleteColumn(), TextColumn("targets"))
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=count)
        while not scrape.done():
            await asyncio.wait([scrape], timeout=0.2)
            progress.update(task, completed=watch.done)


def _with_flags(target: Target, options: argparse.Namespace, *, configured: bool) -> Target:
    """
    Return the target with the settings of the command line for all targets.

    `configured`: it has those of a configuration.
    """
    soon = options.timeout - min(1.0, options.timeout / 10)
    return replace(
        target,
        # Whoever starts this command named it, and may read what servers say.
        forbids=None,
        ca_file=options.ca_file or target.ca_file,
        server_name=options.server_name or target.server_name,
        # A configuration has its own. Without one, a single probe may take all the time there is. Either ends
        # before the sweep does: a probe reports the step that it waited for, the sweep only a timeout.
        timeout=min(target.patience, soon) if configured else soon,
    )


def misused(command: str, message: str) -> int:
    """
    Print the fault of the command line, and return the exit code.
    """
    warn(command, f"error: {message} (expiry-exporter {command} --help shows examples)")
    return 2


def warn(command: str, message: str) -> None:
    """
    Print a warning on standard error.
    """
    sys.stderr.write(f"expiry-exporter {command}: {message}\n")
