"""
Tests of `exporter/report/`.
"""
