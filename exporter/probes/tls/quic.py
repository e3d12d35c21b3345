"""
TLS inside of QUIC: `quic://` and `h3://`, each address of the name an endpoint.
"""

from exporter.model.errors import ProbeError
from exporter.model.observation import Facts
from exporter.model.reasons import Reason
from exporter.model.targets import Target
from exporter.net.network import Network
from exporter.probes.base import Endpoint, Trace
from exporter.probes.tls import wire
from exporter.probes.tls.connect import expect_no_proxy


async def look(target: Target, endpoint: Endpoint, network: Network, trace: Trace) -> Facts:
    """
    Return the facts that the server presents in QUIC. Raises ProbeError.
    """
    try:
        from exporter.probes.tls import quic_conversation as quic  # noqa: PLC0415 - needs a library that is optional, and large
    except ImportError:
        raise ProbeError(
            Reason.INTERNAL_ERROR, "QUIC needs a library: install it with pip install 'expiry-exporter[quic]'"
        ) from None
    expect_no_proxy(target, "QUIC")
    deadline = trace.clock() + target.patience
    return wire.with_leaves(await quic.see(target, endpoint.address, network, trace, deadline))
