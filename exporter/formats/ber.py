"""
BER (X.690), as far as certificates, keystores and signed data need it. Pure.

Unlike DER it has lengths that are only known at the end, and strings in several parts: what Windows and
Java write keystores and PKCS#7 with.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

INTEGER = 0x02


BIT_STRING = 0x03


OCTET_STRING = 0x04


OBJECT_IDENTIFIER = 0x06


ENUMERATED = 0x0A


UTC_TIME = 0x17


GENERALIZED_TIME = 0x18


BMP_STRING = 0x1E


SEQUENCE = 0x30


SET = 0x31


CONSTRUCTED = 0x20


DEPTH_LIMIT = 64
"""How deep encodings without a length may be nested."""


COUNT_LIMIT = 250_000
"""Encodings that are read in the same bytes, all in all."""


class BerError(ValueError):
    """
    Bytes that are not BER, or not the BER that is wanted.
    """


@dataclass(slots=True)
class _Reading:
    """
    The bytes in which encodings are read, and what is known of them by now.

    The end of an encoding without a length is found once, however deep it is nested and however often what is
    around it is read: that makes all reading linear in the number of encodings.
    """

    data: bytes
    ends: dict[int, int] = field(default_factory=dict)
    """Where the content ends of encodings without a length, by where they begin."""
    left: int = COUNT_LIMIT

    def element(self, begin: int, limit: int, depth: int = DEPTH_LIMIT) -> "Element":
        """
        The encoding at this position, which ends before the limit. Raises BerError.
        """
        self.left -= 1
        if self.left < 0:
            raise BerError(f"more than {COUNT_LIMIT:,} encodings are nested in one")
        if begin + 2 > limit:
            raise BerError("an encoding is cut off")
        tag, length = self.data[begin], self.data[begin + 1]
        if tag & 0x1F == 0x1F:
            raise BerError("an encoding has a tag of several bytes")
        start = begin + 2
        if length == 0x80:
            end = self._end(begin, limit, depth)
            return Element(self, tag, begin, start, end, end + 2)
        if length > 0x80:
            size = length & 0x7F
            if size > 4:
                raise BerError("an encoding has a length of more than four bytes")
            if start + size > limit:
                raise BerError("an encoding is cut off")
            length = int.from_bytes(self.data[start : start + size])
            start += size
        if start + length > limit:
            raise BerError("an encoding is cut off")
        return Element(self, tag, begin, start, start + length, start + length)

    def _end(self, begin: int, limit: int, depth: int) -> int:
        """
        Where two zero bytes end an encoding of indefinite length (X.690 section 8.1.3.6). Raises BerError.
        """
        if not self.data[begin] & CONSTRUCTED or depth == 0:
            raise BerError("an encoding has no length, or is nested too deep")
        position = self.ends.get(begin)
        if position is None:
            position = begin + 2
            while self.data[position : position + 2] != b"\0\0":
                position = self.element(position, limit, depth - 1).end
            self.ends[begin] = position
        if position + 2 > limit:
            raise BerError("an encoding is cut off")
        return position


@dataclass(frozen=True, slots=True)
class Element:
    """
    One encoding inside of some bytes.
    """

    reading: _Reading = field(repr=False)
    tag: int
    """The identifier octet: class, whether it is constructed, and number."""
    begin: int
    start: int
    """Where its content begins."""
    stop: int
    """Where its content ends."""
    end: int
    """Where the next encoding begins."""

    @property
    def whole(self) -> bytes:
        """
        The encoding with its tag and length.
        """
        return self.reading.data[self.begin : self.end]

    @property
    def content(self) -> bytes:
        """
        What is inside; of a string in several parts, these together. Raises BerError.
        """
        if self.tag & ~CONSTRUCTED not in {OCTET_STRING, 0x80} or not self.tag & CONSTRUCTED:
            return self.reading.data[self.start : self.stop]
        return b"".join(self._parts(DEPTH_LIMIT))

    def _parts(self, depth: int) -> Iterator[bytes]:
        if depth == 0:
            raise BerError("a string is nested too deep")
        for part in self:
            if part.tag & CONSTRUCTED:
                yield from part._parts(depth - 1)  # noqa: SLF001 - of the same class
            else:
                yield self.reading.data[part.start : part.stop]

    def __iter__(self) -> Iterator["Element"]:
        """
        The encodings inside. Raises BerError.
        """
        position = self.start
        while position < self.stop:
            found = self.reading.element(position, self.stop)
            yield found
            position = found.end

    def parts(self, *tags: int) -> list["Element"]:
        """
        The first encodings inside, which must have these tags; 0 is any. Raises BerError.
        """
        # The tags first: what stands behind the wanted parts is not even read.
        found = [part for _, part in zip(tags, self, strict=False)]
        if len(found) < len(tags):
            raise BerError("an encoding has too few parts")
        for part, tag in zip(found, tags, strict=True):
            part.expect(tag)
        return found

    def expect(self, tag: int) -> "Element":
        """
        The element itself, if it has this tag; 0 is any. Raises BerError.
        """
        # A string is as good in several parts.
        if tag and self.tag != tag and (tag != OCTET_STRING or self.tag != OCTET_STRING | CONSTRUCTED):
            raise BerError(f"an encoding has tag {self.tag:#04x} where {tag:#04x} belongs")
        return self

    def number(self) -> int:
        """
        The value of an INTEGER. Raises BerError.
        """
        content = self.expect(INTEGER).content
        if not 0 < len(content) <= 8:
            raise BerError("a number is empty or too large")
        return int.from_bytes(content, signed=True)


def element(data: bytes, position: int = 0) -> Element:
    """
    The encoding at this position. Raises BerError.
    """
    return _Reading(data).element(position, len(data))


def dotted(identifier: bytes) -> str:
    """
    The content of an OBJECT IDENTIFIER as people write it (X.690 section 8.19); a long one is cut.
    """
    numbers, number = [], 0
    for octet in identifier[:64]:
        number = number << 7 | octet & 0x7F
        if not octet & 0x80:
            numbers.append(number)
            number = 0
    first = min(numbers[0] // 40, 2) if numbers else 0
    return ".".join(map(str, [first, numbers[0] - 40 * first, *numbers[1:]])) if numbers else "none"
