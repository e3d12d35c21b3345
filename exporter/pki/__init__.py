"""
What X.509 means: certificates, trust, revocation.
"""
