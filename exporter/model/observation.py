"""
Observations: the result of probing an endpoint.

Probes and parsers make these values; judgement and metrics read them. Both
sides depend on this module and not on each other. All times are seconds since
the Unix epoch, UTC.
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
    A look-up that failed the last time.
    """

    lookup: Lookup
    reason: Reason
    detail: str
    """One sentence for a person: the server asked, and the failure."""
    stands: bool = False
    """True when an earlier answer, or the rest of this one, still answers the question."""


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Certificate:
    """
    One X.509 certificate (RFC 5280) as plain values, without objects of a library.

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
    """The organization in the issuer's name, or the whole name where it has none."""
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
    """Why strict clients cannot parse it, though others can, in words; empty when it is well formed."""

    def __hash__(self) -> int:
        """
        Return the hash of the fingerprint: to hash all that is known of it takes ten times as long.
        """
        return hash(self.fingerprint_sha256)

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
        Seconds from `not_before` to `not_after`; negative for a certificate that ends before it begins.
        """
        return self.not_after - self.not_before


@dataclass(frozen=True, slots=True)
class Renewal:
    """
    The renewal time given by an item's issuer or manager. It takes precedence over every policy.
    """

    due: float
    """The end of the renewal window (RFC 9773 section 4.2), or cert-manager's renewal time."""
    begin: float | None = None
    """The start of the renewal window; None where there is none."""
    explanation_url: str = ""
    """The issuer's page that explains the window (RFC 9773 section 4.2); empty when it gave none."""


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
    """None for items that are not certificates."""
    renewal: Renewal | None = None
    """None when only the policy decides when the renewal is due."""


@dataclass(frozen=True, slots=True)
class Chain:
    """
    The certificates a server presented in one handshake, leaf first, in the order they came.
    """

    certificates: tuple[Certificate, ...]
    key: str = ""
    """`rsa` or `ecdsa` when the probe offered that type of key only; else empty."""
    presented: bool = True
    """False in a file, where no client is asked to trust the chain."""
    staple: bytes | None = field(default=None, compare=False, repr=False)
    """The stapled OCSP response, DER; None when nothing was stapled, or it was not kept.

    Empty when the TLS library could not parse the staple.
    """
    unread: tuple[tuple[int, str], ...] = ()
    """Position (the leaf's is 0) and error of each presented certificate that could not be parsed."""
    refused: str = ""
    """Why the TLS library refused the certificates, in its words; empty when it did not."""

    @property
    def places(self) -> tuple[tuple[int, Certificate], ...]:
        """
        The certificates with the positions in which they were presented; the leaf's is 0.
        """
        unread = {place for place, _ in self.unread}
        places = (place for place in range(len(self.certificates) + len(unread)) if place not in unread)
        return tuple(zip(places, self.certificates, strict=True))

    @property
    def lacks_leaf(self) -> bool:
        """
        True when the leaf could not be parsed. Then `leaf` must not be used.
        """
        return any(place == 0 for place, _ in self.unread)

    @property
    def leaf(self) -> Certificate:
        """
        The first certificate, which identifies the server.
        """
        return self.certificates[0]


@dataclass(frozen=True, slots=True)
class Tls:
    """
    The parameters negotiated in a handshake.
    """

    protocol: str
    """OpenSSL's name of the version: `TLSv1.3`."""
    cipher: str
    server_name: str | None
    """The name sent as SNI; None when none was sent."""
    client_certificate_requested: bool
    staple: bytes | None
    """The stapled OCSP response, DER (RFC 6066 section 8); None when nothing was stapled."""


@dataclass(frozen=True, slots=True)
class Facts:
    """
    Everything that one probe saw at an endpoint.
    """

    items: tuple[Item, ...]
    chains: tuple[Chain, ...] = ()
    tls: Tls | None = None
    """None for endpoints without a handshake, such as files."""
    faults: tuple[FoundFault, ...] = ()
    """Faults found by the probe itself (a revocation), not by judgement."""
    hazards: tuple[FoundHazard, ...] = ()
    unanswered: tuple[FailedLookup, ...] = ()
    """Look-ups about the endpoint that failed."""
    seen_at: float | None = field(default=None, compare=False)
    """When the facts were seen, if that was before the probe (a domain's registration); else None."""
    partial: bool = field(default=False, compare=False)
    """True when some items could not be read: an item that is missing here may still exist."""
    paid: bool = False
    """True when a registry's answer shows that a registration was paid for lately."""
    renewer: str = field(default="", compare=False)
    """Name of the built-in policy of what renews the items, where the place says what that is; else empty."""

    @property
    def presented(self) -> bool:
        """
        True when a client accepts or refuses what the endpoint presents; False for files and the like.
        """
        return self.tls is not None or any(chain.presented for chain in self.chains)


@dataclass(frozen=True, slots=True)
class Observed:
    """
    A successful probe.
    """

    facts: Facts


@dataclass(frozen=True, slots=True)
class Failed:
    """
    A failed probe: nothing was seen, or the server ended the connection after its certificate was seen.
    """

    reason: Reason
    detail: str
    """One sentence for a person: the step that failed, and the words of the system or the server."""
    facts: Facts | None = None
    """Facts seen before the failure (the server then demanded a client certificate); else None."""
    aside: tuple[Item, ...] = ()
    """Items on the exporter's side (its own client certificate), if nothing was seen."""

    @property
    def saw_nothing(self) -> bool:
        """
        False when what expires was seen all the same.
        """
        return self.facts is None


Observation = Observed | Failed
