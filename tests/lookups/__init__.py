"""
Tests of `exporter/lookups/`.
"""
