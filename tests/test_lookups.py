"""
Look-ups in the background: what is heard of them, and a process that waits for all of them.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

import pytest

from exporter.lookups import WAITING, Answer, Fetch, LookupFailedError, Lookups
from exporter.observation import Reason

FAILURE = LookupFailedError(Reason.HTTP_FAILED, "it answered with HTTP status 500")


def run(work: Callable[[Lookups], Awaitable[None]]) -> None:
    """
    Some work with look-ups whose clock stands.
    """

    async def to_the_end() -> None:
        known = Lookups(asyncio.get_running_loop(), lambda: 1000.0)
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
