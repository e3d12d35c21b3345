"""
Tests of what tells whether a certificate is revoked: staples, revocation lists, OCSP responders.
"""
