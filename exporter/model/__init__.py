"""
The nouns: targets, observations, policies, and the closed lists of reasons, faults, hazards and kinds.
"""
