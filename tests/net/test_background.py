"""
Look-ups in the background: what is heard of them, and a process that waits for all of them.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

import pytest

from exporter.model.errors import ProbeError
from exporter.model.reasons import Reason
from exporter.net.background import (
    FIRST_PAUSE,
    FORGET_AFTER,
    OWNERS_WAITING,
    WAITING,
    Answer,
    Fetch,
    Known,
    LookupFailedError,
    Lookups,
)

DAY = 86400.0
EPOCH = 1_800_000_000.0

FAILURE = LookupFailedError(Reason.HTTP_FAILED, "it answered with HTTP status 500")


class Clocks:
    """
    The time of day, which may be set, and a clock that only goes on. Both stand until they are moved.
    """

    def __init__(self) -> None:
        self.day = EPOCH
        self.steady = 1000.0

    def go(self, seconds: float) -> None:
        """
        Time goes by.
        """
        self.day += seconds
        self.steady += seconds


def run(work: Callable[[Lookups], Awaitable[None]], clocks: Clocks | None = None) -> None:
    """
    Some work with look-ups whose clocks stand, or are moved by the work.
    """
    by = clocks or Clocks()

    async def to_the_end() -> None:
        known = Lookups(asyncio.get_running_loop(), lambda: by.day, lambda: by.steady)
        try:
            async with asyncio.timeout(10):
                await work(known)
        finally:
            known.close()

    asyncio.run(to_the_end())


def gives(value: object) -> Fetch:
    """
    A look-up that ends well.
    """

    async def fetch() -> Answer:
        return Answer(value, 60.0)

    return fetch


async def fails() -> Answer:
    """
    A look-up that does not.
    """
    raise FAILURE


async def hangs() -> Answer:
    """
    A look-up without an end.
    """
    await asyncio.Event().wait()
    raise AssertionError


def test_what_is_heard_is_the_answer_and_the_failure_after_it() -> None:
    """
    Nothing at first; a failure is that of the last try.
    """

    async def work(known: Lookups) -> None:
        assert known.hear("good", gives(1), "the list a") == known.hear("bad", fails, "the list b")
        await known.settle(5.0)
        good, bad = known.hear("good", gives(2), "the list a"), known.hear("bad", fails, "the list b")
        assert good.known is not None
        assert (good.known.value, good.failure) == (1, None)
        assert (bad.known, bad.failure) == (None, FAILURE)
        assert not known.unsettled

    run(work)


def test_only_what_is_heard_is_waited_for() -> None:
    """
    What a probe asks to know more next time is of no use to a process that ends.
    """

    async def work(known: Lookups) -> None:
        known.peek("zone", hangs, "the zone above a.example")
        await known.settle(60.0)
        assert known.unsettled == []

    run(work)


def test_after_the_end_what_has_no_answer_failed_and_no_more_is_asked() -> None:
    """
    With the words of who gave up. What has an answer keeps it.
    """

    async def work(known: Lookups) -> None:
        known.hear("good", gives(1), "the list a")
        known.hear("slow", hangs, "the list b")
        await known.settle(0.05)
        known.give_up("there was no answer in time")
        assert known.hear("good", gives(2), "the list a").failure is None
        for key in ("slow", "new"):
            failure = known.hear(key, hangs, "the list b").failure
            assert failure is not None
            assert (failure.reason, failure.detail) == (
                Reason.TIMEOUT,
                "the list b: there was no answer in time",
            )
        assert len(known.unsettled) == 1

    run(work)


def test_more_than_may_wait_are_asked_later() -> None:
    """
    None of them is lost.
    """

    async def work(known: Lookups) -> None:
        count = WAITING + 10
        for rounds in range(3):
            answers = [known.hear(number, gives(number), f"the list {number}") for number in range(count)]
            assert sum(one.known is not None for one in answers) == (0, WAITING, count)[rounds]
            await known.settle(5.0)

    run(work)


def test_ten_thousand_targets_do_not_all_wait_at_a_time() -> None:
    """
    Each of those that may, may have one look-up; the others begin theirs at a later scrape.
    """

    async def work(known: Lookups) -> None:
        count = OWNERS_WAITING + 10
        for rounds in range(3):
            answers = [
                known.hear(one, gives(one), f"the list {one}", f"target {one}") for one in range(count)
            ]
            assert sum(one.known is not None for one in answers) == (0, OWNERS_WAITING, count)[rounds]
            await known.settle(5.0)

    run(work)


def test_a_target_with_ever_new_look_ups_does_not_keep_the_others_from_theirs() -> None:
    """
    Neither from beginning, although as many wait as may, nor from an answer while none of its own ends.
    """

    async def work(known: Lookups) -> None:
        for number in range(WAITING + 10):
            known.hear(number, hangs, f"the list {number}", "greedy")
        assert known.hear("a", gives(1), "the list a", "modest").known is None
        assert (await known.wait("a", gives(1), "a", "modest", patience=1.0, timeout=5.0)).value == 1
        assert (await known.wait("b", gives(2), "b", "other", patience=1.0, timeout=5.0)).value == 2

    run(work)


def test_a_slow_server_of_many_targets_does_not_keep_others_from_theirs() -> None:
    """
    They are those of one owner.
    """

    async def work(known: Lookups) -> None:
        async def ask(number: int) -> None:
            target, owner = f"{number}.slow", "the registry of .slow"
            await known.wait(number, hangs, target, target, patience=1.0, timeout=60.0, owner=owner)

        waiting = [asyncio.ensure_future(ask(number)) for number in range(20)]
        await asyncio.sleep(0)
        found = await known.wait("a", gives(1), "a", "a", patience=1.0, timeout=5.0, owner="the other")
        assert found.value == 1
        for one in waiting:
            one.cancel()

    run(work)


def test_what_can_not_be_asked_is_a_failure_at_once_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """
    As any other that fails.
    """

    async def work(known: Lookups) -> None:
        for _ in range(2):
            failure = known.refuse("a", "the list ldap://a is not asked", "the list ldap://a", "shop").failure
            assert failure is not None
            assert (failure.reason, failure.detail) == (
                Reason.LOOKUP_FAILED,
                "the list ldap://a is not asked",
            )

    with caplog.at_level(logging.WARNING):
        run(work)
    assert len(caplog.records) == 1


@pytest.mark.parametrize("target", ["shop", ""])
def test_a_failure_is_logged_in_words(caplog: pytest.LogCaptureFixture, target: str) -> None:
    """
    What was looked up, and for which target if it was for one.
    """

    async def work(known: Lookups) -> None:
        known.hear(("crl", ("http://a",)), fails, "the revocation list http://a", target)
        await known.settle(5.0)

    with caplog.at_level(logging.WARNING):
        run(work)
    (record,) = caplog.records
    of_whom = {"target": "shop"} if target else {}
    assert record.message == "a look-up failed"
    assert record.__dict__["fields"] == {
        "lookup": "the revocation list http://a",
        **of_whom,
        "reason": Reason.HTTP_FAILED,
        "detail": FAILURE.detail,
    }


def test_a_fault_of_ours_is_logged_in_the_same_words(caplog: pytest.LogCaptureFixture) -> None:
    """
    With its traceback.
    """

    async def breaks() -> Answer:
        raise ZeroDivisionError

    async def work(known: Lookups) -> None:
        known.hear("key", breaks, "the revocation list http://a", "shop")
        await known.settle(5.0)

    with caplog.at_level(logging.ERROR):
        run(work)
    (record,) = caplog.records
    assert record.exc_info is not None
    assert record.__dict__["fields"] == {"lookup": "the revocation list http://a", "target": "shop"}


SET = [30 * DAY, -30 * DAY]
"""Seconds by which somebody sets the time of day."""


async def heard(known: Lookups, fetch: Fetch) -> Known | None:
    """
    What is known of the one thing, once all that is due was asked.
    """
    known.hear("list", fetch, "the list a")
    await known.settle(5.0)
    return known.known("list")


@pytest.mark.parametrize("step", SET)
def test_a_list_that_was_heard_while_the_time_of_day_was_wrong_is_asked_in_its_time(step: float) -> None:
    """
    Not thirty days later, and not at once: the pause is counted by a clock that nobody sets.
    """
    clocks = Clocks()

    async def work(known: Lookups) -> None:
        clocks.day += step
        first = await heard(known, gives(1))
        assert first == Known(1, EPOCH + step)
        clocks.day -= step
        clocks.go(50.0)
        assert await heard(known, gives(2)) is first
        clocks.go(20.0)
        assert await heard(known, gives(2)) == Known(2, EPOCH + 70)

    run(work, clocks)


@pytest.mark.parametrize("step", SET)
def test_a_failure_while_the_time_of_day_was_wrong_is_tried_again_in_its_time(step: float) -> None:
    """
    So is one whose server wants to be left alone.
    """
    clocks = Clocks()

    async def refuses() -> Answer:
        raise LookupFailedError(Reason.RATE_LIMITED, "it wants to be left alone", 600.0)

    async def work(known: Lookups) -> None:
        for fetch, pause in ((fails, FIRST_PAUSE), (refuses, 600.0)):
            clocks.day += step
            assert await heard(known, fetch) is None
            clocks.day -= step
            clocks.go(pause * 0.8)
            assert await heard(known, gives(1)) is None
            clocks.go(pause * 0.4)
        assert await heard(known, gives(1)) is not None

    run(work, clocks)


@pytest.mark.parametrize(
    ("heard_at", "due"),
    [(EPOCH - 40.0, 20.0), (EPOCH - 1000.0, 0.0), (EPOCH - 30 * DAY, 0.0), (EPOCH + 30 * DAY, 60.0)],
)
def test_what_was_known_before_a_restart_is_due_within_its_pause(heard_at: float, due: float) -> None:
    """
    However wrong the time of day was when it was heard, or is now. When it was heard is told as it was kept.
    """
    clocks = Clocks()

    async def work(known: Lookups) -> None:
        known.remember("list", Known(1, heard_at), 60.0)
        assert known.known("list") == Known(1, heard_at)
        if due > 0:
            clocks.go(due - 7.0)
            assert await heard(known, gives(2)) == Known(1, heard_at)
            clocks.go(14.0)
        assert await heard(known, gives(2)) == Known(2, clocks.day)

    run(work, clocks)


def test_what_is_in_a_hurry_is_asked_by_its_age() -> None:
    """
    The time of day has no part in it.
    """
    clocks = Clocks()

    async def work(known: Lookups) -> None:
        clocks.day += 30 * DAY
        await heard(known, gives(1))
        clocks.day -= 30 * DAY
        clocks.go(20.0)
        known.hurry("list", 30.0)
        assert await heard(known, gives(2)) == Known(1, EPOCH + 30 * DAY)
        clocks.go(11.0)
        assert await heard(known, gives(2)) == Known(2, clocks.day)

    run(work, clocks)


def test_patience_ends_by_the_age_of_what_is_known() -> None:
    """
    Setting the time of day makes nothing old, and keeps nothing young.
    """
    clocks = Clocks()

    async def wait(known: Lookups) -> object:
        return (await known.wait("list", fails, "the list a", patience=DAY, timeout=5.0)).value

    async def work(known: Lookups) -> None:
        await heard(known, gives(1))
        clocks.go(70.0)
        await heard(known, fails)
        for step in SET:
            clocks.day += step
            assert await wait(known) == 1
        clocks.day -= 30 * DAY
        clocks.go(DAY)
        with pytest.raises(ProbeError):
            await wait(known)

    run(work, clocks)


def test_what_nobody_asks_for_is_forgotten_in_its_time() -> None:
    """
    And not because somebody set the time of day.
    """
    clocks = Clocks()

    async def work(known: Lookups) -> None:
        await heard(known, gives(1))
        for step in SET:
            clocks.day += step
            known.peek("other", gives(1), "the list b")
            assert known.known("list") is not None
        clocks.go(FORGET_AFTER + 1)
        known.peek("other", gives(1), "the list b")
        assert known.known("list") is None

    run(work, clocks)


def test_what_is_kept_has_a_limit_of_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Of lists that are named anew at each look those go first that nobody asked for longest.
    """
    monkeypatch.setattr("exporter.net.background.HELD_LIMIT", 1_000_000)

    async def large() -> Answer:
        return Answer(bytes(100_000), DAY, 100_000)

    async def work(known: Lookups) -> None:
        for number in range(100):
            first = await heard(known, large)
            assert first is not None
            known.hear(number, large, f"the list {number}")
            await known.settle(5.0)
            assert known._held < 1_000_000
        assert known.known(99) is not None
        assert known.known(80) is None
        for number in range(1000):
            known.refuse(("not asked", number), "it is not asked", "a list")
        assert 300 < len(known._entries) < 600

    run(work)
