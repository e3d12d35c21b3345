"""
Links among the directories of files that were found: a pattern with `**` does not come past them.
"""

import os
from collections.abc import Iterable
from dataclasses import replace
from itertools import accumulate

from exporter.discovery.base import Found
from exporter.model.hosts import TargetError
from exporter.model.urls import parse_url
from exporter.probes.files.glob import names_of


def with_links(found: Iterable[Found]) -> tuple[Found, ...]:
    """
    Return what was found, files with those of their directories that are links. Blocks.
    """
    known: dict[str, bool] = {}
    return tuple(replace(one, links=_links(one.url, known)) for one in found)


def _links(url: str, known: dict[str, bool]) -> tuple[int, ...] | None:
    """
    Return the numbers of the linked directories of a file; None for what is none. `known`: which are links.
    """
    if not url.startswith("file:"):
        return None
    try:
        directories = names_of(parse_url(url).path)[:-1]
    except TargetError:
        return None
    paths = list(accumulate(directories, "{}/{}".format, initial=""))[1:]
    for path in paths:
        if path not in known:
            known[path] = os.path.islink(path)  # noqa: PTH114 - a Path for each costs more
    return tuple(number for number, path in enumerate(paths) if known[path])
