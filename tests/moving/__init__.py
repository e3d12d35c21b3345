"""
Tests of `exporter/moving/`.
"""
