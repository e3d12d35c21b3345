"""
Tests of `exporter/probes/`.
"""
