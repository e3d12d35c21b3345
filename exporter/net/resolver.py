"""
Addresses of names, by the system's resolver, within limits of time and threads.
"""

import asyncio
import errno
import ipaddress
import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from exporter.model.errors import ProbeError
from exporter.model.hosts import IPAddress
from exporter.model.reasons import Reason
from exporter.model.targets import ADDRESS_LIMIT
from exporter.net.lifetimes import Learn, Lifetimes
from exporter.net.pools import Pool
from exporter.net.turns import NEVER, Job, Turns

RESOLVE_TIMEOUT = 4.0
"""Seconds a look-up may take. A system's resolver gives up much later."""


RESOLVER_THREADS = 32
"""Look-ups at a time. Each blocks a thread while a name server is silent."""


QUICK_ANSWER = 1.0
"""Seconds up to which a look-up counts as quick."""


LATE = 120.0
"""Seconds for which an answer is used that came after its callers had stopped waiting."""


NAMES_WAITING = 10_000
"""Names that wait for a thread at most."""


NAMES_REMEMBERED = 50_000
"""Names whose last look-up is remembered. Beyond it the name requested least recently is dropped first."""


def look_up(host: str, family: int) -> tuple[IPAddress, ...]:
    """
    Return the addresses of a name by the system's resolver, each once. Blocks. Raises ProbeError.
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
"""The result of a look-up: the addresses, or the failure."""


@dataclass(slots=True, eq=False)
class _Question:
    """
    A look-up that is under way or waits for a thread.
    """

    host: str
    family: int
    answer: "asyncio.Future[Answer]"
    waiting: int = 0
    """Callers that wait for it."""
    asked_at: float | None = None
    """Loop time; None while it waits for a thread."""


@dataclass(slots=True)
class _Name:
    """
    The last look-up of a name.
    """

    asked_at: float
    quick: bool
    late: Answer | None
    """An answer that came after its callers had stopped waiting; None when a caller took it."""
    answered_at: float


class Resolver:
    """
    Resolution of names by the system's resolver (getaddrinfo), in threads of its own.

    The threads are daemons: a name server that never answers must not keep the process from ending. Equal
    look-ups under way at the same time are one. Names without an answer never hold all threads, see `turns`,
    and are looked up in the background too: a late answer is there for the next caller.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        threads: int = RESOLVER_THREADS,
        ask: Callable[[str, int], tuple[IPAddress, ...]] = look_up,
        learn: Learn | None = None,
    ) -> None:
        """
        `learn` gives the time to live of addresses, so that they are kept; None: each look-up is made.
        """
        self._lifetimes = Lifetimes(loop, learn) if learn is not None else None
        self.asked = 0
        """Number of times that the system's resolver was asked."""
        self._loop = loop
        self._ask = ask
        self._turns: Turns[_Question] = Turns(threads)
        self._pool = Pool("resolver", self._turns.places)
        self._under_way: dict[tuple[str, int], _Question] = {}
        self._names: dict[tuple[str, int], _Name] = {}

    def close(self) -> None:
        """
        Begin no more look-ups. Running ones end on their own.
        """
        self._pool.close()
        if self._lifetimes is not None:
            self._lifetimes.close()

    @property
    def lifetimes_asked(self) -> int:
        """
        Number of queries to name servers for how long addresses live.
        """
        return self._lifetimes.asked if self._lifetimes is not None else 0

    def forget(self, host: str) -> None:
        """
        Have a host looked up the next time, since what was kept of it may be wrong.
        """
        if self._lifetimes is not None:
            self._lifetimes.forget(host)

    async def resolve(self, host: str, family: int, timeout: float) -> tuple[IPAddress, ...]:
        """
        Return the addresses of a name, in the system's order of preference, each once. Raises ProbeError.

        They are those of an earlier look-up while these may be used (`lifetimes`).
        """
        found: Answer | None = self._late(host, family)
        if found is None and self._lifetimes is not None:
            found = self._lifetimes.kept((host, family)) or None
        if found is None:
            found = await self._wait(self._question(host, family), timeout)
        if isinstance(found, ProbeError):
            # A new exception: several callers may wait for the same one, and each adds its own traceback.
            raise ProbeError(found.reason, found.detail)
        return found

    def _late(self, host: str, family: int) -> Answer | None:
        """
        Return an answer that came after its callers had stopped waiting, once; None when there is no recent
        one.
        """
        name = self._names.get((host, family))
        if name is None or name.late is None:
            return None
        late, name.late = name.late, None
        return late if self._loop.time() - name.answered_at <= LATE else None

    def _question(self, host: str, family: int) -> _Question:
        """
        Return the look-up of this name that is under way, or a new one.
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
        Begin the look-ups whose turn it is.
        """
        while (job := self._turns.next()) is not None:
            job.work.asked_at = self._loop.time()
            self.asked += 1
            asked = self._pool.begin(partial(self._answer, job.work)).future
            asked.add_done_callback(partial(self._deliver, job))

    def _answer(self, question: _Question) -> Answer:
        try:
            return self._ask(question.host, question.family)
        except ProbeError as error:
            return error

    def _deliver(self, job: Job[_Question], answered: "asyncio.Future[Answer]") -> None:
        question, answer, now = job.work, answered.result(), self._loop.time()
        assert question.asked_at is not None
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
        if self._lifetimes is not None and not isinstance(answer, ProbeError):
            self._lifetimes.note(key, answer)
        question.answer.set_result(answer)
        self._go_on()


@dataclass(frozen=True, slots=True)
class Addresses:
    """
    The addresses of a target that are to be probed, and how many more there are.
    """

    probed: tuple[IPAddress, ...]
    left_out: tuple[tuple[IPAddress, str], ...] = ()
    """Addresses that are not probed, each with the reason in words."""


def choose(found: tuple[IPAddress, ...], addresses: str, routable: Callable[[IPAddress], bool]) -> Addresses:
    """
    Return which of the addresses found are probed.

    A host without IPv6 can't reach an IPv6 address, which says nothing about the server: such addresses are
    left out while the name has others.
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
    Return False when this host's own routing table refuses the address. Sends nothing.
    """
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((str(address), 9))
    except OSError as error:
        # Without a free descriptor it can't be known; then the probe itself waits for one.
        return error.errno in {errno.EMFILE, errno.ENFILE}
    return True
