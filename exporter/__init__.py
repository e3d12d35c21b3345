"""
expiry-exporter: a Prometheus exporter of everything that runs out.
"""

__version__ = "0.1.0"
