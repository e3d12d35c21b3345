"""
Source `web_servers`: what the configurations of this host's servers say that they present, and where.
"""

import glob
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from exporter.discovery.base import Context, Listing, Source, SourceError
from exporter.discovery.web_servers import apache, caddy, dovecot, haproxy, nginx, postfix
from exporter.discovery.web_servers.reading import Reader, Site, found
from exporter.net.pools import Pool

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
        "Caddyfile",
        re.compile(r"^\s*(?:reverse_proxy|file_server|tls|respond)\b", re.MULTILINE),
    ),
}
"""By server: its reader, its main files, and what a file of it has in it if its path does not say."""


async def run(paths: Sequence[str], context: Context) -> Listing:
    """
    Return the targets of these configurations. Raises SourceError when none of them could be read.
    """
    # A file system that hangs keeps its thread, and delays nothing else.
    pool = Pool("web servers", 1)
    try:
        return await pool.run(lambda: listed(paths, context.progress))
    finally:
        pool.close()


def listed(paths: Sequence[str], progress: Callable[[str], None] = lambda _: None) -> Listing:
    """
    Return the targets of these configurations. Raises SourceError. Blocks.
    """
    reader = Reader()
    sites: list[Site] = []
    for path in paths:
        for one in sorted(glob.glob(path)) if glob.has_magic(path) else [path]:  # noqa: PTH207 - absolute texts
            progress(f"configuration {one}")
            sites += _sites(one, reader)
    if not reader.files:
        raise SourceError(
            "no configuration could be read: "
            + ("; ".join(list(reader.notes)[:3]) or "nothing matches the paths")
        )
    return Listing(tuple(found(sites, reader)), tuple(reader.notes))


def _sites(path: str, reader: Reader) -> list[Site]:
    try:
        mains = list(_mains(Path(path)))
    except OSError as error:
        reader.note(f"can't be read: {error.strerror}", path)
        return []
    if not mains:
        reader.note(f"no configuration of {', '.join(_READERS)} is there", path)
    sites: list[Site] = []
    for main in mains:
        server = _server(main, reader)
        if server is None:
            reader.note(f"it is not seen which server's file this is ({', '.join(_READERS)})", main)
            continue
        sites += _READERS[server][0](main, reader)
    return sites


def _mains(path: Path) -> Iterator[str]:
    """
    Yield the main files of a directory, or the file itself. Raises OSError.
    """
    if not path.is_dir():
        path.stat()
        yield str(path)
        return
    next(path.iterdir(), None)
    names = [name for _, files, _ in _READERS.values() for name in files.split() if (path / name).is_file()]
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


SOURCE = Source("web_servers", INTERVAL, run)
