"""
Tests of `exporter/judgement/`.
"""
