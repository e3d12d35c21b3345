"""
Targets that `probe.allow` permits to callers of `/probe`: URLs by pattern, addresses by network. Pure.

A permitted name must not lead to this host or its cloud's metadata service, which nobody permitted: so the
address is judged too, after the name was resolved.
"""

import fnmatch
import ipaddress
from dataclasses import dataclass, replace
from functools import lru_cache

from exporter.model.destinations import Range, embedded, is_this_host, range_of
from exporter.model.urls import SCHEMES, Form, IPAddress, Url

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Allowed:
    """
    The entries of `probe.allow`.
    """

    patterns: tuple[str, ...]
    """Lower-case patterns of URLs in their normal form."""
    names: tuple[str, ...]
    """Lower-case patterns of host names."""
    networks: tuple[Network, ...]

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
        return not by_proxy if url.ip is None else self._is_inside(url.ip)

    def refusal(self, url: Url, address: IPAddress) -> str:
        """
        Return the reason why the URL must not lead to this address, in words; empty when it may.
        """
        if self._is_inside(address) or self._fits(replace(url, host=str(address), ip=address)):
            return ""
        where = f"{url.host} has the address {address}"
        if not self._fits(url):
            return f"{where}, and probe.allow of the configuration permits neither"
        place = range_of(address)
        if place in {Range.PUBLIC, Range.PRIVATE} or (place is Range.LOOPBACK and is_this_host(url.host)):
            return ""
        return (
            f"{where}, {place.value}: probe.allow of the configuration permits the name only; "
            "if that is meant, add the address to it"
        )

    def _is_inside(self, address: IPAddress) -> bool:
        inner = embedded(address)
        forms = (address,) if inner is None else (address, inner)
        return any(form in network for form in forms for network in self.networks)

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
        elif any(fnmatch.fnmatchcase(url.host, name) for name in self.names):
            return True
        return any(fnmatch.fnmatchcase(form.lower(), pattern) for form in forms for pattern in patterns)


@lru_cache(maxsize=8)
def allowed(entries: tuple[str, ...]) -> Allowed:
    """
    Parse the entries: a network or an address (`10.0.0.0/8`, `192.0.2.1`, `2001:db8::/32`), the name of a
    host (`*.example.com`), else a pattern of URLs (`https://*.example.com`, `*`).
    """
    patterns: list[str] = []
    names: list[str] = []
    networks: list[Network] = []
    for entry in map(str.lower, entries):
        network = _network(entry)
        if network is not None:
            networks.append(network)
            continue
        patterns.append(entry)
        if ":" not in entry and "/" not in entry and "." in entry:
            names.append(entry)
    return Allowed(tuple(patterns), tuple(names), tuple(networks))


def _network(entry: str) -> Network | None:
    try:
        return ipaddress.ip_network(entry.strip("[]"), strict=False)
    except ValueError:
        return None
