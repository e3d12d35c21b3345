"""
The middle types: what a look at an endpoint gave.

Probes and parsers make these values, judgement and metrics read them. This
module imports nothing of ours, so that both sides depend on it and not on each
other. All times are seconds since the Unix epoch, UTC.
"""

from dataclasses import dataclass, field

from exporter.model.reasons import Fault, Hazard, Kind, Lookup, Reason


@dataclass(frozen=True, slots=True)
class FoundFault:
    """
    A fault with one sentence for a person.
    """

    fault: Fault
    detail: str


@dataclass(frozen=True, slots=True)
class FoundHazard:
    """
    A hazard with one sentence for a person.
    """

    hazard: Hazard
    detail: str


@dataclass(frozen=True, slots=True)
class FailedLookup:
    """
    A look-up that gave nothing the last time.
    """

    lookup: Lookup
    reason: Reason
    detail: str
    """One sentence for a person: who was asked, and what came of it."""
    stands: bool = False
    """True when what was heard before, or the rest of the answer, still says what was asked."""


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Certificate:
    """
    One X.509 certificate (RFC 5280) in values of no library.

    Two certificates are equal when their fingerprints are; `der` is kept because
    trust is judged, and state is stored, from the bytes themselves.
    """

    fingerprint_sha256: str
    """Lower-case hexadecimal SHA-256 of the whole DER encoding."""
    der: bytes
    subject: str
    """RFC 4514 string, most specific part first; empty when the certificate names no subject."""
    issuer: str
    issuer_organization: str
    """Who issued it: the organization of the issuer, or the whole issuer where that names none."""
    common_name: str
    """The most specific common name of the subject; empty when there is none."""
    serial: str
    """Lower-case hexadecimal, no leading zeros."""
    not_before: float
    not_after: float
    """The last second of validity."""
    key_algorithm: str
    """`rsa`, `ecdsa`, `ed25519`, `ed448`, `dsa`, or `unknown` when the key could not be read."""
    key_bits: int | None
    """Size of the modulus or curve in bits; None when unknown."""
    signature_hash: str
    """`sha256` and so on; `none` for schemes without a separate hash (Ed25519); `unknown`."""
    dns_names: tuple[str, ...]
    """DNS names of the subject alternative name, as encoded (A-labels)."""
    ip_addresses: tuple[str, ...]
    is_ca: bool
    """Basic constraints say CA. False when the extension is absent."""
    key_usage: frozenset[str] | None
    """Names as in RFC 5280 section 4.2.1.3 (`digitalSignature`); None when the extension is absent."""
    extended_key_usage: frozenset[str] | None
    """Dotted object identifiers; None when the extension is absent."""
    public_key_sha256: str
    """Lower-case hexadecimal SHA-256 of the SubjectPublicKeyInfo: the same key has the same value."""
    irregular: str = ""
    """Why strict clients refuse to read it, though others do, in words; empty when nothing is odd."""

    @property
    def key(self) -> str:
        """
        The key as a label value: `rsa-2048`, `ecdsa-256`, `ed25519`.
        """
        if self.key_bits is None or self.key_algorithm in {"ed25519", "ed448"}:
            return self.key_algorithm
        return f"{self.key_algorithm}-{self.key_bits}"

    @property
    def self_issued(self) -> bool:
        """
        True when subject and issuer are the same, not empty, name.
        """
        return bool(self.subject) and self.subject == self.issuer

    @property
    def lifetime(self) -> float:
        """
        Seconds from begin to end; negative for a certificate that ends before it begins.
        """
        return self.not_after - self.not_before


@dataclass(frozen=True, slots=True)
class Renewal:
    """
    When whoever issues or manages an item says that it is to be renewed. It goes before every policy.
    """

    due: float
    """The end of the window of RFC 9773 section 4.2, or cert-manager's renewal time."""
    begin: float | None = None
    """The begin of the window; None where there is none."""
    explanation_url: str = ""
    """A page of the issuer that says why; empty when it gave none."""


@dataclass(frozen=True, slots=True)
class Item:
    """
    One thing with an end date. `name` is a place at the endpoint (`leaf`, `chain-1`), not a certificate.
    """

    name: str
    kind: Kind
    not_before: float
    not_after: float
    certificate: Certificate | None = None
    """None for things that are no certificates."""
    renewal: Renewal | None = None
    """None: when it is due is a matter of the policy."""


@dataclass(frozen=True, slots=True)
class Chain:
    """
    The certificates a server presented in one handshake, leaf first, in the order they came.
    """

    certificates: tuple[Certificate, ...]
    key: str = ""
    """`rsa` or `ecdsa` when the server was asked for that kind only; else empty."""
    presented: bool = True
    """False in a file: it accompanies its leaf there, but no client was asked to trust it."""
    staple: bytes | None = field(default=None, compare=False, repr=False)
    """The OCSP response that was stapled to it, DER; None when there was none, or it was not kept.

    Empty when one came that the TLS library could not read.
    """
    unread: tuple[tuple[int, str], ...] = ()
    """Those presented that could not be read, which `certificates` lacks: the place, the leaf's being 0, and
    why."""
    refused: str = ""
    """Why the TLS library did not go on when it saw them, in its words; empty when it did."""

    @property
    def places(self) -> tuple[tuple[int, Certificate], ...]:
        """
        The certificates with the places in which they were presented; that of the leaf is 0.
        """
        unread = {place for place, _ in self.unread}
        places = (place for place in range(len(self.certificates) + len(unread)) if place not in unread)
        return tuple(zip(places, self.certificates, strict=True))

    @property
    def lacks_leaf(self) -> bool:
        """
        True when the leaf is among those that could not be read. Then there is no `leaf`.
        """
        return any(place == 0 for place, _ in self.unread)

    @property
    def leaf(self) -> Certificate:
        """
        The first certificate: the one that speaks for the server.
        """
        return self.certificates[0]


@dataclass(frozen=True, slots=True)
class Tls:
    """
    What a handshake agreed on.
    """

    protocol: str
    """`TLSv1.3` and so on, as OpenSSL names it."""
    cipher: str
    server_name: str | None
    """The name sent as SNI; None when none was sent."""
    client_certificate_requested: bool
    staple: bytes | None
    """The stapled OCSP response, DER (RFC 6066 section 8); None when nothing was stapled. See `Chain`."""


@dataclass(frozen=True, slots=True)
class Facts:
    """
    Everything that was seen at an endpoint in one look.
    """

    items: tuple[Item, ...]
    chains: tuple[Chain, ...] = ()
    tls: Tls | None = None
    """None for endpoints that are not on the wire."""
    faults: tuple[FoundFault, ...] = ()
    """What the look itself found that a normal client would not accept (a revocation)."""
    hazards: tuple[FoundHazard, ...] = ()
    unanswered: tuple[FailedLookup, ...] = ()
    """What was asked about it, and could not be learned."""
    seen_at: float | None = field(default=None, compare=False)
    """When that was really seen, for what is looked up now and then only; None: at the time of the look."""
    partial: bool = field(default=False, compare=False)
    """True when there is more that could not be read: what is missing here is not gone."""

    @property
    def presented(self) -> bool:
        """
        True when there is something that a client accepts or refuses; False for files and the like.
        """
        return self.tls is not None or any(chain.presented for chain in self.chains)


@dataclass(frozen=True, slots=True)
class Observed:
    """
    The endpoint was seen.
    """

    facts: Facts


@dataclass(frozen=True, slots=True)
class Failed:
    """
    The endpoint could not be seen, or ended the conversation after it was.
    """

    reason: Reason
    detail: str
    """One sentence for a person: which step failed, and the words of the system or the server."""
    facts: Facts | None = None
    """What was seen before the failure (the certificate of a server that then demanded ours); else None."""
    aside: tuple[Item, ...] = ()
    """What expires on our side (the certificate that we would have shown), if nothing was seen."""


Observation = Observed | Failed
