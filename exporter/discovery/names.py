"""
Names by which a server is asked for its certificate: those that are configured, or on the certificate itself.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from exporter.model.hosts import TargetError, normal_host, parse_ip

BELOW = ("www", "any")
"""Labels below a wildcard: who has no other name for a host has to make one."""


def host_name(text: str) -> str:
    """
    Return a name in its usual form; empty for a pattern, an address, and what is no host name.
    """
    try:
        name = normal_host(text.removeprefix(".")) if text not in {"_", "localhost"} else ""
    except TargetError:
        return ""
    return name if parse_ip(name) is None else ""


def hosts(names: Iterable[str]) -> Iterator[str]:
    """
    Yield those names of a certificate that are of one host.
    """
    return (name for name in names if "*" not in name and host_name(name))


def below_wildcards(names: Sequence[str]) -> Iterator[str]:
    """
    Yield hosts that the wildcards among the names of a certificate are for.
    """
    for label in BELOW:
        for name in names:
            if name.startswith("*.") and host_name(host := f"{label}{name[1:]}"):
                yield host


def name_to_ask_for(names: Sequence[str]) -> str:
    """
    Return the first host among the names of a certificate, or else one below its first wildcard; empty when
    there is none.
    """
    return next(chain(hosts(names), below_wildcards(names)), "")
