"""
The engine: sweeps over targets, and the memory of their results.
"""
