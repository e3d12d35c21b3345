"""
Configurations of other programs, made into ours: texts in, values out. One file for each kind.
"""
