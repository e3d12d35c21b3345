"""
Tests of `exporter/pki/`.
"""
