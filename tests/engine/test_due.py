"""
Which targets a scrape probes, where they have an interval.
"""

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest

from exporter.engine.due import RETRY, is_due
from exporter.engine.memory import Memory
from exporter.engine.results import ProbeResult, TargetResult
from exporter.judgement.verdicts import Judged, judge_again
from exporter.model.observation import Facts, Failed
from exporter.model.reasons import Reason
from exporter.model.targets import Target
from exporter.pki.trust import Anchors
from tests.golden.scenes import failed, seen
from tests.golden.values import certificate, facts, target
from tests.support.certificates import DAY, NOW

HOUR = 3600.0

FACTS = facts(certificate())


def rare(name: str = "a", interval: float = HOUR) -> Target:
    """
    A target with an interval.
    """
    return replace(target(name=name), interval=interval)


def probed(one: Target, *looks: ProbeResult, at: float = NOW) -> Memory:
    """
    What is remembered of a target after these probes, each with its turn.
    """
    memory = Memory()
    turned = tuple(replace(look, turn=1.0) for look in looks)
    memory.update(TargetResult(one, turned, located=True), at)
    return memory


def due(one: Target, memory: Memory, now: float) -> bool:
    """
    Whether a scrape at this time probes it.
    """
    return is_due(one, memory.known(one), now)


def times(one: Target, pace: float, span: float) -> list[float]:
    """
    The times of its probes in scrapes at this pace, in seconds since the first.
    """
    memory, found = Memory(), []
    for number in range(int(span / pace) + 1):
        now = NOW + number * pace
        if due(one, memory, now):
            memory.update(TargetResult(one, (replace(seen(FACTS), turn=1.0),), located=True), now + 1)
            found.append(now - NOW)
    return found


def test_without_an_interval_each_scrape_probes() -> None:
    """
    As always.
    """
    assert times(rare(interval=0.0), 60, 600) == [60 * number for number in range(11)]


@pytest.mark.parametrize(("interval", "pace"), [(HOUR, 60), (6 * HOUR, 60), (600, 15), (90, 60), (DAY, 300)])
def test_two_probes_are_an_interval_apart(interval: float, pace: float) -> None:
    """
    To the scrape after it; only the first pause may be shorter, so that they are spread.
    """
    for name in "abcdefgh":
        found = times(rare(name, interval), pace, 5 * interval)
        pauses = [later - earlier for earlier, later in pairwise(found)]
        assert 0 < pauses[0] <= interval + pace
        assert all(interval - pace < one < interval + pace for one in pauses[1:])


def test_not_all_come_in_one_scrape() -> None:
    """
    After the first scrape, a thousand targets are spread over the hour.
    """
    found = Counter(one for number in range(1000) for one in times(rare(f"https://{number}"), 60, HOUR)[1:])
    assert sum(found.values()) == pytest.approx(1000, abs=40)
    assert max(found.values()) < 40


def test_a_scrape_that_comes_more_rarely_than_the_interval_probes() -> None:
    """
    Then the interval does nothing.
    """
    assert times(rare(interval=30), 60, 600) == [60 * number for number in range(11)]


def test_what_saw_nothing_is_repeated_soon() -> None:
    """
    Not at once, and not after the whole interval.
    """
    one = rare(interval=30 * DAY)
    memory = probed(one, seen(FACTS, "x"), failed(Reason.CONNECTION_REFUSED, "y"))
    assert not due(one, memory, NOW + RETRY - 1)
    assert due(one, memory, NOW + RETRY)
    assert due(one, memory, NOW - 1)  # the time of day was set back
    short = rare(interval=20)
    assert due(short, probed(short, failed(Reason.CONNECTION_REFUSED)), NOW + 20)


def test_a_server_that_refuses_after_its_certificate_was_seen_is_not_repeated() -> None:
    """
    It does so at each probe.
    """
    one = rare(interval=30 * DAY)
    refusal = Failed(Reason.CLIENT_CERTIFICATE_REQUIRED, "it wants one", FACTS)
    memory = probed(one, replace(seen(FACTS), observation=refusal))
    assert not due(one, memory, NOW + HOUR)


def test_what_had_no_turn_is_still_due() -> None:
    """
    A scrape's time was over before its turn came.
    """
    one, memory = rare(interval=30 * DAY), Memory()
    memory.update(TargetResult(one, (failed(Reason.TIMEOUT),), located=False), NOW)
    assert due(one, memory, NOW + 1)


def test_a_deadline_is_judged_by_a_new_probe() -> None:
    """
    What was renewed since the last probe must not be called late.
    """
    one = rare(interval=30 * DAY)
    shown: Facts = facts(certificate(begin=NOW - 60 * DAY, end=NOW + 30 * DAY + HOUR))
    memory = probed(one, seen(shown))
    (held,) = memory.known(one).endpoints.values()
    judged: Judged = judge_again(None, shown, one, Anchors(None), NOW, {})
    held.judged = judged
    (deadlines,) = {item.deadlines for item in judged.verdict.items if item.deadlines is not None}
    assert NOW < deadlines.renewal_due < NOW + DAY
    assert not due(one, memory, deadlines.renewal_due - 1)
    assert due(one, memory, deadlines.renewal_due)
