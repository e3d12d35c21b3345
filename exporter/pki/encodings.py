"""
Encodings of ASN.1 (X.690) as certificates, revocation lists and OCSP responses have them. Pure.

They must be DER. OpenSSL, Go and Java read more than that, and so does this: BER, and times of every form.
"""

import re
from collections.abc import Iterable
from datetime import UTC, datetime

BOOLEAN = 0x01


INTEGER = 0x02


OCTET_STRING = 0x04


UTF8_STRING = 0x0C


UTC_TIME = 0x17


GENERALIZED_TIME = 0x18


SEQUENCE = 0x30


SET = 0x31


_CONSTRUCTED = 0x20


_STRINGS = frozenset({OCTET_STRING, UTF8_STRING, *range(0x12, 0x1F)})
"""Tags of strings and times, which BER may encode in several parts (X.690 section 8.21)."""


_DEPTH_LIMIT = 16
"""How deep encodings that are written once more are nested at most; eight are usual."""


_COUNT_LIMIT = 10_000
"""Encodings that are written once more of one certificate; usual are some hundred."""


SOME_TIME = bytes((UTC_TIME, 13)) + b"500101000000Z"
"""A time that anything can read, for where it does not matter."""


# Times as RFC 5280 section 4.1.2.5 wants them, then as OpenSSL, Go, Java and devices read and write them.
# Seconds, a fraction and the offset from UTC may be there or not.
_STRICT_TIMES = {
    UTC_TIME: re.compile(rb"\d{12}Z"),
    GENERALIZED_TIME: re.compile(rb"\d{14}Z"),
}


_REST_OF_TIME = rb"(\d\d)(\d\d)(\d\d)(?:(\d\d)(?:(\d\d)(?:[.,]\d+)?)?)?(?:Z|([+-]\d\d)(\d\d)?)?"


TIMES = {
    UTC_TIME: re.compile(rb"(\d\d)" + _REST_OF_TIME),
    GENERALIZED_TIME: re.compile(rb"(\d{4})" + _REST_OF_TIME),
}


_CALENDAR = 400
"""Years after which the calendar repeats itself."""


_CALENDAR_SECONDS = 146_097 * 86_400


def read_time(time: bytes, what: str) -> tuple[float, str]:
    """
    Seconds since the epoch of a UTCTime or GeneralizedTime, and why strict clients refuse it, in words.

    What stands behind a whole second is left out, and a time of no zone is taken for UTC. Raises ValueError.
    """
    tag, digits = time[0], content(time)
    if tag not in TIMES:
        raise ValueError(f"its {what} is no date")
    shown = digits[:30].decode("ascii", "replace")
    found = TIMES[tag].fullmatch(digits)
    if found is None:
        raise ValueError(f"its {what} {shown!r} is no date")
    year, month, day, hour, minute, second, hours, minutes = (int(part or 0) for part in found.groups())
    if tag == UTC_TIME:
        year += 2000 if year < 50 else 1900
    # The calendar of the library begins with the year 1.
    shift = _CALENDAR if year == 0 else 0
    try:
        whole = datetime(year + shift, month, day, hour, minute, second, tzinfo=UTC).timestamp()
    except ValueError as error:
        raise ValueError(f"its {what} {shown!r} is no date: {error}") from None
    offset = hours * 3600 + (-minutes if found[7] and found[7].startswith(b"-") else minutes) * 60
    moment = whole - offset - (_CALENDAR_SECONDS if shift else 0)
    if _STRICT_TIMES[tag].fullmatch(digits) is None:
        form = "YYMMDDhhmmssZ" if tag == UTC_TIME else "YYYYMMDDhhmmssZ"
        return moment, f"its {what} {shown} is not of the form {form}"
    return moment, ""


def as_der(ber: bytes, *, ordered: bool = True) -> bytes:
    """
    The first encoding in BER once more, in DER as far as certificates need it (X.690 sections 10 and 11).

    Lengths are definite and short, strings are in one part, numbers short, and true is 0xFF. Sets are in
    order unless that is not wanted. Raises ValueError.
    """
    return _Again(ber, ordered=ordered).encoding(0, len(ber), _DEPTH_LIMIT)[0]


class _Again:
    """
    Writes an encoding once more.
    """

    def __init__(self, data: bytes, *, ordered: bool) -> None:
        self._data = data
        self._ordered = ordered
        self._left = _COUNT_LIMIT

    def encoding(self, position: int, limit: int, depth: int) -> tuple[bytes, int]:
        """
        The encoding at that position in DER, and where the next one begins. Raises ValueError.
        """
        self._left -= 1
        if not self._left or not depth:
            raise ValueError("it has too many parts, or parts that are nested too deep")
        data = self._data
        tag = data[position] if position < limit else 0
        start, end = _header(data, position, limit)
        if not tag & _CONSTRUCTED:
            if end is None:
                raise ValueError("an encoding has a length that nothing ends")
            return encode(tag, [_plain(tag, data[start:end])]), end
        parts = []
        position = start
        while position < end if end is not None else data[position : position + 2] != b"\0\0":
            part, position = self.encoding(position, limit if end is None else end, depth - 1)
            parts.append(part)
        following = position if end is not None else position + 2
        if tag ^ _CONSTRUCTED in _STRINGS:
            return encode(tag ^ _CONSTRUCTED, [content(part) for part in parts]), following
        return encode(tag, sorted(parts) if tag == SET and self._ordered else parts), following


def _plain(tag: int, inside: bytes) -> bytes:
    """
    The content of a primitive encoding as DER has it.
    """
    if tag == BOOLEAN and any(inside):
        return b"\xff"
    if tag == INTEGER:
        number = int.from_bytes(inside, signed=True)
        return number.to_bytes((number + (number < 0)).bit_length() // 8 + 1, signed=True)
    return inside


def content(encoding: bytes) -> bytes:
    """
    What is inside the first encoding. Raises ValueError.
    """
    start, end, _ = bounds(encoding, 0)
    return encoding[start:end]


def elements(encoding: bytes) -> list[bytes]:
    """
    The encodings inside a constructed encoding (X.690 section 8.1). Raises ValueError.
    """
    position, end, _ = bounds(encoding, 0)
    found = []
    while position < end:
        _, _, following = bounds(encoding, position)
        found.append(encoding[position:following])
        position = following
    return found


def bounds(data: bytes, position: int) -> tuple[int, int, int]:
    """
    Where the content of the encoding at that position begins and ends, and what follows it begins.

    Raises ValueError.
    """
    start, end = _header(data, position, len(data))
    if end is not None:
        return start, end, end
    # Counted, not nested: who sends this may nest it as deep as he likes.
    open_ones, position = 1, start
    while True:
        if data[position : position + 2] == b"\0\0":
            position += 2
            open_ones -= 1
            if not open_ones:
                return start, position - 2, position
            continue
        inside, after = _header(data, position, len(data))
        open_ones += after is None
        position = inside if after is None else after


def _header(data: bytes, position: int, limit: int) -> tuple[int, int | None]:
    """
    Where the content of the encoding at that position begins, and where it ends. Raises ValueError.

    None stands for the indefinite form, which two zero bytes end (X.690 section 8.1.3.6).
    """
    header = data[position : min(position + 2, limit)]
    if len(header) < 2 or header[0] & 0x1F == 0x1F:
        raise ValueError("an encoding is cut off or has a tag that certificates do not have")
    start, length = position + 2, header[1]
    if length == 0x80 and header[0] & _CONSTRUCTED:
        return start, None
    if length & 0x80:
        size = length & 0x7F
        if not 1 <= size <= 4:
            raise ValueError("an encoding has a length that certificates do not have")
        length = int.from_bytes(data[start : start + size])
        start += size
    if start + length > limit:
        raise ValueError("an encoding is cut off")
    return start, start + length


def encode(tag: int, parts: Iterable[bytes]) -> bytes:
    """
    The parts inside an encoding of that tag.
    """
    inside = b"".join(parts)
    length = len(inside)
    if length < 0x80:
        return bytes((tag, length)) + inside
    size = length.to_bytes((length.bit_length() + 7) // 8)
    return bytes((tag, 0x80 | len(size))) + size + inside
