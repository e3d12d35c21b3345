"""
Tests of `exporter/config/`.
"""
