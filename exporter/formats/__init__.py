"""
Formats of files: bytes in, items out. One module each, one line each in the registry.

Pure: they open no file and read no clock. A file's format is told by its content, never by its name.
"""

from dataclasses import replace

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
)
"""In the order in which they are tried: the first that recognises the bytes reads them."""

ITEM_LIMIT = 5000
"""Items that one file may give. A large federation's metadata has more: it is for a program of its own."""

NAME_LIMIT = 128
"""Characters of an item's name that comes from a file (an alias)."""

DETAIL_PROBLEMS = 3
"""Problems of a file that are told one by one."""


def format_of(data: bytes) -> Format | None:
    """
    The format that the bytes are in; None when it is none of ours.
    """
    return next((one for one in FORMATS if one.recognises(data)), None)


def is_keystore(data: bytes) -> bool:
    """
    True when a password may be needed to read the bytes.
    """
    return any(one.recognises(data) for one in FORMATS if one.is_keystore)


def parse(data: bytes, given: Given) -> Parsed:
    """
    What is in these bytes, whatever they are: items whose names differ, and problems.
    """
    found = format_of(data)
    if found is None:
        words = "the file is empty" if not data.strip() else "this is no format that is known here"
        return Parsed(problems=(Problem(Reason.FORMAT_UNKNOWN, words),))
    return distinct(found.read(data, given))


def distinct(parsed: Parsed) -> Parsed:
    """
    The same with names of items that are bounded and differ, and no more items than the limit.
    """
    named: dict[str, Item] = {}
    used: dict[str, int] = {}
    for one in parsed.items[:ITEM_LIMIT]:
        # Printable, since it is shown to people; a file may hold anything.
        name = one.name[:NAME_LIMIT] or "?"
        if not name.isprintable():
            name = "".join(letter if letter.isprintable() else "?" for letter in name)
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
    if not parsed.items:
        there = ", ".join(parsed.lasting) or "nothing at all"
        return Problem(Reason.NOTHING_EXPIRES, f"there is nothing in it that expires: it holds {there}")
    return None
