"""
Descriptors: the number of files and sockets that each part of the process may have open.

Pure. `limit` is the process's limit of open files (`ulimit -n`). A quarter of what the process's own needs
leave is for clients, and the rest for probes.
"""

OWN = 128
"""Reserved for everything else: the event loop, state, logs, files that are read, DNS, look-ups."""


CLIENTS = 512
"""Largest number of client connections, however many the limit allows."""


CONCURRENCY = 1024
"""
Default of the most probes at a time, each of which takes some 50 kB: see `widening`.
"""


ENOUGH = 256
"""Probes at a time with which a sweep of usual servers is not much slower."""


WATCHES = 2
"""Sets of targets that are probed side by side: those configured, and those that /probe names."""


def client_slots(limit: int) -> int:
    """
    Return the number of client connections allowed at a time, at least 8.
    """
    return max(8, min(CLIENTS, (limit - OWN) // 4))


def probe_slots(limit: int) -> int:
    """
    Return the number of probes allowed at a time for each set of targets, at least 2.
    """
    return max(2, (limit - OWN - client_slots(limit)) // WATCHES)
