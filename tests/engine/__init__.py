"""
Tests of `exporter/engine/`.
"""
