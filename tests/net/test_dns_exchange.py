"""
One query to a name server on loopback, and what others send before it answers.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rrset
import pytest

from exporter.model.reasons import Reason
from exporter.net.dns import AT_A_TIME, Resolution, ResolutionError
from exporter.net.dns_exchange import OtherAnswerError, TooComplexError, exchange, parse

Answers = Callable[[bytes], Sequence[bytes]]
"""Takes a query, and returns the packets that are sent back."""

QUERY = dns.message.make_query("www.example.test.", "A")


def answer(query: bytes, *addresses: str) -> bytes:
    """
    A good answer with these addresses.
    """
    made = dns.message.make_response(dns.message.from_wire(query))
    if addresses:
        made.answer.append(dns.rrset.from_text("www.example.test.", 60, "IN", "A", *addresses))
    return made.to_wire(max_size=65535)


def other_number(data: bytes) -> bytes:
    """
    The same message with another number.
    """
    return bytes([data[0] ^ 1]) + data[1:]


def long_names(query: bytes) -> bytes:
    """
    An answer of 64 kB with 4,000 names of 113 labels, all but one by two bytes.
    """
    question = query[12 : query.index(b"\0", 12) + 5]
    first = b"\1a" * 110 + b"\xc0\x0c" + bytes.fromhex("0002 0001 0000003c 0002 c00c")
    pointer = (0xC000 | 12 + len(question)).to_bytes(2, "big")
    more = (pointer + bytes.fromhex("0002 0001 0000003c 0002") + pointer) * 4000
    return query[:2] + bytes.fromhex("8400 0001 0fa1 0000 0000") + question + first + more


@contextlib.asynccontextmanager
async def name_server(
    over_udp: Answers,
    over_tcp: Answers = lambda _: (),
    forged: Callable[[bytes], bytes] | None = None,
) -> AsyncIterator[int]:
    """
    The port of a server that answers so. The connection ends after the answers. What is `forged` comes from
    another port, before the answer.
    """
    elsewhere = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    class Server(asyncio.DatagramProtocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
            if forged is not None:
                elsewhere.sendto(forged(data), addr)
            for packet in over_udp(data):
                self.transport.sendto(packet, addr)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        size = int.from_bytes(await reader.readexactly(2), "big")
        for message in over_tcp(await reader.readexactly(size)):
            writer.write(len(message).to_bytes(2, "big") + message)
        writer.close()

    loop = asyncio.get_running_loop()
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    transport, _ = await loop.create_datagram_endpoint(Server, local_addr=("127.0.0.1", port))
    try:
        yield port
    finally:
        transport.close()
        server.close()
        elsewhere.close()


def asked(over_udp: Answers, over_tcp: Answers = lambda _: (), **more: Any) -> list[str]:
    """
    The addresses in what a server answers. Raises as `exchange` does.
    """

    async def ask() -> list[str]:
        async with name_server(over_udp, over_tcp, **more) as port:
            got = await exchange(QUERY, "127.0.0.1", port, 10.0)
        return [record.address for rrset in got.answer for record in rrset]

    return asyncio.run(ask())


@pytest.mark.parametrize(
    "forged",
    [
        lambda query: other_number(answer(query, "192.0.2.66")),
        lambda query: answer(query, "192.0.2.66").replace(b"www", b"wwx", 1),
        lambda query: answer(query, "192.0.2.66").replace(b"\0\1\0\1", b"\0\x1c\0\1", 1),
        lambda query: query,
        lambda query: query[:2] + bytes.fromhex("a800") + query[4:],
        lambda query: query[:2] + bytes.fromhex("8400 0000 0000 0000 0000"),
        lambda query: query[:2] + bytes.fromhex("8400 0002") + query[6:],
        lambda query: query[:5],
        lambda _: b"",
        lambda query: query[:2] + bytes(range(256)) * 4,
    ],
    ids=[
        *("number", "name", "type", "query", "notification", "no question", "two questions", "short"),
        *("empty", "junk"),
    ],
)
def test_what_is_no_answer_does_not_end_the_query(forged: Callable[[bytes], bytes]) -> None:
    """
    Whoever guesses the port can send it. The server's own answer comes after it, and counts.
    """
    assert asked(lambda query: [*[forged(query)] * 3, answer(query, "192.0.2.1")]) == ["192.0.2.1"]


def test_an_answer_from_elsewhere_does_not_count() -> None:
    """
    Not even one with the right number, which comes first.
    """
    forged = lambda query: answer(query, "192.0.2.66")  # noqa: E731
    assert asked(lambda query: [answer(query, "192.0.2.1")], forged=forged) == ["192.0.2.1"]


def test_the_name_is_compared_as_names_are() -> None:
    """
    Servers may write it in capitals.
    """
    asked_for = lambda query: [answer(query, "192.0.2.1").replace(b"www", b"WwW", 1)]  # noqa: E731
    assert asked(asked_for) == ["192.0.2.1"]


def test_an_error_may_lack_the_question() -> None:
    """
    As some servers refuse.
    """

    async def ask() -> int:
        async with name_server(lambda query: [query[:2] + bytes.fromhex("8405 0000 0000 0000 0000")]) as port:
            return (await exchange(QUERY, "127.0.0.1", port, 10.0)).rcode()

    assert asyncio.run(ask()) == dns.rcode.REFUSED


def truncated(query: bytes) -> list[bytes]:
    """
    An answer that says that it did not fit.
    """
    made = bytearray(answer(query))
    made[2] |= dns.flags.TC >> 8
    return [other_number(bytes(made)), bytes(made)]


def test_what_does_not_fit_is_got_over_tcp() -> None:
    """
    As many addresses as a name may have.
    """
    many = [f"192.0.2.{number}" for number in range(250)]
    assert set(asked(truncated, lambda query: [answer(query, *many)])) == set(many)


def test_another_answer_over_tcp_is_a_failure() -> None:
    """
    Nobody else can send on that connection.
    """
    with pytest.raises(OtherAnswerError):
        asked(truncated, lambda query: [other_number(answer(query, "192.0.2.66"))])
    with pytest.raises(EOFError):
        asked(truncated)


def test_a_name_server_can_not_keep_the_process_busy() -> None:
    """
    Reading all of it would take a quarter of a minute, in which nothing else gets its turn.
    """
    made = long_names(QUERY.to_wire())
    with pytest.raises(TooComplexError):
        parse(made)
    with pytest.raises(TooComplexError):
        asked(truncated, lambda query: [long_names(query)[:65535]])

    async def said() -> ResolutionError:
        async with name_server(lambda query: [long_names(query)[:60000]]) as port:
            asking = Resolution(asyncio.get_running_loop(), port)
            with pytest.raises(ResolutionError) as caught:
                await asking.exchange(("127.0.0.1", port), "www.example.test", "A", recursive=True)
        return caught.value

    error = asyncio.run(said())
    assert error.reason is Reason.DNS_FAILED
    assert "its answer has too many records, or too long names" in error.detail


def test_silent_name_servers_leave_places_to_the_others() -> None:
    """
    However many queries wait for one of them.
    """

    async def scene() -> None:
        answering = name_server(lambda query: [answer(query, "192.0.2.1")])
        async with answering as good, name_server(lambda _: ()) as silent:
            asking = Resolution(asyncio.get_running_loop(), one_try=60.0)

            def ask(port: int) -> "asyncio.Task[Any]":
                query = asking.exchange(("127.0.0.1", port), "www.example.test", "A", recursive=True)
                return asyncio.ensure_future(query)

            await ask(good)
            waiting = [ask(silent) for _ in range(2 * AT_A_TIME)]
            async with asyncio.timeout(10):
                await ask(good)
            assert not any(one.done() for one in waiting)
            for one in waiting:
                one.cancel()
            await asyncio.wait(waiting)

    asyncio.run(scene())


def test_good_answers_are_far_from_the_limit() -> None:
    """
    The servers of a large zone: thirteen names with two addresses each, all of them signed.
    """
    made = dns.message.make_response(QUERY)
    for number in range(13):
        name = f"{chr(97 + number)}.gtld-servers.example.test."
        made.answer.append(dns.rrset.from_text("example.test.", 60, "IN", "NS", name))
        for kind, text in (("A", f"192.0.2.{number}"), ("AAAA", f"2001:db8::{number}")):
            made.additional.append(dns.rrset.from_text(name, 60, "IN", kind, text))
            signature = f"{kind} 8 4 60 20300101000000 20200101000000 1 example.test. {'A' * 344}"
            made.additional.append(dns.rrset.from_text(name, 60, "IN", "RRSIG", signature))
    assert len(parse(made.to_wire(max_size=65535)).additional) == 52


def test_nobody_there_is_silence() -> None:
    """
    Anybody could say that nobody is there, so the answer is waited for as long as ever.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
        holder.bind(("127.0.0.1", 0))
        port = holder.getsockname()[1]
    with pytest.raises(TimeoutError):
        asyncio.run(exchange(QUERY, "127.0.0.1", port, 0.05))


def test_an_address_without_a_route_is_told() -> None:
    """
    By the system, at once.
    """
    with pytest.raises(OSError, match=r"."):
        asyncio.run(exchange(QUERY, "255.255.255.255", 53, 10.0))
