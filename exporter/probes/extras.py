"""
What else is told of an endpoint on the wire, besides what its handshake showed.

Each extra takes the facts so far and gives them with more in them, or the same object when it has nothing to
add. They run at each look, so what they ask of others is asked in the background.
"""

from collections.abc import Callable
from functools import lru_cache

from cryptography.hazmat.primitives.serialization import Encoding

from exporter import tls
from exporter.certificates import CertificateError, certificate
from exporter.network import Network, ProbeError
from exporter.observation import Facts, Item, Kind
from exporter.probes import dns, issuers
from exporter.probes.additions import added
from exporter.targets import Target

Extra = Callable[[Facts, Target, Network], Facts]


def with_extras(facts: Facts, target: Target, network: Network) -> Facts:
    """
    The facts of a look with all that is known besides; the same object while nothing changed.
    """
    for extra in EXTRAS:
        facts = extra(facts, target, network)
    return facts


def client_certificate(facts: Facts, target: Target, _: Network) -> Facts:
    """
    With the certificate that we show to the server, as item `client`.
    """
    return added(facts, ours(target))


def ours(target: Target) -> tuple[Item, ...]:
    """
    The certificate that we show to the server, as an item; none when there is none that can be used.
    """
    if target.client_certificate_file is None:
        return ()
    try:
        item = _client_item(
            tls.load_client_certificate(
                target.client_certificate_file, target.client_key_file, target.client_key_password
            )
        )
    except ProbeError:
        return ()  # which is a reason of its own
    return (item,) if item is not None else ()


@lru_cache(maxsize=256)
def _client_item(client: tls.ClientCertificate) -> Item | None:
    """
    Our certificate as an item, without its chain; None when its dates can't be read.
    """
    try:
        ours = certificate(client.chain[0].public_bytes(Encoding.DER))
    except CertificateError:
        return None
    return Item("client", Kind.LEAF, ours.not_before, ours.not_after, ours)


EXTRAS: tuple[Extra, ...] = (
    client_certificate,
    issuers.staple,
    issuers.revocation_lists,
    issuers.responder,
    issuers.renewal_information,
    dns.checks,
)
"""In the order in which they add."""
