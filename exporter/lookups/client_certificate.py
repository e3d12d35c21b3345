"""
The exporter's own client certificate, which expires too.
"""

from functools import lru_cache

from exporter.lookups.merge import added
from exporter.model.observation import Certificate, Facts, Item
from exporter.model.reasons import Kind
from exporter.model.targets import Target
from exporter.net.network import Network
from exporter.pki.authorities import Authorities
from exporter.pki.client_certificate import client_leaf


def is_presented(_: Facts, target: Target) -> bool:
    """
    Return True when the exporter presents a client certificate to this target.
    """
    return _file(target) is not None


def client_certificate(facts: Facts, target: Target, network: Network, _: Authorities) -> Facts:
    """
    Return the facts with the client certificate that the exporter presents, as item `client`.
    """
    items = ours(target, network)
    return added(facts, items) if items else facts


def ours(target: Target, network: Network) -> tuple[Item, ...]:
    """
    Return the client certificate that the exporter presents, as one item without its chain.

    It has an end even where it can't be used, which is reported as a failed probe. Empty when it can't be
    read, when none is configured, or without TLS.
    """
    file = _file(target)
    leaf = client_leaf(file, network.named_files.content) if file is not None else None
    return (_client_item(leaf),) if leaf is not None else ()


def _file(target: Target) -> str | None:
    """
    Return the file of the client certificate; None when there is none, or no TLS to present it.
    """
    return None if target.url.scheme.endswith("+http") else target.client_certificate_file


@lru_cache(maxsize=256)
def _client_item(leaf: Certificate) -> Item:
    return Item("client", Kind.LEAF, leaf.not_before, leaf.not_after, leaf)
