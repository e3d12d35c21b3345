"""
Domain registrations: `domain:example.com`.
"""
