"""
Descriptors: how many files and sockets each part of the process may have open, for all of them to fit.

Pure. `limit` is what the system allows the process (`ulimit -n`). A quarter of what is left beside the
process's own needs is for clients, and the rest for looks.
"""

OWN = 128
"""For the rest: the loop, state, logs, files that are read, look-ups of names and of what issuers say."""


CLIENTS = 512
"""Connections of clients that are enough, however many the system allows."""


WATCHES = 2
"""Sets of targets that are looked at side by side: those configured, and those that /probe names."""


def client_slots(limit: int) -> int:
    """
    Connections of clients that there may be at a time, at least 8.
    """
    return max(8, min(CLIENTS, (limit - OWN) // 4))


def probe_slots(limit: int) -> int:
    """
    Looks that may be under way at a time for each set of targets, at least 2.
    """
    return max(2, (limit - OWN - client_slots(limit)) // WATCHES)
