"""
A worker process, seen from the first process: started again when it ended, asked, and listened to.
"""

import asyncio
import logging
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from exporter.engine.frames import (
    Answer,
    Answered,
    Broke,
    Description,
    Ended,
    Failed,
    FrameError,
    Frames,
    Latest,
    Manner,
    News,
    Orders,
    Showed,
    Unable,
    pack,
)
from exporter.logs import fields
from exporter.model.errors import NoDescriptorError, ProbeError
from exporter.model.targets import Target
from exporter.net.backoff import Backoff
from exporter.net.network import Network
from exporter.pki.client_certificate import ClientCertificate
from exporter.probes.base import Endpoint, Trace
from exporter.probes.tls import wire
from exporter.probes.tls.handshake import HandshakeError, Seen, Shown, seen_in_turns
from exporter.probes.tls.openssl import Offer
from exporter.probes.tls.suites import Keys

logger = logging.getLogger(__name__)


SILENT_AFTER = 1.0
"""Seconds without a word of a worker at work, which says something twenty times a second, until what it was
asked is done here. It may still live, on a machine that is too busy: then it goes on with what comes next."""


STUCK_AFTER = 5.0
"""Seconds after the last deadline that a worker was given from which its silence means that it hangs."""


PASSED_ON = 32
"""Answers that are passed on before the event loop handles other work: a few milliseconds."""


END_TIMEOUT = 1.0
"""Seconds that a worker may take to end, before it is killed."""


class _Held:
    """
    A server's side of a handshake, parsed when it is first wanted.
    """

    __slots__ = ("_seen", "_shown")

    def __init__(self, shown: Shown) -> None:
        self._shown: Shown | None = shown
        self._seen: Seen | None = None

    async def seen(self) -> Seen:
        """
        Return the parsed data: the same object each time.
        """
        if self._seen is None:
            assert self._shown is not None
            self._seen = await seen_in_turns(*self._shown)
            self._shown = None
        return self._seen


class _Asked(NamedTuple):
    """
    A request that has no answer yet.
    """

    position: int
    manner: Manner
    answer: "asyncio.Future[Answer | _Held]"
    trace: Trace


class Worker(asyncio.Protocol):
    """
    One worker process that lives or is to be started, and this end of the pair of sockets.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.ready = False
        """True while it answers."""
        self.rest = 0.0
        """Share of the time lately in which it had nothing to do; 0 until it tells."""
        self.process: subprocess.Popen[bytes] | None = None
        """None before the first start, and once its end was noticed."""
        self._loop = loop
        self._backoff = Backoff(1.0, 60.0)
        self._again_at = 0.0
        self._number = 0
        self._ending: asyncio.Task[None] | None = None
        """Waits for a process that ended; kept here, since the loop keeps no task."""
        self._reset()

    def _reset(self) -> None:
        """
        Nothing was said yet.
        """
        self._transport: asyncio.Transport | None = None
        self._frames = Frames()
        self._described: set[int] = set()
        self._asked: dict[int, _Asked] = {}
        self._arrived: deque[tuple[int, Answer]] = deque()
        """Answers that were not passed on yet."""
        self._latest: Latest[_Held] = Latest()
        self._orders = Orders([], [], [])
        self._due = 0.0
        """Loop time by which it says something, unless it hangs; 0 when nothing is asked."""
        self._heard = 0.0
        """Loop time at which it said something, or was asked after a rest."""
        self._listening: asyncio.TimerHandle | None = None
        """The next look whether it is silent; None while nothing is asked."""

    def revive(self) -> None:
        """
        Start it if it does not run and its rest is over; kill it if it hangs.
        """
        now = self._loop.time()
        if self.process is None and now >= self._again_at:
            self._start()
        elif self.process is not None and self._due and now > self._due + STUCK_AFTER:
            logger.warning(
                "a worker process does not answer and is killed", extra=fields(pid=self.process.pid)
            )
            self.process.kill()

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        try:
            self.process = subprocess.Popen(  # noqa: S603 - this program
                [sys.executable, "-m", "exporter.engine.worker", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                # Where Python finds this package, however this process was started.
                cwd=Path(__file__).parents[2],
            )
        except OSError as error:
            ours.close()
            pause = self._rest()
            logger.warning(
                "can't start a worker process; all is probed by the first process",
                extra=fields(cause=str(error), again_in_seconds=pause),
            )
            return
        finally:
            theirs.close()
        self._reset()
        self._connecting = self._loop.create_task(self._connect(ours))

    async def _connect(self, sock: socket.socket) -> None:
        await self._loop.create_connection(lambda: self, sock=sock)

    def _rest(self) -> float:
        """
        Return the seconds until it may be started again.
        """
        pause = self._backoff.failed()
        self._again_at = self._loop.time() + pause
        return pause

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """
        The socket is in use; the process still starts.
        """
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, _: Exception | None) -> None:
        """
        The process has ended: what it was asked, this process does.
        """
        self.ready = False
        if self._listening is not None:
            self._listening.cancel()
            self._listening = None
        asked, self._asked = self._asked, {}
        for one in asked.values():
            if not one.answer.done():
                one.answer.set_result(Unable())
        if self.process is not None:
            self._ending = self._loop.create_task(self._ended(self.process, len(asked)))

    async def _ended(self, process: subprocess.Popen[bytes], under_way: int) -> None:
        status = await _reaped(process)
        if self.process is not process:
            return
        self.process = None
        pause = self._rest()
        logger.warning(
            "a worker process ended; the first process makes its probes until another one is started",
            extra=fields(pid=process.pid, status=status, probes=under_way, again_in_seconds=pause),
        )

    def data_received(self, data: bytes) -> None:
        """
        Pass on what it answers.
        """
        try:
            for news in self._frames.take(data):
                self._take(news)
        except FrameError:
            assert self._transport is not None
            assert self.process is not None
            self.process.kill()
            self._transport.abort()

    def _listen(self) -> None:
        """
        Do here what the worker was asked, if it is silent.
        """
        self._listening = None
        waiting = [number for number, one in self._asked.items() if not one.answer.done()]
        silence = self._loop.time() - self._heard
        if silence >= SILENT_AFTER and waiting and self.process is not None:
            self.ready = False
            logger.warning(
                "a worker process is silent; the first process makes its probes until it answers",
                extra=fields(pid=self.process.pid, probes=len(waiting)),
            )
            for number in waiting:
                self._asked[number].answer.set_result(Unable())
            self._order().cancelled.extend(waiting)
        elif waiting:
            self._listening = self._loop.call_later(SILENT_AFTER - silence, self._listen)

    def _take(self, news: News) -> None:
        self.ready = True
        self._heard = self._loop.time()
        if news.rest is not None:
            self.rest = news.rest
        for number, phase in news.phases:
            if (asked := self._asked.get(number)) is not None:
                asked.trace.phase = phase
        if news.answers:
            self._backoff.succeeded()
            if not self._arrived:
                self._loop.call_soon(self._deliver)
            self._arrived += news.answers

    def _deliver(self) -> None:
        """
        Pass on some answers, and the others after the other work of the event loop: each makes some.
        """
        for _ in range(min(PASSED_ON, len(self._arrived))):
            number, answer = self._arrived.popleft()
            asked = self._asked.pop(number, None)
            if asked is None:
                continue
            result: Answer | _Held = answer
            if answer is None:
                result = self._latest.get(asked.position, asked.manner) or Unable()
            elif isinstance(answer, Showed):
                result = _Held(answer.shown)
                if asked.position in self._described:
                    self._latest.put(asked.position, asked.manner, result)
            if not asked.answer.done():
                asked.answer.set_result(result)
        if self._arrived:
            self._loop.call_soon(self._deliver)
        elif not self._asked:
            self._due = 0.0

    async def converse(
        self,
        index: int,
        target: Target,
        endpoint: Endpoint,
        network: Network,
        trace: Trace,
        keys: Keys,
        client: ClientCertificate | None,
        deadline: float,
        *,
        offer: Offer,
        lenient: bool = False,
    ) -> Seen:
        """
        Return what a conversation of the worker showed, as `wire.converse` does; without one, hold it here.
        """
        if self.ready:
            trace.phase = "connect"
            answer = await self._ask(index, target, (endpoint.address, keys, offer, lenient), deadline, trace)
            if not isinstance(answer, Unable):
                return await _seen(answer)
        return await wire.converse(
            *(target, endpoint, network, trace, keys, client, deadline), offer=offer, lenient=lenient
        )

    async def _ask(
        self, index: int, target: Target, manner: Manner, deadline: float, trace: Trace
    ) -> Answer | _Held:
        self._number = number = self._number + 1
        description = None
        if index not in self._described:
            self._described.add(index)
            description = Description(target.url, target.server_name, target.proxy_protocol)
        asked = _Asked(index, manner, self._loop.create_future(), trace)
        self._asked[number] = asked
        self._due = max(self._due, deadline)
        if self._listening is None:
            self._heard = self._loop.time()
            self.rest = 0.0
            self._listening = self._loop.call_later(SILENT_AFTER, self._listen)
        self._order().requests.append((number, index, description, manner, deadline))
        try:
            return await asked.answer
        except asyncio.CancelledError:
            self._order().cancelled.append(number)
            raise

    def forget(self, indices: Iterable[int]) -> None:
        """
        Forget targets that are configured no more.
        """
        for index in indices:
            if index in self._described:
                self._described.discard(index)
                self._latest.forget(index)
                self._order().forgotten.append(index)

    def _order(self) -> Orders:
        """
        Return the orders that are sent when this turn of the event loop is over.
        """
        if not any(self._orders):
            self._loop.call_soon(self._send)
        return self._orders

    def _send(self) -> None:
        orders, self._orders = self._orders, Orders([], [], [])
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(pack(orders))

    async def close(self) -> None:
        """
        End the process.
        """
        process, self.process, self.ready = self.process, None, False
        if process is None:
            return
        await self._connecting
        assert self._transport is not None
        self._transport.abort()
        await _reaped(process)


async def _seen(answer: Answer | _Held) -> Seen:
    """
    Return what was seen by an answer, or raise what it says, as `wire.converse` does.
    """
    match answer:
        case _Held():
            return await answer.seen()
        case Ended(error, shown, answered):
            seen = await seen_in_turns(*shown) if shown is not None else None
            raise HandshakeError(error, seen, answered=answered) from error
        case Answered(reason, detail, shown):
            raise wire.AnswerError(reason, detail, await seen_in_turns(*shown))
        case Failed(reason, detail, lacks_descriptor):
            raise (NoDescriptorError if lacks_descriptor else ProbeError)(reason, detail)
        case Broke(error):
            raise error
    raise AssertionError(answer)


async def _reaped(process: subprocess.Popen[bytes]) -> int:
    """
    Return the exit status of a process that ends, which is killed if it takes long.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + END_TIMEOUT
    while (status := process.poll()) is None:
        if loop.time() > end:
            process.kill()
        await asyncio.sleep(0.01)
    return status
