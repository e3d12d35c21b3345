"""
Names that somebody else wrote down: which of them are targets, by what this host's resolver knows of them.

A cluster, a zone or a log has names for clients elsewhere too. Where this host can't get, a target would only
fail. But a name that was a target, and has no address any more, is news: it stays.
"""

import asyncio
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from socket import AF_UNSPEC

from exporter.config.sources import SourceEntry
from exporter.discovery import source
from exporter.discovery.base import Found, Listing
from exporter.discovery.lists import Kept, Names, wanted
from exporter.discovery.threads import in_thread
from exporter.model.errors import ProbeError
from exporter.model.hosts import TargetError
from exporter.model.reasons import Reason
from exporter.model.urls import parse_url
from exporter.net.network import Network
from exporter.net.resolver import RESOLVE_TIMEOUT

AT_ONCE = 16
"""Names that are looked up at a time."""


AGAIN = 300.0
"""Seconds for which a name without an address, or without an answer, is not looked up again."""


LONGEST = 600.0
"""Seconds after which no further name is looked up in one run."""


DOWN = 64
"""When so many look-ups, the first ones, have no answer at all, no name server works: the others wait too."""


EXAMPLES = 3
"""Names in a note."""


async def addressed(names: Iterable[str], network: Network) -> dict[str, bool]:
    """
    Return by name whether it has an address. Missing are those for which no name server had an answer, and
    those that were not looked up, since there was no time or no name server works.
    """
    known: dict[str, bool] = {}
    # Neighbours often have the same name servers: those without an answer must not be the first ones.
    waiting = iter(sorted(set(names), key=lambda name: zlib.crc32(name.encode())))
    until = network.loop.time() + LONGEST
    silent = 0

    async def look_up() -> None:
        nonlocal silent
        for name in waiting:
            # Ten thousand names take both processors for seconds, where each is looked up in a long file.
            await network.calm.wait()
            if network.loop.time() >= until or (not known and silent >= DOWN):
                return
            try:
                await network.resolver.resolve(name, AF_UNSPEC, RESOLVE_TIMEOUT)
                known[name] = True
            except ProbeError as error:
                if error.reason is Reason.DNS_NOT_FOUND:
                    known[name] = False
                else:
                    silent += 1

    await asyncio.gather(*(look_up() for _ in range(AT_ONCE)))
    return known


async def resolved(
    listing: Listing, entry: SourceEntry, before: Kept, network: Network, now: float
) -> tuple[Listing, Names]:
    """
    Return a list in which each name is a target, or is left out, and what is known of its names.

    `before` is the list that the source had, and stands for one that is `unchanged`. Without an answer a name
    stays what it was. A new one becomes a target, which tells that its name servers fail, unless it is of the
    past.
    """
    if not listing.named and not listing.unchanged:
        return listing, Names()
    if listing.unchanged:
        listing = await in_thread(lambda: _again(before))
    # There may be a hundred thousand: not on the event loop.
    asking = await in_thread(lambda: _asking(listing, entry, before, now))
    answers = await addressed(filter(None, asking.hosts.values()), network)
    return await in_thread(lambda: _settled(listing, asking, answers, before.names))


def _again(before: Kept) -> Listing:
    """
    Return the list of before, as if its names without an address or answer were named anew.
    """
    unsure = before.names.unsure
    found = before.listed
    return Listing(
        tuple(one for one in found if one.url not in unsure),
        unchanged=True,
        named=(*(one for one in found if one.url in unsure), *before.names.nowhere),
    )


@dataclass(frozen=True, slots=True)
class _Asking:
    """
    The names of a list, and which of them are to be looked up.
    """

    named: tuple[Found, ...]
    targets: frozenset[str]
    """URLs of the targets that the source had."""
    nowhere: frozenset[str]
    """Those of names that had no address."""
    history: bool
    hosts: Mapping[str, str]
    """Hosts that are looked up, by URL."""
    asked: float
    """As in `Names`, after this."""


def _asking(listing: Listing, entry: SourceEntry, before: Kept, now: float) -> _Asking:
    known, history = before.names, source(entry.source).history
    named = tuple(wanted(listing.named, entry.include, entry.exclude))
    targets = frozenset(one.url for one in before.found)
    nowhere = frozenset(one.url for one in known.nowhere)
    open_ones = nowhere | (targets if history else known.unsure)
    due = not 0 <= now - known.asked < AGAIN
    hosts = {
        one.url: _host(one.url) for one in named if (due if one.url in open_ones else one.url not in targets)
    }
    return _Asking(named, targets, nowhere, history, hosts, now if due else known.asked)


def _settled(
    listing: Listing, asking: _Asking, answers: Mapping[str, bool], known: Names
) -> tuple[Listing, Names]:
    there: list[Found] = []
    gone: list[Found] = []
    silent: list[Found] = []
    for one in asking.named:
        answer = answers.get(asking.hosts.get(one.url, ""))
        if answer is None and (asking.hosts.get(one.url) or one.url in known.unsure):
            silent.append(one)
        if answer is False or (answer is None and one.url in asking.nowhere):
            gone.append(one)
        elif answer or one.url in asking.targets or not asking.history:
            there.append(one)
    notes = [
        *note("names that this host's resolver does not know, so they are no targets", _hosts(gone)),
        *note("names for which no name server has an answer", _hosts(silent)),
    ]
    unsure = frozenset(one.url for one in silent) & frozenset(one.url for one in there)
    # At the limit, a name that has an address now must not push out what was a target before.
    found = (*listing.found, *there) if listing.unchanged else (*there, *listing.found)
    return (
        replace(listing, found=found, named=(), notes=(*listing.notes, *notes)),
        Names(tuple(gone), frozenset() if asking.history else unsure, asking.asked),
    )


def _host(url: str) -> str:
    """
    Return the host of a URL; empty for what is none, of which another place tells why.
    """
    try:
        return parse_url(url).host
    except TargetError:
        return ""


def _hosts(found: Iterable[Found]) -> list[str]:
    return sorted({_host(one.url) for one in found})


def note(why: str, names: Sequence[str]) -> list[str]:
    """
    Return a note about these names, the first of them and how many more there are; none without any.
    """
    more = f" and {len(names) - EXAMPLES:,} more" if len(names) > EXAMPLES else ""
    return [f"{why}: {', '.join(names[:EXAMPLES])}{more}"] if names else []
