"""
The issuances that a server of public logs told: read, bounded, and as they are remembered.

Of one domain some CDNs and test systems have tens of thousands: what is kept is enough to know the newest.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import astuple, replace
from typing import Any

from exporter.model.foreign_text import clean
from exporter.model.hosts import TargetError, normal_host
from exporter.model.issuance import Issuance

ALIKE = 8
"""Issuances with the same names and issuer that are kept: the newest."""


LIMIT = 10_000
"""Issuances of one source that are kept: the newest."""


NAMES_LIMIT = 100_000
"""Names on all of them together."""


NAMES_OF_ONE = 250
"""Names of one issuance. With more it is not compared: public CAs put 100 to 250 on a certificate."""


ISSUER_LIMIT = 500
"""Characters of an issuer's name."""


_ATTRIBUTE = re.compile(
    r"""\s*([A-Za-z][A-Za-z0-9-]*|\d+(?:\.\d+)+)\s*=\s*("(?:[^"\\]|\\.)*"|(?:[^,+"\\]|\\.)*)\s*(?:[,+]|$)"""
)
"""One attribute of a name as OpenSSL writes it: `O="Example, Inc.", ` (XN_FLAG_ONELINE) or RFC 4514."""


def issuance(
    names: Iterable[str], validity: tuple[float, float], issuer: str, reference: str, serial: str, key: str
) -> Issuance | None:
    """
    Return an issuance as a server describes it; None when it can't be compared.

    `serial` and `key` are hexadecimal, or empty. `issuer` is a name as OpenSSL or RFC 4514 writes it.
    """
    hosts = tuple(sorted(set(filter(None, map(_name, names)))))
    name = distinguished_name(issuer)
    if not hosts or len(hosts) > NAMES_OF_ONE or not name:
        return None
    organization = next((value for kind, value in reversed(name) if kind == "O"), "")
    text = ",".join(f"{kind}={_escaped(value)}" for kind, value in reversed(name))
    begin, end = validity
    serial, key = _hexadecimal(serial).lstrip("0"), _hexadecimal(key)
    return Issuance(hosts, begin, end, text, organization or text, serial, key, reference)


def _hexadecimal(text: str) -> str:
    """
    Return a number in lower case; empty for what is none.
    """
    return text.lower() if re.fullmatch(r"[0-9A-Fa-f]{1,64}", text := text.strip()) else ""


def _name(text: str) -> str:
    """
    Return a name as certificates have it; empty for what is none: an address, a person's name.
    """
    name = text.strip().lower().removesuffix(".")
    star, base = ("*.", name[2:]) if name.startswith("*.") else ("", name)
    try:
        return star + normal_host(base)
    except TargetError:
        return name if re.fullmatch(r"[a-z0-9_.-]{1,253}", name) else ""


def distinguished_name(text: str) -> list[tuple[str, str]]:
    """
    Return the attributes of a distinguished name, the least specific first; empty for what is none.
    """
    found: list[tuple[str, str]] = []
    text, place = text[:ISSUER_LIMIT], 0
    while place < len(text):
        match = _ATTRIBUTE.match(text, place)
        if match is None:
            return []
        kind, value = match[1].upper(), match[2].strip()
        if value.startswith('"'):
            value = value[1:-1]
        found.append((kind, clean(re.sub(r"\\(.)", r"\1", value), ISSUER_LIMIT)))
        place = match.end()
    # RFC 4514 begins with the most specific one. Of CAs that is the common name.
    return found[::-1] if found and found[0][0] == "CN" else found


def _escaped(value: str) -> str:
    """
    Return the value of an attribute as RFC 4514 section 2.4 writes it.
    """
    text = re.sub(r'([\\,+"<>;])', r"\\\1", value)
    return f"\\{text}" if text.startswith(("#", " ")) else text


def bounded(issuances: Iterable[Issuance], now: float) -> tuple[list[Issuance], int]:
    """
    Return the issuances that are kept at `now` (seconds since the epoch), each once, and how many that are
    valid are left out for there being too many in all.
    """
    groups: dict[tuple[tuple[str, ...], str], dict[Issuance, None]] = defaultdict(dict)
    for one in issuances:
        if one.not_after > now:
            groups[one.names, one.organization][one] = None
    kept = [
        one for group in groups.values() for one in sorted(group, key=lambda one: -one.not_before)[:ALIKE]
    ]
    kept.sort(key=lambda one: (-one.not_before, one.reference))
    names, taken = 0, 0
    for one in kept[:LIMIT]:
        names += len(one.names)
        if names > NAMES_LIMIT:
            break
        taken += 1
    return kept[:taken], len(kept) - taken


def merged(issuances: Iterable[Issuance]) -> list[Issuance]:
    """
    Return the issuances that several domains told, each once, with the names that any of them told.
    """
    found: dict[tuple[str, str, str, float], Issuance] = {}
    for one in issuances:
        mark = one.issuer, one.serial, one.reference if not one.serial else "", one.not_before
        names = {*one.names, *(found[mark].names if mark in found else ())}
        found[mark] = replace(one, names=tuple(sorted(names)))
    return list(found.values())


def to_json(issuances: Iterable[Issuance]) -> list[Any]:
    """
    Return the issuances as they are remembered.
    """
    return [list(astuple(one)) for one in issuances]


def from_json(value: Any) -> Iterator[Issuance]:
    """
    Yield the issuances that were remembered. Raises TypeError and ValueError for what are none.
    """
    for names, begin, end, *texts in value:
        issuer, organization, serial, key, reference = map(str, texts)
        if not names:
            raise ValueError("a certificate without a name")
        yield Issuance(
            tuple(map(str, names)), float(begin), float(end), issuer, organization, serial, key, reference
        )
