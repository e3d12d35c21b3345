"""
DNS: the signatures of a zone (`dns:example.com`), and the records that the names of a certificate depend on.

Of a zone each address of each authoritative server is an endpoint: one that was forgotten serves old
signatures while the others are well, and every so many look-ups fail.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
from dns.rdtypes.ANY.CAA import CAA
from dns.rdtypes.ANY.DNSKEY import DNSKEY
from dns.rdtypes.ANY.NS import NS
from dns.rdtypes.ANY.RRSIG import RRSIG
from dns.rdtypes.ANY.TLSA import TLSA
from dns.rdtypes.IN.A import A
from dns.rdtypes.IN.AAAA import AAAA

from exporter import dns_facts
from exporter.dns_facts import Caa, Signature, Tlsa
from exporter.lookups import Answer, LookupFailedError, lookups
from exporter.network import Network, ProbeError, Trace, choose, has_route
from exporter.observation import (
    Certificate,
    Facts,
    FailedLookup,
    Fault,
    FoundFault,
    FoundHazard,
    Hazard,
    Lookup,
    Reason,
)
from exporter.probes.additions import added
from exporter.probes.endpoint import Endpoint, Endpoints
from exporter.resolution import Reply, Resolution, ResolutionError, resolution
from exporter.targets import IPAddress, Target, parse_ip

AGAIN_AFTER = 900.0
"""Seconds between two checks of the names of a certificate."""

NAMES_LIMIT = 100
"""Names of a certificate that are checked; some have hundreds, and a resolver is not ours alone."""

SIGNED = ("SOA", "NS", "DNSKEY")
"""Records that every signed zone has at its apex."""

T = TypeVar("T")


async def endpoints(target: Target, network: Network) -> Endpoints:
    """
    Each address of each authoritative server of the zone that the target's name is in. Raises ProbeError.
    """
    try:
        async with asyncio.timeout(target.patience):
            return await _endpoints(resolution(network), target)
    except ResolutionError as error:
        raise ProbeError(error.reason, error.detail) from None
    except TimeoutError:
        detail = f"finding the name servers of {target.url.host} took more than {target.patience:g} s"
        raise ProbeError(Reason.DNS_TIMEOUT, detail) from None


async def _endpoints(asking: Resolution, target: Target) -> Endpoints:
    """
    The same. Raises ResolutionError.
    """
    zone = await apex(asking, target)
    servers = await asking.ask(target.dns_servers, zone, "NS")
    names = sorted({one.target.to_text(omit_final_dot=True).lower() for one in _of(servers, NS)})
    if not names:
        raise ResolutionError(Reason.DNS_NOT_FOUND, f"the zone {zone} has no name servers")
    left_out: list[str] = []
    found: dict[IPAddress, str] = {}
    for name, addresses in zip(
        names, await asyncio.gather(*(_addresses(asking, target, name) for name in names)), strict=True
    ):
        if isinstance(addresses, str):
            left_out.append(addresses)
        else:
            for address in addresses:
                found.setdefault(address, name)
    if not found:
        detail = f"no name server of {zone} has an address: {'; '.join(left_out)}"
        raise ResolutionError(Reason.DNS_NOT_FOUND, detail)
    chosen = choose(tuple(found), "all", has_route)
    left_out += [f"{found[address]} ({address}): {reason}" for address, reason in chosen.left_out]
    return Endpoints(
        tuple(Endpoint(f"{found[address]} ({address})", str(address)) for address in chosen.probed),
        tuple(left_out),
    )


async def apex(asking: Resolution, target: Target) -> str:
    """
    The zone that the target's name is in. Raises ResolutionError.
    """
    host = target.url.host
    for name in dns_facts.climb(host):
        reply = await asking.ask(target.dns_servers, name, "SOA")
        if name == host and not reply.exists:
            raise ResolutionError(Reason.DNS_NOT_FOUND, f"there is no name {host} in DNS")
        # An alias may lead to the apex of another zone.
        if reply.records and reply.owner == name:
            return name
    raise ResolutionError(Reason.DNS_NOT_FOUND, f"no zone was found that {host} is in")


async def _addresses(asking: Resolution, target: Target, name: str) -> list[IPAddress] | str:
    """
    The addresses of a name server; a sentence when it has none.
    """
    kinds = {"any": ("A", "AAAA"), "ipv4": ("A",), "ipv6": ("AAAA",)}[target.address_family]
    try:
        replies = await asyncio.gather(*(asking.ask(target.dns_servers, name, kind) for kind in kinds))
    except ResolutionError as error:
        return f"{name}: {error.detail}"
    texts = [one.address for reply in replies for one in reply.records if isinstance(one, A | AAAA)]
    found = [address for address in map(parse_ip, texts) if address is not None]
    return found or f"{name}: it has no address"


async def look(target: Target, endpoint: Endpoint, network: Network, trace: Trace) -> Facts:
    """
    The signature that ends first, as this server serves it. Raises ProbeError or TimeoutError.
    """
    asking = resolution(network)
    server = (endpoint.address, asking.authority_port)
    try:
        async with asyncio.timeout(target.patience):
            zone = await apex(asking, target)
            trace.phase = "asking the name server"
            trace.note("asking %s port %s for the signatures of %s", *server, zone)
            # One after the other: a server that is silent at the first is not waited for three times.
            answers = [await asking.exchange(server, zone, kind, recursive=False) for kind in SIGNED]
    except ResolutionError as error:
        raise ProbeError(error.reason, error.detail) from None
    for kind, answer in zip(SIGNED, answers, strict=True):
        _check_authority(answer, kind, zone, endpoint)
    signatures, key_tags = _signatures(answers)
    trace.note("%s signatures, keys %s", len(signatures), ", ".join(map(str, sorted(key_tags))) or "none")
    item = dns_facts.signature_item(signatures, key_tags)
    if item is None:
        raise ProbeError(
            Reason.NOTHING_EXPIRES,
            f"{endpoint.label} serves {zone} without DNSSEC signatures by its keys; if the zone above has a "
            "DS record for it, resolvers refuse what this server says",
        )
    return Facts((item,))


def _check_authority(answer: dns.message.Message, kind: str, zone: str, endpoint: Endpoint) -> None:
    """
    Raises ProbeError for an answer that a server of this zone does not give.
    """
    code = answer.rcode()
    if code != dns.rcode.NOERROR:
        words = f"answers {dns.rcode.to_text(code)}"
    elif not answer.flags & dns.flags.AA:
        words = "is not authoritative"
    else:
        return
    raise ProbeError(
        Reason.DNS_FAILED,
        f"{endpoint.label} is named as a server of {zone} but {words} when asked for {kind}: it does not "
        "serve the zone, or could not load or transfer it",
    )


def _signatures(answers: Iterable[dns.message.Message]) -> tuple[list[Signature], set[int]]:
    """
    All signatures in these answers, and the tags of the keys in them.
    """
    signatures: list[Signature] = []
    key_tags: set[int] = set()
    for answer in answers:
        for rrset in answer.answer:
            for record in rrset:
                if isinstance(record, RRSIG):
                    covered = dns.rdatatype.to_text(record.type_covered)
                    signatures.append(
                        Signature(covered, record.key_tag, float(record.inception), float(record.expiration))
                    )
                elif isinstance(record, DNSKEY):
                    key_tags.add(dns_facts.key_tag(record.to_digestable()))
    return signatures, key_tags


@dataclass(frozen=True, slots=True)
class Found:
    """
    What DNS says of the certificates that are presented.
    """

    faults: tuple[FoundFault, ...] = ()
    hazards: tuple[FoundHazard, ...] = ()
    failed: FailedLookup | None = None
    """A question among many that nobody answered; None when there was none."""


def checks(facts: Facts, target: Target, network: Network) -> Facts:
    """
    With what DNS says about the presented certificates, as it was when it was last looked up.
    """
    if not target.dns_checks or not facts.chains:
        return facts
    chains = tuple(chain.certificates for chain in facts.chains)
    presented = tuple(one.fingerprint_sha256 for chain in chains for one in chain)
    key = ("dns", target.url.host, target.url.port, target.server_name, target.dns_servers, presented)
    what = f"DNS of the names on the certificate of {target.url.authority}"
    heard = lookups(network).hear(key, partial(check, chains, target, network), what, target.name)
    found = heard.known.value if heard.known is not None else Found()
    failed = found.failed
    if heard.failure is not None:
        stands = heard.known is not None
        failed = FailedLookup(Lookup.DNS, heard.failure.reason, heard.failure.detail, stands)
    return added(facts, (), found.faults, found.hazards, (failed,) if failed is not None else ())


async def check(chains: Sequence[Sequence[Certificate]], target: Target, network: Network) -> Answer:
    """
    What DNS says about these certificates, as a `Found`. Raises LookupFailedError when it says nothing.
    """
    checking = _Check(resolution(network), target)
    leaves = [chain[0] for chain in chains]
    hazards = [
        found
        for found in await asyncio.gather(checking.forbidden(leaves), checking.unresolved(leaves))
        if found is not None
    ]
    fault = await checking.announced(chains)
    if checking.failure is not None and not checking.answered:
        raise LookupFailedError(checking.failure.reason, checking.failure.detail)
    failed = None
    if checking.failure is not None:
        failed = FailedLookup(Lookup.DNS, checking.failure.reason, checking.failure.detail, stands=True)
    return Answer(Found((fault,) if fault is not None else (), tuple(hazards), failed), AGAIN_AFTER)


class _Check:
    """
    One round of questions. What can't be answered is not judged, and does not hinder the rest.
    """

    def __init__(self, asking: Resolution, target: Target) -> None:
        self._asking = asking
        self._target = target
        self.answered = 0
        self.failure: ResolutionError | None = None

    async def _ask(self, name: str, kind: str) -> Reply | None:
        """
        The reply; None when there is none.
        """
        try:
            reply = await self._asking.ask(self._target.dns_servers, name, kind)
        except ResolutionError as error:
            self.failure = error
            return None
        self.answered += 1
        return reply

    async def forbidden(self, leaves: Sequence[Certificate]) -> FoundHazard | None:
        """
        The names for which the zone does not permit the issuer to issue again (RFC 8659).
        """
        refusals: dict[str, str] = {}
        for leaf in leaves:
            identifiers = dns_facts.identifiers_of(leaf)
            if identifiers is None:
                continue

            async def refusal(name: str, known: frozenset[str] = identifiers) -> str | None:
                records = await self._caa(name)
                return dns_facts.caa_refusal(records, wildcard=name.startswith("*."), identifiers=known)

            refusals.update(await _each(leaf.dns_names[:NAMES_LIMIT], refusal))
        if not refusals:
            return None
        names = sorted(refusals)
        return FoundHazard(
            Hazard.CAA_FORBIDS_ISSUER,
            f"{leaves[0].issuer_organization} issued this certificate and may not issue the next one for "
            f"{dns_facts.some(names)}: CAA records permit {refusals[names[0]]}",
        )

    async def _caa(self, name: str) -> list[Caa]:
        """
        The CAA records that hold for a name; none when a question on the way has no answer.
        """
        for above in dns_facts.climb(name):
            reply = await self._ask(above, "CAA")
            if reply is None:
                return []
            if reply.records:
                return [
                    Caa(one.flags, one.tag.decode("ascii", "replace"), one.value.decode("utf-8", "replace"))
                    for one in _of(reply, CAA)
                ]
        return []

    async def unresolved(self, leaves: Sequence[Certificate]) -> FoundHazard | None:
        """
        The names that have no address: an authority that checks them over the network can't.
        """
        names = dict.fromkeys(name for leaf in leaves for name in leaf.dns_names if not name.startswith("*."))

        async def why(name: str) -> str | None:
            for kind in ("A", "AAAA"):
                reply = await self._ask(name, kind)
                if reply is None or reply.records:
                    return None
                if not reply.exists:
                    return "it does not exist"
            return "it has no address"

        dead = await _each(list(names)[:NAMES_LIMIT], why)
        if not dead:
            return None
        ordered = sorted(dead)
        return FoundHazard(
            Hazard.NAME_NOT_RESOLVING,
            f"the certificate is also for {dns_facts.some(ordered)}, and DNS says of {ordered[0]}: "
            f"{dead[ordered[0]]}. A renewal with this name in it fails where it is checked",
        )

    async def announced(self, chains: Sequence[Sequence[Certificate]]) -> FoundFault | None:
        """
        The TLSA records that announce another certificate or key than is presented (RFC 6698, RFC 7672).
        """
        host = self._target.url.host if self._target.url.ip is None else self._target.server_name
        if not host or parse_ip(host) is not None:
            return None
        name = f"_{self._target.url.port}._tcp.{host}"
        reply = await self._ask(name, "TLSA")
        # Without DNSSEC anybody could announce anything: clients don't look at such records.
        if reply is None or not reply.signed:
            return None
        records = [Tlsa(one.usage, one.selector, one.mtype, one.cert) for one in _of(reply, TLSA)]
        for chain in chains:
            announced = dns_facts.tlsa_mismatch(records, chain)
            if announced is not None:
                return FoundFault(
                    Fault.TLSA_MISMATCH,
                    f"the TLSA records of {name} announce another certificate or key ({announced}): clients "
                    "that use DANE, such as mail servers, refuse the connection",
                )
        return None


async def _each(names: Iterable[str], judge: Callable[[str], Awaitable[str | None]]) -> dict[str, str]:
    """
    The names of which there is something to say, with it.
    """
    ordered = list(dict.fromkeys(name.lower().rstrip(".") for name in names))
    said = await asyncio.gather(*map(judge, ordered))
    return {name: words for name, words in zip(ordered, said, strict=True) if words is not None}


def _of(reply: Reply, kind: type[T]) -> list[T]:
    """
    The records of this kind.
    """
    return [one for one in reply.records if isinstance(one, kind)]
