"""
Tests of `exporter/discovery/`.
"""
