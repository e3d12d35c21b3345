"""
Dialogues without a network: bytes in, bytes and results out.

Pure. A dialogue is a tuple of steps. The length of answers is limited here, their time by the caller.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from exporter.model.foreign_text import clean

HEARD_LIMIT = 16_384
"""Bytes of one answer. Greetings with legal notices have a few thousand."""


LINE_LIMIT = 4096
"""Bytes of a line in an answer. RFC 5321 section 4.5.3.1.5 says 512; others need more."""


WORDS_LIMIT = 200
"""Characters of a server's own words that are quoted to a person."""


class SaidError(Exception):
    """
    An answer that ends a dialogue. The message is ours, with `{}` for the quoted words of the other side.
    """

    def __init__(self, message: str, said: bytes | str | None = None) -> None:
        super().__init__(message, said)
        self._message = message
        self._said = said

    def words(self, *, quoted: bool = True, secrets: tuple[str, ...] = ()) -> str:
        """
        Return the sentence for a person. Not `quoted`: with the code of the answer at most, for readers who
        may not see a server's words. `secrets` were sent to the other side, and are removed: see `clean`.
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
"""The code at the beginning of an answer in SMTP, FTP, NNTP or HTTP."""


class RefusedError(SaidError):
    """
    The server speaks the protocol, and does not offer TLS or refused it. The message quotes it.
    """


class TurnedAwayError(RefusedError):
    """
    The server refuses all service, or this client: more than TLS. The message quotes it.
    """


class UnexpectedError(SaidError):
    """
    An answer that does not belong to the protocol.
    """


Cut = Callable[[bytes, int], int]
"""Returns the end of the part of an answer that begins at this position; 0 while it is not complete."""


Judge = Callable[[list[bytes]], bool]
"""Returns True when the last of these parts completes the answer."""


Follow = Callable[[list[bytes]], "Steps"]
"""Returns the steps after an answer of these parts."""


# All may raise RefusedError and UnexpectedError. An answer is cut and judged part by part, and each part
# once, so that one which comes byte by byte costs little too.


def one_part(_: list[bytes]) -> bool:
    """
    Return True: the answer has one part only.
    """
    return True


@dataclass(frozen=True, slots=True)
class Step:
    """
    One message of the client, and the parser of its answer.
    """

    name: str
    """The awaited answer, for messages: `greeting`, `answer to EHLO`."""
    say: bytes
    """The bytes to send; empty when the server speaks first."""
    cut: Cut | None
    """None when there is no answer to wait for."""
    judge: Judge = one_part
    follow: Follow | None = None
    """The steps that depend on the answer; None: the steps behind this one."""


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
        """The present answer as far as it was received."""
        self._parts: list[bytes] = []
        """The parts of it that were judged."""
        self._position = 0
        """The begin of its next part."""

    @property
    def step(self) -> Step | None:
        """
        The present step; None at the successful end of the dialogue.
        """
        return self._steps[0] if self._steps else None

    @property
    def heard(self) -> bytes:
        """
        The received part of an answer that is not complete yet.
        """
        return self._heard

    def say(self) -> bytes:
        """
        Return the bytes to send now. A step without an answer ends with that.
        """
        step = self._steps[0]
        if step.cut is None:
            self._steps = self._steps[1:]
        return step.say

    def hear(self, data: bytes) -> int:
        """
        Take received bytes, and return how many belong to this dialogue: fewer than all when they end it.

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
            # In some protocols a server may speak at any time (IMAP), but not answer what nobody asked.
            self._heard = rest
            if self._steps[0].cut is None or self._complete():
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
    Return a server's words for a person: the first characters, on one line, without unprintable ones.
    """
    return clean(data, WORDS_LIMIT, secrets)


_NOT_TEXT = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f]")
"""Control characters that are no text. Escape sequences and tabs occur in banners, and are permitted."""


_TLS_RECORD = re.compile(rb"[\x14-\x17]\x03[\x00-\x04]")
"""Type and version of a record (RFC 8446 section 5.1)."""


_BEGIN = 16
"""Bytes of an incomplete part that suffice to recognise that it is no text."""


def up_to(end: bytes, data: bytes, position: int) -> int:
    """
    Return the end of a part of text that ends with this byte; 0 while it is not complete.
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
    Return the end of a line, its terminator included; 0 while it is not complete.
    """
    return up_to(b"\n", data, position)
