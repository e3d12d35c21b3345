"""
Random timelines: the alerts that fire are the problems that the exporter decided on, no more and no less.
"""

import random
from collections.abc import Mapping

import pytest

from exporter.demo.minter import mint
from exporter.engine.memory import ProblemRow
from exporter.engine.scrape import EndpointRow
from exporter.judgement.problems import Key
from exporter.model.observation import Facts
from exporter.model.policies import AUTOMATIC, DAY, MANUAL, Severity
from exporter.model.problems import MEANINGS, Problem
from tests.replay.promtool import Firing, Name, firings
from tests.replay.timeline import (
    MINUTE,
    YEAR,
    Exporter,
    Fleet,
    Place,
    Schedule,
    Span,
    leaf,
    place,
    presented,
    record,
    served,
)

STEPS = 200
"""Scrapes of a timeline besides the first."""


ENDING = {Problem.SOON, Problem.AUTHORITY_ENDING, Problem.DOMAIN_ENDING}
"""Problems after which it has passed at the end, also if nobody looks any more."""

Decided = Mapping[float, Mapping[Key, float]]
"""By the time of a scrape, the problems that there were, each with the end of its item."""


class Noting(Exporter):
    """
    An exporter that notes what it decided at each scrape.
    """

    def __init__(self, places: list[Place]) -> None:
        """
        It watches these places.
        """
        super().__init__(places)
        self.decided: dict[float, dict[Key, float]] = {}

    def _look(self, now: float) -> tuple[list[EndpointRow], tuple[ProblemRow, ...]]:
        rows, found = super()._look(now)
        self.decided[now] = {row.found.onset.key: row.found.onset.end for row in found}
        return rows, found


def moment(dice: random.Random, interval: float) -> float:
    """
    The time of any scrape but the first.
    """
    return dice.randint(1, STEPS) * interval


def spans(dice: random.Random, interval: float) -> list[Span]:
    """
    None, or one from the time of a scrape on.
    """
    begin = moment(dice, interval)
    return [(begin, begin + dice.choice([1, 3, 10, 40]) * interval)] * dice.randrange(2)


def anything(dice: random.Random, host: str) -> Facts:
    """
    What a server may present: a certificate that is good, late or over, without its chain, or self-signed.
    """
    # Not at the time of a scrape: which of both comes first then is another matter.
    end = dice.choice([-1, 0, 1, 2, 7, 14, 29, 60, 80]) * DAY + dice.random() * DAY
    begin = end - dice.choice([90, 90, 365, 398]) * DAY
    match dice.randrange(6):
        case 0:
            return presented(mint(host, [host], not_before=-YEAR, not_after=9 * YEAR))
        case 1:
            return presented(leaf(host, begin, end - begin))
    return served(leaf(host, begin, end - begin))


def anywhere(dice: random.Random, number: int, interval: float) -> Place:
    """
    A target with one or two servers, each of which changes what it presents up to six times, also back.
    """
    host = f"host-{number}.example.com"
    schedules: list[Schedule] = []
    for _ in range(dice.randint(1, 2)):
        pool = [anything(dice, host) for _ in range(dice.randint(1, 3))]
        changes = sorted(moment(dice, interval) for _ in range(dice.choice([0, 1, 2, 3, 6])))
        schedules.append([(0.0, pool[0]), *((when, dice.choice(pool)) for when in changes)])
    policy = dice.choice([AUTOMATIC, AUTOMATIC, MANUAL])
    failing, unresolved = spans(dice, interval), spans(dice, interval)
    return place(f"https://{host}", *schedules, policy=policy, failing=failing, unresolved=unresolved)


def due(decided: Decided, interval: float) -> dict[Name, Firing]:
    """
    The alerts that must fire, by what the exporter decided. While it is down, its last word counts.
    """
    fired: dict[Name, set[float]] = {}
    since: dict[Key, float] = {}
    ends: Mapping[Key, float] = {}
    for now in (step * interval for step in range(STEPS + 1)):
        ends = decided.get(now, ends)
        since = {key: since.get(key, now) for key in ends}
        for key, begin in since.items():
            target, item, problem, severity = key
            problems = [problem]
            if problem in ENDING and severity is Severity.CRITICAL and ends[key] < now:
                problems.append(Problem.PASSED)
            for meaning in (MEANINGS[one] for one in problems):
                if now - begin >= meaning.lasts.get(severity, 0.0):
                    fired.setdefault(Name(meaning.alert, severity, target, item), set()).add(now)
    return {name: spell(times, interval) for name, times in fired.items()}


def spell(times: set[float], interval: float) -> Firing:
    """
    When an alert fired that fired at these times.
    """
    first, last = min(times), max(times)
    return Firing(first, last, complete=len(times) == round((last - first) / interval) + 1)


# Within five minutes Prometheus knows the last sample of a series, later it does not.
@pytest.mark.parametrize(
    ("seed", "interval"),
    [(4, 4 * MINUTE), (6, 4 * MINUTE), (9, 4 * MINUTE), (6, 30 * MINUTE), (9, 30 * MINUTE)],
)
def test_what_fires_is_what_was_decided(seed: int, interval: float) -> None:
    """
    Each alert from its first to its last moment, over outages of targets, names and the exporter.
    """
    dice = random.Random(seed)
    exporter = Noting([anywhere(dice, number, interval) for number in range(3)])
    fleet = Fleet([exporter], exporter_down=spans(dice, interval))
    recording = record(fleet, STEPS * interval, interval)
    fired = {name: firing for name, firing in firings(recording).items() if name.target}
    assert fired == due(exporter.decided, interval)
    assert fired
