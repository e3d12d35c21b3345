r"""
Foreign text: text from servers, files and programs, made fit for logs, labels, pages and terminals. Pure.

    printable("CN=\x1b[31mred")                          CN=\u001b[31mred
    clean("no such user:\r\n  hunter2", 200, ("hunter2",))  no such user: [hidden]
"""

import base64
import binascii
import html
import json
import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from urllib.parse import quote, quote_plus

HIDDEN = "[hidden]"
"""Replaces a secret in a text."""


READ_LIMIT = 65_536
"""Most characters (or bytes) of a text that are used; the rest is dropped."""


PIECE = 8
"""
Length in characters of the parts of a secret that are hidden anywhere: servers show beginnings and ends.
"""


SHORTEST = 4
"""
Length in characters of the shortest secret that is hidden inside words: shorter ones are in every other word.
"""


_SHORT_ESCAPES = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}


def printable(text: str) -> str:
    r"""
    Return the text on one line, without characters that a terminal, a browser or a line parser acts on.

    Controls (C0, C1, DEL), marks of direction, zero-width characters, line separators and noncharacters
    become escapes: `\u001b`, `\u202e`. Bytes that were not UTF-8 (PEP 383) become `\xff`. Any blank becomes a
    space.
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
    Return the printable text in at most `limit` characters, and `...` behind them if it was cut.
    """
    shown = printable(text[: limit + 1])
    return shown if len(shown) <= limit else f"{shown[:limit]}..."


def quoted(text: str, limit: int) -> str:
    """
    Return a foreign name in quotes: printable, and cut to at most `limit` characters.
    """
    return f"'{bounded(text, limit)}'"


def printable_lines(text: str) -> str:
    """
    Return the text with each line made `printable`, and the line ends kept.
    """
    return text if text.isprintable() else "\n".join(map(printable, text.split("\n")))


def clean(text: str | bytes, limit: int, secrets: tuple[str, ...] = ()) -> str:
    """
    Return foreign text for a person: one line, printable, at most `limit` characters and `...`.

    `secrets` are those that the server or program was given: where it repeats one, or eight characters of it
    in a row, `[hidden]` stands instead, also in upper or lower case, and where it is encoded (base64,
    percent, JSON, HTML). One of four to seven characters is hidden wherever it stands whole, and a shorter
    one only where it is a whole word. An empty one hides nothing.
    """
    if isinstance(text, bytes):
        text = text[:READ_LIMIT].decode("utf-8", "surrogateescape")
    text = " ".join(_without(text[:READ_LIMIT], secrets).split())
    return bounded(text, limit)


def holds(text: str, secrets: tuple[str, ...]) -> bool:
    """
    Return True when a whole secret, or an encoding of it, is in the text, ignoring case.

    Secrets of fewer than eight characters are ignored: they may be in any name.
    """
    folded = _folded(text)
    return any(form in folded for form in _forms(secrets) if len(form) >= PIECE)


def credentials(text: str | None) -> tuple[str, ...]:
    """
    Return the secrets in `user:password`: the password, and the encoding of both for HTTP (RFC 7617).

    The user's name alone is no secret. Empty for None or an empty text.
    """
    if not text:
        return ()
    password = text.partition(":")[2]
    return (password, base64.b64encode(text.encode("utf-8", "surrogateescape")).decode("ascii"))


def of_authorization(header: str) -> tuple[str, ...]:
    """
    Return the secrets in an Authorization header: a token (RFC 6750), or a password with its encoding (RFC
    7617).
    """
    scheme, _, sent = header.partition(" ")
    if scheme.lower() != "basic":
        return (sent,) if sent else ()
    try:
        return credentials(base64.b64decode(sent, validate=True).decode("utf-8", "surrogateescape"))
    except binascii.Error:
        return (sent,)


def _without(text: str, secrets: tuple[str, ...]) -> str:
    """
    Return the text with `[hidden]` for each run of characters that belong to secrets.
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
    Return the forms in which the secrets may be repeated, in lower case.
    """
    return frozenset(_folded(form) for secret in secrets for form in _encodings(secret) if form)


def _folded(text: str) -> str:
    """
    Return the text in lower case, with every character at its place.
    """
    if text.isascii():
        return text.lower()
    return "".join(low if len(low := one.lower()) == 1 else one for one in text)


@lru_cache(maxsize=8)
def _pieces(secrets: tuple[str, ...]) -> frozenset[str]:
    """
    Return all runs of PIECE characters of the longer forms.
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
