"""
The judgement of facts, at a given time under a given policy. Pure.
"""
