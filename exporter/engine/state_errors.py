"""
Errors of SQLite about the state file: which of them mean damage, and what to do about the others.
"""

import sqlite3


class FormatError(ValueError):
    """
    A file of another version of this program.
    """


FROM_SQLITE = (sqlite3.Error, FormatError, UnicodeDecodeError)
"""
Exceptions from using the file. SQLite's message about a damaged file may repeat bytes of it that are not
UTF-8.
"""


USUAL_ADVICE = (
    "check that the directory exists, that this process may write in it, and that the disk is not full"
)


ADVICE = {
    sqlite3.SQLITE_FULL: "the disk is full. What was saved before is still there; make room on it",
    sqlite3.SQLITE_BUSY: "another program (a backup, an open sqlite3) has locked the file; it is tried again "
    "after the next scrape",
    sqlite3.SQLITE_READONLY: "the file, or the file system that it is on, is read-only for this process",
    sqlite3.SQLITE_IOERR: "the disk fails, or a limit of the system on the size of files is reached; the "
    "system's log may say more",
}
"""Remedy by SQLite's error code."""


_DAMAGED = {sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT}


def is_damage(error: Exception) -> bool:
    """
    Return True when the file itself is damaged.

    SQLite's general error code is included: it is that of a missing column.
    """
    if isinstance(error, sqlite3.Error):
        return getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGED
    return True
