"""
The result of a parser: items and problems. Pure.
"""

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from exporter.formats.budget import Budget
from exporter.model.observation import Certificate, Chain, Facts, FoundFault, Item
from exporter.model.reasons import Kind, Reason
from exporter.pki.certificates import CertificateError, certificate

CERTIFICATE_LIMIT = 256 * 1024
"""Bytes of one certificate in a file. OpenSSL's servers may send 100 kB in all."""


PATH_LIMIT = 100
"""Certificates of one chain in a file."""


_BLANKS = b" \t\n\r\v\f"


@dataclass(frozen=True, slots=True)
class Problem:
    """
    A part of a file that can't be read: the reason, and a sentence that says where it is.
    """

    reason: Reason
    detail: str
    lasts: bool = False
    """True when the part would not expire even if it could be read (a key, a signed text)."""


@dataclass(frozen=True, slots=True)
class Reference:
    """
    Another file that a file names, and the prefix for the names of its items.
    """

    path: str
    """The path as written: relative to the directory of the file that names it, or absolute."""
    prefix: str


@dataclass(frozen=True, slots=True)
class Parsed:
    """
    The items and the problems of a file. A broken part never hides the good ones beside it.
    """

    items: tuple[Item, ...] = ()
    chains: tuple[Chain, ...] = ()
    """Leaves with the CA certificates that accompany them; see `Chain.presented`."""
    problems: tuple[Problem, ...] = ()
    lasting: tuple[str, ...] = ()
    """Parts that do not expire, in words (`a private key`), each once."""
    references: tuple[Reference, ...] = ()
    faults: tuple[FoundFault, ...] = ()
    """Faults that the file itself states, such as a revocation."""

    @property
    def facts(self) -> Facts:
        """
        The items as facts of an endpoint, partial when there is a problem.
        """
        return Facts(self.items, self.chains, faults=self.faults, partial=bool(self.problems))


@dataclass(frozen=True, slots=True)
class ParseContext:
    """
    The input of a parser besides the bytes.
    """

    password: str | None = field(default=None, repr=False)
    """The password of a keystore; None when none is configured, which differs from an empty one."""
    modified: float | None = None
    """When the bytes were last written, in seconds since the epoch; None when unknown."""
    budget: Budget = field(default_factory=Budget, compare=False, repr=False)
    """The budget for parsing this file and the files that it names."""


@dataclass(frozen=True, slots=True)
class Format:
    """
    One format: its name for people, how its bytes are recognised, and how they are read.
    """

    name: str
    recognises: Callable[[bytes], bool]
    read: Callable[[bytes, ParseContext], Parsed]
    """Should raise nothing, whatever the bytes. Any exception becomes a problem of the file."""
    is_keystore: bool = False
    """True when a password may be needed."""


@dataclass(slots=True)
class Findings:
    """
    A collector of items and problems for a parser.
    """

    budget: Budget = field(default_factory=Budget, compare=False)
    items: list[Item] = field(default_factory=list)
    chains: list[Chain] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    lasting: dict[str, None] = field(default_factory=dict)
    references: list[Reference] = field(default_factory=list)
    faults: list[FoundFault] = field(default_factory=list)

    def broken(self, detail: str, *, lasts: bool = False) -> None:
        """
        Note a part that can't be read. `lasts`: one that would not expire in any case.
        """
        self.budget.spend(3)
        self.problems.append(Problem(Reason.FORMAT_BROKEN, detail, lasts))

    def unsupported(self, detail: str) -> None:
        """
        Note a part of a known type that is not supported.
        """
        self.problems.append(Problem(Reason.FORMAT_UNSUPPORTED, detail))

    def certificate(self, der: bytes, place: str) -> Certificate | None:
        """
        Return the certificate in these bytes; None, with a problem noted, when it can't be read.
        """
        # Only lists of names make them large, and each name is an object.
        self.budget.spend(100 + len(der) // 8 + max(0, len(der) - 4096) // 2)
        if len(der) > CERTIFICATE_LIMIT:
            self.broken(
                f"{place}: a certificate has at most {CERTIFICATE_LIMIT:,} bytes, this has {len(der):,}"
            )
            return None
        try:
            found = certificate(der)
        except CertificateError as error:
            found = None
            self.broken(f"{place}: {error}")
        if found is None or found.irregular:
            # It was read more than once, each time without another part.
            self.budget.spend(len(der) // 2)
        return found

    def add(self, other: Parsed, prefix: str = "") -> None:
        """
        Add the result of another parser, with this prefix before the names of its items.
        """
        self.items += [renamed(item, prefix + item.name) for item in other.items] if prefix else other.items
        self.chains += other.chains
        self.problems += [
            replace(one, detail=f"{prefix}: {one.detail}") if prefix else one for one in other.problems
        ]
        self.lasting |= dict.fromkeys(other.lasting)
        self.references += other.references
        self.faults += other.faults

    def add_entry(self, name: str, chain: Sequence[Certificate]) -> None:
        """
        Add an entry that has a name of its own: a leaf with its chain, or one CA certificate.
        """
        first, *above = chain
        if is_authority(first):
            self.items.append(item(name, Kind.AUTHORITY, first))
        else:
            self.items.append(item(name, Kind.LEAF, first))
        kept = {first.fingerprint_sha256: first}
        for position, one in enumerate(above, 1):
            if one.fingerprint_sha256 not in kept:
                kept[one.fingerprint_sha256] = one
                self.items.append(item(f"{name}/chain-{position}", accompanying(one), one))
        if len(kept) > 1:
            self.chains.append(Chain(tuple(kept.values())[:PATH_LIMIT], presented=False))

    def parsed(self) -> Parsed:
        """
        Return all items and problems.
        """
        return Parsed(
            tuple(self.items),
            tuple(self.chains),
            tuple(self.problems),
            tuple(self.lasting),
            tuple(self.references),
            tuple(self.faults),
        )


def item(name: str, kind: Kind, one: Certificate) -> Item:
    """
    Return a certificate as an item.
    """
    return Item(name, kind, one.not_before, one.not_after, one)


def renamed(one: Item, name: str) -> Item:
    """
    Return the item under another name.
    """
    return Item(name, one.kind, one.not_before, one.not_after, one.certificate, one.renewal)


def is_authority(one: Certificate) -> bool:
    """
    Return True for a CA certificate.

    A certificate that names hosts is a server's, whatever its basic constraints say: `openssl req -x509`
    makes such a self-signed certificate.
    """
    return one.is_ca and not one.dns_names and not one.ip_addresses


def accompanying(one: Certificate) -> Kind:
    """
    Return the kind of a certificate that accompanies a leaf, as on the wire.
    """
    return Kind.ROOT if one.self_issued else Kind.INTERMEDIATE


def arranged(found: Sequence[Certificate | None], budget: Budget) -> Findings:
    """
    Return the certificates of one file, in its order, as items; None stands for one that could not be read.

    Leaves are `leaf`, `leaf-2` and so on. A CA certificate above one of them is `chain-N`, counted without
    the leaves; every other is `certificate-N`, counted from the first. An unreadable certificate keeps its
    number, so that no other takes its place. Duplicates are reported once.

    Beside an unreadable certificate no CA certificate counts as standing alone: the unreadable one may be its
    leaf. Where no leaf could be read, the first unreadable one has the leaf's place.
    """
    if len(found) == 1 and found[0] is not None and not is_authority(found[0]):
        # Most files are of this kind, which gets a fast path.
        return Findings(budget, [item("leaf", Kind.LEAF, found[0])])
    leaves: list[Certificate] = []
    by_subject: dict[str, list[Certificate]] = {}
    for one in found:
        if one is None:
            continue
        if is_authority(one):
            by_subject.setdefault(one.subject, []).append(one)
        else:
            leaves.append(one)
    findings = Findings(budget)
    above: set[str] = set()
    for leaf in {one.fingerprint_sha256: one for one in leaves}.values():
        chain = _path(leaf, by_subject, budget)
        if len(chain) > 1:
            findings.chains.append(Chain(tuple(chain), presented=False))
            above |= {one.fingerprint_sha256 for one in chain[1:]}
    told: set[str] = set()
    leaf_count = 0
    is_partial = None in found
    for position, one in enumerate(found, 1):
        if one is None:
            leaf_count += not leaves and not leaf_count
            continue
        if one.fingerprint_sha256 in told:
            continue
        told.add(one.fingerprint_sha256)
        if not is_authority(one):
            leaf_count += 1
            name = "leaf" if leaf_count == 1 else f"leaf-{leaf_count}"
            findings.items.append(item(name, Kind.LEAF, one))
        elif is_partial or one.fingerprint_sha256 in above:
            findings.items.append(item(f"chain-{position - leaf_count}", accompanying(one), one))
        else:
            findings.items.append(item(f"certificate-{position}", Kind.AUTHORITY, one))
    return findings


def _path(leaf: Certificate, by_subject: dict[str, list[Certificate]], budget: Budget) -> list[Certificate]:
    """
    Return the leaf and every CA certificate above it, by names alone: signatures are not checked.
    """
    chain = [leaf]
    seen = {leaf.fingerprint_sha256}
    for one in chain:
        if not one.issuer or one.self_issued:
            continue
        # Two of one name are a CA and its cross-signed twin: clients may use either.
        for issuer in budget.each(by_subject.get(one.issuer, ())):
            if len(chain) == PATH_LIMIT:
                return chain
            if issuer.fingerprint_sha256 not in seen:
                seen.add(issuer.fingerprint_sha256)
                chain.append(issuer)
    return chain


def from_base64(text: bytes | str) -> bytes:
    """
    Return the bytes of base64 in any number of lines. Raises ValueError with words for a person.
    """
    try:
        if isinstance(text, str):
            text = text.encode("ascii")
        # Not by splitting it: of a file of blanks that would make millions of pieces.
        return base64.b64decode(text.translate(None, _BLANKS), validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise ValueError(f"it is not base64: {error}") from None


def numbered(name: str, count: int) -> list[str]:
    """
    Return names for `count` things of a kind: `crl`, or `crl-1`, `crl-2` where there are several.
    """
    return [name] if count == 1 else [f"{name}-{number}" for number in range(1, count + 1)]


def wrong_password(password: str | None) -> Problem:
    """
    Return the problem of a keystore that the password, or having none, does not decrypt.
    """
    if password is None:
        return Problem(
            Reason.KEYSTORE_LOCKED, "the keystore wants a password, and none is configured for this target"
        )
    if not password:
        return Problem(
            Reason.KEYSTORE_PASSWORD_WRONG,
            "the password that was found is empty, and the keystore has another",
        )
    return Problem(
        Reason.KEYSTORE_PASSWORD_WRONG, "the keystore has another password than the one configured"
    )
