"""
DNS checks: whether the names of a certificate are to be checked, and what is known of them.

The checks are in `dns_checking`: many never need them, and their library is large.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial

from exporter.lookups.merge import added
from exporter.model.observation import Certificate, Facts, FailedLookup, FoundFault, FoundHazard
from exporter.model.reasons import Lookup
from exporter.model.targets import Target
from exporter.net.background import Answer
from exporter.net.dns_records import identifiers_of
from exporter.net.network import Network
from exporter.net.pools import Pool
from exporter.pki.authorities import Authorities

Check = Callable[[Sequence[Sequence[Certificate]], Target, Network], Awaitable[Answer]]


_PUBLIC = (
    bytes.fromhex("060a2b06010401d679020402"),
    bytes.fromhex("060667810c0102"),
    bytes.fromhex("060567810c0101"),
)
"""
Object identifiers in DER, of which a public CA's certificate for a server has one: timestamps of logs (RFC
6962 section 3.3), and the policies of the CA/Browser Forum (its requirements, section 7.1.6.1) in two forms.
"""


_importing = Pool("import", 1)


@dataclass(frozen=True, slots=True)
class Found:
    """
    The result of the DNS checks of the presented certificates.
    """

    faults: tuple[FoundFault, ...] = ()
    hazards: tuple[FoundHazard, ...] = ()
    failed: FailedLookup | None = None
    """The failure of some queries among answered ones; None when all were answered."""


def are_to_be_checked(facts: Facts, target: Target) -> bool:
    """
    Return True when the names of the presented certificates are to be checked.

    Where nobody asked for that, only those are that others look up too: see `_are_public`.
    """
    if target.dns_checks is None:
        return target.proxy is None and _are_public(facts, target)
    return target.dns_checks and bool(facts.chains)


def checks(facts: Facts, target: Target, network: Network, _authorities: Authorities) -> Facts:
    """
    Return the facts with the result of the latest DNS checks of the presented certificates.

    Where nobody asked for them, a failed look-up is no news.
    """
    asked_for = target.dns_checks is not None
    chains = tuple(chain.certificates for chain in facts.chains)
    presented = tuple(one.fingerprint_sha256 for chain in chains for one in chain)
    # TLSA records are those of the server. All else depends on the certificate: one look-up for all targets.
    server = (target.url.host, target.url.port, target.server_name) if asked_for else ()
    key = ("dns", server, target.dns_servers, presented)
    what = f"DNS of the names on the certificate of {target.url.authority}"
    heard = network.lookups.hear(key, partial(check, chains, target, network), what, target.name)
    found = heard.known.value if heard.known is not None else Found()
    failed = found.failed if asked_for else None
    if heard.failure is not None and asked_for:
        stands = heard.known is not None
        failed = FailedLookup(Lookup.DNS, heard.failure.reason, heard.failure.detail, stands)
    return added(facts, (), found.faults, found.hazards, (failed,) if failed is not None else ())


def _are_public(facts: Facts, target: Target) -> bool:
    """
    Return True when a public CA issued the certificate that a server presents, or when it is renewed by ACME,
    so that its CA looks the names up.

    Other names that a private one issued for may be secret, and mean nothing to others' name servers. That
    its root is in the system's store makes no CA public: companies add theirs there.
    """
    leaves = [chain.leaf for chain in facts.chains if chain.presented]
    return any(
        identifiers_of(leaf) is not None or is_public(leaf) or _is_by_acme(leaf, target) for leaf in leaves
    )


def is_public(leaf: Certificate) -> bool:
    """
    Return True when a certificate says itself that a public CA issued it: it is in a public log, with all of
    its names, or claims to keep the rules for such CAs.
    """
    # No such long identifier is in a certificate by chance, and there is nothing to parse.
    return any(mark in leaf.der for mark in _PUBLIC)


def _is_by_acme(leaf: Certificate, target: Target) -> bool:
    """
    Return True when the certificate is renewed by ACME, as its policy or its issuer says.
    """
    found = target.renewer_of(leaf.issuer, leaf.subject)
    return found is not None and found.policy.name == "acme"


async def check(chains: Sequence[Sequence[Certificate]], target: Target, network: Network) -> Answer:
    """
    Return the DNS checks of these certificates as a `Found`. Raises LookupFailedError when no query succeeds.
    """
    # In a thread: the event loop goes on meanwhile.
    return await (await _importing.run(_imported))(chains, target, network)


def _imported() -> Check:
    from exporter.lookups import dns_checking  # noqa: PLC0415 - see above

    return dns_checking.check
