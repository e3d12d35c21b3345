"""
`expiry-exporter check -v`: all that is known of each item, as `openssl x509 -text` has it.
"""

from collections.abc import Iterator

from exporter.cli.terminal import counted, iso
from exporter.engine.scrape import EndpointRow
from exporter.judgement.verdicts import JudgedItem
from exporter.model.foreign_text import printable
from exporter.model.observation import Certificate, Chain, Facts
from exporter.report.advice import policy_hint

NAMES = 100
"""Most names of a certificate that are written; the rest are counted."""


WIDTH = 16
"""Columns of the word before a value."""


_USES = {
    "1.3.6.1.5.5.7.3.1": "serverAuth",
    "1.3.6.1.5.5.7.3.2": "clientAuth",
    "1.3.6.1.5.5.7.3.3": "codeSigning",
    "1.3.6.1.5.5.7.3.4": "emailProtection",
    "1.3.6.1.5.5.7.3.8": "timeStamping",
    "1.3.6.1.5.5.7.3.9": "OCSPSigning",
    "2.5.29.37.0": "any",
}
"""Names of extended usages (RFC 5280 section 4.2.1.12); others are written as their numbers."""


def details(row: EndpointRow) -> Iterator[str]:
    """
    Yield the lines about an endpoint: its handshake, its chains, and each of its items.
    """
    yield f"{printable(row.target.name)}  {printable(row.label)}"
    facts = row.held.facts
    if facts is not None:
        yield from _fields(_handshake(facts), 2)
        yield from _fields(_verification(row, facts), 2)
    for judged in row.verdict.items if row.verdict is not None else ():
        yield f"  {printable(judged.item.name)}"
        yield from _fields(_item(judged), 4)
        if facts is not None and judged.deadlines is not None:
            yield from _fields(_hint(row, judged, facts), 4)


def _fields(pairs: Iterator[tuple[str, str]], indent: int) -> Iterator[str]:
    for word, value in pairs:
        yield f"{' ' * indent}{word:<{WIDTH}}{printable(value) or '-'}"


def _handshake(facts: Facts) -> Iterator[tuple[str, str]]:
    if facts.tls is not None:
        yield "protocol", f"{facts.tls.protocol}, {facts.tls.cipher}"
        yield "server name", facts.tls.server_name or "none sent"
        yield "client cert", "requested" if facts.tls.client_certificate_requested else "not requested"
    for chain in facts.chains:
        word = f"chain {chain.key}".rstrip()
        yield word, f"{counted(len(chain.places), 'certificate')}, {_staple(chain, facts)}"


def _verification(row: EndpointRow, facts: Facts) -> Iterator[tuple[str, str]]:
    """
    Yield each fault for which clients refuse it, or that they accept it; nothing of what is not verified.
    """
    faults = row.verdict.faults if row.verdict is not None else ()
    for one in faults:
        yield "verification", f"refused, {one.fault}: {one.detail}"
    if not faults and facts.presented and row.verdict is not None:
        yield "verification", "accepted: clients trust it"


def _staple(chain: Chain, facts: Facts) -> str:
    staple = chain.staple
    if staple is None and facts.tls is not None and len(facts.chains) == 1:
        staple = facts.tls.staple
    if staple is None:
        return "no OCSP response stapled, or none kept"
    return f"OCSP response stapled ({len(staple)} bytes)" if staple else "stapled OCSP response not readable"


def _item(judged: JudgedItem) -> Iterator[tuple[str, str]]:
    item, due = judged.item, judged.deadlines
    yield "kind", item.kind
    if item.certificate is not None:
        yield from _certificate(item.certificate)
    yield "not before", iso(item.not_before)
    yield "not after", iso(item.not_after)
    if due is not None:
        yield "renewal due", f"{iso(due.renewal_due)} (policy {judged.policy.name})"
        yield "warning", iso(due.warning)
        yield "critical", iso(due.critical)


def _hint(row: EndpointRow, judged: JudgedItem, facts: Facts) -> Iterator[tuple[str, str]]:
    """
    Yield which policy to set, where nobody chose one and what renews the item can be seen.
    """
    places = (row.target.url.text, row.known.location)
    hint = policy_hint(judged.item, judged.policy, places, facts.renewer).strip()
    if hint:
        yield "hint", hint


def _certificate(one: Certificate) -> Iterator[tuple[str, str]]:
    names = (*one.dns_names, *one.ip_addresses)
    more = len(names) - NAMES
    yield "subject", one.subject
    yield "issuer", one.issuer
    yield "names", ", ".join([*names[:NAMES], *[f"and {more} more"] * (more > 0)])
    yield "serial", one.serial
    yield "SHA-256", one.fingerprint_sha256
    yield "key", f"{one.key}, signed with {one.signature_hash}"
    yield "key SHA-256", one.public_key_sha256
    yield "CA", "yes" if one.is_ca else "no"
    if one.key_usage is not None:
        yield "key usage", ", ".join(sorted(one.key_usage))
    if one.extended_key_usage is not None:
        yield "extended usage", ", ".join(sorted(_USES.get(use, use) for use in one.extended_key_usage))
