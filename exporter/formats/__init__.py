"""
Formats of files: bytes in, items out. One module and one line in the registry for each.

Pure: they open no file and read no clock. The format is recognised by the content, never by the file's name.
"""

import logging
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from exporter.formats import bouncy_castle, der, jks, json_keys, kubeconfig, pem, pkcs12, saml, ssh, traefik
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
    traefik.FORMAT,
    json_keys.FORMAT,
    saml.FORMAT,
    kubeconfig.FORMAT,
    ssh.KEYS,
    pem.LOOSE,
)
"""In the order in which they are tried: the first that recognises the bytes parses them."""


ITEM_LIMIT = 5000
"""Items from one file at most. A large federation's metadata has more: it is for a program of its own."""


NAME_LIMIT = 128
"""Characters of an item's name that comes from a file (an alias)."""


DETAIL_PROBLEMS = 3
"""Problems of a file that are reported one by one."""


_UTF8_MARK = b"\xef\xbb\xbf"


_UTF16_MARKS = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}


_DAMAGED = 10
"""Damaged characters of UTF-16 that are accepted."""


_GZIP = b"\x1f\x8b\x08"


_BASE64_SEQUENCE = b"MI"
"""The begin of base64 for a SEQUENCE whose length takes more than one byte."""


_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/= \t\n\r\v\f"

_CONTROLS = bytes(byte for byte in (*range(0x20), 0x7F) if byte not in b"\t\n\v\f\r\x1b")

_ENDED = Problem(
    Reason.FILE_TOO_LARGE,
    "reading it takes too long and was ended: what stands further behind is not watched",
)


_REPORTS = 100
"""Internal errors that are logged at most."""


_reported: set[tuple[str, str, int]] = set()
"""Type, file and line of the internal errors that were logged already."""


@dataclass(frozen=True, slots=True)
class Recognised:
    """
    The content of a file with its format.
    """

    data: bytes = field(repr=False)
    """The content as the format parses it: text is UTF-8 without a byte order mark."""
    format: Format | None
    """None when no known format recognises it."""
    words: str = ""
    """A description of content in no known format, for a person."""

    @property
    def is_keystore(self) -> bool:
        """
        True when a password may be needed.
        """
        return self.format is not None and self.format.is_keystore

    def read(self, given: ParseContext) -> Parsed:
        """
        Return the items, whose names differ, and the problems. Raises nothing: an internal error becomes a
        problem.
        """
        if self.format is None:
            problem = Problem(Reason.FORMAT_UNKNOWN, self.words, lasts=_is_plain_text(self.data))
            return Parsed(problems=(problem,))
        try:
            parsed = self.format.read(self.data, given)
        except Exception as error:  # noqa: BLE001 - it is logged
            # No file may keep the others from being parsed, whatever bug there is.
            _report(error)
            words = (
                f"the exporter failed at reading this as {self.format.name} ({type(error).__name__}): "
                "please report it with the traceback in the exporter's log"
            )
            parsed = Parsed(problems=(Problem(Reason.FORMAT_BROKEN, words),))
        return distinct(parsed, given.budget)


def recognised(data: bytes) -> Recognised:
    """
    Return the content with its format.
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
    Return text as UTF-8 without the byte order mark that Windows writes; everything else unchanged.

    The mark is no part of the content, and it is how UTF-16 (from PowerShell's `>`) is recognised.
    """
    if data.startswith(_UTF8_MARK):
        return data[len(_UTF8_MARK) :]
    encoding = _UTF16_MARKS.get(data[:2])
    if encoding is not None:
        return _text(memoryview(data)[2:], encoding).encode()
    return data


def _text(data: memoryview, encoding: str) -> str:
    """
    Return the text in these bytes, with U+FFFD for damaged characters. After too many of them it is cut off.
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
    Return True for text that is no remainder of a certificate: no control bytes, no END line, no base64.
    """
    text = data.strip()
    if not text or b"-----" in text or text.translate(None, _CONTROLS) != text:
        return False
    return not text.startswith(_BASE64_SEQUENCE) or bool(text.translate(None, _BASE64))


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
    Log an internal error: once for each place in the code, however many files lead to it.
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
    Return the DER bytes of base64 without BEGIN and END; None unless they are one encoding.
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
    Return the items of a file's content in any format, with names that differ, and the problems.
    """
    return recognised(data).read(given)


def distinct(parsed: Parsed, budget: Budget) -> Parsed:
    """
    Return the result with item names that are bounded and unique, and no more items than ITEM_LIMIT.

    A problem is added once when the budget is spent.
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
