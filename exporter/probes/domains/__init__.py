"""
The prober of domain registrations: `domain:example.com`.
"""
