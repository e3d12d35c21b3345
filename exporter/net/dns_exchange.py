"""
One query to one name server, over UDP, and over TCP when the answer does not fit (RFC 1035, RFC 7766).

Anybody can send a packet that looks like an answer. One that does not repeat number and question of the query
is dropped before anything else of it is read, and the query goes on (RFC 5452 section 9).
"""

import asyncio
import struct
from contextlib import closing
from typing import Any

import dns.exception
import dns.flags
import dns.message
import dns.opcode
import dns.rcode

READS = 5_000
"""Reads that an answer may take: those of some 300 records, or of 20 names with the most labels possible.

A name may be repeated by two bytes that point to it, and the library takes milliseconds for a long one:
64 kB of them would keep it for a quarter of a minute.
"""


_HEADER = struct.Struct("!HHHHHH")


_WITHOUT_QUESTION = frozenset({dns.rcode.FORMERR, dns.rcode.SERVFAIL, dns.rcode.NOTIMP, dns.rcode.REFUSED})
"""Errors that some servers answer with without the question."""


class OtherAnswerError(dns.exception.DNSException):
    """
    A message came over a connection that is no answer to the query.
    """

    msg = "what it answers is not an answer to this question"


class TooComplexError(dns.exception.FormError):
    """
    An answer takes more reads than READS.
    """

    msg = "its answer has too many records, or too long names"


class _Counted(bytes):
    """
    A message that can be read only so often: the library reads each part of it by a slice.
    """

    _left = READS

    def __getitem__(self, part: Any) -> Any:
        self._left -= 1
        if self._left < 0:
            raise TooComplexError
        return super().__getitem__(part)


def parse(data: bytes) -> dns.message.Message:
    """
    Return the message in these bytes. Raises DNSException.
    """
    return dns.message.from_wire(_Counted(data))


def answers(data: bytes, query: bytes) -> bool:
    """
    Return True for an answer to this query, which has one question: what else is in it is not read.
    """
    if len(data) < _HEADER.size:
        return False
    number, flags, questions, *_ = _HEADER.unpack_from(data)
    if number != int.from_bytes(query[:2], "big") or not flags & dns.flags.QR:
        return False
    if dns.opcode.from_flags(flags) != dns.opcode.QUERY:
        return False
    if questions == 0:
        return flags & 0xF in _WITHOUT_QUESTION
    end = _HEADER.size
    while query[end]:
        end += 1 + query[end]
    question = slice(_HEADER.size, end + 5)
    return questions == 1 and data[question].lower() == query[question].lower()


async def exchange(query: dns.message.Message, host: str, port: int, timeout: float) -> dns.message.Message:
    """
    Return the answer of the name server at this address. It has `timeout` seconds for UDP, and as many again
    for TCP.

    Raises TimeoutError, OSError, EOFError or DNSException.
    """
    wire = query.to_wire()
    async with asyncio.timeout(timeout):
        data = await _over_udp(wire, host, port)
    if int.from_bytes(data[2:4], "big") & dns.flags.TC:
        async with asyncio.timeout(timeout):
            data = await _over_tcp(wire, host, port)
        if not answers(data, wire):
            raise OtherAnswerError
    return parse(data)


class _Waiting(asyncio.DatagramProtocol):
    """
    Waits for the answer to one query.
    """

    def __init__(self, query: bytes, answer: "asyncio.Future[bytes]") -> None:
        self._query, self._answer = query, answer

    def datagram_received(self, data: bytes, _addr: tuple[str | Any, int]) -> None:
        if not self._answer.done() and answers(data, self._query):
            self._answer.set_result(data)

    def error_received(self, exc: Exception) -> None:
        # That nobody listens there is what anybody can say. The server that is meant may still answer.
        if not self._answer.done() and not isinstance(exc, ConnectionRefusedError):
            self._answer.set_exception(exc)


async def _over_udp(query: bytes, host: str, port: int) -> bytes:
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[bytes] = loop.create_future()
    # Connected: the system drops what comes from other addresses and ports.
    transport, _ = await loop.create_datagram_endpoint(
        lambda: _Waiting(query, answer), remote_addr=(host, port)
    )
    with closing(transport):
        transport.sendto(query)
        return await answer


async def _over_tcp(query: bytes, host: str, port: int) -> bytes:
    reader, writer = await asyncio.open_connection(host, port)
    with closing(writer):
        writer.write(len(query).to_bytes(2, "big") + query)
        size = await reader.readexactly(2)
        return await reader.readexactly(int.from_bytes(size, "big"))
