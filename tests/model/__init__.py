"""
Tests of `exporter/model/`.
"""
