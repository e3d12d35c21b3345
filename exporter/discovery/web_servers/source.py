"""
Source `web_servers`: what the configurations of this host's servers say that they present, and where.
"""

import logging
import os
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

from exporter.discovery.base import FAILURES, Context, Found, Listing, Source, SourceError, in_part
from exporter.discovery.links import looked_at
from exporter.discovery.web_servers import apache, caddy, dovecot, haproxy, nginx, postfix
from exporter.discovery.web_servers.reading import TARGETS_LIMIT, Reader, Site, found
from exporter.logs import fields
from exporter.model.foreign_text import printable
from exporter.net.pools import Pool
from exporter.net.regular_files import unreadable

logger = logging.getLogger(__name__)


INTERVAL = 300.0


_Read = Callable[[str, Reader], list[Site]]


_READERS: dict[str, tuple[_Read, str, re.Pattern[str]]] = {
    "nginx": (nginx.sites, "nginx.conf", re.compile(r"^\s*(?:server|http|stream|events)\s*\{", re.MULTILINE)),
    "apache": (
        apache.sites,
        "apache2.conf httpd.conf",
        re.compile(
            r"^\s*(?:<VirtualHost|ServerRoot|LoadModule|SSLCertificateFile)\b", re.MULTILINE | re.IGNORECASE
        ),
    ),
    "haproxy": (
        haproxy.sites,
        "haproxy.cfg",
        re.compile(r"^(?:frontend|listen|defaults|global)\b", re.MULTILINE),
    ),
    "dovecot": (
        dovecot.sites,
        "dovecot.conf",
        re.compile(r"^\s*ssl_(?:server_)?cert(?:_file)?\s*=", re.MULTILINE),
    ),
    "postfix": (postfix.sites, "main.cf", re.compile(r"^smtpd?_\w+\s*=", re.MULTILINE)),
    "caddy": (
        caddy.sites,
        "Caddyfile caddy.json",
        re.compile(
            r"^\s*(?:reverse_proxy|file_server|tls|respond)\b|\A\s*\{[^{}]*\"(?:apps|admin)\"\s*:",
            re.MULTILINE,
        ),
    ),
}
"""By server: its reader, its main files, and what a file of it has in it if its path does not say."""


Known = dict[str, dict[str, list[Found]]]
"""The targets, by the path or pattern that is configured, then by what it means: a file or a directory."""


async def run(paths: Sequence[str], context: Context) -> Listing:
    """
    Return the targets of these configurations. Raises SourceError when one could not be read, or not whole.
    """
    # A file system that hangs keeps its thread, and delays nothing else.
    pool = Pool("web servers", 1)
    try:
        # What it names may be on a file system that hangs, though it is not itself.
        return await looked_at(pool.run(lambda: listed(paths, context.progress, context.remembered)))
    finally:
        pool.close()


def listed(
    paths: Sequence[str], progress: Callable[[str], None] = lambda _: None, remembered: Any = None
) -> Listing:
    """
    Return the targets of these configurations. Raises SourceError. Blocks.

    What could not be read whole keeps the targets that it had, as `remembered`.
    """
    reader = Reader()
    before = _remembered(remembered)
    known: Known = {}
    targets: dict[tuple[str, str], Found] = {}
    for given in paths:
        had = before.get(given, {})
        matching = reader.matching(given)
        known[given] = had if matching is None else {}
        for path in matching or ():
            progress(f"configuration {path}")
            known[given][path] = _read(path, reader, had.get(path, []))
        for one in chain.from_iterable(known[given].values()):
            targets.setdefault(_key(one), one)
    if len(targets) > TARGETS_LIMIT:
        reader.note(f"more than {TARGETS_LIMIT:,} targets: the rest was passed over")
    found = tuple(islice(targets.values(), TARGETS_LIMIT))
    faults = list(reader.faults)
    if not reader.files and not faults:
        why = "; ".join(list(reader.notes)[:FAILURES]) or "nothing matches the paths"
        raise SourceError(f"no configuration could be read: {why}")
    listing = Listing(found, (*faults[FAILURES:], *reader.notes), _to_remember(known))
    if faults:
        raise in_part(faults, listing if found else None)
    return listing


def _key(one: Found) -> tuple[str, str]:
    return one.url, one.settings.get("server_name", "")


def _to_remember(known: Known) -> Any:
    return {
        given: {
            # The same objects as the targets have: there may be many.
            path: [[one.url, one.why, one.name, one.settings or None] for one in found]
            for path, found in by_path.items()
        }
        for given, by_path in known.items()
    }


def _remembered(value: Any) -> Known:
    """
    Return what was remembered; nothing if it does not have the form of this version.
    """
    try:
        return {
            given: {
                path: [Found(url, why, name, settings=dict(more or {})) for url, why, name, more in found]
                for path, found in by_path.items()
            }
            for given, by_path in value.items()
        }
    except (AttributeError, TypeError, ValueError):
        return {}


def _read(path: str, reader: Reader, had: Sequence[Found]) -> list[Found]:
    """
    Return the targets of a file or directory, each once: with a fault also those that it had.
    """
    reader.failed = False
    targets: dict[tuple[str, str], Found] = {}
    try:
        mains = list(_mains(Path(path)))
        if not mains:
            reader.note(f"no configuration of {', '.join(_READERS)} is there", path)
    except OSError as error:
        reader.fail(unreadable(path, error).detail)
        mains = []
    for main in mains:
        for one in islice(_found(main, reader), TARGETS_LIMIT + 1):
            targets.setdefault(_key(one), one)
    for one in had if reader.failed else ():
        targets.setdefault(_key(one), one)
    return list(islice(targets.values(), TARGETS_LIMIT + 1))


def _found(main: str, reader: Reader) -> Iterator[Found]:
    """
    Yield the targets of a main file. A defect of this program costs no other file.
    """
    try:
        server = _server(main, reader)
        if server is not None:
            yield from found(_READERS[server][0](main, reader), reader)
        elif not reader.failed:
            reader.note(f"it is not seen which server's file this is ({', '.join(_READERS)})", main)
    except OSError as error:
        reader.fail(unreadable(main, error).detail)
    except Exception as error:
        logger.exception("internal error in a configuration", extra=fields(path=printable(main)))
        reader.fail(f"an internal error ({type(error).__name__}): please report it with the log", main)


def _mains(path: Path) -> Iterator[str]:
    """
    Yield the main files of a directory, or the file itself. Raises OSError.
    """
    if not path.is_dir():
        path.stat()
        yield str(path)
        return
    next(path.iterdir(), None)
    # A link to what is gone is a main file that can't be read.
    names = [
        name
        for _, files, _ in _READERS.values()
        for name in files.split()
        if (path / name).is_file() or (path / name).is_symlink()
    ]
    yield from (str(path / name) for name in names)


def _server(path: str, reader: Reader) -> str | None:
    """
    Return whose file it is: by its name, by a directory above it, by what is in it.
    """
    name = os.path.basename(path)  # noqa: PTH119 - a text
    for server, (_, files, _) in _READERS.items():
        if name in files.split() or (server == "caddy" and name.lower().endswith("caddyfile")):
            return server
    directories = path.split("/")[:-1]
    for server in _READERS:
        if server in directories or f"{server}2" in directories:
            return server
    text = reader.text(path)
    return next((one for one, (_, _, fits) in _READERS.items() if text and fits.search(text)), None)


SOURCE = Source("web_servers", INTERVAL, run, steady=True, by_place=True)
