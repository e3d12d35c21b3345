"""
Domains whose end the registry moves by itself: critical for as long as nobody is known to have paid.
"""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from exporter.model.policies import BY_KIND, DAY, HOUR, Before, Match, Policy
from exporter.model.reasons import Hazard
from exporter.probes.domains.registries import AGAIN_AFTER
from exporter.report.status import MOVED, Level
from tests.golden.values import status_of
from tests.replay import promtool
from tests.replay.promtool import firings
from tests.replay.test_fleets import Fleet as Looks
from tests.replay.test_fleets import Restarts, Told, told
from tests.replay.timeline import MINUTE, YEAR, Exporter, Terms, domain, fleet, record

NAME = "example.com"
TARGET = f"domain:{NAME}"
OWN = ("client transfer prohibited",)
GRACE = (*OWN, "auto renew period")
END = 20 * DAY
OVER = END + 45 * DAY
"""When a registry undoes nothing any more."""

INTERVALS = pytest.mark.parametrize("interval", [HOUR, DAY])

RESTARTS = pytest.mark.parametrize("restarts", [[], [(END + 10 * DAY, True)]], ids=["one run", "restart"])


def told_of(terms: Terms, interval: float, until: float, restarts: Restarts = ()) -> Told:
    """
    What is told about the domain.
    """
    one = domain(NAME, terms)
    # Long before the end all is well, and each look is like the others.
    return told(Looks([replace(one, target=replace(one.target, matches=BY_KIND))], until, interval), restarts)


def criticals(found: Told) -> set[float]:
    """
    The times of the scrapes at which something about the domain is critical.
    """
    return {when for name, times in found.items() if name.endswith("critical") for when in times}


def steps(interval: float, begin: float, end: float) -> set[float]:
    """
    The times of the scrapes from the begin until before the end.
    """
    return {step * interval for step in range(int(-(-begin // interval)), int(-(-end // interval)))}


def last(found: Told) -> float:
    """
    The last scrape at which anything is told.
    """
    return max(when for times in found.values() for when in times)


@RESTARTS
@INTERVALS
@pytest.mark.parametrize("statuses", [OWN, GRACE], ids=["silent", "status"])
def test_a_date_that_moves_by_itself_ends_nothing(
    statuses: tuple[str, ...], interval: float, restarts: Restarts
) -> None:
    """
    Of a registry that has a status for it until that is gone, else until nothing is undone any more.
    """
    terms = [(0.0, END, OWN), (END, END + YEAR, statuses), (OVER, END + YEAR, OWN)]
    found = told_of(terms, interval, OVER + 3 * DAY, restarts)
    assert steps(interval, END - 14 * DAY, OVER - AGAIN_AFTER) <= criticals(found)
    assert last(found) < OVER + DAY


@pytest.mark.parametrize("statuses", [OWN, GRACE], ids=["silent", "status"])
def test_a_restart_without_state_ends_nothing_either(statuses: tuple[str, ...]) -> None:
    """
    The rules keep what the exporter has forgotten, until the registry says that somebody paid.
    """
    end, paid = AGAIN_AFTER, 3 * AGAIN_AFTER
    terms = [(0.0, end, OWN), (end, end + YEAR, statuses), (paid, end + YEAR, (*OWN, "renew period"))]
    restart = (1.5 * AGAIN_AFTER, 1.5 * AGAIN_AFTER + 1)
    one = replace(fleet(domain(NAME, terms), exporter_down=[restart]), keep_state=False)
    found = firings(record(one, 4 * AGAIN_AFTER, 5 * MINUTE))
    (status,) = [
        fire
        for name, fire in found.items()
        if (name.alert, name.severity) == ("ExpiryDomainStatus", "critical")
    ]
    assert (status.first, status.complete) == (end, True)
    assert paid - 5 * MINUTE <= status.last <= paid


def test_the_words_say_that_the_registry_does_not() -> None:
    """
    They are those of a renewal by the registry alone.
    """
    recording = record(fleet(domain(NAME, [(0.0, END, OWN), (END, END + YEAR, OWN)])), END + 5 * DAY, DAY)
    _, said = promtool.told(recording, "ExpiryDomainStatus")
    (alert,) = said["ExpiryDomainStatus", END + 4 * DAY]
    assert "domain_auto_renew, its registry does not say whether anybody paid" in alert.title


def test_check_says_what_is_known_of_it() -> None:
    """
    In a sentence, as there is no status of the registry that says so.
    """
    exporter = Exporter([domain(NAME, [(0.0, END, OWN), (END, END + YEAR, OWN)])])
    for day in range(23):
        exporter.problems(day * DAY)
    (row,) = exporter.rows(22 * DAY)
    found = status_of(row, 22 * DAY)
    assert found.level is Level.CRITICAL
    assert [one.words for one in found.findings if one.reason == Hazard.DOMAIN_AUTO_RENEW] == [MOVED]


@RESTARTS
@INTERVALS
@pytest.mark.parametrize("status", ["renew period", "transfer period"])
def test_it_is_over_when_somebody_paid(status: str, interval: float, restarts: Restarts) -> None:
    """
    Also once the registry does not say so any more.
    """
    paid = END + 15 * DAY
    terms = [
        (0.0, END, OWN),
        (END, END + YEAR, OWN),
        (paid, END + YEAR, (*OWN, status)),
        (paid + 5 * DAY, END + YEAR, OWN),
    ]
    found = told_of(terms, interval, paid + 8 * DAY, restarts)
    assert steps(interval, END - 14 * DAY, paid) <= criticals(found)
    assert last(found) < paid + AGAIN_AFTER + interval


PAID: dict[str, Sequence[tuple[float, float]]] = {
    "before the end": [(END - 2 * DAY, 1)],
    "for two years": [(END, 2)],
    "days after it had ended": [(END + 5 * DAY, 1)],
    "for a second year, when the first had been added": [(END, 1), (END + 15 * DAY, 2)],
}
"""When the end was moved, and by how many years, as only who pays does it."""


@INTERVALS
@pytest.mark.parametrize("case", PAID)
def test_what_no_registry_does_by_itself_somebody_paid_for(case: str, interval: float) -> None:
    """
    It is over at once.
    """
    terms = [(0.0, END, OWN), *((when, END + years * YEAR, OWN) for when, years in PAID[case])]
    moved = terms[-1][0]
    found = told_of(terms, interval, moved + 8 * DAY)
    assert steps(interval, END - 14 * DAY, moved) <= criticals(found)
    assert last(found) < moved + AGAIN_AFTER + interval


@INTERVALS
def test_whoever_lets_the_registry_renew_is_told_of_nothing_but_the_last_day(interval: float) -> None:
    """
    By a policy that is critical on that day only.
    """
    days = [Before(duration=count * DAY) for count in (60, 60, 1)]
    policy = Policy("registrar", days[0], days[2], days[1], habit=False)
    one = domain(NAME, [(0.0, END, OWN), (END, END + YEAR, OWN)])
    one = replace(one, target=replace(one.target, matches=(Match(policy, frozenset({"registration"})),)))
    found = told(Looks([one], END + 8 * DAY, interval))
    assert min(criticals(found)) >= END - DAY
    assert last(found) < END + AGAIN_AFTER + interval
