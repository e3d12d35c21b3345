"""
Frames: the messages between the first process and its workers, over a pair of sockets.

Both ends are this program on this machine, so values travel as Python pickles them. What a server sent is in
them as bytes only.
"""

import pickle
from collections.abc import Iterator
from typing import Any, Generic, Literal, NamedTuple, TypeAlias, TypeVar

from exporter.model.reasons import Reason
from exporter.model.urls import Url
from exporter.probes.tls.handshake import Shown
from exporter.probes.tls.openssl import Offer
from exporter.probes.tls.suites import Keys

V = TypeVar("V")


LIMIT = 4 * 1024 * 1024
"""Bytes of one frame. Senders divide what is longer; one conversation shows less than half a megabyte."""


FULL = 512 * 1024
"""Bytes of answers from which no more are put into the same frame."""


_LENGTH = 4
"""Bytes before each frame that hold its length."""


class FrameError(Exception):
    """
    Bytes came that are no frame: the two ends do not understand each other any more.
    """


class Description(NamedTuple):
    """
    The part of a target that a conversation needs. There is no secret in it.
    """

    url: Url
    server_name: str | None
    proxy_protocol: Literal["none", "v1", "v2"]


# What is in each request and in nearly each answer has no class of its own: to pickle one takes ten times the
# time of a plain tuple, and as long as all that the first process does after a probe.

Manner = tuple[str, Keys, Offer, bool]
"""
The kind of conversation with a target: the address, the keys, the offer, and True if it is lenient.
"""


Request = tuple[int, int, Description | None, Manner, float]
"""
A conversation that the first process wants.

Its number, which is in its answer; the target's, which is described once; the description, None for a target
that was described before; the manner; and the deadline, a time in seconds of the system's monotonic clock,
which all processes share.
"""


class Orders(NamedTuple):
    """
    A frame from the first process.
    """

    requests: list[Request]
    cancelled: list[int]
    """Numbers of requests that nobody waits for any more."""
    forgotten: list[int]
    """Indices of targets that are configured no more."""


Same: TypeAlias = None
"""The answer that the server showed what it did in the last such conversation."""


class Showed(NamedTuple):
    """
    The answer with what the server showed.
    """

    shown: Shown


class Ended(NamedTuple):
    """
    The answer that the handshake ended early: the arguments of HandshakeError.
    """

    error: Exception
    shown: Shown | None
    answered: bool


class Answered(NamedTuple):
    """
    The answer that a web server refused a request: the arguments of AnswerError.
    """

    reason: Reason
    detail: str
    shown: Shown


class Failed(NamedTuple):
    """
    The answer that the conversation failed before a handshake: the arguments of ProbeError.
    """

    reason: Reason
    detail: str
    lacks_descriptor: bool


class Broke(NamedTuple):
    """
    The answer that the connection broke, or ran out of time.
    """

    error: OSError


class Unable(NamedTuple):
    """
    The answer that this process can't say, or was told to stop: the first process finds out by itself.
    """


Answer = Same | Showed | Ended | Answered | Failed | Broke | Unable


class News(NamedTuple):
    """
    A frame from a worker.
    """

    answers: list[tuple[int, Answer]]
    """By the number of the request."""
    phases: list[tuple[int, str]]
    """What conversations under way do now, as in `Trace.phase`, by the number of the request."""
    rest: float | None = None
    """Share of the time since it was told last in which the worker had nothing to do; None: not told now."""


def pack(value: Orders | News) -> bytes:
    """
    Return the frame of a value.
    """
    content = pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
    return len(content).to_bytes(_LENGTH) + content


class Frames:
    """
    Bytes from the other end, which may come in any pieces, to values.
    """

    def __init__(self) -> None:
        self._held = bytearray()

    def take(self, data: bytes) -> Iterator[Any]:
        """
        Add these bytes, and yield the values that are whole by now. Raises FrameError.
        """
        held = self._held
        held += data
        while len(held) >= _LENGTH:
            end = _LENGTH + int.from_bytes(held[:_LENGTH])
            if end > _LENGTH + LIMIT:
                raise FrameError(f"a frame of {end} bytes")
            if len(held) < end:
                return
            content = bytes(held[_LENGTH:end])
            del held[:end]
            yield pickle.loads(content)  # noqa: S301 - of a process of our own, see above


MANNERS = 32
"""Conversations of one target that are remembered: sixteen addresses, with two kinds of keys."""


class Latest(Generic[V]):
    """
    The last result of each conversation, by target and manner.

    Both ends keep one, and put the same into it in the same order: so each knows what the other one holds.
    """

    def __init__(self) -> None:
        self._by_index: dict[int, dict[Manner, V]] = {}

    def get(self, index: int, manner: Manner) -> V | None:
        """
        Return what was put there last; None when there is nothing.
        """
        held = self._by_index.get(index)
        return held.get(manner) if held is not None else None

    def put(self, index: int, manner: Manner, value: V) -> None:
        """
        Remember this. A target with ever new addresses is forgotten from time to time.
        """
        held = self._by_index.setdefault(index, {})
        if len(held) >= MANNERS and manner not in held:
            held.clear()
        held[manner] = value

    def forget(self, index: int) -> None:
        """
        Forget a target.
        """
        self._by_index.pop(index, None)
