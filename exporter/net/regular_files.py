"""
Reading of one file: its content within a limit, and a stamp that changes with the file.

A pipe or a device is never opened: that may wait for ever, or have effects. All functions block.
"""

import errno
import os
import stat
import struct
from pathlib import Path

from exporter.model.errors import ProbeError
from exporter.model.foreign_text import printable
from exporter.model.reasons import Reason

TRIES = 3
"""Reads of a file that changes meanwhile, before it is given up."""


LEAST_READ, MOST_READ = 4096, 1 << 20
"""Bytes that are read at a time."""


_STAMP = struct.Struct("=QQqqq")


Stamp = bytes
"""Device, inode, size, and when content and inode changed last; packed, since there are many."""


def is_there(path: str | Path) -> bool:
    """
    Return whether a path that somebody named exists, as far as this user may know.
    """
    try:
        return Path(path).exists()
    except OSError:
        # No name of a file is so long, or its directory may not be entered.
        return False


def read(path: str, limit: int) -> tuple[bytes, os.stat_result | None]:
    """
    Return the content of a regular file and its status; None when it changed all the while. Raises
    ProbeError.
    """
    try:
        data = b""
        for _ in range(TRIES):
            # Checked before it is opened: opening a device may have effects.
            _refuse_unless_file(path, os.stat(path), limit)  # noqa: PTH116 - a Path for each costs more
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
            try:
                before = os.fstat(descriptor)
                _refuse_unless_file(path, before, limit)
                data = _content(descriptor, path, limit, before.st_size)
                after = os.fstat(descriptor)
            finally:
                os.close(descriptor)
            if stamp_from(before) == stamp_from(after):
                return data, before
    except OSError as error:
        raise unreadable(path, error) from None
    return data, None


def _content(descriptor: int, path: str, limit: int, stated: int) -> bytes:
    """
    Return the whole content. The size that a file states may be zero (as in /proc), or grow meanwhile.
    """
    parts: list[bytes] = []
    size = 0
    # The system call is given a buffer of this size, whatever there is to read.
    most = min(max(stated, LEAST_READ), MOST_READ)
    while part := os.read(descriptor, most):
        parts.append(part)
        size += len(part)
        if size == stated:
            break  # that it did not grow is seen by its status afterwards
        if size > limit:
            raise _too_large(path, limit)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _refuse_unless_file(path: str, status: os.stat_result, limit: int) -> None:
    mode = status.st_mode
    if stat.S_ISDIR(mode):
        where = printable(path).rstrip("/")
        raise ProbeError(
            Reason.NOT_A_FILE,
            f"{where or '/'} is a directory: {where}/* means all files in it, {where}/** all files below it",
        )
    if not stat.S_ISREG(mode):
        kinds = ((stat.S_ISFIFO, "pipe"), (stat.S_ISSOCK, "socket"))
        kind = next((name for fits, name in kinds if fits(mode)), "device")
        raise ProbeError(Reason.NOT_A_FILE, f"{printable(path)} is a {kind}: it was not opened")
    if status.st_size > limit:
        raise _too_large(path, limit, status.st_size)


def _too_large(path: str, limit: int, size: int | None = None) -> ProbeError:
    has = f"{size:,}" if size is not None else f"more than {limit:,}"
    return ProbeError(Reason.FILE_TOO_LARGE, f"{printable(path)} has {has} bytes; at most {limit:,} are read")


def unreadable(path: str, error: OSError) -> ProbeError:
    """
    Return the failure of a file that can't be read, in words for a person.
    """
    where = printable(path)
    if error.errno in {errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG}:
        try:
            to = printable(str(Path(path).readlink()))
        except OSError:
            # It is no link, or one whose target may not be known (/proc/PID/exe of another's process).
            return ProbeError(Reason.FILE_NOT_FOUND, f"there is no file {where}")
        return ProbeError(Reason.FILE_NOT_FOUND, f"{where} is a link to {to}, which is not there")
    if error.errno == errno.ELOOP:
        return ProbeError(Reason.FILE_NOT_FOUND, f"{where} is a link that leads to itself")
    if error.errno in {errno.EMFILE, errno.ENFILE}:
        return ProbeError(
            Reason.INTERNAL_ERROR, "this process may open no more files: raise its limit (ulimit -n)"
        )
    if error.errno in {errno.ENXIO, errno.EISDIR}:
        return ProbeError(Reason.NOT_A_FILE, f"{where} is no file: {error.strerror}")
    return ProbeError(Reason.FILE_UNREADABLE, f"{where} can't be read: {error.strerror}")


def stamp_from(status: os.stat_result) -> Stamp:
    """
    Return the stamp of a file with this status.
    """
    return _STAMP.pack(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def stamp_of(path: str) -> Stamp | None:
    """
    Return the stamp of a file; None when its status can't be read.
    """
    try:
        return stamp_from(os.stat(path))  # noqa: PTH116 - this is the whole cost of an unchanged file
    except OSError:
        return None
