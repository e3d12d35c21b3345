"""
Tests of the source `kubernetes`.
"""
