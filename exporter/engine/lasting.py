"""
Problems over time: the start of each, and those that stay for a while when one probe does not find them.

Pure: the clock is an argument.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from exporter.engine.memory import Memory, ProblemRow, TargetMemory
from exporter.engine.scrape import EndpointRow
from exporter.judgement.newest import Newest
from exporter.judgement.problems import Found, Key, Known, is_well, newest_ends, note_ends, problems
from exporter.model.problems import Problem
from exporter.model.targets import Target

ROTATING_STAYS = 900.0
"""Seconds for which a problem stays at an endpoint where each probe may reach another server."""


REFUSED_STAYS = 600.0
"""Seconds for which NOT_TRUSTED stays at a target: it must not flap with the servers behind one address."""


BATCH = 50
"""Endpoints or targets that are looked at in one go: one with a problem takes some 20 µs."""


def problem_rows(
    memory: Memory, targets: Iterable[Target], endpoints: Sequence[EndpointRow], now: float
) -> tuple[ProblemRow, ...]:
    """
    Return the problems of these targets at `now` (seconds since the epoch), each with its start.
    """
    return tuple(chain.from_iterable(problem_batches(memory, targets, endpoints, now)))


def problem_batches(
    memory: Memory, targets: Iterable[Target], endpoints: Sequence[EndpointRow], now: float
) -> Iterator[Sequence[ProblemRow]]:
    """
    Yield the problems of these targets at `now` (seconds since the epoch), each with its start.

    They come in small batches, some of them empty, so that the event loop can do other work between.
    """
    unwell: dict[str, list[Known]] = {}
    for number, row in enumerate(endpoints):
        if _is_unwell(row, now):
            unwell.setdefault(row.target.name, []).append(row.known)
        if number % BATCH == 0:
            yield ()
    newest: Newest[None] = Newest()
    if unwell:
        for start in range(0, len(endpoints), BATCH):
            note_ends(newest, (row.verdict for row in endpoints[start : start + BATCH]))
            yield ()
    rows: list[ProblemRow] = []
    for target in targets:
        known, ill = memory.known(target), unwell.get(target.name)
        if ill or known.problems:
            _update(known, problems(ill, newest, now) if ill else {}, now)
            rows += known.problems.values()
        if len(rows) >= BATCH:
            yield rows
            rows = []
    yield rows


def present(endpoints: Sequence[EndpointRow], now: float) -> dict[Key, Found]:
    """
    Return what is found of these endpoints at `now` (seconds since the epoch), whatever was found before.

    In a healthy fleet that is a glance at each endpoint.
    """
    unwell = [row.known for row in endpoints if _is_unwell(row, now)]
    return problems(unwell, newest_ends(row.verdict for row in endpoints), now) if unwell else {}


def _is_unwell(row: EndpointRow, now: float) -> bool:
    return not is_well(row.held.observation, row.held.facts, row.verdict, row.held.past, now)


def _update(known: TargetMemory, found: dict[Key, Found], now: float) -> None:
    """
    Remember what is found of a target now, and forget what is over.
    """
    rows = known.problems
    for key in [key for key, row in rows.items() if key not in found and not _stays(row, known, now)]:
        del rows[key]
    for key, one in found.items():
        before = rows.get(key)
        rows[key] = ProblemRow(one, now if before is None else before.since, now)


def _stays(row: ProblemRow, known: TargetMemory, now: float) -> bool:
    """
    Return True for a problem that was found so recently that it may still be there.
    """
    stays = 0.0
    if known.rotates and row.found.onset.judged is not None:
        stays = ROTATING_STAYS
    elif row.found.onset.problem is Problem.NOT_TRUSTED:
        stays = REFUSED_STAYS
    return 0 <= now - row.last < stays
