"""
What these tests share with those of the wire probe.
"""

from tests.probes.tls.wire.conftest import anchors, healthy, leaf

__all__ = ["anchors", "healthy", "leaf"]
