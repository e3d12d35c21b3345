"""
The judgement: what facts mean at a given time under a given policy. Pure.
"""
