"""
Links among the directories of files that were found: a pattern with `**` does not come past them.
"""

import asyncio
import os
from collections.abc import Awaitable, Iterable
from dataclasses import replace
from itertools import accumulate

from exporter.discovery.base import Found, Listing, SourceError
from exporter.model.hosts import TargetError
from exporter.model.urls import parse_url
from exporter.net.pools import Pool
from exporter.probes.files.glob import names_of

PATIENCE = 5.0
"""Seconds that the file systems may take to say which directories are links."""


_pool = Pool("links", 1)
"""One thread for all: a mount that hangs takes no more of them, however often it is looked at."""


async def looked_at(listed: Awaitable[Listing]) -> Listing:
    """
    Return a list, its files with those of their directories that are links.

    Raises SourceError as `listed` does, with the same of what could be read.
    """
    try:
        return await _looked_at(await listed)
    except SourceError as error:
        if error.listing is not None:
            error.listing = await _looked_at(error.listing)
        raise


async def _looked_at(listing: Listing) -> Listing:
    """
    Return a list with links, or as it is if the file systems do not answer.
    """
    try:
        async with asyncio.timeout(PATIENCE):
            return replace(listing, found=await _pool.run(lambda: with_links(listing.found)))
    except TimeoutError:
        return listing


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
