"""
Reloads that are asked for while the server starts: until then the signal would end the process.

A service manager may reload a service as soon as its process runs, and systemd takes SIGHUP for a clean end,
after which nobody starts it again.
"""

import contextlib
import signal

_asked: list[int] = []


def hold_reloads() -> None:
    """
    From now on keep SIGHUP in mind.
    """
    # Only the main thread may set what a signal does.
    with contextlib.suppress(ValueError):
        signal.signal(signal.SIGHUP, lambda number, _: _asked.append(number))


def was_reload_asked() -> bool:
    """
    Return True when SIGHUP came since then.
    """
    return bool(_asked)
