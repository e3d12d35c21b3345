"""
Which file systems hang, and what stands behind them.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from exporter.model.errors import ProbeError
from exporter.model.foreign_text import printable
from exporter.model.reasons import Reason
from exporter.probes.files.threads import Job

HUNG_TOGETHER = 4
"""Paths of one mount that may hang before the others on it are not even asked for."""


HUNG_LIMIT = 64
"""Paths that may hang, each with a thread, before nothing is read any more."""


MOUNTS = "/proc/self/mountinfo"


_OCTAL = re.compile(rb"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class _Hung:
    """
    A path that a file system was asked for, and did not answer for yet.
    """

    path: str
    since: float
    """By the monotonic clock."""
    job: Job
    group: str
    """What probably hangs with it."""


def _timeout(path: str, hung: _Hung, now: float) -> ProbeError:
    """
    The failure of a file that is not waited for any longer.
    """
    words = f"the file system did not answer for {printable(hung.path)} in {now - hung.since:,.0f} s"
    if path != hung.path:
        words += f", and {printable(path)} stands behind it"
    return ProbeError(Reason.TIMEOUT, f"{words}: see whether a network mount hangs (stat, findmnt)")


def _mounts() -> tuple[str, ...]:
    """
    Where file systems are mounted, the deepest first, without the root; nothing where that is not known.
    """
    try:
        # Told by the kernel: no file system is asked.
        lines = Path(MOUNTS).read_bytes().splitlines()
    except OSError:
        return ()
    points = {
        os.fsdecode(_OCTAL.sub(lambda found: bytes([int(found[1], 8)]), line.split()[4])) for line in lines
    }
    return tuple(sorted(points - {"/"}, key=len, reverse=True))


def _group(path: str, mounts: Sequence[str]) -> str:
    """
    The mount that a path, or what it links to, is on; where that is the root, its directory.
    """
    mount = next((one for one in mounts if path.startswith(f"{one}/")), None)
    if mount is None:
        try:
            # As text: nothing further is asked.
            target = os.path.normpath(Path(path).parent / Path(path).readlink())
        except OSError:
            target = path
        mount = next((one for one in mounts if f"{target}/".startswith(f"{one}/")), None)
    return mount or path.rpartition("/")[0]
