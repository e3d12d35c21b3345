"""
The certificate that this side shows to the server: it expires too.
"""

from functools import lru_cache

from exporter.lookups.merge import added
from exporter.model.observation import Certificate, Facts, Item
from exporter.model.reasons import Kind
from exporter.model.targets import Target
from exporter.net.network import Network
from exporter.pki.authorities import Authorities
from exporter.pki.client_certificate import client_leaf


def client_certificate(facts: Facts, target: Target, network: Network, _: Authorities) -> Facts:
    """
    With the certificate that we show to the server, as item `client`.
    """
    return added(facts, ours(target, network))


def ours(target: Target, network: Network) -> tuple[Item, ...]:
    """
    The certificate that we show to the server, as an item without its chain: it ends, whether it can be used
    or not, which is a reason of its own. None when it can't be read, or there is no TLS in which to show it.
    """
    if target.client_certificate_file is None or target.url.scheme.endswith("+http"):
        return ()
    leaf = client_leaf(target.client_certificate_file, network.named_files.content)
    return (_client_item(leaf),) if leaf is not None else ()


@lru_cache(maxsize=256)
def _client_item(leaf: Certificate) -> Item:
    return Item("client", Kind.LEAF, leaf.not_before, leaf.not_after, leaf)
