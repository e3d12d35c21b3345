"""
The DNS checks themselves: the records that the names of a certificate depend on (A, AAAA, CAA, TLSA).
"""

import asyncio
from collections.abc import Sequence

from dns.rdtypes.ANY.CAA import CAA
from dns.rdtypes.ANY.TLSA import TLSA

from exporter.lookups import tlsa
from exporter.lookups.dns import Found
from exporter.model.hosts import parse_ip
from exporter.model.observation import Certificate, FailedLookup, FoundFault, FoundHazard
from exporter.model.reasons import Fault, Hazard, Lookup, Reason
from exporter.model.targets import Target
from exporter.net import dns_records
from exporter.net.background import Answer, LookupFailedError
from exporter.net.dns import Reply, Resolution, ResolutionError, _each, _of
from exporter.net.dns_records import Caa, Tlsa
from exporter.net.network import Network

AGAIN_AFTER = 900.0
"""Seconds between two checks of the names of a certificate, where they are asked for."""


UNASKED_AGAIN_AFTER = 6 * 3600.0
"""Seconds between two checks where nobody asked for them. They are of what changes slowly."""


NAMES_LIMIT = 100
"""Most names of a certificate that are checked; some have hundreds, and the resolver has other clients."""


QUERIES_AT_A_TIME = 2
"""Queries of one check: others' certificates name servers that may be silent, and probes have queries too."""


LONGEST = 60.0
"""Seconds after which a check asks nothing more."""


async def check(chains: Sequence[Sequence[Certificate]], target: Target, network: Network) -> Answer:
    """
    Return the DNS checks of these certificates as a `Found`. Raises LookupFailedError when no query succeeds.
    """
    checking = _Check(network.resolution, target)
    leaves = [chain[0] for chain in chains]
    hazards = [
        found
        for found in await asyncio.gather(checking.forbidden(leaves), checking.unresolved(leaves))
        if found is not None
    ]
    fault = await checking.announced(chains) if target.dns_checks else None
    if checking.failure is not None and not checking.answered:
        raise LookupFailedError(checking.failure.reason, checking.failure.detail)
    failed, again_after = None, AGAIN_AFTER if target.dns_checks else UNASKED_AGAIN_AFTER
    if checking.failure is not None:
        failed = FailedLookup(Lookup.DNS, checking.failure.reason, checking.failure.detail, stands=True)
    return Answer(Found((fault,) if fault is not None else (), tuple(hazards), failed), again_after)


class _Check:
    """
    One round of queries. A query without an answer gives no finding, and does not stop the others.
    """

    def __init__(self, asking: Resolution, target: Target) -> None:
        self._asking = asking
        self._target = target
        self.answered = 0
        self.failure: ResolutionError | None = None
        self._turn = asyncio.Semaphore(QUERIES_AT_A_TIME)
        self._loop = asyncio.get_running_loop()
        self._ends = self._loop.time() + LONGEST

    async def _ask(self, name: str, kind: str) -> Reply | None:
        """
        Return the reply; None when the query failed.
        """
        async with self._turn:
            if self._loop.time() >= self._ends:
                words = f"the names on the certificate took more than {LONGEST:g} s: not all were looked up"
                self.failure = ResolutionError(Reason.DNS_TIMEOUT, words)
                return None
            try:
                reply = await self._asking.ask(self._target.dns_servers, name, kind)
            except ResolutionError as error:
                self.failure = error
                return None
        self.answered += 1
        return reply

    async def forbidden(self, leaves: Sequence[Certificate]) -> FoundHazard | None:
        """
        Return the names for which CAA records forbid the issuer to issue again (RFC 8659); None without any.
        """
        refusals: dict[str, str] = {}
        for leaf in leaves:
            identifiers = dns_records.identifiers_of(leaf)
            if identifiers is None:
                continue

            async def refusal(name: str, known: frozenset[str] = identifiers) -> str | None:
                records = await self._caa(name)
                return dns_records.caa_refusal(records, wildcard=name.startswith("*."), identifiers=known)

            refusals.update(await _each(leaf.dns_names[:NAMES_LIMIT], refusal))
        if not refusals:
            return None
        names = sorted(refusals)
        return FoundHazard(
            Hazard.CAA_FORBIDS_ISSUER,
            f"{leaves[0].issuer_organization} issued this certificate and may not issue the next one for "
            f"{dns_records.some(names)}: CAA records permit {refusals[names[0]]}",
        )

    async def _caa(self, name: str) -> list[Caa]:
        """
        Return the CAA records that apply to a name (RFC 8659 section 3); none when a query on the way failed.
        """
        for above in dns_records.climb(name):
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
        Return the names without an address, which an authority can't validate over the network; None without
        any.
        """
        names = dict.fromkeys(name for leaf in leaves for name in leaf.dns_names if not name.startswith("*."))

        async def why(name: str) -> str | None:
            for kind in ("A", "AAAA"):
                reply = await self._ask(name, kind)
                if reply is None or reply.records:
                    return None
                if not reply.exists:
                    return "it does not exist"
            # A name without an address may be meant so, and be validated by a record below it (RFC 8555
            # section 8.4). That is told to those who asked.
            return "it has no address" if self._target.dns_checks else None

        dead = await _each(list(names)[:NAMES_LIMIT], why)
        if not dead:
            return None
        ordered = sorted(dead)
        return FoundHazard(
            Hazard.NAME_NOT_RESOLVING,
            f"the certificate is also for {dns_records.some(ordered)}, and DNS says of {ordered[0]}: "
            f"{dead[ordered[0]]}. A renewal with this name in it fails where it is checked",
        )

    async def announced(self, chains: Sequence[Sequence[Certificate]]) -> FoundFault | None:
        """
        Return the fault of TLSA records that match no presented chain (RFC 6698, RFC 7672); None without one.
        """
        host = self._target.url.host if self._target.url.ip is None else self._target.server_name
        if not host or parse_ip(host) is not None:
            return None
        name = f"_{self._target.url.port}._tcp.{host}"
        reply = await self._ask(name, "TLSA")
        # Without DNSSEC anybody could announce anything: clients ignore such records.
        if reply is None or not reply.signed:
            return None
        records = [Tlsa(one.usage, one.selector, one.mtype, one.cert) for one in _of(reply, TLSA)]
        for chain in chains:
            announced = tlsa.tlsa_mismatch(records, chain)
            if announced is not None:
                return FoundFault(
                    Fault.TLSA_MISMATCH,
                    f"the TLSA records of {name} announce another certificate or key ({announced}): clients "
                    "that use DANE, such as mail servers, refuse the connection",
                )
        return None
