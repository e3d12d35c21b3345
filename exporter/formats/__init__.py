"""
Formats of files: bytes in, items out. One module each, one line each in the registry.

Pure: they open no file and read no clock. A file's format is told by its content, never by its name.
"""

import base64
import binascii
import re
from dataclasses import dataclass, field, replace

from exporter.foreign_text import printable
from exporter.formats import der, jks, json_keys, kubeconfig, pem, pkcs12, saml, ssh
from exporter.formats.parsed import Format, Given, Parsed, Problem, renamed
from exporter.observation import Item, Reason

FORMATS: tuple[Format, ...] = (
    pem.FORMAT,
    jks.FORMAT,
    pkcs12.FORMAT,
    der.FORMAT,
    ssh.FORMAT,
    json_keys.FORMAT,
    saml.FORMAT,
    kubeconfig.FORMAT,
    ssh.KEYS,
    pem.LOOSE,
)
"""In the order in which they are tried: the first that recognises the bytes reads them."""

ITEM_LIMIT = 5000
"""Items that one file may give. A large federation's metadata has more: it is for a program of its own."""

NAME_LIMIT = 128
"""Characters of an item's name that comes from a file (an alias)."""

DETAIL_PROBLEMS = 3
"""Problems of a file that are told one by one."""


_UTF8_MARK = b"\xef\xbb\xbf"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_GZIP = b"\x1f\x8b\x08"
_BASE64_SEQUENCE = b"MI"
"""What base64 of a SEQUENCE begins with whose length takes more than one byte."""
_BASE64 = re.compile(rb"[A-Za-z0-9+/=\s]+")


@dataclass(frozen=True, slots=True)
class Recognised:
    """
    Bytes whose format was looked for.
    """

    data: bytes = field(repr=False)
    """As the format reads them: text is UTF-8 without a byte order mark."""
    format: Format | None
    """None when it is none of ours."""
    words: str = ""
    """What the bytes are when it is none of ours, for a person."""

    @property
    def is_keystore(self) -> bool:
        """
        True when a password may be needed.
        """
        return self.format is not None and self.format.is_keystore

    def read(self, given: Given) -> Parsed:
        """
        What is in the bytes: items whose names differ, and problems.
        """
        if self.format is None:
            return Parsed(problems=(Problem(Reason.FORMAT_UNKNOWN, self.words),))
        return distinct(self.format.read(self.data, given))


def recognised(data: bytes) -> Recognised:
    """
    The bytes with the format that they are in.
    """
    plain = without_mark(data)
    found = _first(plain)
    if found is not None:
        return Recognised(plain, found)
    decoded = _bare_base64(plain)
    if decoded is not None and (found := _first(decoded)) is not None:
        return Recognised(decoded, found)
    if not plain.strip():
        return Recognised(plain, None, "the file is empty")
    if plain.startswith(_GZIP):
        return Recognised(plain, None, "this is compressed (gzip), and is not unpacked here")
    kind = "UTF-16 text" if data[:2] in _UTF16_MARKS else "this"
    return Recognised(plain, None, f"{kind} is no format that is known here")


def without_mark(data: bytes) -> bytes:
    """
    Text as UTF-8 without the byte order mark that Windows writes; everything else as it is.

    A mark is no part of what it precedes, and UTF-16 (what PowerShell's `>` writes) is told by it.
    """
    if data.startswith(_UTF8_MARK):
        return data[len(_UTF8_MARK) :]
    if data[:2] in _UTF16_MARKS:
        return data.decode("utf-16", "replace").encode("utf-8")
    return data


def format_of(data: bytes) -> Format | None:
    """
    The format that the bytes are in; None when it is none of ours.
    """
    return recognised(data).format


def _first(data: bytes) -> Format | None:
    return next((one for one in FORMATS if one.recognises(data)), None)


def _bare_base64(data: bytes) -> bytes | None:
    """
    What base64 without BEGIN and END encodes; None unless it is an encoding (DER).
    """
    text = data.strip()
    if not text.startswith(_BASE64_SEQUENCE) or _BASE64.fullmatch(text) is None:
        return None
    try:
        return base64.b64decode(b"".join(text.split()), validate=True)
    except binascii.Error:
        return None


def parse(data: bytes, given: Given) -> Parsed:
    """
    What is in these bytes, whatever they are: items whose names differ, and problems.
    """
    return recognised(data).read(given)


def distinct(parsed: Parsed) -> Parsed:
    """
    The same with names of items that are bounded and differ, and no more items than the limit.
    """
    named: dict[str, Item] = {}
    used: dict[str, int] = {}
    for one in parsed.items[:ITEM_LIMIT]:
        # Printable, since it is shown to people; a file may hold anything.
        name = printable(one.name[:NAME_LIMIT])[:NAME_LIMIT] or "?"
        plain = name
        while name in named:
            used[plain] = used.get(plain, 1) + 1
            name = f"{plain}-{used[plain]}"
        named[name] = one if name == one.name else renamed(one, name)
    problems = parsed.problems
    if len(parsed.items) > ITEM_LIMIT:
        words = f"it holds {len(parsed.items)} things that expire; the first {ITEM_LIMIT} are watched"
        problems = (*problems, Problem(Reason.FILE_TOO_LARGE, words))
    items = tuple(named.values())
    if items == parsed.items and problems is parsed.problems:
        return parsed
    return replace(parsed, items=items, problems=problems)


def failure(parsed: Parsed) -> Problem | None:
    """
    All that is wrong with a file in one; None when nothing is.
    """
    if parsed.problems:
        first = parsed.problems[0]
        words = "; ".join(one.detail for one in parsed.problems[:DETAIL_PROBLEMS])
        more = len(parsed.problems) - DETAIL_PROBLEMS
        return Problem(first.reason, f"{words}; and {more} more" if more > 0 else words)
    if not parsed.items and not parsed.faults:
        there = ", ".join(parsed.lasting) or "nothing at all"
        return Problem(Reason.NOTHING_EXPIRES, f"there is nothing in it that expires: it holds {there}")
    return None
