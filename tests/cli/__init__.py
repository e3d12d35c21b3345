"""
Tests of `exporter/cli/`.
"""
