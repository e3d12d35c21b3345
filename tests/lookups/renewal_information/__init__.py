"""
Tests of ACME renewal information.
"""
