"""
A stand-in for the system's resolver, which in a test must not depend on the network.
"""

from collections.abc import Callable
from ipaddress import ip_address

from exporter.model.errors import ProbeError
from exporter.model.hosts import IPAddress
from exporter.model.reasons import Reason
from exporter.net.network import Network
from exporter.net.resolver import Resolver

Ask = Callable[[str, int], tuple[IPAddress, ...]]


def asks(network: Network, ask: Ask) -> None:
    """
    Let a network look up names by this function.
    """
    network.resolver.close()
    network.resolver = Resolver(network.loop, ask=ask)


class Names:
    """
    A resolver for which all names are 127.0.0.1, but for those that a test says.
    """

    def __init__(self, unknown: str = "", silent: str = "") -> None:
        self.unknown = set(unknown.split())
        self.silent = set(silent.split())
        self.down = False
        """Whether there is an answer for no name."""
        self.asked: list[str] = []

    def __call__(self, host: str, _: int) -> tuple[IPAddress, ...]:
        """
        Answer as the system's resolver does.
        """
        self.asked.append(host)
        if self.down or host in self.silent:
            raise ProbeError(Reason.DNS_FAILED, "no server answers")
        if host in self.unknown:
            raise ProbeError(Reason.DNS_NOT_FOUND, "no such name")
        return (ip_address("127.0.0.1"),)
