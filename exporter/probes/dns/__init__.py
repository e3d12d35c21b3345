"""
The prober of DNS zones: `dns:example.com`.
"""
