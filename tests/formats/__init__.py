"""
The parsers: good files of every format, bad ones, and those of a corpus.
"""
