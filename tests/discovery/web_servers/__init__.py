"""
Tests of the source `web_servers`.
"""
