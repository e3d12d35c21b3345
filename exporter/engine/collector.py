"""
The garbage collector, for processes that make sweeps.
"""

import gc
from functools import cache

LEAST = 10_000
"""New objects from which the collector looks at them, however few targets there are."""


EACH = 100
"""
Objects for each target: some seventy last until the next sweep replaces a part of them.

Neither a probe, whether it succeeds, fails or is cut off, nor a connection of the port leaves any that only
the collector could free.
"""


def calm_collector() -> None:
    """
    Run the garbage collector less often, and not over objects that live as long as the process.

    A sweep makes a hundred short-lived objects for each probe, nearly all freed by their reference counts.
    Collecting every 700 of them costs a fifteenth of a handshake. The imports leave less than a megabyte that
    could be freed now, and to find it would take a twentieth of the start.
    """
    gc.freeze()
    fit_collector(0)


def fit_collector(targets: int) -> None:
    """
    Let the collector wait until there are more new objects than one sweep of so many targets makes.

    What a sweep makes is freed by the next one. To look through it meanwhile would find nothing, take as long
    as to see that ten thousand files did not change, and stop all other work for a quarter of a second.
    """
    gc.set_threshold(max(LEAST, EACH * targets), 100, 100)


@cache
def spare_the_first() -> None:
    """
    Never look at what there is after the first scrape of this process: the later ones change a part of it.
    """
    gc.freeze()
