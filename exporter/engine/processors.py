"""
Processors: how many this process may use, by its affinity and by the quota of its control group.
"""

import math
import os
from pathlib import Path, PurePosixPath

CGROUPS = Path("/sys/fs/cgroup")


OWN_CGROUPS = Path("/proc/self/cgroup")


def processors(cgroups: Path = CGROUPS, own: Path = OWN_CGROUPS) -> int:
    """
    Return the number of processors that this process may keep busy, at least 1.

    That is those it may run on, or as many as the least quota of its control group and of those above it,
    rounded up. The paths are those of the cgroup file system and of the list of the process's groups.
    """
    return max(1, math.ceil(min(len(os.sched_getaffinity(0)), _quota(cgroups, own))))


def _quota(cgroups: Path, own: Path) -> float:
    """
    Return the processors that the quotas allow; infinite where there is none.
    """
    least = math.inf
    for line in _text(own).splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        # Version 2 has one hierarchy without a name; version 1 one for each controller.
        if controllers and "cpu" not in controllers.split(","):
            continue
        base = cgroups / "cpu" if controllers else cgroups
        group = PurePosixPath(path.lstrip("/"))
        # In a container the path is that outside, and what is mounted is its own group.
        for each in (group, *group.parents):
            least = min(least, _quota_of(base / each))
    return least


def _quota_of(group: Path) -> float:
    words = _text(group / "cpu.max").split() or [
        *_text(group / "cpu.cfs_quota_us").split(),
        *_text(group / "cpu.cfs_period_us").split(),
    ]
    try:
        quota, period = map(int, words)
    except ValueError:
        return math.inf  # `max`, or no such file
    return quota / period if quota > 0 and period > 0 else math.inf


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except (OSError, UnicodeError):
        return ""
