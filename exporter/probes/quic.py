"""
TLS inside of QUIC: `quic://` and `h3://`, each address of the name an endpoint.
"""

from exporter.network import Network, ProbeError, Trace
from exporter.observation import Facts, Reason
from exporter.probes import wire
from exporter.probes.endpoint import Endpoint
from exporter.probes.extras import with_extras
from exporter.probes.opening import expect_no_proxy
from exporter.targets import Target


async def look(target: Target, endpoint: Endpoint, network: Network, trace: Trace) -> Facts:
    """
    What the server presents in QUIC. Raises ProbeError.
    """
    try:
        from exporter import quic  # noqa: PLC0415 - needs a library that is optional, and large
    except ImportError:
        raise ProbeError(
            Reason.INTERNAL_ERROR, "QUIC needs a library: install it with pip install 'expiry-exporter[quic]'"
        ) from None
    expect_no_proxy(target, "QUIC")
    deadline = trace.clock() + target.patience
    seen = await quic.see(target, endpoint.address, network, trace, deadline)
    return with_extras(wire.with_leaves(seen), target, network, endpoint.address)
