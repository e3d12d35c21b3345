"""
The network: resolving names and moving bytes, each step with a deadline.

Everything runs on one long-lived event loop. A deadline is a time of that
loop's clock. Errors leave this module as ProbeError, so that a probe reads as
the conversation it has.
"""

import asyncio
import contextlib
import errno
import ipaddress
import math
import os
import queue
import select
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from exporter.foreign_text import bounded
from exporter.observation import Facts, Item, Reason
from exporter.targets import ADDRESS_LIMIT, IPAddress, Target
from exporter.turns import NEVER, Job, Turns

RESOLVE_TIMEOUT = 4.0
"""Seconds a look-up may take. A system's resolver gives up later than a person would want to know."""

CONNECT_TIMEOUT = 3.5
"""Seconds a TCP connection may take: the first packet and two more, sent after one and three seconds."""

RESOLVER_THREADS = 32
"""Look-ups at a time. Each blocks a thread while a name server is silent."""

QUICK_ANSWER = 1.0
"""Seconds up to which a look-up counts as quick."""

LATE = 120.0
"""Seconds for which an answer is of use that came after nobody waited for it any more."""

NAMES_WAITING = 10_000
"""Names that wait for a thread at most."""

NAMES_REMEMBERED = 50_000
"""Names of which is known how their last look-up went. The one that was not asked for longest goes first."""

PEEKED = 16_384
"""Bytes that are looked at in one go."""

BITE = 32
"""Sockets that are gone on with before the loop looks at its clock and at others again."""
DETAIL_LIMIT = 2000
"""Characters of the sentence of a failure: others may have a part in it, and it goes into logs and pages."""

TICK = 0.05
"""Seconds between two looks for waits that are past their deadline."""


class ProbeError(Exception):
    """
    A probe could not go on: for this reason, with this sentence for a person, having seen these facts.
    """

    def __init__(self, reason: Reason, detail: str, facts: Facts | None = None) -> None:
        self.reason = reason
        self.detail = bounded(detail, DETAIL_LIMIT)
        super().__init__(self.detail)
        self.facts = facts
        self.aside: tuple[Item, ...] = ()
        """What expires on our side, if nothing was seen: see `Failed`."""


class EndlessError(Exception):
    """
    The other end sent more than belongs to what it was in the middle of. The message says how much.
    """


class NoDescriptorError(ProbeError):
    """
    The process may open no more files by now: others have to close theirs first.
    """


@dataclass(slots=True)
class Trace:
    """
    What one look is doing, for messages, and for a person who asked for each step.
    """

    clock: Callable[[], float]
    phase: str = "start"
    deadline: float = math.inf
    """A time of this clock, when whoever asked for the look stops waiting for it."""
    steps: list[tuple[float, str]] | None = None
    """`(time, words)` of each step; None when nobody asked."""

    def note(self, words: str, *values: object) -> None:
        """
        Remember a step, if anybody asked for steps. The values go where `%s` stands.
        """
        if self.steps is not None:
            self.steps.append((self.clock(), words % values))


class Readiness:
    """
    Waits until sockets can be read or written.

    One epoll object beside the loop's own: the loop's selectors keep Python
    objects for each registration, which costs as much as a sixth of a whole TLS
    handshake. Registrations are one-shot and end with the socket.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._epoll = select.epoll()
        self._waiting: dict[int, tuple[asyncio.Future[None], float]] = {}
        self._timer: asyncio.TimerHandle | None = None
        loop.add_reader(self._epoll.fileno(), self._dispatch)

    def close(self) -> None:
        """
        Stop watching.
        """
        if self._timer is not None:
            self._timer.cancel()
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()

    def wait(self, fd: int, events: int, deadline: float, *, registered: bool) -> asyncio.Future[None]:
        """
        A future that is done when one of the events came, or has TimeoutError at the deadline.
        """
        future = self._loop.create_future()
        if deadline <= self._loop.time():
            # Not left to the timer: bytes that come in step with it would be there each time it looks.
            future.set_exception(TimeoutError())
            return future
        self._waiting[fd] = (future, deadline)
        if registered:
            self._epoll.modify(fd, events | select.EPOLLONESHOT)
        else:
            self._epoll.register(fd, events | select.EPOLLONESHOT)
        if self._timer is None:
            self._timer = self._loop.call_later(TICK, self._expire)
        return future

    def _dispatch(self) -> None:
        # What else is ready stays so, and comes after what the loop has to do besides.
        for fd, _ in self._epoll.poll(0, BITE):
            future, _ = self._waiting.pop(fd)
            if not future.done():
                future.set_result(None)

    def _expire(self) -> None:
        now = self._loop.time()
        for fd, (future, deadline) in list(self._waiting.items()):
            if future.done():
                del self._waiting[fd]
            elif deadline <= now:
                del self._waiting[fd]
                future.set_exception(TimeoutError())
        self._timer = self._loop.call_later(TICK, self._expire) if self._waiting else None


def look_up(host: str, family: int) -> tuple[IPAddress, ...]:
    """
    The addresses of a name by the system's resolver, each once. Blocks. Raises ProbeError.
    """
    try:
        found = socket.getaddrinfo(host, None, family, socket.SOCK_STREAM)
    except socket.gaierror as error:
        unknown = {
            socket.EAI_NONAME,
            getattr(socket, "EAI_NODATA", -5),
            getattr(socket, "EAI_ADDRFAMILY", -9),
        }
        if error.errno in unknown:
            kinds: dict[int, str] = {socket.AF_INET: "IPv4 ", socket.AF_INET6: "IPv6 "}
            kind = kinds.get(family, "")
            raise ProbeError(
                Reason.DNS_NOT_FOUND, f"the name {host!r} has no {kind}address: {error.strerror}"
            ) from None
        raise ProbeError(Reason.DNS_FAILED, f"looking up {host!r} failed: {error.strerror}") from None
    except (OSError, UnicodeError) as error:
        raise ProbeError(Reason.DNS_FAILED, f"looking up {host!r} failed: {error}") from None
    # A scope identifier (fe80::1%eth0) is kept by ipaddress; order matters for `addresses: first`.
    return tuple(dict.fromkeys(ipaddress.ip_address(str(entry[4][0])) for entry in found))


Answer = tuple[IPAddress, ...] | ProbeError
"""What a look-up gives: the addresses, or why there are none."""


@dataclass(slots=True, eq=False)
class _Question:
    """
    A name that is being looked up, or waits to be.
    """

    host: str
    family: int
    answer: "asyncio.Future[Answer]"
    waiting: int = 0
    """Those who still want to know."""
    asked_at: float | None = None
    """Loop time; None while it waits for a thread."""


@dataclass(slots=True)
class _Name:
    """
    What was learnt of a name by its last look-up.
    """

    asked_at: float
    quick: bool
    late: Answer | None
    """An answer that came when nobody waited any more; None when somebody had it."""
    answered_at: float


class Resolver:
    """
    Looks names up the way every other program on this host does (getaddrinfo), in threads of its own.

    The threads are daemons: a name server that never answers must not keep the
    process from ending. Equal look-ups under way at the same time are one. Names
    without an answer never hold all threads, see `turns`, and are asked for in the
    background too: an answer that comes late is there for the next one who asks.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        threads: int = RESOLVER_THREADS,
        ask: Callable[[str, int], tuple[IPAddress, ...]] = look_up,
    ) -> None:
        self._loop = loop
        self._ask = ask
        self._threads = 0
        self._idle = 0
        self._turns: Turns[_Question] = Turns(threads)
        self._jobs: queue.SimpleQueue[Job[_Question]] = queue.SimpleQueue()
        self._under_way: dict[tuple[str, int], _Question] = {}
        self._names: dict[tuple[str, int], _Name] = {}

    async def resolve(self, host: str, family: int, timeout: float) -> tuple[IPAddress, ...]:
        """
        The addresses of a name, in the system's order of preference, each once. Raises ProbeError.
        """
        found = self._late(host, family)
        if found is None:
            found = await self._wait(self._question(host, family), timeout)
        if isinstance(found, ProbeError):
            # A new one: several may wait for the same, and each adds its own to what it raises.
            raise ProbeError(found.reason, found.detail)
        return found

    def _late(self, host: str, family: int) -> Answer | None:
        """
        The answer that came after nobody waited for it any more, once; None when there is none of late.
        """
        name = self._names.get((host, family))
        if name is None or name.late is None:
            return None
        late, name.late = name.late, None
        return late if self._loop.time() - name.answered_at <= LATE else None

    def _question(self, host: str, family: int) -> _Question:
        """
        The look-up of this name that is under way, or a new one.
        """
        key = (host, family)
        question = self._under_way.get(key)
        if question is None:
            if len(self._turns) >= NAMES_WAITING:
                raise ProbeError(
                    Reason.DNS_TIMEOUT,
                    f"{host!r} can't be asked for: the system's resolver has no answer for "
                    f"{NAMES_WAITING:,} other names",
                )
            question = self._under_way[key] = _Question(host, family, self._loop.create_future())
            name = self._names.get(key)
            last_turn, quick = (name.asked_at, name.quick) if name is not None else (NEVER, False)
            self._turns.add(question, last_turn, 0, quick=quick)
            self._go_on()
        return question

    async def _wait(self, question: _Question, timeout: float) -> Answer:
        question.waiting += 1
        try:
            done, _ = await asyncio.wait([question.answer], timeout=timeout)
        finally:
            question.waiting -= 1
        if done:
            return question.answer.result()
        words = f"no answer for {question.host!r} from the system's resolver in {timeout:g} s"
        if question.asked_at is None:
            words += ": it was busy with other names that have no answer"
        return ProbeError(Reason.DNS_TIMEOUT, words)

    def _go_on(self) -> None:
        """
        Ask for the names whose turn it is.
        """
        while (job := self._turns.next()) is not None:
            job.work.asked_at = self._loop.time()
            if self._idle:
                self._idle -= 1
            else:
                self._threads += 1
                threading.Thread(target=self._work, name=f"resolver-{self._threads}", daemon=True).start()
            self._jobs.put(job)

    def _work(self) -> None:
        while True:
            job = self._jobs.get()
            try:
                answer: Answer = self._ask(job.work.host, job.work.family)
            except ProbeError as error:
                answer = error
            try:
                self._loop.call_soon_threadsafe(self._deliver, job, answer)
            except RuntimeError:
                return  # the loop is closed: nobody waits for an answer any more

    def _deliver(self, job: Job[_Question], answer: Answer) -> None:
        question, now = job.work, self._loop.time()
        assert question.asked_at is not None
        self._idle += 1
        self._turns.over(job)
        key = (question.host, question.family)
        del self._under_way[key]
        self._names.pop(key, None)
        self._names[key] = _Name(
            question.asked_at,
            now - question.asked_at < QUICK_ANSWER,
            None if question.waiting else answer,
            now,
        )
        if len(self._names) > NAMES_REMEMBERED:
            del self._names[next(iter(self._names))]
        question.answer.set_result(answer)
        self._go_on()


class Closable(Protocol):
    """
    What is closed with the network.
    """

    def close(self) -> None:
        """
        Let go of everything.
        """


R = TypeVar("R", bound=Closable)


@dataclass(frozen=True, slots=True)
class Addresses:
    """
    The addresses of a target that are to be probed, and how many more there are.
    """

    probed: tuple[IPAddress, ...]
    left_out: tuple[tuple[IPAddress, str], ...] = ()
    """Addresses that are not probed, each with the reason in words."""


@dataclass(frozen=True, slots=True)
class Network:
    """
    What a probe needs of the world. One for the life of the process.
    """

    loop: asyncio.AbstractEventLoop
    clock: Callable[[], float] = time.time
    """Seconds since the epoch. It may be set at any moment: for what is shown or kept over a restart."""
    monotonic: Callable[[], float] = time.monotonic
    """Seconds since some moment; it only goes on. For all that is due some time after something else."""
    readiness: Readiness = field(init=False)
    resolver: Resolver = field(init=False)
    _resources: dict[type, Closable] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "readiness", Readiness(self.loop))
        object.__setattr__(self, "resolver", Resolver(self.loop))

    def close(self) -> None:
        """
        Stop watching sockets, and close what probes keep. Look-ups of names end on their own.
        """
        for resource in self._resources.values():
            resource.close()
        self.readiness.close()

    def resource(self, kind: type[R], make: Callable[[], R]) -> R:
        """
        The one thing of this kind that probes share for the life of the process, made when first asked for.
        """
        found = self._resources.get(kind)
        if found is None:
            found = self._resources[kind] = make()
        assert isinstance(found, kind)
        return found

    async def addresses(self, target: Target) -> Addresses:
        """
        The addresses of a target's host, sorted so that a limit keeps the same ones. Raises ProbeError.
        """
        family = {"any": socket.AF_UNSPEC, "ipv4": socket.AF_INET, "ipv6": socket.AF_INET6}
        found = await self.resolver.resolve(
            target.url.host, family[target.address_family], min(RESOLVE_TIMEOUT, target.patience)
        )
        chosen = choose(found, target.addresses, has_route)
        if target.forbids is not None:
            for address in chosen.probed:
                if why := target.forbids(address):
                    raise ProbeError(Reason.ADDRESS_NOT_ALLOWED, why)
        return chosen


def choose(found: tuple[IPAddress, ...], addresses: str, routable: Callable[[IPAddress], bool]) -> Addresses:
    """
    Which of the addresses found are probed.

    A host without IPv6 can't reach an IPv6 address, and that is no news about the
    server: such addresses are left out while the name has others.
    """
    versions = {address.version for address in found}
    reachable = found
    left_out: list[tuple[IPAddress, str]] = []
    if len(versions) > 1:
        reachable = tuple(address for address in found if routable(address)) or found
        left_out = [
            (address, f"this host has no IPv{address.version} route to it")
            for address in found
            if address not in reachable
        ]
    if addresses == "first":
        return Addresses(reachable[:1], tuple(left_out))
    ordered = sorted(reachable, key=lambda address: (address.version, int(address)))
    left_out += [(address, f"more than {ADDRESS_LIMIT} addresses") for address in ordered[ADDRESS_LIMIT:]]
    return Addresses(tuple(ordered[:ADDRESS_LIMIT]), tuple(left_out))


def has_route(address: IPAddress) -> bool:
    """
    False when this host's own routing table refuses the address. Sends nothing.
    """
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((str(address), 9))
    except OSError as error:
        # Without a free descriptor it can't be known; then the look itself waits for one.
        return error.errno in {errno.EMFILE, errno.ENFILE}
    return True


class Connection:
    """
    One connection, non-blocking, whose every wait ends at its deadline, and whose every phase takes so many
    bytes at most.
    """

    __slots__ = ("_allowed", "_left", "_readiness", "_registered", "deadline", "socket")

    def __init__(self, readiness: Readiness, sock: socket.socket, deadline: float) -> None:
        self._readiness = readiness
        self._registered = False
        self._allowed = self._left = 0
        self.socket = sock
        self.deadline = deadline

    def allow(self, limit: int) -> None:
        """
        Begin a phase in which so many bytes are received at most.
        """
        self._allowed = self._left = limit

    def wait_readable(self) -> asyncio.Future[None]:
        """
        Done when there are bytes or an end to read; TimeoutError at the deadline.
        """
        return self._wait(select.EPOLLIN)

    def wait_writable(self) -> asyncio.Future[None]:
        """
        Done when bytes can be written, or the connection is made or refused; TimeoutError at the deadline.
        """
        return self._wait(select.EPOLLOUT)

    def _wait(self, events: int) -> asyncio.Future[None]:
        registered, self._registered = self._registered, True
        return self._readiness.wait(self.socket.fileno(), events, self.deadline, registered=registered)

    async def send(self, data: bytes) -> None:
        """
        Send all of it. Raises OSError, or TimeoutError at the deadline.
        """
        while data:
            try:
                data = data[self.socket.send(data) :]
            except BlockingIOError:
                await self.wait_writable()

    def send_at_once(self, data: bytes) -> None:
        """
        Send what can be sent without waiting. That nobody takes it any more is no error.
        """
        with contextlib.suppress(OSError):
            self.socket.send(data)

    async def receive(self, limit: int) -> bytes:
        """
        What came next, as far as it was not read yet; empty at the end of the connection.

        Waits its turn even if there is something already: one who always has something to say must not keep
        the others from theirs. Raises OSError, TimeoutError at the deadline, or EndlessError.
        """
        while True:
            await self.wait_readable()
            try:
                data = self.socket.recv(limit)
            except BlockingIOError:
                continue  # a datagram whose checksum was wrong
            self._left -= len(data)
            if self._left < 0:
                raise EndlessError(f"more than {self._allowed // 1024} kB")
            return data

    def peek(self) -> bytes | None:
        """
        What can be read now, and stays there; empty at the end of the connection, None when nothing came yet.
        """
        try:
            return self.socket.recv(PEEKED, socket.MSG_PEEK)
        except BlockingIOError:
            return None

    def close(self) -> None:
        """
        Close the socket.
        """
        self.socket.close()


def _is_connected(sock: socket.socket) -> bool:
    """
    True when the connection is made already. A server on this host answers within the call: no need to wait.
    """
    try:
        sock.getpeername()
    except OSError:
        return False
    return True


UNREACHABLE = {
    errno.ENETUNREACH,
    errno.EHOSTUNREACH,
    errno.ENETDOWN,
    errno.EHOSTDOWN,
    errno.EADDRNOTAVAIL,
    errno.EAFNOSUPPORT,
    errno.EACCES,
    errno.EPERM,
}


async def connect(readiness: Readiness, address: str, port: int, deadline: float) -> Connection:
    """
    A TCP connection to the address. Raises ProbeError when there is none by the deadline.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    except OSError as error:
        raise connect_error(error, address, port) from None
    connection = Connection(readiness, sock, deadline)
    try:
        code = sock.connect_ex((address, port))
        if code == errno.EINPROGRESS:
            code = 0
            if not _is_connected(sock):
                await connection.wait_writable()
                code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    except TimeoutError:
        sock.close()
        raise ProbeError(
            Reason.CONNECT_TIMEOUT,
            f"{address} port {port} did not answer: a firewall drops the packets, or the host is down",
        ) from None
    except BaseException:
        sock.close()
        raise
    if code:
        sock.close()
        raise connect_error(OSError(code, os.strerror(code)), address, port)
    return connection


def connect_error(error: OSError, address: str, port: int) -> ProbeError:
    """
    The reason for a failed TCP connection.
    """
    where = f"{address} port {port}"
    if error.errno == errno.ECONNREFUSED:
        return ProbeError(Reason.CONNECTION_REFUSED, f"{where} refused the connection: nothing listens there")
    if error.errno in UNREACHABLE:
        return ProbeError(
            Reason.NETWORK_UNREACHABLE, f"{where} can't be reached from this host: {error.strerror}"
        )
    if error.errno == errno.ETIMEDOUT:
        return ProbeError(Reason.CONNECT_TIMEOUT, f"{where} did not answer the TCP connection")
    if error.errno in {errno.EMFILE, errno.ENFILE}:
        return NoDescriptorError(
            Reason.INTERNAL_ERROR,
            "this process may open no more files: raise its limit (ulimit -n) or lower --sweep.concurrency",
        )
    return ProbeError(Reason.CONNECTION_RESET, f"the connection to {where} failed: {error.strerror}")
