"""
Names that somebody else wrote down: which of them are targets, by what this host's resolver knows of them.

A cluster, a zone or a log has names for clients elsewhere too. Where this host can't get, a target would only
fail. But a name that was a target, and has no address any more, is news: it stays.

A run waits for new names only, and not for long: without an answer they are targets until there is one,
unless they are of the past. All else is looked up beside the runs.
"""

import asyncio
import random
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import inf
from socket import AF_UNSPEC

from exporter.config.sources import SourceEntry
from exporter.discovery import source
from exporter.discovery.base import NOTHING, Found, Listing
from exporter.discovery.lists import Kept, Names, key_of, wanted
from exporter.discovery.threads import in_thread
from exporter.model.errors import ProbeError
from exporter.model.hosts import TargetError
from exporter.model.reasons import Reason
from exporter.model.urls import parse_url
from exporter.net.calm import Calm
from exporter.net.network import Network
from exporter.net.resolver import RESOLVE_TIMEOUT

AT_ONCE = 16
"""Names that are looked up at a time."""


FEW = 2
"""Names at a time while answers are quick: those come from this host itself, say, and cost its processors."""


QUICK = 0.01
"""Seconds that a quick answer takes at most."""


AGAIN = 300.0
"""Seconds for which a name without an address, or without an answer, is not looked up again."""


PATIENCE = 5.0
"""Seconds for which a run of a cluster waits for look-ups of new names: its other targets wait too."""


BATCH = 10.0
"""Seconds of look-ups beside the runs after which their answers are used."""


LONGEST = 600.0
"""Seconds of look-ups after which answers are used that nobody waits for, or that should come all at once."""


DOWN = 64
"""When so many look-ups, the first ones, have no answer at all, no name server works: the others wait too."""


EXAMPLES = 3
"""Names in a note."""


MORE = re.compile(r" and [0-9,]+ more$")
"""What a note ends with that has only some of the names."""


async def addressed(
    waiting: dict[str, None], network: Network, seconds: float, enough: float = inf
) -> dict[str, bool]:
    """
    Return by name whether it has an address. Missing are those for which no name server had an answer.

    Names are taken out of `waiting`, the last one first; those for which there is no time, no name server
    works, or that are not needed since so many (`enough`) have an address stay there.
    """
    loop = network.loop
    known: dict[str, bool] = {}
    until = loop.time() + seconds
    silent = there = 0
    at_once = FEW
    under_way: set[asyncio.Task[float]] = set()

    def goes_on() -> bool:
        return bool(waiting) and there < enough and (bool(known) or silent < DOWN) and loop.time() < until

    async def look_up(name: str) -> float:
        """
        Look up a name, and return the seconds that it took.
        """
        nonlocal silent, there
        begun = loop.time()
        try:
            await network.resolver.resolve(name, AF_UNSPEC, min(RESOLVE_TIMEOUT, until - begun))
            known[name] = True
            there += 1
        except ProbeError as error:
            if error.reason is Reason.DNS_NOT_FOUND:
                known[name] = False
            else:
                silent += 1
        return loop.time() - begun

    try:
        while True:
            if len(under_way) < at_once and goes_on():
                await network.calm.wait()
                while len(under_way) < at_once and goes_on():
                    name, _ = waiting.popitem()
                    under_way.add(loop.create_task(look_up(name)))
            if not under_way:
                return known
            done, under_way = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
            for one in done:
                at_once = max(FEW, at_once - 1) if one.result() <= QUICK else min(AT_ONCE, at_once + 1)
    finally:
        for one in under_way:
            one.cancel()


async def resolved(
    listing: Listing,
    entry: SourceEntry,
    before: Kept,
    network: Network,
    *,
    patient: bool = False,
    heard: Mapping[str, bool] = NOTHING,
) -> tuple[Listing, Names]:
    """
    Return a list in which each name is a target, or is left out, and what is known of its names.

    `before` is the list that the source had, and stands for one that is `unchanged`. `patient`: nobody waits
    for other targets meanwhile; `heard`: what `addressed` returned for names of `before`. Without an answer a
    name stays what it was. A new one becomes a target, which tells that its name servers fail, unless it is
    of the past.
    """
    unchanged, history = listing.unchanged, is_history(entry)
    if unchanged:
        listing = await in_thread(lambda: _again(before, history=history))
    if not listing.named:
        return listing, Names()
    # There may be a hundred thousand: not on the event loop.
    asking = await in_thread(lambda: _asking(listing, entry, before, network.calm))
    new = frozenset[str]() if unchanged else asking.new
    # What changes by the second must not wait.
    seconds = LONGEST if patient or source(entry.source).interval > LONGEST else PATIENCE
    answers = {**heard, **await addressed(_shuffled(new), network, seconds, asking.room)}
    return await in_thread(lambda: _settled(listing, asking, answers, before.names))


def is_history(entry: SourceEntry) -> bool:
    """
    Return True for a source whose names are of the past too.
    """
    return source(entry.source).history


def _again(before: Kept, *, history: bool) -> Listing:
    """
    Return the list of before, as if its names that may have another answer by now were named anew.
    """
    names, found = before.names, before.listed
    asked = names.unsure if not history else {one.url for one in found}
    return Listing(
        tuple(one for one in found if one.url not in asked),
        named=(*(one for one in found if one.url in asked), *names.nowhere, *names.waiting),
    )


@dataclass(frozen=True, slots=True)
class _Asking:
    """
    The names of a list, and which of them are new.
    """

    named: tuple[Found, ...]
    targets: frozenset[str]
    """URLs of the targets that the source had."""
    nowhere: frozenset[str]
    """Those of names that had no address."""
    history: bool
    hosts: Mapping[str, str]
    """By URL, the hosts of those that an answer decides."""
    new: frozenset[str]
    """Hosts of which nothing is known."""
    room: int
    """How many of them can be targets: the limit has it that what is a target stays one."""


def _asking(listing: Listing, entry: SourceEntry, before: Kept, calm: Calm) -> _Asking:
    known, history = before.names, is_history(entry)
    named = tuple(wanted(listing.named, entry.include, entry.exclude))
    targets = frozenset(one.url for one in before.found)
    nowhere = frozenset(one.url for one in known.nowhere)
    there = {key_of(one) for one in before.found}
    room = entry.limit - len(there.intersection(map(key_of, (*listing.found, *named))))
    hosts = {
        one.url: _host(one.url)
        for one in calm.gently(named)
        if history or one.url not in targets or one.url in known.unsure
    }
    new = {host for url, host in hosts.items() if host and url not in targets and url not in nowhere}
    return _Asking(named, targets, nowhere, history, hosts, frozenset(new if room > 0 else ()), room)


def _settled(
    listing: Listing, asking: _Asking, answers: Mapping[str, bool], known: Names
) -> tuple[Listing, Names]:
    there: list[Found] = []
    perhaps: list[Found] = []
    gone: list[Found] = []
    waiting: list[Found] = []
    silent: list[Found] = []
    full = asking.room <= sum(answers.get(host, False) for host in asking.new)
    for one in asking.named:
        host = asking.hosts.get(one.url, "")
        answer = answers.get(host)
        if answer is False or (answer is None and one.url in asking.nowhere):
            gone.append(one)
        elif answer or one.url in asking.targets:
            there.append(one)
            if answer is None and one.url in known.unsure:
                silent.append(one)
        elif full or not host:
            perhaps.append(one)
        elif asking.history:
            waiting.append(one)
        else:
            perhaps.append(one)
            silent.append(one)
    notes = [
        *note("names that this host's resolver does not know, so they are no targets", _hosts(gone)),
        *note("names for which no name server has an answer yet", _hosts((*silent, *waiting))),
    ]
    names = Names(tuple(gone), frozenset(one.url for one in silent), tuple(waiting))
    # At the limit, what may have no address must not push out what has one.
    found = (*there, *listing.found, *perhaps)
    return replace(listing, found=found, named=(), notes=(*listing.notes, *notes)), names


class LookUps:
    """
    Look-ups beside the runs of one source: of new names that have no answer yet, and every five minutes of
    all that may have another answer by now.
    """

    def __init__(
        self, network: Network, take: Callable[[Mapping[str, bool]], Awaitable[None]], *, history: bool
    ) -> None:
        """
        `take` gets answers by host. `history`: all of them at once, since one that removes targets is given
        only as part of the whole.
        """
        self._network = network
        self._take = take
        self._history = history
        self._began = -inf
        self._wanted: list[str] = []
        """URLs whose hosts join those that are looked up."""
        self.task: asyncio.Task[None] | None = None
        """The look-ups that are under way, or were."""

    def go_on(self, kept: Kept, before: Kept) -> None:
        """
        Look up what the list of now and that before the run need, unless that is under way.
        """
        if kept.names is not before.names:
            self._wanted += kept.names.open - before.names.open
        running = self.task is not None and not self.task.done()
        if not running and self._network.loop.time() - self._began >= AGAIN:
            self._began = self._network.loop.time()
            self._wanted += before.names.open.union(
                (one.url for one in before.names.nowhere),
                (one.url for one in before.found if self._history),
            )
        if self._wanted and not running:
            self.task = self._network.loop.create_task(self._look_up())

    async def _look_up(self) -> None:
        hosts: dict[str, None] = {}
        while hosts or self._wanted:
            urls, self._wanted = self._wanted, []
            hosts |= await in_thread(partial(_hosts_of, urls))
            answers = await addressed(hosts, self._network, LONGEST if self._history else BATCH)
            if not answers:
                # No name server works.
                return
            await self._take(answers)


def _shuffled(hosts: Iterable[str]) -> dict[str, None]:
    """
    Return these hosts, each once. Neighbours often have the same name servers: those without an answer must
    not be the first ones, nor the same ones each time.
    """
    once = list(set(hosts))
    random.shuffle(once)
    return dict.fromkeys(once)


def _hosts_of(urls: Iterable[str]) -> dict[str, None]:
    return _shuffled(filter(None, map(_host, urls)))


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
