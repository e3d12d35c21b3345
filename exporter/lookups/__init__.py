"""
Look-ups: what is asked of others about what was seen, one file for each value of the `lookup` label.
"""
