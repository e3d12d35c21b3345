"""
Source `networks`: addresses of networks that the operator named, each tried at most once a day.

The order is spread over all addresses and ports, so that no host gets many connections in a row. It is
calculated from a position: all that is remembered is how far a round came, and what spoke TLS.
"""

import hashlib
import ipaddress
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from exporter.config.sources import NetworksSource, merged
from exporter.discovery.base import Context, Found, Listing, Source
from exporter.discovery.threads import in_thread
from exporter.discovery.trying import RUN, Place, lives, tried
from exporter.model.hosts import parse_ip

INTERVAL = 300.0
"""A run after a whole round has nothing to do until a day has passed."""


ROUND = 86400.0
"""Seconds from the begin of one round over all addresses to that of the next."""


_GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True, slots=True)
class Plan:
    """
    All places of the networks, by number.
    """

    networks: tuple[tuple[int, int, int], ...]
    """First usable address, how many there are, and the IP version."""
    ports: tuple[int, ...]
    named: tuple[str, ...]
    """The networks as they are written."""

    @property
    def size(self) -> int:
        """
        The number of places.
        """
        return sum(count for _, count, _ in self.networks) * len(self.ports)

    @property
    def identity(self) -> str:
        """
        A text that stays the same while networks and ports do.
        """
        return hashlib.sha256(json.dumps([self.networks, self.ports]).encode()).hexdigest()[:16]

    def at(self, position: int) -> Place:
        """
        Return the place at this position of the spread order, in which each occurs once.
        """
        size = self.size
        step = max(1, int(size * _GOLDEN))
        while math.gcd(step, size) != 1:
            step += 1
        address, port = divmod((position * step + size // 3) % size, len(self.ports))
        for first, count, version in self.networks:
            if address < count:
                kind = ipaddress.IPv4Address if version == 4 else ipaddress.IPv6Address
                return Place(str(kind(first + address)), self.ports[port])
            address -= count
        raise IndexError(position)

    def network_of(self, address: str) -> str:
        """
        Return the network that an address is in, as it is written.
        """
        ip = parse_ip(address)
        return next((one for one in self.named if ip in ipaddress.ip_network(one, strict=False)), "")


def planned(cidr: Sequence[str], ports: Sequence[int]) -> Plan:
    """
    Return the places of these networks: each once, without network and broadcast addresses.
    """
    networks = []
    for one in merged(cidr):
        first, count = int(one.network_address), one.num_addresses
        if one.version == 4 and count > 2:
            first, count = first + 1, count - 2
        elif one.version == 6 and count > 2:
            # The first address of a network is that of all its routers (RFC 4291 section 2.6.1).
            first, count = first + 1, count - 1
        networks.append((first, count, one.version))
    return Plan(tuple(networks), tuple(sorted(set(ports))), tuple(cidr))


@dataclass(slots=True)
class _Round:
    """
    The position of the round over all places, and the servers that it found.
    """

    began: float
    position: int
    speaks: dict[str, int]
    """By `address port` of what spoke TLS, how many more tries may fail until it is no target any more."""


def _remembered(value: Any, plan: Plan, now: float) -> _Round:
    """
    Return the round that was remembered, or a new one when a day has passed or the networks are others.
    """
    match value:
        case {
            "plan": plan.identity,
            "began": int() | float() as began,
            "position": int() as position,
            "speaks": dict() as speaks,
        }:
            known = {one: left for one, left in speaks.items() if type(left) is int and len(one.split()) == 2}
            if position >= plan.size and not 0 <= now - began < ROUND:
                return _Round(now, 0, known)
            return _Round(began, max(0, position), known)
    return _Round(now, 0, {})


def _to_remember(plan: Plan, known: _Round) -> dict[str, Any]:
    speaking = {one: left for one, left in sorted(known.speaks.items()) if left}
    return {"plan": plan.identity, "began": known.began, "position": known.position, "speaks": speaking}


async def run(settings: NetworksSource, context: Context) -> Listing:
    """
    Try the next places of the round, and return a target for each that spoke TLS in one of its last tries.
    """
    plan = planned(settings.cidr, settings.ports)
    known = _remembered(context.remembered, plan, context.now)
    last = min(plan.size, known.position + max(1, int(RUN * settings.rate)))
    begin = known.position
    # Each is counted when its try begins: a stop in the middle leaves none to be tried twice.
    context.so_far(lambda: _to_remember(plan, known))

    def tell(done: int) -> None:
        if done % 50 == 0 or begin + done == plan.size:
            context.progress(f"networks: {begin + done:,} of {plan.size:,} places are tried")

    def places() -> Iterator[Place]:
        for position in range(begin, last):
            known.position = position + 1
            place = plan.at(position)
            if context.wanted(Found(place.url, "")):
                yield place

    async for place, speaks in tried(context.network, places(), settings.rate, tell):
        key = f"{place.address} {place.port}"
        known.speaks[key] = lives(known.speaks.get(key, 0), speaks=speaks)
    notes = []
    if last < plan.size:
        notes.append(f"{last:,} of {plan.size:,} places are tried; the next run goes on from there")

    def listing() -> Listing:
        remember = _to_remember(plan, known)
        speaking = context.network.calm.gently(remember["speaks"])
        return Listing(tuple(_found(plan, one) for one in speaking), tuple(notes), remember)

    # Of tens of thousands it takes a second: not on the event loop.
    return await in_thread(listing)


def _found(plan: Plan, spoke: str) -> Found:
    address, _, port = spoke.partition(" ")
    place = Place(address, int(port))
    return Found(place.url, f"port {port} of {address} in the network {plan.network_of(address)} speaks TLS")


SOURCE = Source("networks", INTERVAL, run)
