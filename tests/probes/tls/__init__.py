"""
Tests of `exporter/probes/tls/`.
"""
