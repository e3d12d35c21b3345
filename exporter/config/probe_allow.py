"""
Targets that `probe.allow` permits to callers of `/probe`: URLs by pattern, addresses by network. Pure.

A permitted name must not lead to this host or its cloud's metadata service, which nobody permitted: so the
address is judged too, after the name was resolved.
"""

import fnmatch
import ipaddress
import re
from dataclasses import dataclass, replace
from functools import lru_cache

from exporter.model.destinations import Range, embedded, is_this_host, range_of
from exporter.model.hosts import IPAddress, parse_ip
from exporter.model.schemes import SCHEMES, Form
from exporter.model.urls import Url
from exporter.passwords import shown

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


_PORTS = re.compile(r"(?P<host>[^:/]+|\[[0-9a-f:.]+\](?:/\d+)?|[0-9.]+/\d+):(?P<low>\d+)(?:-(?P<high>\d+))?")


_ADDRESS = re.compile(r"\[?(?P<ip>[0-9.]+|[0-9a-f]*:[0-9a-f]*:[0-9a-f:.]*)\]?(?:/(?P<length>[^:]*))?")
"""What is meant as an address or a network, right or wrong."""


_NAME = re.compile(r"[a-z0-9._*?\[\]!-]+")


_FORMS = (
    "write a URL with wildcards (https://*.example.com), a host (*.example.com, db:5432), an address or a "
    "network (10.0.0.0/8)"
)


_NO_NAME = f"this is no host name (of others than English letters, its xn-- form is compared); {_FORMS}"


MOST_PORT = 65535


ANY = range(65536)
"""The ports of an entry that names none; 0 for what has no port."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """
    The entries of `probe.allow`.
    """

    patterns: tuple[str, ...]
    """Lower-case patterns of URLs in their normal form."""
    names: tuple[tuple[str, range], ...]
    """Lower-case patterns of host names, with the ports that may be asked there."""
    networks: tuple[tuple[Network, range], ...]

    def may_ask(self, url: Url, *, by_proxy: bool) -> bool:
        """
        Return True when the URL is permitted, if its addresses are too.

        Where a proxy resolves the name, its addresses are not known: then an entry for a network permits
        nothing.
        """
        if self._fits(url):
            return True
        if not self.networks or SCHEMES[url.scheme].form is not Form.HOST:
            return False
        return not by_proxy if url.ip is None else self._is_inside(url, url.ip)

    def refusal(self, url: Url, address: IPAddress) -> str:
        """
        Return the reason why the URL must not lead to this address, in words; empty when it may.
        """
        if self._is_inside(url, address):
            return ""
        place = range_of(address)
        where = f"{url.host} has the address {address}"
        if self._fits(replace(url, host=str(address), ip=address)):
            # What gives a cloud's credentials away is never meant by `*`.
            if place is not Range.LINK_LOCAL or self._names(address):
                return ""
            return f"{where}, {place.value}: if that is meant, add the address to probe.allow"
        if not self._fits(url):
            return f"{where}, and probe.allow of the configuration permits neither"
        if place in {Range.PUBLIC, Range.PRIVATE} or (place is Range.LOOPBACK and is_this_host(url.host)):
            return ""
        return (
            f"{where}, {place.value}: probe.allow of the configuration permits the name only; "
            "if that is meant, add the address to it"
        )

    def _names(self, address: IPAddress) -> bool:
        return any(str(address) in pattern for pattern in self.patterns)

    def _is_inside(self, url: Url, address: IPAddress) -> bool:
        inner = embedded(address)
        forms = (address,) if inner is None else (address, inner)
        return any(
            form in network and url.port in ports for form in forms for network, ports in self.networks
        )

    def _fits(self, url: Url) -> bool:
        """
        Return True when one of the patterns matches the URL.

        Schemes that read this host's files, or use its credentials, must be named: `*` does not include them.
        """
        scheme = SCHEMES[url.scheme]
        forms = [url.normal]
        if url.port and url.port == scheme.default_port:
            forms.append(url.normal.replace(f":{url.port}", "", 1))
        patterns = self.patterns
        if not scheme.prober.is_public:
            patterns = tuple(pattern for pattern in patterns if pattern.startswith(f"{url.scheme}:"))
        elif any(url.port in ports and fnmatch.fnmatchcase(url.host, name) for name, ports in self.names):
            return True
        return any(fnmatch.fnmatchcase(form.lower(), pattern) for form in forms for pattern in patterns)


@lru_cache(maxsize=8)
def allowed(entries: tuple[str, ...]) -> Allowed:
    """
    Parse the entries: a network or an address (`10.0.0.0/8`, `192.0.2.1`, `2001:db8::/32`), the name of a
    host (`*.example.com`), each also with a port or a range of them (`10.0.0.0/8:443`, `[2001:db8::]/32:443`,
    `*.example.com:8000-8999`), else a pattern of URLs (`https://*.example.com`, `*`).
    """
    patterns: list[str] = []
    names: list[tuple[str, range]] = []
    networks: list[tuple[Network, range]] = []
    for entry in map(str.lower, entries):
        host, ports = entry, ANY
        network = _network(entry)
        if network is None and (found := _PORTS.fullmatch(entry)) is not None:
            host, low = found["host"], int(found["low"])
            ports = range(low, int(found["high"] or low) + 1)
            network = _network(host)
        if network is not None:
            networks.append((network, ports))
        elif ports is not ANY or _is_name(entry):
            names.append((host, ports))
        else:
            patterns.append(entry)
    return Allowed(tuple(patterns), tuple(names), tuple(networks))


def _is_name(entry: str) -> bool:
    """
    Return True for the name of a host, with wildcards or not: what may begin a URL as well is none.
    """
    if ":" in entry or "/" in entry:
        return False
    return "." in entry or not any(fnmatch.fnmatchcase(f"{scheme}://", entry) for scheme in SCHEMES)


def entry(text: str) -> str:
    """
    Return an entry unchanged. Raises ValueError for one that can permit nothing, with what is wrong.
    """
    if why := _fault(text.lower()):
        raise ValueError(f"{shown(text)} can permit nothing: {why}")
    return text


def _fault(text: str) -> str:
    """
    Return what is wrong with an entry, in lower case; empty when nothing is.
    """
    if not text.isprintable() or (" " in text and not text.startswith("file:")):
        return "it has a space in it; write each entry on a line of its own"
    host, found = text, None
    if _network(text) is None and (found := _PORTS.fullmatch(text)) is not None:
        host, low = found["host"], int(found["low"])
        if not 0 < low <= int(found["high"] or low) <= MOST_PORT:
            return f"ports are numbers from 1 to {MOST_PORT}, and a range begins with the lower one"
    if _network(host) is not None:
        return ""
    if looks := _ADDRESS.fullmatch(host):
        address = parse_ip(looks["ip"])
        if address is None:
            return f"{looks['ip']} is not an IP address"
        return f"the length of its network is /0 to /{address.max_prefixlen}, not /{looks['length']}"
    if found is not None or _is_name(host):
        return "" if _NAME.fullmatch(host) else _NO_NAME
    return _url_fault(text)


def _url_fault(text: str) -> str:
    """
    Return why no URL fits a pattern; empty when one may.
    """
    literal = re.split(r"[*?\[]", text, maxsplit=1)[0]
    forms = {name: f"{name}:" if one.form is Form.NAME else f"{name}://" for name, one in SCHEMES.items()}
    if not any(literal.startswith(begin) or begin.startswith(literal) for begin in forms.values()):
        return f"no URL begins so; {_FORMS}"
    scheme, _, rest = text.partition("://")
    if scheme not in SCHEMES or SCHEMES[scheme].form is not Form.HOST:
        return ""
    if "/" in rest:
        return f"a URL of {scheme} ends with its host and port; remove the path"
    port = re.search(r":([0-9]+)$", rest)
    if port is not None and not 0 < int(port[1]) <= MOST_PORT:
        return f"ports are numbers from 1 to {MOST_PORT}"
    return ""


def _network(entry: str) -> Network | None:
    try:
        return ipaddress.ip_network(entry.replace("[", "").replace("]", ""), strict=False)
    except ValueError:
        return None
