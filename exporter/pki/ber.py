"""
BER and DER (X.690), as far as certificates, keystores, signed data and LDAP need them. Pure.

Unlike DER, BER has lengths that are only known at the end, and strings in several parts: what Windows and
Java write keystores and PKCS#7 with. `Element` is for walking through such bytes; `elements`, `content` and
`encode` are for taking an encoding apart and writing it again.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

BOOLEAN = 0x01


INTEGER = 0x02


BIT_STRING = 0x03


OCTET_STRING = 0x04


OBJECT_IDENTIFIER = 0x06


ENUMERATED = 0x0A


UTF8_STRING = 0x0C


UTC_TIME = 0x17


GENERALIZED_TIME = 0x18


UNIVERSAL_STRING = 0x1C


BMP_STRING = 0x1E


SEQUENCE = 0x30


SET = 0x31


CONSTRUCTED = 0x20


DEPTH_LIMIT = 64
"""Levels of encodings without a length that may be nested."""


COUNT_LIMIT = 250_000
"""Encodings that are read in the same bytes, all in all."""


_STRINGS = frozenset({OCTET_STRING, UTF8_STRING, *range(0x12, 0x1F)})
"""Tags of strings and times, which BER may encode in several parts (X.690 section 8.21)."""


_AGAIN_DEPTH_LIMIT = 16
"""Levels of encodings that may be nested when they are written again; eight are usual."""


_AGAIN_COUNT_LIMIT = 20_000
"""Encodings that are read to write one certificate once more; usual are some hundred."""


class BerError(ValueError):
    """
    Bytes that are not BER, or not the BER that is wanted.
    """


class CutOffError(BerError):
    """
    Bytes that are no whole encoding, and may be the begin of one.
    """

    def __init__(self, needed: int) -> None:
        super().__init__("an encoding is cut off")
        self.needed = needed
        """The number of bytes that are needed, as far as it is known by now."""


def header(data: bytes, position: int, limit: int) -> tuple[int, int | None]:
    """
    Return where the content of the encoding at this position begins, and where it ends, before the limit.

    None stands for the indefinite form, which two zero bytes end (X.690 section 8.1.3.6). Raises BerError.
    """
    if position + 2 > limit:
        raise CutOffError(position + 2)
    tag, length, start = data[position], data[position + 1], position + 2
    if tag & 0x1F == 0x1F:
        raise BerError("an encoding has a tag of several bytes")
    if length == 0x80:
        return start, None
    if length > 0x80:
        size = length & 0x7F
        if size > 4:
            raise BerError("an encoding has a length of more than four bytes")
        if start + size > limit:
            raise CutOffError(start + size)
        length = int.from_bytes(data[start : start + size])
        start += size
    if start + length > limit:
        raise CutOffError(start + length)
    return start, start + length


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
        Return the encoding at this position, which ends before the limit. Raises BerError.
        """
        self.left -= 1
        if self.left < 0:
            raise BerError("an encoding has too many parts")
        start, stop = header(self.data, begin, limit)
        if stop is None:
            stop = self._end(begin, limit, depth)
            return Element(self, self.data[begin], begin, start, stop, stop + 2)
        return Element(self, self.data[begin], begin, start, stop, stop)

    def _end(self, begin: int, limit: int, depth: int) -> int:
        """
        Return where two zero bytes end an encoding of indefinite length (X.690 section 8.1.3.6). Raises
        BerError.
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
            raise CutOffError(position + 2)
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
        Return the content; of a string in several parts, all of them joined. Raises BerError.
        """
        if self.tag & ~CONSTRUCTED in {OCTET_STRING, 0x80}:
            return self.joined()
        return self.reading.data[self.start : self.stop]

    def joined(self, depth: int = DEPTH_LIMIT) -> bytes:
        """
        Return the content of a string, in one part or in several. Raises BerError.
        """
        if not self.tag & CONSTRUCTED:
            return self.reading.data[self.start : self.stop]
        if depth == 0:
            raise BerError("a string is nested too deep")
        return b"".join(part.joined(depth - 1) for part in self)

    def __iter__(self) -> Iterator["Element"]:
        """
        Yield the encodings inside. Raises BerError.
        """
        position = self.start
        while position < self.stop:
            found = self.reading.element(position, self.stop)
            yield found
            position = found.end

    def parts(self, *tags: int) -> list["Element"]:
        """
        Return the first encodings inside, which must have these tags; 0 is any. Raises BerError.
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
        Return the element itself, if it has this tag; 0 is any. Raises BerError.
        """
        # A string is as good in several parts.
        if tag and self.tag != tag and (tag != OCTET_STRING or self.tag != OCTET_STRING | CONSTRUCTED):
            raise BerError(f"an encoding has tag {self.tag:#04x} where {tag:#04x} belongs")
        return self

    def number(self) -> int:
        """
        Return the value of an INTEGER. Raises BerError.
        """
        content = self.expect(INTEGER).content
        if not 0 < len(content) <= 8:
            raise BerError("a number is empty or too large")
        return int.from_bytes(content, signed=True)


def element(data: bytes, position: int = 0) -> Element:
    """
    Return the encoding at this position. Raises BerError.
    """
    return _Reading(data).element(position, len(data))


def dotted(identifier: bytes) -> str:
    """
    Return the content of an OBJECT IDENTIFIER as people write it (X.690 section 8.19); a long one is cut.
    """
    numbers, number = [], 0
    for octet in identifier[:64]:
        number = number << 7 | octet & 0x7F
        if not octet & 0x80:
            numbers.append(number)
            number = 0
    first = min(numbers[0] // 40, 2) if numbers else 0
    return ".".join(map(str, [first, numbers[0] - 40 * first, *numbers[1:]])) if numbers else "none"


def bounds(data: bytes, position: int) -> tuple[int, int, int]:
    """
    Return where the content of the encoding at that position begins and ends, and where the next encoding
    begins.

    Raises BerError.
    """
    start, stop = header(data, position, len(data))
    if stop is not None:
        return start, stop, stop
    found = element(data, position)
    return found.start, found.stop, found.end


def content(encoding: bytes) -> bytes:
    """
    Return the content of the first encoding. Raises ValueError.
    """
    start, end, _ = bounds(encoding, 0)
    return encoding[start:end]


def elements(encoding: bytes) -> list[bytes]:
    """
    Return the encodings inside a constructed encoding (X.690 section 8.1). Raises ValueError.
    """
    position, end, _ = bounds(encoding, 0)
    found, size = [], len(encoding)
    while position < end:
        following = size + 1
        # Most have a tag and a length of one byte each.
        if position + 1 < size and encoding[position] & 0x1F != 0x1F and encoding[position + 1] < 0x80:
            following = position + 2 + encoding[position + 1]
        if following > size:
            _, _, following = bounds(encoding, position)
        found.append(encoding[position:following])
        position = following
    return found


def encode(tag: int, parts: Iterable[bytes]) -> bytes:
    """
    Return an encoding of that tag with these parts as its content.
    """
    inside = b"".join(parts)
    length = len(inside)
    if length < 0x80:
        return bytes((tag, length)) + inside
    size = length.to_bytes((length.bit_length() + 7) // 8)
    return bytes((tag, 0x80 | len(size))) + size + inside


def as_der(ber: bytes, *, ordered: bool = True) -> bytes:
    """
    Return the first encoding in BER as DER, as far as certificates need it (X.690 sections 10 and 11).

    Lengths are definite and short, strings are in one part, numbers short, and true is 0xFF. Sets are sorted
    unless `ordered` is false. Raises BerError.
    """
    return _again(_Reading(ber, left=_AGAIN_COUNT_LIMIT).element(0, len(ber)), _AGAIN_DEPTH_LIMIT, ordered)


def _again(one: Element, depth: int, ordered: bool) -> bytes:
    if depth == 0:
        raise BerError("an encoding is nested too deep")
    if not one.tag & CONSTRUCTED:
        return encode(one.tag, [_plain(one.tag, one.content)])
    if one.tag ^ CONSTRUCTED in _STRINGS:
        return encode(one.tag ^ CONSTRUCTED, [one.joined()])
    parts = [_again(part, depth - 1, ordered) for part in one]
    return encode(one.tag, sorted(parts) if ordered and one.tag == SET else parts)


def _plain(tag: int, inside: bytes) -> bytes:
    """
    Return the content of a primitive encoding as DER has it.
    """
    if tag == BOOLEAN and any(inside):
        return b"\xff"
    if tag == INTEGER:
        number = int.from_bytes(inside, signed=True)
        return number.to_bytes((number + (number < 0)).bit_length() // 8 + 1, signed=True)
    return inside
