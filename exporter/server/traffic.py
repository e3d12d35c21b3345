"""
Counts of the load on others: connections of probes, and look-ups in DNS.
"""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from exporter.net.network import Network

CONNECTIONS = "Connections that probes of TLS servers began."


LOOKUPS = "Look-ups by the system's resolver, and queries that were sent to name servers."


class Traffic(Collector):
    """
    The counters of a network, read when they are exported.
    """

    def __init__(self, network: Network) -> None:
        self._network = network

    def collect(self) -> Iterator[CounterMetricFamily]:
        """
        Yield both families.
        """
        network = self._network
        yield CounterMetricFamily("expiry_probe_connections", CONNECTIONS, value=network.connections)
        lookups = CounterMetricFamily("expiry_dns_lookups", LOOKUPS, labels=["resolver"])
        lookups.add_metric(["system"], network.resolver.asked)
        lookups.add_metric(["name_server"], network.questions)
        yield lookups
