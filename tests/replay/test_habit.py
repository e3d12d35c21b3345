"""
Late by its own habit: what was renewed early and then is not is told of long before a policy would.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import pytest

from exporter.model.observation import Facts
from exporter.model.policies import AUTOMATIC, DAY, HOUR, Policy
from tests.replay.promtool import Name, firings
from tests.replay.timeline import (
    Exporter,
    Place,
    Span,
    fleet,
    leaf,
    place,
    record,
    revocations,
    served,
    signed,
    within,
)

BEGIN = HOUR / 2
"""When the first item of each timeline is made."""


def certificate(begin: float, end: float) -> Facts:
    """
    What a server shows that has a certificate with this begin and end.
    """
    return served(leaf("cloud.example.com", begin, end - begin))


Maker = tuple[str, Callable[[float, float], Facts]]
"""The URL of a target, and what is seen there of an item with this begin and end."""

LIST: Maker = ("file:///srv/ca.crl", revocations)
ZONE: Maker = ("dns:example.com", signed)
SERVER: Maker = ("https://cloud.example.com", certificate)


@dataclass(frozen=True, slots=True)
class Rhythm:
    """
    An item that is renewed several times, and then never again.
    """

    maker: Maker
    lifetime: float
    ages: Sequence[float]
    """The age of each item when the next one is made."""
    later: float | None = None
    """The lifetime of those that come after the first three renewals; None: the same."""
    failing: Sequence[Span] = ()
    policy: Policy = AUTOMATIC

    @property
    def last(self) -> float:
        """
        When the last item is made.
        """
        return BEGIN + sum(self.ages)

    @property
    def end(self) -> float:
        """
        When the last item ends.
        """
        return self.last + (self.later or self.lifetime)

    @property
    def place(self) -> Place:
        """
        The target.
        """
        url, make = self.maker
        lifetimes = [self.lifetime if number <= 3 else self.later or self.lifetime for number in range(99)]
        begins = accumulate(self.ages, initial=BEGIN)
        schedule = [
            (begin, make(begin, begin + lifetime)) for begin, lifetime in zip(begins, lifetimes, strict=False)
        ]
        return place(url, schedule, failing=self.failing, policy=self.policy)


Told = dict[tuple[str, str], tuple[float, float]]
"""By problem and severity, when it was first and last reported of an item."""

STALE, OVERDUE = ("signature_stale", "warning"), ("renewal_overdue", "warning")


def reported(one: Rhythm, span: Span, interval: float, down: Span = (0, 0), *, kept: bool = True) -> Told:
    """
    The problems with items that an exporter reports in a span of time; it runs from the beginning.

    While it is `down` it reports nothing, and then starts anew. Not by promtool, which takes minutes for what
    is probed each hour for months.
    """
    exporter, found, was_down = Exporter([one.place]), Told(), False
    for step in range(int(span[1] // interval) + 1):
        now = step * interval
        is_down = within([down], now)
        if was_down and not is_down:
            exporter.restart(keep_state=kept)
        was_down = is_down
        if is_down:
            continue
        keys = exporter.problems(now)
        items = {(kind, severity) for _, item, kind, severity in keys if item}
        for problem, severity in items if now >= span[0] else ():
            first, last = found.get((problem, severity), (now, now))
            assert now - last <= interval + down[1] - down[0], "it went quiet in between"
            found[problem, severity] = first, now
    return found


def first_told(one: Rhythm, interval: float) -> tuple[tuple[str, str], float]:
    """
    The first problem, and how much was left of the last item when it was reported. It is until the end.
    """
    found = reported(one, (0, one.end), interval)
    first = min(found, key=lambda problem: found[problem][0])
    assert found[first][1] > one.end - interval, "it went quiet before it was renewed"
    return first, one.end - found[first][0]


def test_a_list_that_stops_is_an_alert_until_it_is_made_again() -> None:
    """
    By the shipped rules, with words that say since when.
    """
    one = Rhythm(LIST, 10 * DAY, [DAY] * 10)
    name = Name("ExpirySignatureStale", "warning", LIST[0], "crl")
    recording = record(fleet(one.place), one.end, 12 * HOUR)
    fired = firings(recording)[name]
    assert fired.complete
    assert fired.last > one.end - 12 * HOUR
    assert one.end - fired.first == pytest.approx(7.5 * DAY, abs=12 * HOUR)


@pytest.mark.parametrize("interval", [HOUR, 6 * HOUR, 12 * HOUR, DAY])
@pytest.mark.parametrize("days", [5, 6, 30])
def test_a_list_that_was_made_daily_and_is_not_is_told_of_a_week_ahead(days: int, interval: float) -> None:
    """
    Daily lists of ten days, over more than the working days of a week. By policy it would be told half a day
    before the end.
    """
    problem, left = first_told(Rhythm(LIST, 10 * DAY, [DAY] * days), interval)
    assert problem == STALE
    # Two of its days are missed, and a third of one more.
    assert (7 + 2 / 3) * DAY - interval <= left <= (7 + 2 / 3) * DAY


def test_a_list_of_working_days_that_is_not_made_is_told_of_when_no_holiday_is_as_long() -> None:
    """
    The longest weekend may be longer by three days; still, four of ten days are left.
    """
    problem, left = first_told(Rhythm(LIST, 10 * DAY, [DAY, DAY, DAY, 3 * DAY, DAY] * 4), HOUR)
    assert problem == STALE
    assert left == pytest.approx((3 + 2 / 3) * DAY, abs=2 * HOUR)


def test_days_in_which_nobody_looked_are_no_pause() -> None:
    """
    What was made meanwhile is not known: the list is late as early as before.
    """
    one = Rhythm(LIST, 10 * DAY, [DAY] * 30, failing=[(20 * DAY, 26 * DAY)])
    problem, left = first_told(one, HOUR)
    assert problem == STALE
    assert left == pytest.approx((7 + 2 / 3) * DAY, abs=HOUR)


@pytest.mark.parametrize("interval", [HOUR, 6 * HOUR, 12 * HOUR, DAY])
def test_a_zone_that_was_signed_daily_and_is_not_is_told_of_four_days_ahead(interval: float) -> None:
    """
    With seven days of validity. By policy it would be told 28 hours before the end.
    """
    problem, left = first_told(Rhythm(ZONE, 7 * DAY, [DAY] * 14), interval)
    assert problem == STALE
    assert (4 + 2 / 3) * DAY - interval <= left <= (4 + 2 / 3) * DAY


@pytest.mark.parametrize(("lifetime", "told"), [(90 * DAY, 45 * DAY), (395 * DAY, 35 * DAY)])
def test_a_certificate_that_was_renewed_with_60_days_left_is_told_of_at_35(
    lifetime: float, told: float
) -> None:
    """
    As clouds do, three times. By policy it would be told at 25; never in the first half of its life.
    """
    problem, left = first_told(Rhythm(SERVER, lifetime, [lifetime - 60 * DAY] * 3), DAY)
    assert problem == OVERDUE
    assert told - DAY <= left <= told


@pytest.mark.parametrize("habit", [True, False])
def test_a_policy_may_leave_habits_out(habit: bool) -> None:
    """
    Then the item is late by the policy alone.
    """
    policy = replace(AUTOMATIC, habit=habit)
    _, left = first_told(Rhythm(SERVER, 395 * DAY, [335 * DAY] * 3, policy=policy), DAY)
    assert left == pytest.approx(35 * DAY if habit else 25 * DAY, abs=DAY)


@pytest.mark.parametrize("interval", [1.2 * DAY, 2 * DAY])
def test_a_rhythm_is_learned_by_probes_that_are_further_apart_than_it_is(interval: float) -> None:
    """
    They miss a list now and then, and may take the rhythm for longer than it is.
    """
    problem, left = first_told(Rhythm(LIST, 10 * DAY, [DAY] * 30), interval)
    assert problem == STALE
    assert left >= 3 * DAY


@pytest.mark.parametrize(("kept", "left"), [(True, (7 + 2 / 3) * DAY), (False, DAY / 2)])
def test_a_habit_survives_a_restart_that_keeps_the_state(kept: bool, left: float) -> None:
    """
    Else what is late is told by the policy.
    """
    one = Rhythm(LIST, 10 * DAY, [DAY] * 10)
    found = reported(one, (0, one.end), HOUR, (one.last + DAY, one.last + DAY + 2 * HOUR), kept=kept)
    assert one.end - found[STALE][0] == pytest.approx(left, abs=HOUR)


def test_what_was_late_by_habit_stays_late_while_it_cannot_be_seen() -> None:
    """
    The server goes down after it was told.
    """
    one = Rhythm(LIST, 10 * DAY, [DAY] * 10)
    down = replace(one, failing=[(one.last + 3 * DAY, float("inf"))])
    assert reported(down, (0, one.end), HOUR)[STALE][1] > one.end - HOUR


WEEKENDS = [((7 * week + 4) * DAY, (7 * week + 7) * DAY) for week in range(4)]

EVENTS = [share * DAY for share in (0.1, 1.9, 0.4, 2.2, 0.05, 0.9, 3, 0.2, 1.4, 6.5, 0.3, 0.7, 5)]

HEALTHY = {
    "a CA that is out for 17 hours": Rhythm(LIST, 10 * DAY, [*[DAY] * 9, DAY + 17 * HOUR, *[DAY] * 9]),
    "a signer that is out for 17 hours": Rhythm(ZONE, 7 * DAY, [*[DAY] * 9, DAY + 17 * HOUR, *[DAY] * 9]),
    "hourly, and out for 17 hours": Rhythm(LIST, 7 * DAY, [*[HOUR] * 30, 18 * HOUR, *[HOUR] * 30]),
    "a daily job that moved": Rhythm(LIST, 10 * DAY, [*[DAY] * 9, DAY + 22 * HOUR, *[DAY] * 9]),
    "a weekly job that moved": Rhythm(LIST, 30 * DAY, [*[7 * DAY] * 5, 13 * DAY, *[7 * DAY] * 5]),
    "on working days": Rhythm(LIST, 10 * DAY, [3 * DAY, DAY, DAY, DAY, DAY] * 4),
    "one more, by hand": Rhythm(LIST, 10 * DAY, [*[DAY] * 5, 0.3 * DAY, 0.7 * DAY, *[DAY] * 5]),
    "upon each revocation": Rhythm(LIST, 7.7 * DAY, EVENTS),
    "a host that is off at weekends": Rhythm(LIST, 10 * DAY, [DAY] * 30, failing=WEEKENDS),
    "daily, then twice a day": Rhythm(LIST, 10 * DAY, [*[DAY] * 9, *[DAY / 2] * 20]),
    "from 45 days left to 30": Rhythm(SERVER, 90 * DAY, [*[45 * DAY] * 3, *[60 * DAY] * 3]),
    "from 60 days left to 45": Rhythm(SERVER, 200 * DAY, [*[140 * DAY] * 3, *[155 * DAY] * 3]),
    "from 90 days to 45": Rhythm(SERVER, 90 * DAY, [*[60 * DAY] * 4, *[30 * DAY] * 4], 45 * DAY),
    "from 45 days to 90": Rhythm(SERVER, 45 * DAY, [*[30 * DAY] * 4, *[60 * DAY] * 4], 90 * DAY),
    "anew at each deployment": Rhythm(SERVER, 365 * DAY, [*[7 * DAY] * 6, 28 * DAY, *[7 * DAY] * 3]),
    "a renewal that is out for 17 hours": Rhythm(SERVER, 90 * DAY, [*[30 * DAY] * 4, 30 * DAY + 17 * HOUR]),
}


@pytest.mark.parametrize(
    ("interval", "kept"), [(3 * HOUR, True), (12 * HOUR, True), (12 * HOUR, False), (36 * HOUR, True)]
)
@pytest.mark.parametrize("name", HEALTHY)
def test_a_healthy_rhythm_never_alerts(name: str, interval: float, kept: bool) -> None:
    """
    Neither when it changes once, nor when there never was one; with a restart on the way.
    """
    one = HEALTHY[name]
    if one.maker is SERVER:
        # Years, which more probes would not make another story.
        interval *= 8
    until = one.last + interval
    assert reported(one, (0, until), interval, (until / 2, until / 2 + interval), kept=kept) == {}


VAULT = Rhythm(SERVER, 90 * DAY, [81 * DAY] * 6)
"""As an agent renews that waits until a tenth of the lifetime is left."""


def test_what_is_always_renewed_late_alerts_nobody_once_that_is_known() -> None:
    """
    Three renewals with a tenth of the lifetime left: then there is no more alarm at a third.
    """
    found = reported(VAULT, (0, BEGIN + 80 * DAY), 6 * HOUR)
    assert found.keys() == {OVERDUE}
    assert reported(VAULT, (BEGIN + 3 * 81 * DAY, VAULT.last), 6 * HOUR) == {}


def test_what_is_renewed_later_than_ever_is_told_of_before_half_of_the_usual_time_is_over() -> None:
    """
    Usually with nine days left: a warning at six, and critical at four and a half.
    """
    found = reported(VAULT, (VAULT.last, VAULT.end), 6 * HOUR)
    assert VAULT.end - found[OVERDUE][0] == pytest.approx(6 * DAY, abs=6 * HOUR)
    assert VAULT.end - found["soon", "critical"][0] == pytest.approx(4.5 * DAY, abs=6 * HOUR)
