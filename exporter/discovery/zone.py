"""
Source `zone`: the names of a DNS zone that have an address, as far as they speak TLS.
"""

import asyncio
import contextlib
import json
import socket
import zlib
from collections.abc import Iterator
from typing import Any

from exporter.config.sources import ZoneSource
from exporter.discovery.base import Context, Found, Listing, Source, SourceError
from exporter.discovery.trying import RUN, Place, tried
from exporter.model.errors import ProbeError
from exporter.model.urls import TargetError, normal_host, parse_ip, parse_name_server
from exporter.net import apart
from exporter.net.resolver import RESOLVE_TIMEOUT, choose, has_route

INTERVAL = 3600.0


AGAIN = 86400.0
"""Seconds until an unchanged name is tried again."""


LOOK_UPS = 16
"""Names that are looked up at a time."""


EXAMPLES = 3
"""Aliases in a note."""


_Zone = dict[str, tuple[str, ...]]
"""Addresses by name; none for an alias that leads out of the zone."""


_Aliases = dict[str, str]
"""By alias that leads out of the zone, the name that it leads to."""


_Tried = dict[str, list[int]]
"""By `name port`: the hour (since 1970) of its last try, 1 if it spoke TLS, a checksum of the addresses."""


async def run(settings: ZoneSource, context: Context) -> Listing:
    """
    Read the zone, try what is new, changed, or was tried a day ago. Raises SourceError.
    """
    zone, aliases, notes = await _read(settings, context)
    known = _remembered(context.remembered)
    hour = int(context.now // 3600)
    kept: _Tried = {}
    due: list[tuple[int, str, int]] = []
    for name, addresses in zone.items():
        check = zlib.crc32(" ".join(sorted(addresses)).encode())
        for port in settings.ports:
            key = f"{name} {port}"
            before = known.get(key)
            if before is not None and before[2] == check:
                kept[key] = before
                if 0 <= hour - before[0] < AGAIN // 3600:
                    continue
            due.append((before[0] if before is not None else 0, name, port))
    due.sort()
    now = due[: max(1, int(RUN * settings.rate))]

    def tell(done: int) -> None:
        if done % 50 == 0 or done == len(now):
            context.progress(f"zone {settings.name}: {done:,} of {len(now):,} places are tried")

    results: dict[str, bool] = {f"{name} {port}": False for _, name, port in now}
    asked = {name: aliases[name] for _, name, _ in now if name in aliases}
    outside = await _outside(asked, context)
    notes += _nowhere(settings, {name: other for name, other in asked.items() if name not in outside})
    places = (
        Place(address, port, name) for _, name, port in now for address in zone[name] or outside.get(name, ())
    )
    async for place, speaks in tried(context.network, places, settings.rate, tell):
        results[f"{place.name} {place.port}"] |= speaks
    for key, speaks in results.items():
        check = zlib.crc32(" ".join(sorted(zone[key.partition(" ")[0]])).encode())
        kept[key] = [hour, int(speaks), check]
    if len(due) > len(now):
        notes.append(f"{len(due) - len(now):,} places are not tried yet: the next run goes on with them")
    return Listing(tuple(_found(settings, kept)), tuple(notes), kept)


def _remembered(value: Any) -> _Tried:
    """
    Return what was remembered, as far as it has the form of this version.
    """
    items = value.items() if isinstance(value, dict) else ()
    return {
        key: one
        for key, one in items
        if isinstance(one, list) and len(one) == 3 and all(isinstance(part, int) for part in one)
    }


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


async def _outside(aliases: _Aliases, context: Context) -> _Zone:
    """
    Return an address for each alias that leads out of the zone, if the system's resolver knows one.

    It may know the alias itself, or only the name that this leads to: one in /etc/hosts, say, which has no
    final dot as in the zone.
    """
    found: _Zone = {}
    turns = asyncio.Semaphore(LOOK_UPS)

    async def look_up(alias: str, other: str) -> None:
        async with turns:
            for name in (alias, other):
                with contextlib.suppress(ProbeError):
                    addresses = await context.network.resolver.resolve(
                        name, socket.AF_UNSPEC, RESOLVE_TIMEOUT
                    )
                    found[alias] = (str(choose(addresses, "first", has_route).probed[0]),)
                    return

    await asyncio.gather(*(look_up(alias, other) for alias, other in aliases.items()))
    return found


def _nowhere(settings: ZoneSource, aliases: _Aliases) -> list[str]:
    """
    Return a note about aliases that lead to no address; none without such.
    """
    shown = [f"{alias} -> {other}" for alias, other in sorted(aliases.items())[:EXAMPLES]]
    more = f" and {len(aliases) - EXAMPLES:,} more" if len(aliases) > EXAMPLES else ""
    why = "aliases (CNAME) out of the zone to a name for which this host finds no address"
    return [f"zone {settings.name}: {why}: {', '.join(shown)}{more}"] if aliases else []


def _found(settings: ZoneSource, kept: _Tried) -> Iterator[Found]:
    place = "the zone file" if settings.file else f"the zone at {settings.server}"
    for key, (_, speaks, _) in sorted(kept.items()):
        if speaks:
            name, _, port = key.partition(" ")
            why = f"{name} is in {place}, and speaks TLS on port {port}"
            yield Found(Place("", int(port), name).url, why)


SOURCE = Source("zone", INTERVAL, run)
