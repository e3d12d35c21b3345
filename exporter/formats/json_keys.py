"""
JSON Web Key Sets (RFC 7517): the certificates that keys carry (`x5c`), as in SPIFFE trust bundles. Pure.
"""

from typing import TYPE_CHECKING, Any

from exporter.formats.parsed import Findings, Format, ParseContext, Parsed, Problem, from_base64
from exporter.model import foreign_json
from exporter.model.foreign_text import quoted
from exporter.model.reasons import Reason

if TYPE_CHECKING:
    from exporter.model.observation import Certificate


SIZE_LIMIT = 4 * 1024 * 1024
"""Bytes of a key set: parsing JSON takes a hundred times as much memory."""


def recognises(data: bytes) -> bool:
    """
    Return True for a JSON object with a list of keys, or one key alone.
    """
    return data.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"{" and (b'"keys"' in data or b'"x5c"' in data)


def read(data: bytes, given: ParseContext) -> Parsed:
    """
    Return the certificates of each key, under the key's identifier (`kid`), or `key-N` where it has none.
    """
    findings = Findings(given.budget)
    if len(data) > SIZE_LIMIT:
        findings.broken(f"a key set has at most {SIZE_LIMIT:,} bytes, this has {len(data):,}")
        return findings.parsed()
    try:
        document = foreign_json.loads(data)
    # RecursionError: nested deeper than Python goes.
    except (ValueError, RecursionError) as error:
        words = str(error) if not isinstance(error, RecursionError) else "it is nested too deep"
        findings.broken(f"this is not JSON: {words}")
        return findings.parsed()
    keys = document.get("keys", [document] if "x5c" in document else None)
    if not isinstance(keys, list):
        words = "this is JSON, but no key set: the member `keys` is not a list"
        findings.problems.append(Problem(Reason.FORMAT_UNKNOWN, words))
        return findings.parsed()
    for number, key in enumerate(given.budget.each(keys, 5), 1):
        if not isinstance(key, dict):
            findings.broken(f"key {number} is not an object")
            continue
        _read_key(key, number, findings)
    return findings.parsed()


def _read_key(key: dict[str, Any], number: int, findings: Findings) -> None:
    name = key.get("kid")
    name = name if isinstance(name, str) and name else f"key-{number}"
    encoded = key.get("x5c")
    if encoded is None:
        findings.lasting["a key without a certificate"] = None
        return
    chain: list[Certificate] = []
    texts = encoded if isinstance(encoded, list) else [None]
    for position, text in enumerate(findings.budget.each(texts, 5), 1):
        one = _certificate(text, f"certificate {position} of key {quoted(name, 64)}", findings)
        if one is not None:
            chain.append(one)
        elif position == 1:
            # Without its first certificate the rest of the key would pass for something else.
            return
    if chain:
        findings.add_entry(name, chain)


def _certificate(text: Any, place: str, findings: Findings) -> "Certificate | None":
    """
    Return one certificate of a key (RFC 7517 section 4.7); None, with a problem noted, when it can't be read.
    """
    if not isinstance(text, str):
        findings.broken(f"{place}: x5c is not a list of texts")
        return None
    try:
        return findings.certificate(from_base64(text), place)
    except ValueError as error:
        findings.broken(f"{place}: {error}")
        return None


FORMAT = Format("JSON Web Key Set", recognises, read)
