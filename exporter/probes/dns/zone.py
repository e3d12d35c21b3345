"""
The prober of DNS zones (`dns:example.com`): when the DNSSEC signatures of each name server end.

Each address of each authoritative server of the zone is an endpoint. A server that no longer gets updates
serves old signatures while the others are healthy, and a part of all look-ups fails.
"""

import asyncio
from collections.abc import Iterable

import dns.rdatatype
from dns.rdtypes.ANY.DNSKEY import DNSKEY
from dns.rdtypes.ANY.NS import NS
from dns.rdtypes.ANY.RRSIG import RRSIG
from dns.rdtypes.IN.A import A
from dns.rdtypes.IN.AAAA import AAAA

from exporter.model.errors import LeftOut, ProbeError
from exporter.model.hosts import IPAddress, parse_ip
from exporter.model.observation import Facts
from exporter.model.reasons import Reason
from exporter.model.targets import Target
from exporter.net import dns_records
from exporter.net.dns import Resolution, ResolutionError, _of
from exporter.net.dns_records import Signature
from exporter.net.network import Network
from exporter.net.resolver import choose, has_route
from exporter.probes.base import Endpoint, Endpoints, Trace

SIGNED = ("SOA", "NS", "DNSKEY")
"""Records that every signed zone has at its apex."""


async def endpoints(target: Target, network: Network) -> Endpoints:
    """
    Return each address of each authoritative server of the zone that the target's name is in.

    Raises ProbeError when the servers can't be found within the target's timeout.
    """
    try:
        async with asyncio.timeout(target.patience):
            return await _endpoints(network.resolution, target)
    except ResolutionError as error:
        raise ProbeError(error.reason, error.detail) from None
    except TimeoutError:
        detail = f"finding the name servers of {target.url.host} took more than {target.patience:g} s"
        raise ProbeError(Reason.DNS_TIMEOUT, detail) from None


async def _endpoints(asking: Resolution, target: Target) -> Endpoints:
    """
    Return each address of each authoritative server of the target's zone. Raises ResolutionError.
    """
    zone = await apex(asking, target)
    servers = await asking.ask(target.dns_servers, zone, "NS")
    names = sorted({one.target.to_text(omit_final_dot=True).lower() for one in _of(servers, NS)})
    if not names:
        raise ResolutionError(Reason.DNS_NOT_FOUND, f"the zone {zone} has no name servers")
    left_out: list[LeftOut] = []
    found: dict[IPAddress, str] = {}
    for name, addresses in zip(
        names, await asyncio.gather(*(_addresses(asking, target, name) for name in names)), strict=True
    ):
        if isinstance(addresses, LeftOut):
            left_out.append(addresses)
        else:
            for address in addresses:
                found.setdefault(address, name)
    if not found:
        detail = f"no name server of {zone} has an address: {'; '.join(map(str, left_out))}"
        raise ResolutionError(Reason.DNS_NOT_FOUND, detail)
    chosen = choose(tuple(found), "all", has_route)
    left_out += [LeftOut(f"{found[address]} ({address})", reason) for address, reason in chosen.left_out]
    return Endpoints(
        tuple(Endpoint(f"{found[address]} ({address})", str(address)) for address in chosen.probed),
        tuple(left_out),
    )


async def apex(asking: Resolution, target: Target) -> str:
    """
    Return the zone that the target's name is in. Raises ResolutionError when there is none.
    """
    host = target.url.host
    for name in dns_records.climb(host):
        reply = await asking.ask(target.dns_servers, name, "SOA")
        if name == host and not reply.exists:
            raise ResolutionError(Reason.DNS_NOT_FOUND, f"there is no name {host} in DNS")
        # An alias may lead to the apex of another zone.
        if reply.records and reply.owner == name:
            return name
    raise ResolutionError(Reason.DNS_NOT_FOUND, f"no zone was found that {host} is in")


async def _addresses(asking: Resolution, target: Target, name: str) -> list[IPAddress] | LeftOut:
    """
    Return the addresses of a name server; when it has none, a sentence that says why.
    """
    kinds = {"any": ("A", "AAAA"), "ipv4": ("A",), "ipv6": ("AAAA",)}[target.address_family]
    try:
        replies = await asyncio.gather(*(asking.ask(target.dns_servers, name, kind) for kind in kinds))
    except ResolutionError as error:
        return LeftOut(name, error.detail)
    texts = [one.address for reply in replies for one in reply.records if isinstance(one, A | AAAA)]
    found = [address for address in map(parse_ip, texts) if address is not None]
    return found or LeftOut(name, "it has no address")


async def look(target: Target, endpoint: Endpoint, network: Network, trace: Trace) -> Facts:
    """
    Probe one server: return the signature of the zone that ends first there (RFC 4034 section 3).

    Raises ProbeError when the server does not serve the zone with signatures, TimeoutError after the target's
    timeout.
    """
    asking = network.resolution
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
    item = dns_records.signature_item(signatures, key_tags)
    if item is None:
        raise ProbeError(
            Reason.NOTHING_EXPIRES,
            f"{endpoint.label} serves {zone} without DNSSEC signatures by its keys; if the zone above has a "
            "DS record for it, resolvers refuse what this server says",
        )
    return Facts((item,))


def _check_authority(answer: dns.message.Message, kind: str, zone: str, endpoint: Endpoint) -> None:
    """
    Raise ProbeError unless the answer is an authoritative one without an error.
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
    Return all signatures in these answers, and the tags of the keys in them (RFC 4034 appendix B).
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
                    key_tags.add(dns_records.key_tag(record.to_digestable()))
    return signatures, key_tags
