"""
TLS inside of QUIC.
"""
