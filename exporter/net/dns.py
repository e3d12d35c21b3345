"""
Resolution: queries to name servers, on the process's event loop.

The system's resolver (`network.Resolver`) gives addresses only. This one queries records of any type, from
the recursive servers of the host or of a target, or from one authoritative server.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

import dns._features

from exporter.model.caches import Cache
from exporter.model.reasons import Reason

# Name servers are asked over UDP and TCP only. Where the libraries for DNS over QUIC and HTTPS are installed,
# dnspython would import them with itself, which takes longer than all the rest of it.
for _feature in ("doq", "doh"):
    dns._features.force(_feature, enabled=False)  # noqa: SLF001 - there is no public way

import dns.resolver  # noqa: E402 - after that
from dns.rdata import Rdata  # noqa: E402

from exporter.net.dns_exchange import exchange  # noqa: E402

AT_A_TIME = 32
"""DNS queries that may be under way at once."""


DOUBTFUL_AT_A_TIME = 24
"""Queries at a time to servers that did not answer the last query, or were never queried. So the others have
places that silent servers can't take."""


SERVERS_REMEMBERED = 10_000
"""Servers that answered their last query, at most."""


ONE_TRY = 2.0
"""Seconds that one server may take for one answer."""


TRIES = 2
"""Tries for each server."""


TTL = (30.0, 900.0)
"""Seconds for which an answer is used, at least and at most, whatever its own TTL is."""


STALE = 86400.0
"""Seconds for which an old answer is used while there is no new one (RFC 8767)."""


PORT = 53


PAYLOAD = 1232
"""Bytes of the largest answer over UDP that no network cuts in pieces (DNS flag day 2020)."""


Server = tuple[str, int]
"""IP address and port."""


class ResolutionError(Exception):
    """
    A query without an answer: the reason, and a sentence for a person.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Reply:
    """
    The answer to one question, aliases followed.
    """

    records: tuple[Rdata, ...]
    """Empty when there are none of this kind, or no such name."""
    owner: str
    """The owner name of the records; another name than the queried one when that is an alias."""
    exists: bool
    """False when there is no such name (NXDOMAIN)."""
    signed: bool
    """True when the records have a signature (RRSIG), or the queried server verified them (AD flag)."""


@dataclass(slots=True)
class _Kept:
    reply: Reply
    until: float
    """When the answer must be queried again, loop time."""
    at: float


class Resolution:
    """
    DNS answers by server and query. One object for the life of the process.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, authority_port: int = PORT, one_try: float = ONE_TRY
    ) -> None:
        self._loop = loop
        self._kept: Cache[_Kept] = Cache("dns")
        self._turn = asyncio.Semaphore(AT_A_TIME)
        self._doubtful_turn = asyncio.Semaphore(DOUBTFUL_AT_A_TIME)
        self._one_try = one_try
        self._answering: dict[Server, None] = {}
        """Servers that answered their last query, in the order in which they did first."""
        self.asked = 0
        """Number of queries that were sent."""
        self.authority_port = authority_port
        """The port of authoritative servers: always 53 except in tests."""

    async def ask(self, servers: tuple[Server, ...], name: str, kind: str) -> Reply:
        """
        Return the records of a name. Without servers, those of the host are queried. Raises ResolutionError.
        """
        key = (servers, name, kind)
        kept = self._kept.get(key)
        now = self._loop.time()
        if kept is not None and now < kept.until:
            return kept.reply
        try:
            reply, seconds = await self._ask(servers or system_servers(), name, kind)
        except ResolutionError:
            if kept is not None and now < kept.at + STALE:
                return kept.reply
            raise
        new = _Kept(reply, now + min(max(seconds, TTL[0]), TTL[1]), now)
        self._kept.put(key, new, _weight(reply) + len(name))
        return reply

    async def _ask(self, servers: Sequence[Server], name: str, kind: str) -> tuple[Reply, float]:
        """
        Return a fresh reply, and the seconds for which it may be used. Raises ResolutionError.
        """
        failure = ResolutionError(Reason.DNS_FAILED, "no name server is configured")
        # Servers that answered the last query are queried first.
        for server in sorted(servers, key=lambda one: one not in self._answering) * TRIES:
            try:
                answer = await self.exchange(server, name, kind, recursive=True)
                if answer.rcode() in {dns.rcode.NOERROR, dns.rcode.NXDOMAIN}:
                    return read(answer)
            except ResolutionError as error:
                failure = error
            else:
                words = dns.rcode.to_text(answer.rcode())
                failure = ResolutionError(
                    Reason.DNS_FAILED, f"{place(server)} answers {words} when asked for {kind} of {name}"
                )
        raise failure

    async def exchange(self, server: Server, name: str, kind: str, *, recursive: bool) -> dns.message.Message:
        """
        Return the answer of one server, over TCP if it is too long for UDP. Raises ResolutionError.
        """
        try:
            question = dns.message.make_query(
                f"{name}.", kind, use_edns=0, want_dnssec=True, payload=PAYLOAD, flags=0
            )
        except dns.exception.DNSException as error:
            raise ResolutionError(Reason.DNS_FAILED, f"{name!r} can't be asked for: {error}") from None
        question.flags = dns.flags.RD | dns.flags.AD if recursive else 0
        try:
            async with self._place(server):
                self.asked += 1
                answer = await exchange(question, *server, self._one_try)
        except TimeoutError:
            self._answering.pop(server, None)
            raise ResolutionError(
                Reason.DNS_TIMEOUT, f"{place(server)} does not answer when asked for {kind} of {name}"
            ) from None
        except (OSError, EOFError, dns.exception.DNSException) as error:
            words = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise ResolutionError(
                Reason.DNS_FAILED, f"{place(server)} can't be asked for {kind} of {name}: {words}"
            ) from None
        self._answering[server] = None
        if len(self._answering) > SERVERS_REMEMBERED:
            del self._answering[next(iter(self._answering))]
        return answer

    @asynccontextmanager
    async def _place(self, server: Server) -> AsyncIterator[None]:
        """
        Wait for a place for a query, and hold it.
        """
        if server in self._answering:
            async with self._turn:
                yield
        else:
            async with self._doubtful_turn, self._turn:
                yield


def read(answer: dns.message.Message) -> tuple[Reply, float]:
    """
    Return the reply in an answer, and the seconds for which it may be used. Raises ResolutionError for an
    invalid answer.
    """
    if not isinstance(answer, dns.message.QueryMessage):
        raise ResolutionError(Reason.DNS_FAILED, "the answer is not one to the question")
    try:
        found = answer.resolve_chaining()
    except dns.exception.DNSException as error:
        raise ResolutionError(Reason.DNS_FAILED, f"the answer makes no sense: {error}") from None
    records = tuple(found.answer) if found.answer is not None else ()
    covered = found.answer.rdtype if found.answer is not None else dns.rdatatype.NONE
    signed = bool(answer.flags & dns.flags.AD) or any(
        rrset.rdtype == dns.rdatatype.RRSIG and rrset.covers == covered and rrset.name == found.canonical_name
        for rrset in answer.answer
    )
    reply = Reply(
        records,
        found.canonical_name.to_text(omit_final_dot=True).lower(),
        answer.rcode() != dns.rcode.NXDOMAIN,
        signed and bool(records),
    )
    return reply, float(found.minimum_ttl)


def _weight(reply: Reply) -> int:
    """
    Return the bytes that a reply takes in memory, as measured: some hundred for a record, plus its content.
    """
    return 1000 + sum(500 + 4 * len(record.to_wire() or b"") for record in reply.records)


def system_servers() -> tuple[Server, ...]:
    """
    Return the servers of /etc/resolv.conf. Raises ResolutionError when it can't be read.
    """
    try:
        found = dns.resolver.Resolver(configure=True)
    except dns.exception.DNSException:
        raise ResolutionError(
            Reason.DNS_FAILED, "/etc/resolv.conf names no server: set `dns_servers` for this target"
        ) from None
    return tuple((str(one), found.port) for one in found.nameservers)


def place(server: Server) -> str:
    """
    Return a server in words.
    """
    return f"name server {server[0]}" + (f" port {server[1]}" if server[1] != PORT else "")


T = TypeVar("T")


async def _each(names: Iterable[str], judge: Callable[[str], Awaitable[str | None]]) -> dict[str, str]:
    """
    Return the names for which `judge` returns a result, with that result.
    """
    ordered = list(dict.fromkeys(name.lower().rstrip(".") for name in names))
    said = await asyncio.gather(*map(judge, ordered))
    return {name: words for name, words in zip(ordered, said, strict=True) if words is not None}


def _of(reply: Reply, kind: type[T]) -> list[T]:
    """
    Return the records of this type.
    """
    return [one for one in reply.records if isinstance(one, kind)]
