"""
Look-ups at other servers about the facts seen, one file for each value of the `lookup` label.
"""
