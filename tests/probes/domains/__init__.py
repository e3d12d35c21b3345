"""
Registrations of domains: what registries answer, and asking them.
"""
