r"""
Foreign text: what servers, files and programs say, made fit for a log, a label, a page and a terminal. Pure.

    printable("CN=\x1b[31mred")                          CN=\u001b[31mred
    clean("no such user:\r\n  hunter2", 200, ("hunter2",))  no such user: [hidden]
"""

import base64
import html
import json
import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from urllib.parse import quote, quote_plus

HIDDEN = "[hidden]"
"""Stands where a secret stood."""


READ_LIMIT = 65_536
"""Characters (or bytes) of a text that are looked at; what comes after them is dropped."""


PIECE = 8
"""Characters of a secret in a row that are hidden wherever they stand: servers show beginnings and ends."""


SHORTEST = 4
"""Characters of the shortest secret that is hidden inside of words: shorter ones are in every other word."""


_SHORT_ESCAPES = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}


def printable(text: str) -> str:
    r"""
    The text on one line, with nothing in it that a terminal, a browser or a parser of lines acts on.

    Controls (C0, C1, DEL), marks of direction, what has no width, line separators and what is no character
    become escapes: `\u001b`, `\u202e`. Bytes that were no UTF-8 (PEP 383) are shown as `\xff`. All kinds of
    blanks are a blank.
    """
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else _escape(one) for one in text)


def _escape(character: str) -> str:
    code = ord(character)
    if unicodedata.category(character) == "Zs":
        return " "
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return _SHORT_ESCAPES.get(character) or (f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}")


def bounded(text: str, limit: int) -> str:
    """
    The printable text, cut to so many characters; that it was cut is shown by `...` behind them.
    """
    shown = printable(text[: limit + 1])
    return shown if len(shown) <= limit else f"{shown[:limit]}..."


def quoted(text: str, limit: int) -> str:
    """
    A name that a stranger gave, in quotes: printable, and cut to so many characters.
    """
    return f"'{bounded(text, limit)}'"


def printable_lines(text: str) -> str:
    """
    The text with each of its lines made `printable`, for what quotes or keeps the ends of lines.
    """
    return text if text.isprintable() else "\n".join(map(printable, text.split("\n")))


def clean(text: str | bytes, limit: int, secrets: tuple[str, ...] = ()) -> str:
    """
    A stranger's words, for a person: one line, printable, at most `limit` characters and `...`.

    `secrets` are what that server or program was told in confidence: where it repeats one, or eight
    characters of it in a row, `[hidden]` stands instead, also in upper or lower case, and where it is encoded
    (base64, percent, JSON, HTML). One of four to seven characters is hidden wherever it stands whole, and a
    shorter one only where it is a whole word. An empty one is none.
    """
    if isinstance(text, bytes):
        text = text[:READ_LIMIT].decode("utf-8", "surrogateescape")
    text = " ".join(_without(text[:READ_LIMIT], secrets).split())
    return bounded(text, limit)


def holds(text: str, secrets: tuple[str, ...]) -> bool:
    """
    True when one of the secrets, or an encoding of it, stands in the text as a whole, in any case of letters.

    Those of less than eight characters are not looked for: they may be in any name.
    """
    folded = _folded(text)
    return any(form in folded for form in _forms(secrets) if len(form) >= PIECE)


def credentials(text: str | None) -> tuple[str, ...]:
    """
    What is secret of `user:password`, as it is sent to a server (RFC 7617); nothing of None.

    The name of the user alone is no secret.
    """
    if not text:
        return ()
    password = text.partition(":")[2]
    return (password, base64.b64encode(text.encode("utf-8", "surrogateescape")).decode("ascii"))


def _without(text: str, secrets: tuple[str, ...]) -> str:
    """
    The text with `[hidden]` for each run of characters that belong to secrets.
    """
    forms = _forms(secrets)
    if not forms:
        return text
    marked, folded = bytearray(len(text)), _folded(text)
    for form in forms:
        if len(form) < PIECE:
            pattern = re.escape(form) if len(form) >= SHORTEST else rf"(?<!\w){re.escape(form)}(?!\w)"
            for found in re.finditer(pattern, folded):
                marked[found.start() : found.end()] = b"\1" * len(form)
    pieces = _pieces(secrets)
    for begin in range(len(text) - PIECE + 1) if pieces else ():
        if folded[begin : begin + PIECE] in pieces:
            marked[begin : begin + PIECE] = b"\1" * PIECE
    return "".join(_with_holes(text, marked))


def _with_holes(text: str, marked: bytearray) -> Iterator[str]:
    position = 0
    # Bytes are searched by the same indices as the text.
    for found in re.finditer(b"\1+", marked):
        yield text[position : found.start()]
        yield HIDDEN
        position = found.end()
    yield text[position:]


@lru_cache(maxsize=8)
def _forms(secrets: tuple[str, ...]) -> frozenset[str]:
    """
    The secrets as they may be repeated, in lower case.
    """
    return frozenset(_folded(form) for secret in secrets for form in _encodings(secret) if form)


def _folded(text: str) -> str:
    """
    The text in lower case, every character at its place.
    """
    if text.isascii():
        return text.lower()
    return "".join(low if len(low := one.lower()) == 1 else one for one in text)


@lru_cache(maxsize=8)
def _pieces(secrets: tuple[str, ...]) -> frozenset[str]:
    """
    All runs of PIECE characters of the longer forms.
    """
    return frozenset(
        form[begin : begin + PIECE] for form in _forms(secrets) for begin in range(len(form) - PIECE + 1)
    )


def _encodings(secret: str) -> Iterator[str]:
    yield secret
    yield " ".join(secret.split())
    yield quote(secret, safe="", errors="surrogateescape")
    yield quote_plus(secret, errors="surrogateescape")
    yield json.dumps(secret)[1:-1]
    yield html.escape(secret)
    yield repr(secret)[1:-1]
    data = secret.encode("utf-8", "surrogateescape")
    if len(data) < SHORTEST:
        return
    yield data.hex()
    # As a whole, with what fills it up at the end.
    yield base64.b64encode(data).decode("ascii")
    yield base64.urlsafe_b64encode(data).decode("ascii")
    for before in range(3):
        # Inside of a longer text (`user:password`) it begins at any of three places of a group of four. What
        # depends on its neighbours is left out.
        encoded = base64.b64encode(b"\0" * before + data).decode("ascii")
        whole = encoded[(0, 2, 3)[before] : (before + len(data)) * 8 // 6]
        yield whole
        yield whole.translate(_URL_SAFE)


_URL_SAFE = str.maketrans("+/", "-_")
"""RFC 4648 section 5."""
