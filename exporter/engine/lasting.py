"""
Problems over time: the start of each.

Pure: the clock is an argument.
"""

from collections.abc import Generator, Iterable, Iterator, Sequence
from itertools import chain

from exporter.engine.memory import Memory, ProblemRow, TargetMemory
from exporter.engine.scrape import EndpointRow, verdicts
from exporter.judgement.issued import NONE, Elsewhere, Issuances, newest_ends, note_ends
from exporter.judgement.problems import Found, Key, Known, Onset, found, is_well, onsets, problems
from exporter.model.targets import Target

BATCH = 50
"""Endpoints or targets that are looked at in one go: one with a problem takes some 20 µs."""


def problem_rows(
    memory: Memory,
    targets: Iterable[Target],
    endpoints: Sequence[EndpointRow],
    now: float,
    issuances: Issuances = NONE,
) -> tuple[ProblemRow, ...]:
    """
    Return the problems of these targets at `now` (seconds since the epoch), each with its start.

    `issuances` are those that logs know.
    """
    return tuple(chain.from_iterable(problem_batches(memory, targets, endpoints, now, issuances)))


def problem_batches(
    memory: Memory,
    targets: Iterable[Target],
    endpoints: Sequence[EndpointRow],
    now: float,
    issuances: Issuances = NONE,
) -> Iterator[Sequence[ProblemRow]]:
    """
    Yield the problems of these targets at `now` (seconds since the epoch), each with its start.

    They come in small batches, some of them empty, so that the event loop can do other work between.
    """
    unwell: dict[str, list[Known]] = {}
    for number, row in enumerate(endpoints):
        if _is_unwell(row, now, issuances):
            unwell.setdefault(row.target.name, []).extend(row.knowns)
        if number % BATCH == 0:
            yield ()
    newest: Elsewhere[None] | None = None
    if unwell:
        newest = Elsewhere(issuances, now)
        for start in range(0, len(endpoints), BATCH):
            note_ends(newest, verdicts(endpoints[start : start + BATCH]))
            yield ()
    rows: list[ProblemRow] = []
    for number, target in enumerate(targets):
        known, ill = memory.known(target), unwell.get(target.name, ())
        if ill or known.problems:
            here = (yield from _found(ill, newest, now)) if newest is not None else {}
            _update(known, here, now)
            rows += known.problems.values()
        # Of thousands that just fell silent nothing is a problem yet, but each is looked into.
        if number % BATCH == 0 or len(rows) >= BATCH:
            yield rows
            rows = []
    yield rows


def _found(
    ill: Sequence[Known], newest: Elsewhere[None], now: float
) -> Generator[Sequence[ProblemRow], None, dict[Key, Found]]:
    """
    Return what is found of one target, and yield nothing now and then.

    It may have thousands of endpoints (the keys of a cluster), and an endpoint thousands of items.
    """
    gathered: dict[Key, list[Onset]] = {}
    for number, onset in enumerate(onset for one in ill for onset in onsets(one, newest, now, now)):
        if onset.at <= now:
            gathered.setdefault(onset.key, []).append(onset)
        if number % BATCH == BATCH - 1:
            yield ()
    here: dict[Key, Found] = {}
    for key, same in gathered.items():
        here[key] = found(same, newest, now)
        if len(here) % BATCH == 0:
            yield ()
    return here


def present(endpoints: Sequence[EndpointRow], now: float, issuances: Issuances = NONE) -> dict[Key, Found]:
    """
    Return what is found of these endpoints at `now` (seconds since the epoch), whatever was found before.

    In a healthy fleet that is a glance at each endpoint.
    """
    unwell = [known for row in endpoints if _is_unwell(row, now, issuances) for known in row.knowns]
    if not unwell:
        return {}
    asked = (known.verdict for known in unwell)
    return problems(unwell, newest_ends(verdicts(endpoints), issuances, now, asked), now)


def _is_unwell(row: EndpointRow, now: float, issuances: Issuances) -> bool:
    return bool(row.others or row.unwatched or row.target.name in issuances.strange) or not is_well(
        row.held.observation, row.held.facts, row.verdict, row.held.past, now
    )


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
