"""
The bytes of a configuration file, which may also be a pipe. Nobody waits for them for long.
"""

import os
import select
import stat

from exporter.passwords import without_user
from exporter.yaml_lines import SIZE_LIMIT, ConfigError, ConfigFault

PIPE_TIMEOUT = 5
"""Seconds to wait for the next bytes of a configuration that comes by a pipe."""


def content(path: str, missing: str = "") -> bytes:
    """
    Return the bytes of a configuration file, cut after those that show that it is too large.

    Raises ConfigError for a file that can't be read; its message ends with `missing` where there is none.
    """
    try:
        # To open a pipe that nobody writes to would block for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        try:
            return _all_of(descriptor)
        finally:
            os.close(descriptor)
    # ValueError: a path with a NUL in it.
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        hint = missing if isinstance(error, FileNotFoundError) else ""
        if not path:
            why, hint = "its path is empty", ": is a variable of the shell not set?"
        raise ConfigError([ConfigFault(without_user(path), 0, "", f"can't be read: {why}{hint}")]) from None


def _all_of(descriptor: int) -> bytes:
    """
    Return what can be read, at most a byte more than a configuration may have. It may come from a program, by
    a pipe. Raises OSError.
    """
    parts: list[bytes] = []
    size = 0
    ready = select.poll()
    ready.register(descriptor, select.POLLIN)
    while size <= SIZE_LIMIT:
        try:
            part = os.read(descriptor, SIZE_LIMIT + 1 - size)
        except BlockingIOError:
            if not ready.poll(PIPE_TIMEOUT * 1000):
                raise TimeoutError(f"it is a pipe, and nothing came from it in {PIPE_TIMEOUT} s") from None
            continue
        if not part:
            break
        parts.append(part)
        size += len(part)
    if not size and stat.S_ISFIFO(os.fstat(descriptor).st_mode):
        raise OSError("it is a pipe, and nobody writes to it")
    return b"".join(parts)
