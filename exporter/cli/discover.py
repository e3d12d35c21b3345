"""
`expiry-exporter discover`: looks around once, and prints the targets that it found as a configuration.

It changes nothing, and leaves out what the configuration has already.
"""

import argparse
import asyncio
import json
import logging
import os
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from exporter.cli import arguments, one_shot
from exporter.cli.found_list import Group, Looked, as_json, as_yaml
from exporter.cli.one_shot import misused, warn
from exporter.config.reader import load, parse
from exporter.config.settings import Config
from exporter.config.sources import SOURCES, SourceEntry
from exporter.discovery import MODULES, source
from exporter.discovery.base import Context, Found, Listing, SourceError
from exporter.discovery.lists import Kept, excluding, wanted, wanting
from exporter.discovery.resolving import resolved
from exporter.discovery.targets import joined, made
from exporter.engine.open_files import fitting
from exporter.judgement.coverage import Gap
from exporter.logs import fields
from exporter.model.foreign_text import printable
from exporter.net import event_loop
from exporter.net.regular_files import is_there
from exporter.passwords import shown
from exporter.probes.dependencies import Dependencies
from exporter.yaml_lines import ConfigError, ConfigFault

logger = logging.getLogger(__name__)


DESCRIPTION = """\
Look around, and print a configuration with what was found: targets by source, each
with a comment that says where it was found. What is configured already is left out.
Nothing is changed, and nothing is written but to standard output.

Then look once at all of these targets, configured and found: last come the names on
their certificates that none of them looks at.

Without a source and a configuration it looks at this host: certificates of ACME
clients and configurations of web servers in their usual places, and what listens.

exit status: 0 everything was looked at; 1 a source could not be read, the others are
printed; 2 wrong usage, or a configuration with faults
"""


EXAMPLES = """\
examples:
  expiry-exporter discover > expiry.yml
  expiry-exporter discover --config.file=expiry.yml
      what its section `discover` finds, besides its own targets
  expiry-exporter discover 'stores: /etc/letsencrypt' 'files: /etc/prometheus/sd/*.json'
      sources as elements of that section
"""


NAMES = "names that nobody watches"
"""The group of what is on certificates, beside those of the sources."""


STORES = (
    *("/etc/letsencrypt", "/root/.acme.sh", "/var/lib/lego", "/var/lib/caddy", "/etc/traefik/acme.json"),
    *("/var/lib/dehydrated", "/etc/ssl/uacme", "/var/lib/acme", "/etc/apache2/md"),
    *("/etc/step/certs", "/root/.step"),
)
"""Where ACME clients usually keep certificates."""


WEB_SERVERS = (
    *("/etc/nginx/nginx.conf", "/etc/apache2", "/etc/haproxy/haproxy.cfg", "/etc/caddy/Caddyfile"),
    *("/etc/postfix", "/etc/dovecot/dovecot.conf"),
)
"""Where servers usually have their configurations."""


NAMED = 20
"""Most wildcards, and names without an address, that are told one by one."""


QUIET = 1.0
"""Seconds between two lines of progress of one source."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """
    Add the arguments of the command to its parser.
    """
    parser.description, parser.epilog = DESCRIPTION, EXAMPLES
    parser.add_argument(
        "sources", nargs="*", metavar="SOURCE", help="an element of the section `discover`, in YAML"
    )
    parser.add_argument(
        "--config.file", dest="config_file", metavar="FILE", help="leave out what this configuration has"
    )
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=arguments.patience,
        default=10.0,
        help="time for the look at all of these targets (default: %(default)g)",
    )
    parser.add_argument("--no-look", action="store_true", help="do not look at them")
    parser.add_argument("--output", choices=("yaml", "json"), default="yaml", help="(default: %(default)s)")


def run(options: argparse.Namespace) -> int:
    """
    Look around, print what was found, and return the exit code.
    """
    try:
        config = Config() if options.config_file is None else load(options.config_file, os.environ)
        if options.sources or not config.discover:
            config = replace(config, discover=_sources(options.sources))
    except (ConfigError, SourceError) as error:
        return misused("discover", str(error))
    if options.config_file is not None:
        config = replace(config, by_hand=config.targets)
    looked = asyncio.run(look(config))
    groups = chosen(looked, config)
    if not options.no_look:
        groups.append(unwatched(config, groups, options.timeout))
    for one in groups:
        if one.looked.error:
            warn("discover", f"{one.name}: {one.looked.error}")
        for note in one.notes:
            warn("discover", f"{one.name}: {printable(note)}")
    sys.stdout.write(as_json(groups) if options.output == "json" else as_yaml(groups))
    return 1 if any(one.error for one in looked) else 0


def _sources(given: Sequence[str]) -> tuple[SourceEntry, ...]:
    """
    Return the sources of the command line; those of this host when there are none. Raises SourceError.
    """
    lines = [f"- {{{text}}}\n" if not text.lstrip().startswith("{") else f"- {text}\n" for text in given]
    if not given:
        usual = {"stores": STORES, "web_servers": WEB_SERVERS}
        there = {name: [one for one in paths if is_there(one)] for name, paths in usual.items()}
        lines = [f"- {{{name}: {json.dumps(paths)}}}\n" for name, paths in there.items() if paths]
        lines.append("- {listening: true}\n")
    text = "discover:\n" + "".join(lines)
    try:
        found = parse(text.encode(), str(Path.cwd() / "command line"), os.environ).discover
    except ConfigError as error:
        raise SourceError("; ".join(_fault(one, given) for one in error.faults)) from None
    # What this version can not do is no fault of a person who asked for nothing.
    return found if given else tuple(one for one in found if one.source in MODULES)


def _fault(fault: ConfigFault, given: Sequence[str]) -> str:
    """
    Return what is wrong with one of these sources, each of which is a line behind the first.
    """
    text = given[min(max(fault.line - 2, 0), len(given) - 1)]
    key, colon, rest = text.partition(":")
    if key in SOURCES and (not colon or not rest.startswith((" ", "\n"))):
        wanted = f"a space is missing behind {key}:" if colon else f"write what it has, as in `{key}: ...`"
        return f"{shown(text)}: {wanted}"
    place = re.sub(r"^discover(\[\d+\])?\.?", "", fault.path)
    return ": ".join(part for part in (shown(text), place, fault.message) if part)


async def look(config: Config) -> list[Looked]:
    """
    Return what each source of the configuration gives.
    """
    dependencies = Dependencies(asyncio.get_running_loop())
    try:
        return list(await asyncio.gather(*(_look(one, config, dependencies) for one in config.discover)))
    finally:
        dependencies.close()


async def _look(entry: SourceEntry, config: Config, network: Dependencies) -> Looked:
    if entry.source not in MODULES:
        return Looked(entry, error="this version has no such source")
    context = Context(
        network,
        network.clock(),
        directory=config.directory,
        wanted=wanting(entry.include, entry.exclude),
        excluded=excluding(entry.exclude),
        progress=_Progress(entry),
    )
    try:
        try:
            listing, words = await source(entry.source).run(entry.given, context), ""
        except SourceError as error:
            listing, words = error.listing or Listing(), printable(str(error))
        listing, _ = await resolved(listing, entry, Kept(), network, patient=True)
        return Looked(entry, listing, words)
    except Exception as error:
        # A defect of one source costs no other.
        logger.exception("internal error in a source", extra=fields(source=entry.name or entry.source))
        return Looked(entry, error=f"an internal error ({type(error).__name__}): please report it")


class _Progress:
    """
    Lines about what a source does, a few of them.
    """

    def __init__(self, entry: SourceEntry) -> None:
        self._name = entry.name
        self._said = float("-inf")

    def __call__(self, words: str) -> None:
        """
        Print the words, unless the last line was just now.
        """
        if time.monotonic() - self._said >= QUIET:
            self._said = time.monotonic()
            warn("discover", f"{self._name}: {printable(words)}")


def chosen(looked: Sequence[Looked], config: Config) -> list[Group]:
    """
    Return by source what is neither configured nor found by an earlier one.
    """
    lists = []
    for one in looked:
        entry = one.entry
        found = list(wanted(one.listing.found, entry.include, entry.exclude))
        result = made(found[: entry.limit], entry, config)
        above = len(found) - entry.limit
        more = (f"{above} targets are above the limit of {entry.limit}",) if above > 0 else ()
        lists.append((one, result, (*one.listing.notes, *result.notes, *more)))
    kept = {(target.source, target.name) for target in joined(config, [result for _, result, _ in lists])}
    groups = []
    for one, result, notes in lists:
        pairs = [
            (found, target)
            for found, target in result.by_found.values()
            if (target.source, target.name) in kept
        ]
        found_here, targets = tuple(found for found, _ in pairs), tuple(target for _, target in pairs)
        groups.append(Group(one, found_here, notes, targets))
    return groups


def unwatched(config: Config, groups: Sequence[Group], timeout: float) -> Group:
    """
    Look once at all targets, configured and found, and return the names that none of them looks at.
    """
    targets = (*config.targets, *(target for group in groups for target in group.targets))
    if targets:
        warn("discover", f"{NAMES}: looking at {len(targets)} targets, for {timeout:g} s at most")
    # What can't be seen is no matter here.
    logging.getLogger().setLevel(logging.ERROR)
    rules = replace(config.coverage, private=True)
    scrape = event_loop.run(one_shot.look(targets, timeout, fitting(None), None, rules))
    gaps = scrape.coverage
    notes = [
        f"{one.name} is {_on(one)}: which hosts there are, only your DNS knows" for one in gaps.wildcards
    ]
    notes += [f"{one.name} is {_on(one)}, and has no address" for one in gaps.unresolved]
    if len(notes) > NAMED:
        notes[NAMED:] = [f"{len(notes) - NAMED} more such names"]
    if not scrape.complete:
        notes.insert(0, f"not all targets were seen within {timeout:g} s: raise --timeout")
    found = tuple(Found(one.suggestion, f"{one.name} is {_on(one)}") for one in gaps.hosts)
    return Group(Looked(SourceEntry.model_construct(name=NAMES)), found, tuple(notes))


def _on(gap: Gap) -> str:
    return f"on the certificate of {gap.target.name} at {gap.location}"
