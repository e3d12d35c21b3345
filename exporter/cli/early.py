"""
The first steps of every command: open the standard streams, and hold reloads that are asked for meanwhile.
"""

import contextlib
import os
import signal
import sys

_asked: list[int] = []


def hold_reloads() -> None:
    """
    From now on keep SIGHUP in mind: until the server takes it, it would end the process.

    A service manager may reload a service as soon as its process runs, and systemd takes SIGHUP for a clean
    end, after which nobody starts it again.
    """
    # Only the main thread may set what a signal does.
    with contextlib.suppress(ValueError):
        signal.signal(signal.SIGHUP, lambda number, _: _asked.append(number))


def was_reload_asked() -> bool:
    """
    Return True when SIGHUP came since then.
    """
    return bool(_asked)


def fill_streams() -> None:
    """
    Open /dev/null for each standard stream that is closed.

    Else the next files that are opened, the state file among them, had their numbers, and got what others
    write to them.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= _STANDARD_ERROR:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))


_STANDARD_ERROR = 2
