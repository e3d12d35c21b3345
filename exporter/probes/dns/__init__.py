"""
Zones: `dns:example.com`.
"""
