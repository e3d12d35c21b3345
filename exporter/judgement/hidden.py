"""
The problems that need not be told, since another one says more. Pure.
"""

from collections.abc import Iterable, Mapping, Sequence
from math import inf
from typing import NamedTuple

from exporter.judgement.problems import Found, Key, Onset
from exporter.model.policies import Severity
from exporter.model.problems import MEANINGS, Problem


class _Told(NamedTuple):
    """
    A problem, with its place among those of the target.
    """

    place: int
    problem: Problem
    severity: Severity
    at: float


Places = Mapping[tuple[str, str], Sequence[Onset]]
"""By target and location, what gives cause for problems there."""


def at_each_endpoint(present: Iterable[Found]) -> Places:
    """
    Return by endpoint what gives cause for these problems, without what another problem there hides.
    """
    gathered: dict[tuple[str, str], list[Onset]] = {}
    for one in present:
        for onset in one.onsets:
            gathered.setdefault((onset.known.target.name, onset.known.location), []).append(onset)
    return {place: _shown(there) for place, there in gathered.items()}


def _shown(there: Sequence[Onset]) -> list[Onset]:
    beside = Beside((one.key, one.at) for one in there)
    return [one for one in there if beside.hider(one.key) is None]


class Beside:
    """
    The problems of one target, each with its time, by what they may hide. A file may have thousands.
    """

    def __init__(self, present: Iterable[tuple[Key, float]]) -> None:
        """
        Times are in seconds since the epoch.
        """
        self._of_item: dict[str, list[_Told]] = {}
        self._covering: dict[tuple[Problem, Severity], _Told] = {}
        """Those that hide problems of other items too, the first of each kind with the earliest time."""
        for place, ((_, item, problem, severity), at) in enumerate(present):
            told = _Told(place, problem, severity, at)
            self._of_item.setdefault(item, []).append(told)
            if MEANINGS[problem].covers:
                first = self._covering.setdefault((problem, severity), told)
                if at < first.at:
                    self._covering[problem, severity] = first._replace(at=at)

    def hider(self, key: Key, until: float = inf) -> Problem | None:
        """
        Return the problem that says more than this one, no less urgently, and began by `until`; None when
        none does.
        """
        _, item, problem, severity = key
        found = [
            one
            for one in self._of_item.get(item, ())
            if problem in MEANINGS[one.problem].hides
            or (one.problem is problem and one.severity is not severity)
        ]
        found += (one for one in self._covering.values() if problem in MEANINGS[one.problem].covers)
        urgent = (one for one in found if one.severity in {severity, Severity.CRITICAL} and one.at <= until)
        first = min(urgent, default=None)
        return first.problem if first is not None else None
