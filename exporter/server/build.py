"""
The metric by which rules know the exporter: its version, and what it runs on.
"""

import platform

from OpenSSL import SSL

from exporter import __version__
from exporter.report import families
from exporter.report.exposition import Samples

Shard = tuple[tuple[str, str], ...]
"""The label of a replica's share of the targets, or none."""


def build(shard: Shard = ()) -> Samples:
    """
    Return the metric with the exporter's version, and with its share of the targets.
    """
    openssl = SSL.OpenSSL_version(SSL.OPENSSL_VERSION).decode("ascii", "replace")
    labels = (("version", __version__), ("python", platform.python_version()), ("openssl", openssl))
    return {families.BUILD: [((*labels, *shard), 1.0)]}


def share(shard: Shard) -> float:
    """
    Return which part of all targets a replica with this label has: a half for `0/2`, all without a label.
    """
    return 1 / int(dict(shard).get("shard", "0/1").partition("/")[2])
