"""
Reads files that the configuration names, and that a program reads which must not wait: regular files only.
"""

import errno
import os
import stat

LIMIT = 16 * 1024 * 1024
"""Bytes that such a file may have. The trust anchors of a distribution take a quarter of a megabyte."""


def content(path: str) -> bytes:
    """
    All bytes of a regular file. Raises OSError, also for a file that is none, or too large.
    """
    expect_regular(path)
    # Not blocking: it may have been replaced by a pipe a moment ago, which waits for somebody to write to it.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise _not_regular(path)
        data = file.read(LIMIT + 1)
    if len(data) > LIMIT:
        raise OSError(errno.EFBIG, f"it has more than {LIMIT:,} bytes", path)
    return data


def expect_regular(path: str) -> None:
    """
    Raises OSError for what is no regular file: to open a pipe may wait for ever, a device may do something.
    """
    mode = os.stat(path).st_mode  # noqa: PTH116 - the message has the path as it is written
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if not stat.S_ISREG(mode):
        raise _not_regular(path)


def _not_regular(path: str) -> OSError:
    return OSError(errno.EINVAL, "it is no regular file, so it was not opened", path)
