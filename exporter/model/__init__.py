"""
The nouns: targets, observations, policies, and the closed lists of what may be said of them.
"""
