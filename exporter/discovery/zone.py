"""
Source `zone`: the names of a DNS zone that have an address, as far as they speak TLS.
"""

import asyncio
import contextlib
import json
import socket
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from exporter.config.sources import ZoneSource
from exporter.discovery.base import Context, Found, Listing, Source, SourceError, rows_in
from exporter.discovery.resolving import AT_ONCE, note
from exporter.discovery.threads import in_thread
from exporter.discovery.trying import RUN, Place, lives, tried
from exporter.model.errors import ProbeError
from exporter.model.hosts import TargetError, normal_host, parse_ip, parse_name_server
from exporter.net import apart
from exporter.net.resolver import RESOLVE_TIMEOUT, choose, has_route

INTERVAL = 3600.0


AGAIN = 86400.0
"""Seconds until an unchanged name is tried again."""


GENTLY = 100
"""Names that are taken from the reader of a zone at a time, between which scrapes go first."""


_Zone = dict[str, tuple[str, ...]]
"""Addresses by name; none for an alias that leads out of the zone."""


_Aliases = dict[str, str]
"""By alias that leads out of the zone, the name that it leads to."""


_Tried = dict[str, list[int]]
"""
By `name port`: the hour (since 1970) of its last try, how many more may fail until it is no target (0: it is
none), and a checksum of its addresses.
"""


@dataclass(slots=True)
class _Plan:
    """
    The names of a zone: the results of earlier tries, and the names that are tried now.
    """

    hour: int
    """That of this run, since 1970."""
    kept: _Tried
    """Of names that are still in the zone. Answers of this run are in it as soon as they are there."""
    due: list[tuple[int, str, int]]
    """The hour of the last try (0: none), name and port, of those that are tried now."""
    later: int
    """How many more are due."""
    answers: dict[str, tuple[int, bool]] = field(default_factory=dict)
    """By `name port`: how many tries could fail before this one, and whether an address speaks TLS so far."""

    def take(self, name: str, port: int, addresses: Iterable[str], *, speaks: bool) -> None:
        """
        Take the answer of one of a name's addresses; those in the zone are `addresses`.
        """
        key = f"{name} {port}"
        before, spoke = self.answers.get(key) or (self.kept[key][1] if key in self.kept else 0, False)
        self.answers[key] = before, spoke or speaks
        self.kept[key] = [self.hour, lives(before, speaks=spoke or speaks), _check(addresses)]


async def run(settings: ZoneSource, context: Context) -> Listing:
    """
    Read the zone, try what is new, changed, or was tried a day ago. Raises SourceError.
    """
    zone, aliases, notes = await _read(settings, context)
    hour = int(context.now // 3600)
    # A hundred thousand names take seconds: not on the event loop.
    known = rows_in(context.remembered, 3, int)
    plan = await in_thread(lambda: _planned(settings, zone, known, hour, context))

    def tell(done: int) -> None:
        if done % 50 == 0 or done == len(plan.due):
            context.progress(f"zone {settings.name}: {done:,} of {len(plan.due):,} places are tried")

    context.so_far(lambda: dict(plan.kept))
    asked = {name: aliases[name] for _, name, _ in plan.due if name in aliases}
    outside, unasked = await _outside(asked, context)
    if unasked:
        plan.later += sum(name in unasked for _, name, _ in plan.due)
        plan.due = [one for one in plan.due if one[1] not in unasked]
    gone = {name: other for name, other in asked.items() if name not in outside and name not in unasked}
    notes += _nowhere(settings, gone)
    places = (
        Place(address, port, name)
        for _, name, port in plan.due
        for address in zone[name] or outside.get(name, ())
    )
    for _, name, port in plan.due:
        if name in gone:
            plan.take(name, port, (), speaks=False)
    async for place, names in tried(context.network, places, settings.rate, tell):
        plan.take(place.name, place.port, zone[place.name], speaks=names is not None)
    if plan.later:
        notes.append(f"{plan.later:,} places are not tried yet: the next run goes on with them")
    calm = context.network.calm
    speaking = await in_thread(lambda: tuple(_found(settings, calm.gently(sorted(plan.kept.items())))))
    return Listing(named=speaking, notes=tuple(notes), remember=plan.kept)


def _planned(settings: ZoneSource, zone: _Zone, known: _Tried, hour: int, context: Context) -> _Plan:
    kept: _Tried = {}
    due: list[tuple[int, str, int]] = []
    for name, addresses in context.network.calm.gently(zone.items()):
        check = _check(addresses)
        for port in settings.ports:
            if not context.wanted(Found(Place("", port, name).url, "")):
                continue
            key = f"{name} {port}"
            before = known.get(key)
            if before is not None:
                kept[key] = before
                if before[2] == check and 0 <= hour - before[0] < AGAIN // 3600:
                    continue
            due.append((before[0] if before is not None else 0, name, port))
    due.sort()
    now = due[: max(1, int(RUN * settings.rate))]
    return _Plan(hour, kept, now, len(due) - len(now))


def _check(addresses: Iterable[str]) -> int:
    return zlib.crc32(" ".join(sorted(addresses)).encode())


async def _read(settings: ZoneSource, context: Context) -> tuple[_Zone, _Aliases, list[str]]:
    """
    Return the names of the zone, its aliases that lead out of it, and notes. Raises SourceError.
    """
    told: dict[str, Any] = {"zone": settings.name, "file": settings.file, "key": settings.tsig_key_file}
    if settings.server is not None:
        told["address"], told["port"] = await _server(settings.server, context)
    context.progress(f"zone {settings.name}: reading")
    zone: _Zone = {}
    aliases: _Aliases = {}
    notes: list[str] = []
    try:
        async for line in apart.lines("exporter.net.zone_reader", json.dumps(told).encode()):
            if line.startswith("#"):
                notes.append(f"zone {settings.name}: {line[1:]}")
                continue
            if len(zone) % GENTLY == 0:
                await context.network.calm.wait()
            name, *rest = line[1:].split()
            if line.startswith(">"):
                aliases[name], rest = rest[0], []
            zone[name] = tuple(rest)
    except apart.ApartError as error:
        raise SourceError(f"zone {settings.name}: {error}") from None
    return zone, aliases, notes


async def _server(text: str, context: Context) -> tuple[str, int]:
    """
    Return address and port of a name server: an address or a name, with or without a port. Raises
    SourceError.
    """
    try:
        if parse_ip(text) is not None or text.startswith("["):
            return parse_name_server(text)
        host, _, port = text.partition(":")
        _, number = parse_name_server(f"192.0.2.1:{port or 53}")
        found = await context.network.resolver.resolve(normal_host(host), socket.AF_UNSPEC, RESOLVE_TIMEOUT)
    except TargetError as error:
        raise SourceError(f"server: {error}") from None
    except ProbeError as error:
        raise SourceError(f"the name server can't be found: {error.detail}") from None
    return str(choose(found, "first", has_route).probed[0]), number


async def _outside(aliases: _Aliases, context: Context) -> tuple[_Zone, set[str]]:
    """
    Return an address for each alias that leads out of the zone, if the system's resolver knows one, and the
    aliases for which there was no time to ask.

    It may know the alias itself, or only the name that this leads to: one in /etc/hosts, say, which has no
    final dot as in the zone.
    """
    found: _Zone = {}
    loop = context.network.loop
    until = loop.time() + RUN
    waiting = dict(aliases)

    async def look_up() -> None:
        while waiting and loop.time() < until:
            alias, other = waiting.popitem()
            for name in (alias, other):
                with contextlib.suppress(ProbeError):
                    addresses = await context.network.resolver.resolve(
                        name, socket.AF_UNSPEC, RESOLVE_TIMEOUT
                    )
                    found[alias] = (str(choose(addresses, "first", has_route).probed[0]),)
                    break

    await asyncio.gather(*(look_up() for _ in range(AT_ONCE)))
    return found, set(waiting)


def _nowhere(settings: ZoneSource, aliases: _Aliases) -> list[str]:
    """
    Return a note about aliases that lead to no address; none without such.
    """
    shown = [f"{alias} -> {other}" for alias, other in sorted(aliases.items())]
    why = "aliases (CNAME) to a name for which this host finds no address"
    return note(f"zone {settings.name}: {why}", shown)


def _found(settings: ZoneSource, tries: Iterable[tuple[str, list[int]]]) -> Iterator[Found]:
    """
    Yield the places that speak TLS.
    """
    place = "the zone file" if settings.file else f"the zone at {settings.server}"
    for key, (_, left, _) in tries:
        if left:
            name, _, port = key.partition(" ")
            why = f"{name} is in {place}, and speaks TLS on port {port}"
            yield Found(Place("", int(port), name).url, why)


SOURCE = Source("zone", INTERVAL, run, by_place=True)
