"""
X.509: certificates, trust, revocation.
"""
