"""
Tests of `exporter/server/`.
"""
