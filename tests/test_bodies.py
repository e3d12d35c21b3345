"""
Bodies: made once for all who ask at the same time, whole and compressed.
"""

import asyncio
import gzip
import threading
import tracemalloc
from collections.abc import Iterator

import pytest

from exporter.server.bodies import Answers, join


async def test_a_body_is_made_once_for_all_who_wait() -> None:
    """
    They have one object between them; one who goes away takes it from nobody; who comes later has a new one.
    """
    answers = Answers()
    go_on, made = threading.Event(), 0

    def make() -> Iterator[bytes]:
        nonlocal made
        made += 1
        go_on.wait(10)
        yield bytes(1000)

    asked = [asyncio.create_task(answers.get("a", make, zipped=False)) for _ in range(5)]
    await asyncio.sleep(0)
    asked[0].cancel()
    go_on.set()
    first, *others = await asyncio.gather(*asked[1:])
    assert made == 1
    assert all(one is first for one in others)
    assert asked[0].cancelled()
    assert await answers.get("a", make, zipped=True) is not first
    assert made == 2


async def test_a_body_that_can_not_be_made_is_an_error_for_all() -> None:
    """
    And the next one is made again.
    """
    answers = Answers()

    def fail() -> Iterator[bytes]:
        raise ZeroDivisionError

    asked = (answers.get("a", fail, zipped=False) for _ in range(3))
    found = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(one) for one in found] == [ZeroDivisionError] * 3
    assert await answers.get("a", lambda: [b"good"], zipped=False) == b"good"


@pytest.mark.parametrize("parts", [(), (b"a",), (b"a" * 100_000, b"", b"b")])
def test_parts_are_joined(parts: tuple[bytes, ...]) -> None:
    """
    Compressed, they are one member of a gzip file (RFC 1952), as every client can read it.
    """
    assert join(parts, zipped=False) == b"".join(parts)
    zipped = join(iter(parts), zipped=True)
    assert gzip.decompress(zipped) == b"".join(parts)
    assert zipped.count(b"\x1f\x8b") == 1


def test_the_whole_is_held_once() -> None:
    """
    While parts are joined there is one part beside what is joined by then.
    """
    tracemalloc.start()
    try:
        body = join((bytes(10_000) for _ in range(1000)), zipped=False)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1.3 * len(body)
