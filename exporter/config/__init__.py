"""
The configuration: what may stand in the file, and what it means.
"""
