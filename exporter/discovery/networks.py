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
from dataclasses import dataclass, field
from typing import Any

from exporter.config.sources import NetworksSource, merged
from exporter.discovery.base import Context, Found, Listing, Source
from exporter.discovery.names import name_to_ask_for
from exporter.discovery.threads import in_thread
from exporter.discovery.trying import RUN, Place, lives, tried
from exporter.model.hosts import join_host_port, parse_ip

INTERVAL = 300.0
"""A run after a whole round has nothing to do until a day has passed."""


ROUND = 86400.0
"""Seconds from the begin of one round over all addresses to that of the next."""


OTHERS_LIMIT = 10
"""Rounds over other networks that are remembered: more changes a day try some places again."""


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
        address, port = divmod((position * self._step + size // 3) % size, len(self.ports))
        for first, count, version in self.networks:
            if address < count:
                kind = ipaddress.IPv4Address if version == 4 else ipaddress.IPv6Address
                return Place(str(kind(first + address)), self.ports[port])
            address -= count
        raise IndexError(position)

    def position_of(self, address: str, port: int) -> int | None:
        """
        Return the position of a place in this order; None if it is not one of these.
        """
        ip, before = ipaddress.ip_address(address), 0
        for first, count, version in self.networks:
            if version == ip.version and 0 <= int(ip) - first < count and port in self.ports:
                number = (before + int(ip) - first) * len(self.ports) + self.ports.index(port)
                return (number - self.size // 3) * pow(self._step, -1, self.size) % self.size
            before += count
        return None

    def has(self, key: str) -> bool:
        """
        Return whether `ADDRESS PORT` is one of these places. Raises ValueError for what is none.
        """
        return self.position_of(*_place_of(key)) is not None

    @property
    def _step(self) -> int:
        """
        How far two places that follow each other are apart, so that each has its turn.
        """
        step = max(1, int(self.size * _GOLDEN))
        while math.gcd(step, self.size) != 1:
            step += 1
        return step

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
    names: dict[str, str] = field(default_factory=dict)
    """By the same, the name that it is asked for: one on its certificate, which has no address mostly."""
    others: list[tuple[Plan, float, int]] = field(default_factory=list)
    """Rounds over other networks or ports before a change of these: when each began, and how far it came."""

    def take(self, place: Place, names: Sequence[str] | None) -> None:
        """
        Take the answer of a place: the names on its certificate, or None where no TLS is spoken.
        """
        key = f"{place.address} {place.port}"
        self.speaks[key] = lives(self.speaks.get(key, 0), speaks=names is not None)
        # What has its name still is the same target.
        if names is not None and self.names.get(key) not in names:
            self.names[key] = name_to_ask_for(names)

    def was_tried(self, place: Place) -> bool:
        """
        Return whether one of the other rounds came to this place.
        """
        return any(
            (position := plan.position_of(place.address, place.port)) is not None and position < reached
            for plan, _, reached in self.others
        )


def _remembered(value: Any, plan: Plan, now: float) -> _Round:
    """
    Return the round that was remembered, or a new one when a day has passed or the networks are others.
    """
    try:
        began, position = float(value["began"]), max(0, int(value["position"]))
        known = {
            str(one): left
            for one, left in value["speaks"].items()
            if type(left) is int and (value["plan"] == plan.identity or plan.has(one))
        }
        # An earlier version had none.
        names = {one: str(name) for one, name in value.get("names", {}).items() if one in known}
        others = [_other(*one) for one in value.get("others", ())]
        if value["plan"] != plan.identity and "networks" in value:
            others.append(_other(value["networks"], value["ports"], began, position))
    except (AttributeError, KeyError, TypeError, ValueError):
        return _Round(now, 0, {})
    others = [one for one in others if 0 <= now - one[1] < ROUND][-OTHERS_LIMIT:]
    if value["plan"] != plan.identity:
        return _Round(now, 0, known, names, others)
    if position >= plan.size and not 0 <= now - began < ROUND:
        return _Round(now, 0, known, names)
    return _Round(began, position, known, names, others)


def _other(networks: Any, ports: Any, began: Any, position: Any) -> tuple[Plan, float, int]:
    """
    Return a round over other networks as it was remembered. Raises TypeError and ValueError.
    """
    ranges = tuple((int(first), int(count), int(version)) for first, count, version in networks)
    return Plan(ranges, tuple(map(int, ports)), ()), float(began), int(position)


def _place_of(key: str) -> tuple[str, int]:
    address, _, port = key.partition(" ")
    return address, int(port)


def _to_remember(plan: Plan, known: _Round) -> dict[str, Any]:
    return {
        "plan": plan.identity,
        "began": known.began,
        "position": known.position,
        "speaks": {one: left for one, left in sorted(known.speaks.items()) if left},
        "names": {one: name for one, name in known.names.items() if name and known.speaks.get(one)},
        "networks": plan.networks,
        "ports": plan.ports,
        "others": [[one.networks, one.ports, *when] for one, *when in known.others],
    }


async def run(settings: NetworksSource, context: Context) -> Listing:
    """
    Try the next places of the round, and return a target for each that spoke TLS in one of its last tries.
    """
    plan = planned(settings.cidr, settings.ports)
    known = await in_thread(lambda: _remembered(context.remembered, plan, context.now))
    last = min(plan.size, known.position + max(1, int(RUN * settings.rate)))
    begin = known.position

    def to_try() -> list[tuple[int, Place]]:
        positions = context.network.calm.gently(range(begin, last))
        return [
            (position, place)
            for position, place in ((one, plan.at(one)) for one in positions)
            if context.wanted(Found(place.url, "")) and not known.was_tried(place)
        ]

    due = await in_thread(to_try)
    # Each is counted when its try begins: a stop in the middle leaves none to be tried twice.
    context.so_far(lambda: _to_remember(plan, known))

    def tell(done: int) -> None:
        if done % 50 == 0 or done == len(due):
            context.progress(f"networks: {begin + done:,} of {plan.size:,} places are tried")

    def places() -> Iterator[Place]:
        for position, place in due:
            known.position = position + 1
            yield place

    async for place, names in tried(context.network, places(), settings.rate, tell):
        known.take(place, names)
    known.position = last
    notes = []
    if last < plan.size:
        notes.append(f"{last:,} of {plan.size:,} places are tried; the next run goes on from there")

    def listing() -> Listing:
        remember = _to_remember(plan, known)
        speaking = context.network.calm.gently(remember["speaks"])
        found = tuple(_found(plan, one, known.names.get(one, "")) for one in speaking)
        return Listing(found, tuple(notes), remember)

    # Of tens of thousands it takes a second: not on the event loop.
    return await in_thread(listing)


def _found(plan: Plan, spoke: str, name: str) -> Found:
    address, port = _place_of(spoke)
    why = f"port {port} of {address} in the network {plan.network_of(address)} speaks TLS"
    shown = f"{name} on {join_host_port(address, port)}" if name else ""
    return Found(Place(address, port).url, why, shown, settings={"server_name": name} if name else {})


SOURCE = Source("networks", INTERVAL, run, by_place=True)
