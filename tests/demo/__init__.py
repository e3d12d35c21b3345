"""
Tests of `exporter/demo/`.
"""
