"""
Problems over time: the start of each.

Pure: the clock is an argument.
"""

from collections.abc import Iterable, Sequence

from exporter.engine.memory import Memory, ProblemRow, TargetMemory
from exporter.engine.scrape import EndpointRow, verdicts
from exporter.judgement.problems import Found, Key, is_well, newest_ends, problems
from exporter.model.targets import Target


def problem_rows(
    memory: Memory, targets: Iterable[Target], endpoints: Sequence[EndpointRow], now: float
) -> tuple[ProblemRow, ...]:
    """
    Return the problems of these targets at `now` (seconds since the epoch), each with its start.
    """
    by_target: dict[str, dict[Key, Found]] = {}
    for key, one in _present(endpoints, now).items():
        by_target.setdefault(key[0], {})[key] = one
    rows: list[ProblemRow] = []
    for target in targets:
        known, found = memory.known(target), by_target.get(target.name)
        if found or known.problems:
            _update(known, found or {}, now)
            rows += known.problems.values()
    return tuple(rows)


def _present(endpoints: Sequence[EndpointRow], now: float) -> dict[Key, Found]:
    """
    Return what is found now. In a healthy fleet that is a glance at each endpoint.
    """
    unwell = [
        known
        for row in endpoints
        if row.others or not is_well(row.held.observation, row.held.facts, row.verdict, row.held.past, now)
        for known in row.knowns
    ]
    return problems(unwell, newest_ends(verdicts(endpoints)), now) if unwell else {}


def _update(known: TargetMemory, found: dict[Key, Found], now: float) -> None:
    """
    Remember what is found of a target now, and forget what is over.
    """
    rows = known.problems
    for key in [key for key in rows if key not in found]:
        del rows[key]
    for key, one in found.items():
        before = rows.get(key)
        rows[key] = ProblemRow(one, known.began.get(key, now) if before is None else before.since)
    known.began.clear()
