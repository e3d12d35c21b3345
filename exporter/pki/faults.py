"""
Faults of a leaf or its chain apart from the path: dates, names, uses, keys, signatures. Pure.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from service_identity import CertificateError as PatternError
from service_identity.hazmat import DNS_ID, DNSPattern

from exporter.model.foreign_text import bounded
from exporter.model.hosts import TargetError, normal_host, parse_ip
from exporter.model.observation import Certificate, FoundFault
from exporter.model.reasons import Fault
from exporter.pki.ber import as_der, content, elements
from exporter.pki.fields import VERSION_3, extension, tbs_fields
from exporter.pki.name_constraints import covered, name_constraints

# Server authentication (RFC 5280 section 4.2.1.12). That it is for any purpose is not enough for OpenSSL.
_SERVER_PURPOSES = frozenset({"1.3.6.1.5.5.7.3.1"})


_CA_PURPOSES = _SERVER_PURPOSES | {
    # Server gated cryptography of Microsoft and Netscape: clients take it in old CA certificates.
    "1.3.6.1.4.1.311.10.3.3",
    "2.16.840.1.113730.4.1",
}


_NETSCAPE_TYPE = bytes.fromhex("06096086480186f8420101")


_NETSCAPE_SERVER = 0x40
"""The type of a certificate before there was an extended key usage, and its bit for servers. OpenSSL heeds
it."""


_KEY_USES = {
    "rsa": {"digitalSignature", "keyEncipherment"},
    "ecdsa": {"digitalSignature", "keyAgreement"},
    "dsa": {"digitalSignature"},
    "ed25519": {"digitalSignature"},
    "ed448": {"digitalSignature"},
    "unknown": {"digitalSignature", "keyEncipherment", "keyAgreement"},
}
"""The key usages of which a server's certificate needs one (RFC 5246 section 7.4.2, RFC 8446 section
4.4.2.2)."""


_WEAK_HASHES = {"md2", "md4", "md5", "sha1"}


_LEAST_BITS = {"rsa": 2048, "ecdsa": 224}


_NAMES_SHOWN = 5


_LENGTH_SHOWN = 100


class _Faults(dict[Fault, str]):
    """
    Details by fault; of two of a kind the first stays.
    """

    def add(self, fault: Fault, detail: str) -> None:
        """
        Add the fault unless there is one of its kind.
        """
        self.setdefault(fault, detail)

    def in_order(self) -> tuple[FoundFault, ...]:
        """
        Return the faults in the order of the enum.
        """
        return tuple(FoundFault(fault, self[fault]) for fault in Fault if fault in self) if self else ()


def _judge_leaf_dates(leaf: Certificate, now: float, faults: _Faults) -> None:
    """
    Add the faults of the leaf's own dates.
    """
    begin, end = _boundaries(leaf)
    if now >= end:
        faults.add(Fault.EXPIRED, f"{_shown(leaf)} expired at {_date(leaf.not_after)}.")
    if now < begin:
        faults.add(Fault.NOT_YET_VALID, f"{_shown(leaf)} is not valid before {_date(leaf.not_before)}.")


def _judge_chain_dates(above: Sequence[Certificate], now: float, faults: _Faults) -> None:
    """
    Add the faults of the dates of the certificates above the leaf.
    """
    for it in above:
        begin, end = _boundaries(it)
        if now >= end:
            faults.add(
                Fault.CHAIN_EXPIRED,
                f"{_shown(it)}, which the chain needs, expired at {_date(it.not_after)}.",
            )
        if now < begin:
            faults.add(
                Fault.CHAIN_NOT_YET_VALID,
                f"{_shown(it)}, which the chain needs, is not valid before {_date(it.not_before)}.",
            )


# Few, since a certificate may have a hundred kilobytes. All addresses of a name show the same.
@lru_cache(maxsize=16)
def _name_fault(leaf: Certificate, expected_name: str) -> FoundFault | None:
    """
    Return the fault of a leaf that does not match the name. The common name is ignored (RFC 9525).
    """
    if _good_for(leaf, expected_name):
        return None
    names = (*leaf.dns_names, *leaf.ip_addresses)
    first = ", ".join(bounded(name, _LENGTH_SHOWN) for name in names[:_NAMES_SHOWN])
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    instead = f"it is good for {first}{more}" if names else "it has no such names"
    words = f"{bounded(expected_name, _LENGTH_SHOWN)} is not among the subject alternative names: {instead}."
    return FoundFault(Fault.NAME_MISMATCH, words)


def _good_for(leaf: Certificate, expected_name: str) -> bool:
    """
    Return True when the certificate matches that DNS name (RFC 9525 section 6.3) or IP address (section 6.4).
    """
    try:
        name = normal_host(expected_name)
        if (ip := parse_ip(name)) is not None:
            # The zone of a link-local address is the client's own (RFC 4007 section 11.2).
            return str(ip).partition("%")[0] in leaf.ip_addresses
        wanted = DNS_ID(name)
    except (TargetError, ValueError):
        return False
    patterns = _patterns(leaf, name)
    if any(wanted.verify(pattern) for pattern in patterns):
        return True
    head, _, tail = name.partition(".")
    # service-identity matches no wildcard with an A-label. Clients do: only a wildcard that is part of
    # an A-label is forbidden (RFC 6125 section 6.4.3). So any other label stands for it.
    if not (head.startswith("xn--") and tail):
        return False
    plain = DNS_ID(f"label.{tail}")
    return any(plain.verify(pattern) for pattern in patterns)


def _patterns(leaf: Certificate, wanted: str) -> list[DNSPattern]:
    """
    Return the DNS names that may match the wanted one, without those that can't be names of hosts.
    """
    patterns = []
    # service-identity is slow for each name, and there may be thousands, wildcards too.
    # Other characters than ASCII's may become such in lower case: U+212A is no `k`.
    named = {name.lower() for name in leaf.dns_names if name.isascii()}
    for name in named & {wanted, f"*.{wanted.partition('.')[2]}"}:
        try:
            patterns.append(DNSPattern.from_bytes(name.encode("ascii")))
        except PatternError:
            continue
    return patterns


def _judge_use(leaf: Certificate, above: Sequence[Certificate], faults: _Faults) -> None:
    """
    Add faults when the leaf is not meant for servers, or one above it not for issuing to them. OpenSSL itself
    checks that those above are CAs.
    """
    if not _allows(leaf, _SERVER_PURPOSES):
        faults.add(
            Fault.WRONG_KEY_USAGE,
            f"The extended key usage of {_shown(leaf)} does not include server authentication.",
        )
    elif not _has_server_type(leaf):
        words = (
            f"The Netscape certificate type of {_shown(leaf)} is not that of a server: OpenSSL refuses it."
        )
        faults.add(Fault.WRONG_KEY_USAGE, words)
    needed = _KEY_USES.get(leaf.key_algorithm, _KEY_USES["unknown"])
    if leaf.key_usage is not None and leaf.key_usage.isdisjoint(needed):
        faults.add(
            Fault.WRONG_KEY_USAGE,
            f"The key usage of {_shown(leaf)} does not include {' or '.join(sorted(needed))}.",
        )
    for it in above:
        if not _allows(it, _CA_PURPOSES):
            faults.add(
                Fault.WRONG_KEY_USAGE,
                f"The extended key usage of {_shown(it)} does not let it issue to servers.",
            )


def _has_server_type(leaf: Certificate) -> bool:
    """
    Return False when the Netscape certificate type is there, and is not that of a server.
    """
    if _NETSCAPE_TYPE not in leaf.der:
        return True
    try:
        found = extension(leaf.der, _NETSCAPE_TYPE)
        bits = content(content(elements(found)[-1])) if found is not None else b"\0\xff"
    except (ValueError, IndexError):
        return True
    return bool(bits[1:2] and bits[1] & _NETSCAPE_SERVER)


def _allows(certificate: Certificate, purposes: frozenset[str]) -> bool:
    """
    Return True when the extended key usage is absent or names one of the purposes.
    """
    usage = certificate.extended_key_usage
    return usage is None or not usage.isdisjoint(purposes)


def _judge_issuers(path: Sequence[Certificate], faults: _Faults) -> None:
    """
    Add a fault when a certificate of the path must not issue, though OpenSSL accepts it: see `trust`.
    """
    for it in path[1:]:
        constraints = name_constraints(it.der)
        if not it.is_ca and _is_version_3(it):
            faults.add(
                Fault.INVALID_CHAIN,
                f"{_shown(it)} issued a certificate, and its basic constraints do not say that it is a CA.",
            )
        elif constraints is not None and constraints.is_empty:
            faults.add(Fault.INVALID_CHAIN, f"The name constraints of {_shown(it)} are empty.")
        elif constraints is not None and (pair := covered(path[0], constraints.excluded)):
            wildcard, forbidden = (bounded(name, _LENGTH_SHOWN) for name in pair)
            words = f"{wildcard} covers {forbidden}, which {_shown(it)} must not issue for."
            faults.add(Fault.INVALID_CHAIN, words)


def _is_version_3(certificate: Certificate) -> bool:
    """
    Return True for a certificate of version 3. False for older ones, which have no basic constraints.
    """
    try:
        return tbs_fields(as_der(certificate.der))[0] == VERSION_3
    except ValueError:
        return False


def _judge_key(certificate: Certificate, faults: _Faults) -> None:
    """
    Add a fault when the key is too small or of a type that clients no longer accept (RFC 8446 removed DSA).
    """
    least = _LEAST_BITS.get(certificate.key_algorithm, 0)
    if certificate.key_algorithm == "dsa":
        faults.add(Fault.WEAK_KEY, f"{_shown(certificate)} has a DSA key.")
    elif certificate.key_bits is not None and certificate.key_bits < least:
        faults.add(
            Fault.WEAK_KEY, f"{_shown(certificate)} has the key {certificate.key}; {least} bits are needed."
        )


def _judge_signature(certificate: Certificate, faults: _Faults) -> None:
    """
    Add a fault when the certificate is signed with a hash for which collisions are known.
    """
    if certificate.signature_hash in _WEAK_HASHES:
        faults.add(
            Fault.WEAK_SIGNATURE, f"{_shown(certificate)} is signed with {certificate.signature_hash}."
        )


def _boundaries(certificate: Certificate) -> tuple[float, float]:
    """
    Return the times between which a certificate is valid: the first second, and the one after the last.
    """
    return certificate.not_before, certificate.not_after + 1


def _valid(certificate: Certificate, now: float) -> bool:
    """
    Return True when the time is within the validity period.
    """
    begin, end = _boundaries(certificate)
    return begin <= now < end


def _shown(certificate: Certificate) -> str:
    """
    Return a certificate for a person: its subject, or its serial number when the subject is empty.
    """
    subject = bounded(certificate.subject, _LENGTH_SHOWN)
    return subject or f"the certificate {bounded(certificate.serial, _LENGTH_SHOWN)} without a subject"


def _date(moment: float) -> str:
    """
    Return a time for a person, in UTC.
    """
    try:
        return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=moment)).strftime(
            "%Y-%m-%d %H:%M:%S UTC"
        )
    except OverflowError:
        return f"{moment:.0f} seconds after 1970"
