"""
Proxies on the way to a target, and the header of the PROXY protocol.
"""
