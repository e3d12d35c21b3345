"""
DNS: signatures of zones, and what DNS says of the names on a certificate, from real name servers.
"""
