"""
Formats of files: bytes in, items out. One module each, one line each in the registry.

Pure: they open no file and read no clock. A file's format is told by its content, never by its name.
"""

import logging
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from exporter.formats import bouncy_castle, der, jks, json_keys, kubeconfig, pem, pkcs12, saml, ssh
from exporter.formats.budget import Budget
from exporter.formats.parsed import Format, ParseContext, Parsed, Problem, from_base64, renamed
from exporter.model.foreign_text import printable
from exporter.model.reasons import Reason

if TYPE_CHECKING:
    from exporter.model.observation import Item

logger = logging.getLogger(__name__)


FORMATS: tuple[Format, ...] = (
    pem.FORMAT,
    jks.FORMAT,
    bouncy_castle.FORMAT,
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


_UTF16_MARKS = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}


_DAMAGED = 10
"""Damaged places of UTF-16 that are read over."""


_GZIP = b"\x1f\x8b\x08"


_BASE64_SEQUENCE = b"MI"
"""What base64 of a SEQUENCE begins with whose length takes more than one byte."""


_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/= \t\n\r\v\f"

_CONTROLS = bytes(byte for byte in (*range(0x20), 0x7F) if byte not in b"\t\n\v\f\r\x1b")

_ENDED = Problem(
    Reason.FILE_TOO_LARGE,
    "reading it takes too long and was ended: what stands further behind is not watched",
)


_REPORTS = 100
"""Faults of our own that are logged."""


_reported: set[tuple[str, str, int]] = set()
"""Where which errors came from that were logged already."""


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

    def read(self, given: ParseContext) -> Parsed:
        """
        What is in the bytes: items whose names differ, and problems.
        """
        if self.format is None:
            problem = Problem(Reason.FORMAT_UNKNOWN, self.words, lasts=_is_plain_text(self.data))
            return Parsed(problems=(problem,))
        try:
            parsed = self.format.read(self.data, given)
        except Exception as error:  # noqa: BLE001 - it is logged
            # No file may stop the others from being seen, whatever we overlooked.
            _report(error)
            words = (
                f"the exporter failed at reading this as {self.format.name} ({type(error).__name__}): "
                "please report it with the traceback in the exporter's log"
            )
            parsed = Parsed(problems=(Problem(Reason.FORMAT_BROKEN, words),))
        return distinct(parsed, given.budget)


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
    encoding = _UTF16_MARKS.get(data[:2])
    if encoding is not None:
        return _text(memoryview(data)[2:], encoding).encode()
    return data


def _text(data: memoryview, encoding: str) -> str:
    """
    The text in these bytes, with a mark for what is damaged. After much damage it is given up.
    """
    parts: list[str] = []
    for _ in range(_DAMAGED):
        try:
            parts.append(str(data, encoding))
            break
        except UnicodeDecodeError as error:
            parts += (str(data[: error.start], encoding), "\ufffd")
            data = data[error.end :]
    return "".join(parts)


def _is_plain_text(data: bytes) -> bool:
    """
    True for text that is no remainder of a certificate: no bytes that text has not, no END line, no base64.
    """
    text = data.strip()
    if not text or b"-----" in text or text.translate(None, _CONTROLS) != text:
        return False
    return not text.startswith(_BASE64_SEQUENCE) or bool(text.translate(None, _BASE64))


def format_of(data: bytes) -> Format | None:
    """
    The format that the bytes are in; None when it is none of ours.
    """
    return recognised(data).format


def _first(data: bytes) -> Format | None:
    return next((one for one in FORMATS if _recognises(one, data)), None)


def _recognises(one: Format, data: bytes) -> bool:
    try:
        return one.recognises(data)
    except Exception as error:  # noqa: BLE001 - it is logged
        _report(error)
        return False


def _report(error: Exception) -> None:
    """
    Log a fault of ours: once for each place, however often files lead there.
    """
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = trace.tb_frame.f_code.co_filename if trace is not None else ""
    key = (type(error).__name__, place, trace.tb_lineno if trace is not None else 0)
    if key not in _reported and len(_reported) < _REPORTS:
        _reported.add(key)
        logger.error("internal error while reading a format", exc_info=error)


def _bare_base64(data: bytes) -> bytes | None:
    """
    What base64 without BEGIN and END encodes; None unless it is an encoding (DER).
    """
    text = data.strip()
    if not text.startswith(_BASE64_SEQUENCE) or text.translate(None, _BASE64):
        return None
    try:
        return from_base64(text)
    except ValueError:
        return None


def parse(data: bytes, given: ParseContext) -> Parsed:
    """
    What is in these bytes, whatever they are: items whose names differ, and problems.
    """
    return recognised(data).read(given)


def distinct(parsed: Parsed, budget: Budget) -> Parsed:
    """
    The same with names of items that are bounded and differ, and no more items than the limit.

    That the budget is spent is told, once.
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
    if budget.is_spent and _ENDED not in problems:
        problems = (*problems, _ENDED)
    if len(parsed.items) > ITEM_LIMIT:
        words = f"it holds {len(parsed.items)} things that expire; the first {ITEM_LIMIT} are watched"
        problems = (*problems, Problem(Reason.FILE_TOO_LARGE, words))
    items = tuple(named.values())
    if items == parsed.items and problems is parsed.problems:
        return parsed
    return replace(parsed, items=items, problems=problems)
