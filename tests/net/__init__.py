"""
Tests of `exporter/net/`.
"""
