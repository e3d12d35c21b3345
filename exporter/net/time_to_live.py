"""
The time to live of a name's addresses (RFC 1035), which the system's resolver does not give.

One question over UDP to the host's first name server for each kind of address. It is no resolver: what it
reads counts only where the system's resolver gave the same addresses. The library for all other queries would
take many times as long for it, and some megabytes.
"""

import asyncio
import ipaddress
import secrets
import socket
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from exporter.model.hosts import IPAddress

TIMEOUT = 2.0
"""Seconds that the name server may take."""


PORT = 53


RESOLV_CONF = Path("/etc/resolv.conf")


RESOLV_CONF_LIMIT = 65_536


A, SOA, AAAA = 1, 6, 28
"""Types of records (RFC 1035, RFC 3596)."""


KINDS: Mapping[int, tuple[int, ...]] = {
    socket.AF_UNSPEC: (A, AAAA),
    socket.AF_INET: (A,),
    socket.AF_INET6: (AAAA,),
}


_HEADER = struct.Struct("!HHHHHH")


_RECORD = struct.Struct("!HHIH")


RECURSION_DESIRED = 0x0100


_ANSWERED = 0xFA0F
"""Of the flags: response, opcode, truncated, and the response code."""


RESPONSE = 0x8000


class NoAnswerError(Exception):
    """
    There is no usable answer.
    """


def question(number: int, host: str, kind: int) -> bytes:
    """
    Return the query for records of a kind of a host. Raises NoAnswerError for what can't be a name in DNS.
    """
    try:
        labels = host.encode("ascii").rstrip(b".").split(b".")
    except UnicodeError:
        raise NoAnswerError from None
    if not all(0 < len(label) < 64 for label in labels):
        raise NoAnswerError
    name = b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
    return _HEADER.pack(number, RECURSION_DESIRED, 1, 0, 0, 0) + name + struct.pack("!HH", kind, 1)


def answer(data: bytes, asked: bytes, kind: int) -> tuple[frozenset[IPAddress], float]:
    """
    Return the addresses in an answer to `asked`, and the seconds for which all of it may be used. Raises
    NoAnswerError.

    That there are none may be remembered as long as the SOA record says (RFC 2308 section 5).
    """
    end = len(asked)
    if len(data) < end or data[:2] != asked[:2] or data[12:end].lower() != asked[12:].lower():
        raise NoAnswerError
    _, flags, questions, answers, authorities, _ = _HEADER.unpack_from(data)
    if flags & _ANSWERED != RESPONSE or questions != 1:
        raise NoAnswerError
    found: set[IPAddress] = set()
    left: list[int] = []
    none_for = 0
    try:
        for number in range(answers + authorities):
            end = _after_name(data, end)
            what, _, seconds, size = _RECORD.unpack_from(data, end)
            end += _RECORD.size + size
            content = data[end - size : end]
            if len(content) < size:
                raise NoAnswerError
            if number < answers:
                left.append(seconds)
                if what == kind:
                    found.add(ipaddress.ip_address(content))
            elif what == SOA:
                none_for = min(seconds, int.from_bytes(content[-4:], "big"))
    except (struct.error, IndexError, ValueError):
        raise NoAnswerError from None
    return frozenset(found), float(min(left) if found else min([none_for, *left]))


def _after_name(data: bytes, at: int) -> int:
    """
    Return the position after the name that begins here. Where it points to is not followed.
    """
    while (length := data[at]) != 0:
        if length >= 0xC0:
            return at + 2
        at += 1 + length
    return at + 1


def first_server() -> str:
    """
    Return the address of the host's first name server. Raises NoAnswerError.
    """
    try:
        with RESOLV_CONF.open(encoding="utf-8", errors="replace") as file:
            lines = file.read(RESOLV_CONF_LIMIT).splitlines()
    except OSError:
        raise NoAnswerError from None
    for line in lines:
        words = line.split()
        if len(words) > 1 and words[0] == "nameserver":
            return words[1]
    raise NoAnswerError


class _Asking(asyncio.DatagramProtocol):
    """
    One answer of a connected socket.
    """

    def __init__(self, take: Callable[[bytes], bool], done: "asyncio.Future[None]") -> None:
        """
        `take` returns True when no more answers are wanted. It raises NoAnswerError.
        """
        self._take, self._done = take, done

    def datagram_received(self, data: bytes, _addr: tuple[str | Any, int]) -> None:
        if self._done.done():
            return
        try:
            over = self._take(data)
        except NoAnswerError as error:
            self._done.set_exception(error)
        else:
            if over:
                self._done.set_result(None)

    def error_received(self, exc: Exception) -> None:
        if not self._done.done():
            self._done.set_exception(exc)


async def time_to_live(
    host: str, family: int, server: Callable[[], tuple[str, int]] = lambda: (first_server(), PORT)
) -> tuple[frozenset[IPAddress], float]:
    """
    Return a host's addresses of a family (`socket.AF_…`), and the seconds for which they may be used. Raises
    NoAnswerError, OSError or TimeoutError.
    """
    loop = asyncio.get_running_loop()
    asked = {number: (question(number, host, kind), kind) for number, kind in _numbered(KINDS[family])}
    addresses: frozenset[IPAddress] = frozenset()
    left = float("inf")

    def take(data: bytes) -> bool:
        nonlocal addresses, left
        found = asked.pop(int.from_bytes(data[:2], "big"), None)
        if found is None:
            return False
        some, seconds = answer(data, *found)
        addresses, left = addresses | some, min(left, seconds)
        return not asked

    done: asyncio.Future[None] = loop.create_future()
    transport, _ = await loop.create_datagram_endpoint(lambda: _Asking(take, done), remote_addr=server())
    try:
        for packet, _ in list(asked.values()):
            transport.sendto(packet)
        async with asyncio.timeout(TIMEOUT):
            await done
    finally:
        transport.close()
        if done.done() and not done.cancelled():
            done.exception()
    return addresses, left


def _numbered(kinds: tuple[int, ...]) -> list[tuple[int, int]]:
    # Neighbours, so that they differ; nobody can guess the first.
    first = secrets.randbelow(0x10000)
    return [((first + position) % 0x10000, kind) for position, kind in enumerate(kinds)]
