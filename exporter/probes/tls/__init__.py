"""
TLS on the wire: over TCP, after a dialogue, by QUIC and DTLS.
"""
