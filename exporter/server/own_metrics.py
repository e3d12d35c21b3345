"""
Metrics of the exporter itself: its version, by which rules know it, and its sources of targets, its caches.
"""

import platform

from OpenSSL import SSL

from exporter import __version__
from exporter.discovery.runner import Discovery
from exporter.judgement.coverage import Coverage
from exporter.model.caches import Budget
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


def of_discovery(discovery: Discovery) -> Samples:
    """
    Return the metrics about the sources; none without `discover`.
    """
    own: Samples = {}
    for feed in discovery.feeds.values():
        values = {
            families.DISCOVERY_SUCCESS: feed.success,
            families.DISCOVERY_TIME: feed.succeeded_at,
            families.DISCOVERY_TARGETS: len(feed.made.targets),
            families.DISCOVERY_KEPT: feed.kept_targets or None,
            families.DISCOVERY_LEFT_OUT: feed.left_out or None,
        }
        for family, value in values.items():
            if value is not None:
                own.setdefault(family, []).append(((("source", feed.name),), float(value)))
    if discovery.feeds:
        own[families.DISCOVERY_PENDING] = [((), float(discovery.pending))]
    return own


def of_caches(budget: Budget) -> Samples:
    """
    Return how much each cache holds, and the limit of all.
    """
    caches = {(("cache", name),): held for name, held in sorted(budget.held.items())}
    return {
        families.CACHE_LIMIT: [((), float(budget.limit))],
        families.CACHE_BYTES: [(labels, float(weight)) for labels, (_, weight) in caches.items()],
        families.CACHE_ENTRIES: [(labels, float(things)) for labels, (things, _) in caches.items()],
    }


def of_coverage(coverage: Coverage) -> Samples:
    """
    Return the number of names that no target looks at, by the target whose certificate has them; empty when
    there are none.
    """
    counts = coverage.counts
    if not counts:
        return {}
    return {families.UNWATCHED: [((("target", name),), float(count)) for name, count in counts.items()]}
