"""
Dialogues without a network: bytes in, bytes and verdicts out.

Pure. A dialogue is a tuple of steps. What is heard is limited in length here, and in time by who reads it.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from exporter.model.foreign_text import clean

HEARD_LIMIT = 16_384
"""Bytes that one answer may have. Greetings with legal notices have a few thousand."""


LINE_LIMIT = 4096
"""Bytes that a line of an answer may have. RFC 5321 section 4.5.3.1.5 says 512; others need more."""


WORDS_LIMIT = 200
"""Characters of a server's own words that are repeated to a person."""


class SaidError(Exception):
    """
    What somebody said does not lead on. The message is ours, with `{}` where it repeats the other's words.
    """

    def __init__(self, message: str, said: bytes | str | None = None) -> None:
        super().__init__(message, said)
        self._message = message
        self._said = said

    def words(self, *, quoted: bool = True, secrets: tuple[str, ...] = ()) -> str:
        """
        The sentence for a person. Not `quoted`: with the code of the answer at most, for who must not read
        what a server says to others. `secrets` were told to who said it, and are left out: see `clean`.
        """
        if self._said is None:
            return self._message
        if quoted:
            return self._message.format(words(self._said, secrets))
        code = _CODE.match(self._said) if isinstance(self._said, bytes) else None
        return self._message.format(f"{code[0].decode('ascii')} ({NOT_SHOWN})" if code else NOT_SHOWN)

    def __str__(self) -> str:
        return self.words()


NOT_SHOWN = "its words are shown for configured targets only"


_CODE = re.compile(rb"[1-5][0-9]{2}(?=[ \r\n-]|$)")
"""The code that an answer of SMTP, FTP, NNTP or HTTP begins with."""


class RefusedError(SaidError):
    """
    The server speaks the protocol, and does not offer TLS or refused it. The message says so in its words.
    """


class TurnedAwayError(RefusedError):
    """
    The server serves nobody now, or not us: it refused more than TLS. The message says so in its words.
    """


class UnexpectedError(SaidError):
    """
    What was said does not belong to the protocol.
    """


Cut = Callable[[bytes, int], int]
"""Where the part of an answer ends that begins at this position; 0 while it is not complete."""


Judge = Callable[[list[bytes]], bool]
"""True when the last of these parts completes the answer."""


Follow = Callable[[list[bytes]], "Steps"]
"""The steps after an answer of these parts."""


# All may raise RefusedError and UnexpectedError. An answer is cut and judged part by part, and each part
# once, so that one which comes byte by byte costs little too.


def one_part(_: list[bytes]) -> bool:
    """
    True: the answer has one part only.
    """
    return True


@dataclass(frozen=True, slots=True)
class Step:
    """
    One thing that is said, and how its answer is understood.
    """

    name: str
    """What is waited for, for messages: `greeting`, `answer to EHLO`."""
    say: bytes
    """Empty when the server speaks first."""
    cut: Cut | None
    """None when there is no answer to wait for."""
    judge: Judge = one_part
    follow: Follow | None = None
    """What comes next, where that depends on the answer; None: the steps behind this one."""


Steps = tuple[Step, ...]


class Dialogue:
    """
    One dialogue under way.

        while (step := dialogue.step) is not None:
            send dialogue.say(), then, while dialogue.step is step, receive and dialogue.hear(bytes)
    """

    __slots__ = ("_heard", "_parts", "_position", "_steps")

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self._heard = b""
        """The present answer as far as it came."""
        self._parts: list[bytes] = []
        """Those of it that were judged."""
        self._position = 0
        """Where the next part of it begins."""

    @property
    def step(self) -> Step | None:
        """
        The present step; None when the dialogue came to its good end.
        """
        return self._steps[0] if self._steps else None

    @property
    def heard(self) -> bytes:
        """
        What was heard of an answer that is not complete yet.
        """
        return self._heard

    def say(self) -> bytes:
        """
        What is to be sent now. A step without an answer is over with that.
        """
        step = self._steps[0]
        if step.cut is None:
            self._steps = self._steps[1:]
        return step.say

    def hear(self, data: bytes) -> int:
        """
        How many of these bytes belong to this dialogue: fewer than all when they end it.

        Raises RefusedError or UnexpectedError.
        """
        before, self._heard = len(self._heard), self._heard + data
        if not self._complete():
            if len(self._heard) >= HEARD_LIMIT:
                raise UnexpectedError(f"{HEARD_LIMIT} bytes and no end of it: '{{}}'", self._heard)
            return len(data)
        used, rest = self._position - before, self._heard[self._position :]
        step, *behind = self._steps
        self._steps = tuple(behind) if step.follow is None else step.follow(self._parts)
        self._heard, self._parts, self._position = b"", [], 0
        if not self._steps:
            return used
        if rest.strip():
            raise UnexpectedError("the server went on without being asked: '{}'", rest)
        return len(data)

    def _complete(self) -> bool:
        step = self._steps[0]
        assert step.cut is not None
        while self._position < len(self._heard):
            end = step.cut(self._heard, self._position)
            if not end:
                return False
            self._parts.append(self._heard[self._position : end])
            self._position = end
            if step.judge(self._parts):
                return True
        return False


def words(data: bytes | str, secrets: tuple[str, ...] = ()) -> str:
    """
    What a server said, for a person: its first characters, one line, nothing unprintable.
    """
    return clean(data, WORDS_LIMIT, secrets)


_NOT_TEXT = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f]")
"""Escape sequences and tabs are seen in banners; what else is below the space is no text."""


_TLS_RECORD = re.compile(rb"[\x14-\x17]\x03[\x00-\x04]")
"""Type and version of a record (RFC 8446 section 5.1)."""


_BEGIN = 16
"""Bytes of an incomplete part that tell whether it is text at all."""


def up_to(end: bytes, data: bytes, position: int) -> int:
    """
    A part of text that ends with this byte.
    """
    if not position:
        if _TLS_RECORD.match(data):
            raise UnexpectedError("the server began with TLS instead of words")
        if data[0] >= 0x80:
            raise UnexpectedError("no text: '{}'", data)
    stop = data.find(end, position) + 1
    if found := _NOT_TEXT.search(data, position, stop or position + _BEGIN):
        raise UnexpectedError(f"no text: byte {found[0][0]:#04x} in '{{}}'", data)
    if (stop or len(data)) - position > LINE_LIMIT:
        raise UnexpectedError(f"a line of more than {LINE_LIMIT} bytes: '{{}}'", data)
    return stop


def line(data: bytes, position: int) -> int:
    """
    A line, with its end.
    """
    return up_to(b"\n", data, position)
