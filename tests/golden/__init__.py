"""
Golden expositions: what the exporter writes in each state, whole, one file a state.

`python -m tests.golden` writes the files anew after a change that is meant.
"""
