"""
A worker process: it holds the TLS conversations that the first process asks for, and tells what was shown.

It decides nothing and parses no certificate. It has no configuration, no secret and no file, and ends when
the first process does.
"""

import asyncio
import os
import signal
import socket
import sys
from functools import partial
from hashlib import blake2b

from exporter.engine.collector import calm_collector
from exporter.engine.frames import (
    FULL,
    Answer,
    Answered,
    Broke,
    Description,
    Ended,
    Failed,
    Frames,
    Latest,
    Manner,
    News,
    Orders,
    Showed,
    Unable,
    pack,
)
from exporter.model.caches import BUDGET
from exporter.model.errors import NoDescriptorError, ProbeError
from exporter.model.targets import Target
from exporter.net.connection import TICK
from exporter.net.event_loop import Rest, run
from exporter.net.network import Network
from exporter.probes.base import Endpoint, Trace
from exporter.probes.tls import wire
from exporter.probes.tls.handshake import HandshakeError, Seen, Shown, Unparsed, unparsed

TOGETHER = 0.003
"""Seconds in which answers are gathered to go in one frame: each frame wakes the first process."""


class Prober(asyncio.Protocol):
    """
    The worker's end of the pair of sockets.
    """

    def __init__(self, network: Network) -> None:
        self.ended: asyncio.Future[None] = network.loop.create_future()
        """Done when the first process closed its end, or has ended."""
        self._network = network
        self._rest = Rest(network.loop)
        self._frames = Frames()
        self._targets: dict[int, Target] = {}
        self._under_way: dict[int, asyncio.Task[Answer]] = {}
        self._traces: dict[int, tuple[Trace, str]] = {}
        """By the number of the request, with the phase that the first process knows."""
        self._latest: Latest[bytes] = Latest()
        """Digests of what was shown."""
        self._answers: list[tuple[int, Answer]] = []
        self._size = 0
        self._ticking: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """
        Say that this process is ready.
        """
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(pack(News([], [])))

    def connection_lost(self, _: Exception | None) -> None:
        """
        Nobody is left to work for.
        """
        if not self.ended.done():
            self.ended.set_result(None)

    def data_received(self, data: bytes) -> None:
        """
        Begin the conversations that are wanted, and end those that are not.
        """
        orders: Orders
        for orders in self._frames.take(data):
            for index in orders.forgotten:
                self._targets.pop(index, None)
                self._latest.forget(index)
            for request in orders.requests:
                self._begin(*request)
            for number in orders.cancelled:
                if (task := self._under_way.get(number)) is not None:
                    task.cancel()

    def _begin(
        self, number: int, position: int, description: Description | None, manner: Manner, deadline: float
    ) -> None:
        if description is not None:
            self._targets[position] = _target(description)
        loop = self._network.loop
        task = loop.create_task(self._answer(number, position, manner, deadline))
        self._under_way[number] = task
        task.add_done_callback(partial(self._end, number))
        if self._ticking is None:
            self._ticking = loop.call_later(TICK, self._tick)

    def _end(self, number: int, done: "asyncio.Task[Answer]") -> None:
        """
        Answer a request, also one that was cancelled before its conversation began: each is answered once.
        """
        del self._under_way[number]
        self._traces.pop(number, None)
        self._tell(number, Unable() if done.cancelled() or done.exception() else done.result())

    async def _answer(self, number: int, position: int, manner: Manner, deadline: float) -> Answer:
        trace = Trace(self._network.loop.time)
        self._traces[number] = (trace, "connect")
        address, keys, offer, lenient = manner
        try:
            seen = await wire.converse(
                self._targets[position],
                Endpoint(address, address),
                self._network,
                trace,
                keys,
                None,
                deadline,
                offer=offer,
                lenient=lenient,
                read=unparsed,
            )
        except HandshakeError as error:
            shown = _shown(error.seen) if error.seen is not None else None
            return Ended(error.error, shown, error.answered)
        except wire.AnswerError as error:
            return Answered(error.reason, error.detail, _shown(error.seen))
        except ProbeError as error:
            return Failed(error.reason, error.detail, isinstance(error, NoDescriptorError))
        except OSError as error:
            return Broke(error)
        except Exception:  # noqa: BLE001 - the first process makes it again, and logs what it finds
            return Unable()
        shown = _shown(seen)
        digest = _digest(shown)
        if self._latest.get(position, manner) == digest:
            return None
        if position in self._targets:
            self._latest.put(position, manner, digest)
        return Showed(shown)

    def _tell(self, number: int, answer: Answer) -> None:
        if not self._answers:
            self._network.loop.call_later(TOGETHER, self._send)
        self._answers.append((number, answer))
        if isinstance(answer, Showed | Ended | Answered) and answer.shown is not None:
            self._size += sum(map(len, answer.shown[0])) + len(answer.shown[-1] or b"")
            if self._size > FULL:
                self._send()

    def _send(self) -> None:
        if self._answers:
            self._transport.write(pack(News(self._answers, [])))
            self._answers, self._size = [], 0

    def _tick(self) -> None:
        """
        Tell the phases that changed, of conversations that go on for a while; if none did, that this process
        lives.
        """
        changed = [(one, trace.phase) for one, (trace, told) in self._traces.items() if trace.phase != told]
        for number, phase in changed:
            self._traces[number] = (self._traces[number][0], phase)
        self._transport.write(pack(News([], changed, self._rest.share())))
        self._ticking = self._network.loop.call_later(TICK, self._tick) if self._under_way else None


def _target(description: Description) -> Target:
    return Target(
        description.url,
        description.url.text,
        server_name=description.server_name,
        proxy_protocol=description.proxy_protocol,
    )


def _shown(seen: Seen) -> Shown:
    assert isinstance(seen, Unparsed)
    return seen.shown


def _digest(shown: Shown) -> bytes:
    presented, *rest = shown
    digest = blake2b(repr((*map(len, presented), *rest)).encode(), digest_size=16)
    for der in presented:
        digest.update(der)
    return digest.digest()


async def _serve(sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    prober = Prober(Network(loop))
    await loop.create_connection(lambda: prober, sock=sock)
    await prober.ended


def main(descriptor: int) -> None:
    """
    Work for the process at the other end of this socket, until it closes it.
    """
    # A signal to the whole group is for the first process: it ends this one when it needs it no more.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    BUDGET.fit(0)
    calm_collector()
    run(_serve(socket.socket(fileno=descriptor)))
    # Without waiting for conversations under way.
    os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]))
