"""
Hosts and ports as people write them: names, addresses, name servers. Pure.
"""

import ipaddress
import re

import idna

from exporter.passwords import shown

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


NAME_LIMIT = 253
"""Characters of a host name, without a final dot (RFC 1035 section 2.3.4)."""


_HOST_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")


class TargetError(ValueError):
    """
    A URL that can't be a target. The message says what is wrong and what would be right.
    """


def normal_host(host: str) -> str:
    """
    Return a host name as lower-case A-labels without a final dot (RFC 5891), or an IP address in its usual
    form.

    Raises TargetError when it is neither.
    """
    name = host.removesuffix(".")
    # Before it is encoded: A-labels are longer, and the time for that grows with the square of the length.
    if len(name) > NAME_LIMIT:
        raise TargetError(f"{shown(host)} is not a host name")
    try:
        if not name.isascii():
            name = idna.encode(name, uts46=True).decode("ascii")
    except idna.IDNAError as error:
        # It repeats a part of the host.
        why = f": {error}" if shown(host) == repr(host) else ""
        raise TargetError(f"{shown(host)} is not an internationalised domain name{why}") from None
    ip = parse_ip(name)
    if ip is not None:
        return str(ip)
    if len(name) > NAME_LIMIT or not all(_HOST_LABEL.fullmatch(label) for label in name.split(".")):
        raise TargetError(f"{shown(host)} is not a host name")
    # No top-level domain is a number (RFC 3696 section 2), but a resolver may read 10.1 as 10.0.0.1.
    if name.rpartition(".")[2].isdigit():
        raise TargetError(f"{shown(host)} is neither a host name nor a complete IPv4 address")
    return name.lower()


_USER = re.compile(r"(?<=://)[^\s/?#]*@")


def without_user(url: str) -> str:
    """
    Return a URL without a user and a password: a handshake needs neither. What is fetched may: it is left.
    """
    return url if url.startswith("pem+") else _USER.sub("", url)


def hidden_user(text: str) -> str:
    """
    Return a text for people in which the URLs show no user and no password.
    """
    return _USER.sub("...@", text)


def parse_ip(host: str) -> IPAddress | None:
    """
    Parse the host as an IP address; None when it is not one.
    """
    if host[-1:].isalpha() and ":" not in host:
        return None  # the usual name, without the two exceptions that it costs to find out
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def is_network(text: str) -> bool:
    """
    Return True for an address with the length of a prefix or a mask behind a slash (RFC 4632 section 3.1).
    """
    try:
        return "/" in text and ipaddress.ip_network(text, strict=False) is not None
    except ValueError:
        return False


def parse_name_server(text: str) -> tuple[str, int]:
    """
    Parse a name server as `address`, `address:port` or `[address]:port`. Raises TargetError.
    """
    host, port = text, "53"
    bracketed = re.fullmatch(r"\[([^\[\]]*)\](?::([0-9]{1,5}))?", text)
    if bracketed is not None:
        host, port = bracketed[1], bracketed[2] or port
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    ip = parse_ip(host)
    if ip is None or not port.isdecimal() or not 0 < int(port) < 65536:
        raise TargetError(
            f"{shown(text)} is not the address of a name server: write it like 192.0.2.53 or "
            "[2001:db8::53]:53"
        )
    return str(ip), int(port)


def join_host_port(host: str, port: int) -> str:
    """
    Return `host:port`, with brackets around an IPv6 address (RFC 3986 section 3.2.2).
    """
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
