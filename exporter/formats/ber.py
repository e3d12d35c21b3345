"""
BER (X.690), as far as certificates, keystores and signed data need it. Pure.

Unlike DER it has lengths that are only known at the end, and strings in several parts: what Windows and
Java write keystores and PKCS#7 with.
"""

from collections.abc import Iterator
from dataclasses import dataclass

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

COUNT_LIMIT = 100_000
"""Encodings that are read inside of one."""


class BerError(ValueError):
    """
    Bytes that are not BER, or not the BER that is wanted.
    """


@dataclass(frozen=True, slots=True)
class Element:
    """
    One encoding inside of some bytes.
    """

    data: bytes
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
        return self.data[self.begin : self.end]

    @property
    def content(self) -> bytes:
        """
        What is inside; of a string in several parts, these together. Raises BerError.
        """
        if self.tag & ~CONSTRUCTED not in {OCTET_STRING, 0x80} or not self.tag & CONSTRUCTED:
            return self.data[self.start : self.stop]
        return b"".join(self._parts(DEPTH_LIMIT))

    def _parts(self, depth: int) -> Iterator[bytes]:
        if depth == 0:
            raise BerError("a string is nested too deep")
        for part in self:
            if part.tag & CONSTRUCTED:
                yield from part._parts(depth - 1)  # noqa: SLF001 - of the same class
            else:
                yield part.data[part.start : part.stop]

    def __iter__(self) -> Iterator["Element"]:
        """
        The encodings inside. Raises BerError.
        """
        position = self.start
        for _ in range(COUNT_LIMIT):
            if position >= self.stop:
                return
            found = _element(self.data, position, self.stop, DEPTH_LIMIT)
            yield found
            position = found.end
        raise BerError(f"more than {COUNT_LIMIT} encodings are inside of one")

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
    return _element(data, position, len(data), DEPTH_LIMIT)


def _element(data: bytes, begin: int, limit: int, depth: int) -> Element:
    if begin + 2 > limit:
        raise BerError("an encoding is cut off")
    tag, length = data[begin], data[begin + 1]
    if tag & 0x1F == 0x1F:
        raise BerError("an encoding has a tag of several bytes")
    start = begin + 2
    if length == 0x80:
        return _endless(data, begin, limit, depth)
    if length > 0x80:
        size = length & 0x7F
        if size > 4:
            raise BerError("an encoding has a length of more than four bytes")
        if start + size > limit:
            raise BerError("an encoding is cut off")
        length = int.from_bytes(data[start : start + size])
        start += size
    if start + length > limit:
        raise BerError("an encoding is cut off")
    return Element(data, tag, begin, start, start + length, start + length)


def _endless(data: bytes, begin: int, limit: int, depth: int) -> Element:
    """
    An encoding of indefinite length, which two zero bytes end (X.690 section 8.1.3.6).
    """
    tag = data[begin]
    if not tag & CONSTRUCTED or depth == 0:
        raise BerError("an encoding has no length, or is nested too deep")
    position = begin + 2
    for _ in range(COUNT_LIMIT):
        if data[position : position + 2] == b"\0\0":
            return Element(data, tag, begin, begin + 2, position, position + 2)
        position = _element(data, position, limit, depth - 1).end
    raise BerError(f"more than {COUNT_LIMIT} encodings are inside of one")
