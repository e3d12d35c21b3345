"""
The path of the state where none is given: in the directory of the service, of the package, or of the user.
"""

import contextlib
import fcntl
import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from exporter.engine.state import LOCK
from exporter.logs import fields

logger = logging.getLogger(__name__)


OFF = "none"
"""The value of --state.path with which nothing is kept."""


PACKAGE_DIRECTORY = Path("/var/lib/expiry-exporter")
"""Used if it is there and can be written: the image has it."""


def state_path(
    given: str | None, shard: str, environ: Mapping[str, str], package: Path = PACKAGE_DIRECTORY
) -> str | None:
    """
    Return the path of the state file; None when nothing is kept over a restart, which is then logged.

    `given` is that of the command line, None for the default. Each `shard` of one host has a file of its own.
    """
    if given is not None:
        return None if given in {"", OFF} else given
    tried = []
    for directory in _directories(environ, package):
        if not _can_write(directory):
            tried.append(str(directory))
            continue
        path = str(directory / (f"state-{shard.replace('/', '-')}.sqlite" if shard else "state.sqlite"))
        if _is_taken(path):
            logger.warning(
                "another process keeps its state in the default file, so this one keeps none: what it sees "
                "does not survive a restart. Give it a --state.path of its own",
                extra=fields(path=path),
            )
            return None
        logger.info("state is kept", extra=fields(path=path))
        return path
    logger.warning(
        "no directory for the state can be written, so what is seen does not survive a restart: give "
        "--state.path a file, or `none` if that is meant",
        extra=fields(tried=", ".join(tried) or "none: neither STATE_DIRECTORY nor HOME is set"),
    )
    return None


def kept_state(
    given: str | None, environ: Mapping[str, str], package: Path = PACKAGE_DIRECTORY
) -> Path | None:
    """
    Return the file in which an exporter on this host keeps its state; None when there is none, or none is
    wanted.
    """
    if given is not None:
        return None if given in {"", OFF} else Path(given)
    for directory in _directories(environ, package):
        with contextlib.suppress(OSError):
            if (directory / "state.sqlite").is_file():
                return directory / "state.sqlite"
    return None


def _directories(environ: Mapping[str, str], package: Path) -> Iterator[Path]:
    """
    Yield the directories in which state may be kept, the most specific one first.
    """
    # systemd, StateDirectory=: several are separated by colons.
    if service := environ.get("STATE_DIRECTORY", "").partition(":")[0]:
        yield Path(service)
    if os.path.isdir(package):  # noqa: PTH112 - that of a Path raises where we may not look
        yield package
    # XDG Base Directory Specification: a relative path is invalid and must be ignored.
    users = Path(environ.get("XDG_STATE_HOME", ""))
    if users.is_absolute():
        yield users / "expiry-exporter"
    elif home := environ.get("HOME"):
        yield Path(home) / ".local" / "state" / "expiry-exporter"


def _can_write(directory: Path) -> bool:
    """
    Return True when files can be made in the directory, which is made if need be.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(directory, os.W_OK | os.X_OK)


def _is_taken(path: str) -> bool:
    """
    Return True when another process keeps its state in this file.
    """
    try:
        lock = os.open(os.path.realpath(path) + LOCK, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(lock)
    return False
