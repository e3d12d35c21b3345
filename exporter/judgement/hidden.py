"""
The problems that need not be told, since another one says more. Pure.
"""

from collections.abc import Iterable, Mapping, Sequence

from exporter.judgement.problems import Found, Key, Onset
from exporter.model.policies import Severity
from exporter.model.problems import MEANINGS, Problem

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
    keys = {one.key for one in there}
    return [one for one in there if hidden_by(one.key, keys) is None]


def hidden_by(key: Key, beside: Iterable[Key]) -> Problem | None:
    """
    Return the problem of the same target that says more, and no less urgently; None when none of these does.
    """
    _, item, problem, severity = key
    for _, its_item, other, its_severity in beside:
        if its_severity in {severity, Severity.CRITICAL} and (
            problem in MEANINGS[other].covers
            or (its_item == item and problem in MEANINGS[other].hides)
            or (its_item == item and other is problem and its_severity is not severity)
        ):
            return other
    return None
