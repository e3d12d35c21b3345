"""
Bodies: made once for all who ask at the same time, whole and compressed.
"""

import asyncio
import gzip
import threading

import pytest

from exporter.bodies import Bodies, join


def test_a_body_is_made_once_for_all_who_wait() -> None:
    """
    They have one object between them; one who goes away takes it from nobody; who comes later has a new one.
    """

    async def run() -> None:
        bodies = Bodies(asyncio.get_running_loop())
        go_on, made = threading.Event(), 0

        def make() -> bytes:
            nonlocal made
            made += 1
            go_on.wait(10)
            return bytes(1000)

        asked = [asyncio.create_task(bodies.get("a", make)) for _ in range(5)]
        await asyncio.sleep(0)
        asked[0].cancel()
        go_on.set()
        first, *others = await asyncio.gather(*asked[1:])
        assert made == 1
        assert all(one is first for one in others)
        assert asked[0].cancelled()
        assert await bodies.get("a", make) is not first
        assert made == 2
        bodies.close()

    asyncio.run(run())


def test_a_body_that_can_not_be_made_is_an_error_for_all() -> None:
    """
    And the next one is made again.
    """

    async def run() -> None:
        bodies = Bodies(asyncio.get_running_loop())

        def fail() -> bytes:
            raise ZeroDivisionError

        found = await asyncio.gather(*(bodies.get("a", fail) for _ in range(3)), return_exceptions=True)
        assert [type(one) for one in found] == [ZeroDivisionError] * 3
        assert await bodies.get("a", lambda: b"good") == b"good"
        bodies.close()

    asyncio.run(run())


@pytest.mark.parametrize("parts", [(), (b"a",), (b"a" * 100_000, b"", b"b")])
def test_parts_are_joined(parts: tuple[bytes, ...]) -> None:
    """
    Compressed, they are one member of a gzip file (RFC 1952), as every client can read it.
    """
    assert join(parts, zipped=False) == b"".join(parts)
    zipped = join(iter(parts), zipped=True)
    assert gzip.decompress(zipped) == b"".join(parts)
    assert zipped.count(b"\x1f\x8b") == 1
