"""
Destinations: which addresses untrusted input may make the exporter connect to. Pure.

A certificate names URLs of responders, a server redirects, a caller of `/probe` names hosts. None of them may
lead to this host, its network or its cloud's metadata service, unless whoever names it is there too. This
protects against server-side request forgery.
"""

import ipaddress
from collections.abc import Collection
from enum import Enum
from functools import lru_cache

from exporter.model.hosts import IPAddress, parse_ip


class Range(Enum):
    """
    The kind of network that an address belongs to. The values are words for messages.
    """

    PUBLIC = "a public address"
    PRIVATE = "a private address"
    LINK_LOCAL = "a link-local address or one of a cloud's metadata"
    LOOPBACK = "a loopback address, which is this host itself"
    NOBODY = "an address of no single host"


_LOOPBACK = ("127.0.0.0/8", "0.0.0.0/8", "::1/128", "::/128")
"""Loopback and unspecified addresses: a connection to either leads to this host."""


_LINK_LOCAL = (
    "169.254.0.0/16",
    "fe80::/10",
    # Metadata of clouds outside of that: AWS, Alibaba, Oracle, Azure; Google, Scaleway, Linode.
    "fd00:ec2::/32",
    "100.100.100.200/32",
    "fd00:100::100:200/128",
    "192.0.0.192/32",
    "fd00:c1::a9fe:a9fe/128",
    "168.63.129.16/32",
    "fd20:ce::254/128",
    "fd00:42::42/128",
    "fd00:a9fe:a9fe::1/128",
)


_PRIVATE = (
    # RFC 1918, RFC 6598 (carrier-grade NAT), RFC 6890, RFC 2544.
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",
    "192.0.0.0/24",
    "198.18.0.0/15",
    # RFC 4193, RFC 3879, and RFC 8215, whose networks are the operator's own translators.
    "fc00::/7",
    "fec0::/10",
    "64:ff9b:1::/48",
)


_NOBODY = ("224.0.0.0/4", "240.0.0.0/4", "ff00::/8")


_RANGES = tuple(
    (ipaddress.ip_network(text), found)
    for found, texts in (
        (Range.LOOPBACK, _LOOPBACK),
        (Range.LINK_LOCAL, _LINK_LOCAL),
        (Range.PRIVATE, _PRIVATE),
        (Range.NOBODY, _NOBODY),
    )
    for text in texts
)
"""Networks with their ranges; the first that contains the address counts."""


_EMBEDDING = tuple(
    # RFC 4291 section 2.5.5 (both), RFC 2765 section 2.1, RFC 6052 section 2.1 and RFC 8215: the address
    # stands at the end.
    ipaddress.IPv6Network(text)
    for text in ("::ffff:0:0/96", "::/96", "::ffff:0:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48")
)


@lru_cache(maxsize=1024)
def range_of(address: IPAddress) -> Range:
    """
    Return the range of the address; for one with an embedded IPv4 address, the less public range of the two.
    """
    found = next((kind for network, kind in _RANGES if address in network), Range.PUBLIC)
    inner = embedded(address)
    if inner is None or found in {Range.LOOPBACK, Range.LINK_LOCAL, Range.NOBODY}:
        return found
    behind = range_of(inner)
    return found if behind is Range.PUBLIC else behind


def embedded(address: IPAddress) -> ipaddress.IPv4Address | None:
    """
    Return the IPv4 address that an IPv6 address leads to by translation (NAT64, 6to4, Teredo) or mapping.

    None for IPv4 addresses and for IPv6 addresses that embed none.
    """
    if not isinstance(address, ipaddress.IPv6Address):
        return None
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    if any(address in network for network in _EMBEDDING):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return None


def refusal(address: IPAddress, own: Collection[Range]) -> str:
    """
    Return why untrusted input must not lead to this address, in words; empty when it may.

    `own` holds the ranges of the addresses of whoever named it. A private address may name another private
    one, as internal authorities do, and whoever is on this host may name what is near it.
    """
    place = range_of(address)
    inside = any(one is not Range.PUBLIC for one in own)
    if place is Range.PUBLIC or (place is Range.PRIVATE and inside):
        return ""
    if place in own and place is not Range.NOBODY:
        return ""
    return f"{address}, {place.value}"


def host_range(host: str) -> Range:
    """
    Return the range of a URL's host without a DNS query: a name other than localhost counts as public.
    """
    if is_this_host(host):
        return Range.LOOPBACK
    address = parse_ip(host)
    return Range.PUBLIC if address is None else range_of(address)


def is_this_host(host: str) -> bool:
    """
    Return True for the names that always mean this host (RFC 6761 section 6.3).
    """
    name = host.lower().removesuffix(".")
    return name == "localhost" or name.endswith(".localhost")


def is_of_each_host(name: str) -> bool:
    """
    Return True for a name that is another host for each client: localhost, and `localhost.example.com`, which
    many zones have.
    """
    return is_this_host(name) or name.lower().startswith("localhost.")
