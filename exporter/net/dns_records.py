"""
The meaning of DNS answers: signatures of a zone, authorization of CAs (CAA), announced certificates (TLSA).
Pure.

Answers come as values of no library; `resolution` makes the queries.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from exporter.model.foreign_text import bounded, quoted
from exporter.model.observation import Certificate, Item
from exporter.model.reasons import Kind

ITEM = "dnssec"
"""The name of the item for the signatures of a zone."""


@dataclass(frozen=True, slots=True)
class Signature:
    """
    One RRSIG record (RFC 4034 section 3.1). Times are seconds since the epoch.
    """

    covered: str
    """The record type that it signs, such as `SOA`."""
    key_tag: int
    inception: float
    expiration: float


def signature_item(signatures: Iterable[Signature], key_tags: Collection[int]) -> Item | None:
    """
    Return the signature that ends first, of those by keys that the zone publishes; None when there is none.

    A signature by an old key is useless, and harmless while other signatures are there.
    """
    usable = [one for one in signatures if one.key_tag in key_tags]
    if not usable:
        return None
    first = min(usable, key=lambda one: (one.expiration, one.inception))
    return Item(ITEM, Kind.DNSSEC, first.inception, first.expiration)


def key_tag(dnskey: bytes) -> int:
    """
    Return the key tag of a DNSKEY record, by which signatures name their key, from its data (RFC 4034
    appendix B).
    """
    # All algorithms but 1, which no zone has used for many years.
    total = sum(byte << 8 if position % 2 == 0 else byte for position, byte in enumerate(dnskey))
    return (total + (total >> 16)) & 0xFFFF


@dataclass(frozen=True, slots=True)
class Caa:
    """
    One CAA record (RFC 8659 section 4.1).
    """

    flags: int
    tag: str
    value: str


CRITICAL = 128
"""The critical flag (RFC 8659 section 4.1): an issuer that does not understand the record must not issue."""


KNOWN_TAGS = frozenset(
    {"issue", "issuewild", "iodef", "issuemail", "issuevmc", "contactemail", "contactphone"}
)
"""The tags with a defined meaning (IANA's registry of CAA properties)."""


def caa_refusal(records: Sequence[Caa], *, wildcard: bool, identifiers: Collection[str]) -> str | None:
    """
    Return the reason why a CA with these identifiers may not issue by these records; None when it may.

    `records` are those of the name itself or of the nearest name above that has any (RFC 8659 section 3).
    """
    unknown = [one.tag for one in records if one.flags & CRITICAL and one.tag.lower() not in KNOWN_TAGS]
    if unknown:
        return f"nobody who does not understand the critical property {quoted(unknown[0], 20)}"
    relevant = [one for one in records if one.tag.lower() == "issue"]
    special = [one for one in records if one.tag.lower() == "issuewild"]
    if wildcard and special:
        relevant = special
    if not relevant:
        return None
    allowed = [one.value.partition(";")[0].strip().lower() for one in relevant]
    if any(name in identifiers for name in allowed):
        return None
    named = sorted({name for name in allowed if name})
    return f"only {some(named)}" if named else "nobody"


def climb(name: str) -> tuple[str, ...]:
    """
    Return the names at which the CAA records of a name may be, the nearest first; for a wildcard, from its
    parent on.
    """
    labels = name.removeprefix("*.").split(".")
    return tuple(".".join(labels[position:]) for position in range(len(labels)))


_DIGICERT = (
    "digicert.com www.digicert.com digicert.ne.jp cybertrust.ne.jp thawte.com geotrust.com rapidssl.com "
    "symantec.com quovadisglobal.com"
)


_SECTIGO = (
    "sectigo.com comodo.com comodoca.com usertrust.com trust-provider.com zerossl.com entrust.net "
    "affirmtrust.com networksolutions.com"
)


_HARICA = "harica.gr"


IDENTIFIERS: dict[str, frozenset[str]] = {
    organization.lower(): frozenset(names.split())
    for organizations, names in (
        ("Let's Encrypt | Internet Security Research Group | ISRG", "letsencrypt.org"),
        ("Google Trust Services | Google Trust Services LLC", "pki.goog google.com"),
        ("Amazon", "amazon.com amazontrust.com awstrust.com amazonaws.com"),
        ("DigiCert Inc | DigiCert, Inc. | DigiCert Ireland Limited | QuoVadis Limited", _DIGICERT),
        ("GeoTrust Inc. | thawte, Inc. | Thawte", _DIGICERT),
        ("Sectigo Limited | COMODO CA Limited | ZeroSSL | ZeroSSL GmbH | The USERTRUST Network", _SECTIGO),
        ("cPanel, Inc. | cPanel, LLC | Gandi | Gandi SAS | Network Solutions L.L.C.", _SECTIGO),
        ("GEANT Vereniging", f"{_SECTIGO} {_HARICA}"),
        ("Hellenic Academic and Research Institutions CA | Greek Universities Network (GUnet)", _HARICA),
        ("Entrust, Inc. | Entrust Limited", "entrust.net affirmtrust.com sectigo.com"),
        ("GlobalSign nv-sa | GlobalSign", "globalsign.com"),
        ("GoDaddy.com, Inc. | GoDaddy Inc. | Starfield Technologies, Inc.", "godaddy.com starfieldtech.com"),
        ("IdenTrust", "identrust.com"),
        ("Buypass AS-983163327", "buypass.com buypass.no"),
        ("Actalis S.p.A.", "actalis.it"),
        ("Asseco Data Systems S.A. | Unizeto Technologies S.A.", "certum.pl certum.eu"),
        ("SSL Corporation | SSL Corp", "ssl.com"),
        ("Microsoft Corporation", "microsoft.com digicert.com www.digicert.com"),
        ("Certainly", "certainly.com"),
    )
    for organization in organizations.split(" | ")
    for names in (names,)
}
"""
Identifiers of CAs in CAA records, by the organization of the issuer in lower case.

From their practice statements. A CA that is sold or renamed keeps its old names, so a list here is rather too
long than too short: no refusal is reported that is none.
"""


def identifiers_of(leaf: Certificate) -> frozenset[str] | None:
    """
    Return the CAA identifiers of a certificate's issuer; None when they are not known.
    """
    return IDENTIFIERS.get(leaf.issuer_organization.lower())


@dataclass(frozen=True, slots=True)
class Tlsa:
    """
    One TLSA record (RFC 6698 section 2.1).
    """

    usage: int
    selector: int
    matching: int
    data: bytes


def some(names: Sequence[str]) -> str:
    """
    Return a few of these names, and how many more there are, for messages.

    They come from others: unprintable characters are escaped, and long names are cut.
    """
    shown = ", ".join(bounded(name, 100) for name in names[:3])
    return f"{shown} and {len(names) - 3} more" if len(names) > 3 else shown
