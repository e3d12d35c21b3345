"""
The engine: sweeps over targets, and what is remembered of them.
"""
