"""
TLS in datagrams.
"""
