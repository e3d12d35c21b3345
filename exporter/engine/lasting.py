"""
Problems over time: the start of each, and those that stay for a while when one probe does not find them.

Pure: the clock is an argument.
"""

from collections.abc import Iterable, Iterator, Sequence

from exporter.engine.memory import LastingProblem, Memory
from exporter.engine.scrape import EndpointRow, ProblemRow
from exporter.judgement.problems import Found, Key, problems
from exporter.model.problems import Problem
from exporter.model.targets import Target

ROTATING_STAYS = 900.0
"""Seconds for which a problem stays at an endpoint where each probe may reach another server."""


REFUSED_STAYS = 600.0
"""Seconds for which NOT_TRUSTED stays at a target: it must not flap with the servers behind one address."""


def problem_rows(
    memory: Memory, targets: Iterable[Target], endpoints: Sequence[EndpointRow], now: float
) -> tuple[ProblemRow, ...]:
    """
    Return the problems of these targets at `now` (seconds since the epoch), each with its start.
    """
    found = problems([row.known for row in endpoints], now)
    by_target: dict[str, dict[Key, Found]] = {}
    for key, one in found.items():
        by_target.setdefault(key[0], {})[key] = one
    return tuple(
        row for target in targets for row in _of_target(memory, target, by_target.get(target.name, {}), now)
    )


def _of_target(memory: Memory, target: Target, found: dict[Key, Found], now: float) -> Iterator[ProblemRow]:
    known = memory.known(target)
    lasting, rotates = known.problems, known.rotates
    for key in [key for key, one in lasting.items() if key not in found and not _stays(one, rotates, now)]:
        del lasting[key]
    for key, one in found.items():
        before = lasting.get(key)
        lasting[key] = LastingProblem(one, now if before is None else before.since, now)
    return (ProblemRow(one.found, one.since) for one in lasting.values())


def _stays(one: LastingProblem, rotates: bool, now: float) -> bool:
    """
    Return True for a problem that was found so recently that it may still be there.
    """
    stays = 0.0
    if rotates and one.found.onset.judged is not None:
        stays = ROTATING_STAYS
    elif one.found.onset.problem is Problem.NOT_TRUSTED:
        stays = REFUSED_STAYS
    return 0 <= now - one.last < stays
