"""
TLS in datagrams: `dtls://`, each address of the name an endpoint.
"""

from functools import partial

from exporter import dtls
from exporter.network import Network, Trace
from exporter.observation import Facts
from exporter.probes import wire
from exporter.probes.endpoint import Endpoint
from exporter.probes.opening import expect_no_proxy
from exporter.targets import Target


async def look(target: Target, endpoint: Endpoint, network: Network, trace: Trace) -> Facts:
    """
    What the server presents in DTLS. Raises ProbeError.
    """
    expect_no_proxy(target, "DTLS")
    converse = partial(dtls.see, target, endpoint.address, network, trace)
    return await wire.look_by(converse, target, endpoint, network, trace)
