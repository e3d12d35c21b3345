"""
What others configured, as a configuration of ours: texts in, values out. One file for each kind.
"""
