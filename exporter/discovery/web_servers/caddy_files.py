"""
The files and directories in which Caddy finds and keeps certificates.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path


def whole(file: str, config: str) -> str:
    """
    Return the path of a file that a configuration names. A relative one is read as if Caddy was started in
    the directory of its configuration.
    """
    return os.path.join(os.path.dirname(config), file)  # noqa: PTH118, PTH120 - texts


def fetched(name: str, storage: str) -> Iterator[str]:
    """
    Yield the certificates that Caddy keeps for a name that it fetches them for.
    """
    safe = name.lower().replace("*", "wildcard_")
    if re.fullmatch(r"[a-z0-9._-]+", safe):
        yield from sorted(map(str, Path(storage).glob(f"certificates/*/{safe}/{safe}.crt")))


def in_directory(path: str) -> list[str]:
    """
    Return the certificates in a directory that Caddy loads, and below it.
    """
    return sorted(map(str, Path(path).glob("**/*.pem")))
