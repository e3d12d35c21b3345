"""
expiry-exporter: a Prometheus exporter of everything that expires.
"""

__version__ = "0.1.0"
