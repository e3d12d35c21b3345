"""
The configuration: the keys of the file, their values, and their meaning.
"""
