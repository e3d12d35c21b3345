"""
Frames: values travel in any pieces, and what is no frame is noticed.
"""

import pytest

from exporter.engine.frames import (
    LIMIT,
    MANNERS,
    FrameError,
    Frames,
    Latest,
    Manner,
    News,
    Orders,
    pack,
)


def test_frames_come_in_any_pieces() -> None:
    """
    Each value comes once it is whole, in order.
    """
    sent: list[News | Orders] = [News([(1, None)], [(2, "handshake")]), Orders([], [3], [4])]
    data = b"".join([pack(one) for one in sent])
    for size in (1, 3, 7, len(data)):
        frames = Frames()
        pieces = [data[begin : begin + size] for begin in range(0, len(data), size)]
        assert [value for piece in pieces for value in frames.take(piece)] == sent


def test_what_is_no_frame() -> None:
    """
    A length that no frame has is not waited for.
    """
    with pytest.raises(FrameError):
        list(Frames().take((LIMIT + 1).to_bytes(4)))


def test_what_was_told_last_is_bounded() -> None:
    """
    A target with ever new addresses does not fill the memory, and both ends forget at the same time.
    """
    latest: Latest[int] = Latest()
    for number in range(MANNERS + 1):
        latest.put(7, (str(number), "any", "usual", False), number)
    assert latest.get(7, ("0", "any", "usual", False)) is None
    newest: Manner = (str(MANNERS), "any", "usual", False)
    assert latest.get(7, newest) == MANNERS
    latest.forget(7)
    assert latest.get(7, newest) is None
