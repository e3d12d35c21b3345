"""
Traefik's acme.json: the certificates of each resolver, in base64 inside JSON. Pure.

Keys in it are not decoded and not kept.
"""

from collections.abc import Iterator
from typing import Any

from exporter.formats import pem
from exporter.formats.kubeconfig import prefixed
from exporter.formats.parsed import Findings, Format, ParseContext, Parsed, from_base64
from exporter.model import foreign_json
from exporter.model.foreign_text import quoted

SIZE_LIMIT = 8 * 1024 * 1024
"""Bytes of a file: a thousand certificates with their keys."""


def recognises(data: bytes) -> bool:
    """
    Return True for a JSON object with a list of certificates and their domains.
    """
    head = data.lstrip(b" \t\r\n")[:1] == b"{"
    return head and (
        b'"DomainsCertificate"' in data
        or (b'"Certificates"' in data and (b'"Account"' in data or b'"certificate"' in data.lower()))
    )


def read(data: bytes, given: ParseContext) -> Parsed:
    """
    Return the certificates, each under the main name of its domain, and the problems.
    """
    findings = Findings(given.budget)
    if len(data) > SIZE_LIMIT:
        findings.broken(f"an acme.json has at most {SIZE_LIMIT:,} bytes, this has {len(data):,}")
        return findings.parsed()
    try:
        document = foreign_json.loads(data)
    except (ValueError, RecursionError):
        # The parser's message would repeat nothing of a key, but its place is no help to a person either.
        findings.broken("this is not JSON: was it cut off while it was written?")
        return findings.parsed()
    for number, entry in enumerate(given.budget.each(_entries(document), 10), 1):
        _add(entry, number, given, findings)
    return findings.parsed()


def _entries(document: Any) -> Iterator[Any]:
    """
    Yield the certificates of all resolvers, and those of the first version, which had no resolvers.
    """
    for resolver in [document, *document.values()] if isinstance(document, dict) else []:
        if not isinstance(resolver, dict):
            continue
        found = resolver.get("Certificates")
        yield from found if isinstance(found, list) else ()
        yield from _first_entries(resolver.get("DomainsCertificate"))


def _first_entries(value: Any) -> Iterator[Any]:
    """
    Yield the certificates of the oldest form, before version 1.7, as the later ones have them.
    """
    found = value.get("Certs") if isinstance(value, dict) else None
    for one in found if isinstance(found, list) else ():
        inside = one.get("Certificate") if isinstance(one, dict) else None
        if isinstance(inside, dict):
            yield {
                "domain": one.get("Domains") or {"main": inside.get("Domain")},
                "certificate": inside.get("Certificate"),
                "key": inside.get("PrivateKey"),
            }
        else:
            yield one


def _add(entry: Any, number: int, given: ParseContext, findings: Findings) -> None:
    known = {key.lower(): value for key, value in entry.items()} if isinstance(entry, dict) else {}
    domain, text = known.get("domain"), known.get("certificate")
    # The first version wrote these keys with a capital letter.
    names = {key.lower(): value for key, value in domain.items()} if isinstance(domain, dict) else {}
    main = names.get("main")
    # JSON may state halves of characters, which are no text.
    name = main.encode("utf-8", "replace").decode() if isinstance(main, str) and main else f"{number}"
    try:
        content = from_base64(text if isinstance(text, str) else "")
    except ValueError:
        content = b""
    if not pem.recognises(content):
        findings.broken(f"the certificate of {quoted(name, 64)} is not PEM in base64")
        return
    findings.add(prefixed(pem.read(content, given), name, given.budget))
    if known.get("key"):
        findings.lasting["a private key"] = None


FORMAT = Format("Traefik's acme.json", recognises, read)
