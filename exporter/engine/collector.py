"""
The garbage collector, for processes that make sweeps.
"""

import gc


def calm_collector() -> None:
    """
    Run the garbage collector less often, and not over objects that live as long as the process.

    A sweep makes a hundred short-lived objects for each probe, nearly all freed by their reference counts.
    Collecting every 700 of them costs a fifteenth of a handshake.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 100, 100)
