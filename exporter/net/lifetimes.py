"""
Lifetimes: for how long the addresses of a name may be used again without another look-up.

The system's resolver, which alone knows /etc/hosts and the like, gives addresses without their time to live.
So for a name that is looked up again and again a name server is queried too. If it gives the same addresses,
these are kept for the time that is left to them; else each look-up is made, as before.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from socket import AF_INET, AF_INET6, AF_UNSPEC

from exporter.model.hosts import IPAddress

MOST = 300.0
"""Seconds for which addresses are kept at most: a change of them is seen that much later, and no more."""


LEAST = 1.0
"""Seconds that must be left to addresses that are kept."""


AT_A_TIME = 8
"""Names whose lifetimes are learned at a time."""


WAITING = 10_000
"""Names that wait for it at most. The others are looked up as before."""


REST = 3600.0
"""Seconds until a name is tried again for which the name servers gave other addresses, or no answer."""


SHORT_REST = 10.0
"""How many times longer than the time between two look-ups a name rests whose lifetime is even shorter."""


NAMES_REMEMBERED = 50_000


LOCAL = (".localhost", ".local", ".invalid", ".test", ".example")
"""Ends of names that no public name server knows (RFC 6761, RFC 6762)."""


Name = tuple[str, int]
"""A host and the address family (`socket.AF_…`) that is looked up."""


Learn = Callable[[str, int], Awaitable[tuple[frozenset[IPAddress], float]]]
"""Returns the addresses that the name servers give, and the seconds for which they may be used; may raise."""


@dataclass(slots=True)
class _Life:
    """
    The addresses of one name, and until when they may be used. Times are those of the event loop.
    """

    wanted_at: float
    found: tuple[IPAddress, ...] = ()
    until: float = 0.0
    """Until when `found` may be used again."""
    rests_until: float = 0.0


class Lifetimes:
    """
    Addresses that may be used again, by name.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, learn: Learn) -> None:
        self._loop = loop
        self._learn = learn
        self.asked = 0
        """Number of queries to name servers."""
        self._lives: dict[Name, _Life] = {}
        self._waiting: deque[tuple[Name, tuple[IPAddress, ...], float]] = deque()
        self._learning: set[asyncio.Task[None]] = set()

    def close(self) -> None:
        """
        Learn no more.
        """
        self._waiting.clear()
        for task in self._learning:
            task.cancel()

    def kept(self, name: Name) -> tuple[IPAddress, ...]:
        """
        Return the addresses that may be used again; none when the name must be looked up.
        """
        life, now = self._lives.get(name), self._loop.time()
        if life is None or now >= life.until:
            return ()
        life.wanted_at = now
        return life.found

    def forget(self, host: str) -> None:
        """
        Have a host looked up the next time: its addresses may have changed.
        """
        for family in (AF_UNSPEC, AF_INET, AF_INET6):
            life = self._lives.get((host, family))
            if life is not None:
                life.until = 0.0

    def note(self, name: Name, found: tuple[IPAddress, ...]) -> None:
        """
        Note a look-up that gave these addresses. How long they live is learned for what is looked up often.
        """
        now = self._loop.time()
        life = self._lives.pop(name, None)
        if life is None:
            life = _Life(now - MOST)
        gap, life.wanted_at = now - life.wanted_at, now
        self._lives[name] = life
        if len(self._lives) > NAMES_REMEMBERED:
            del self._lives[next(iter(self._lives))]
        if gap >= MOST or now < life.rests_until or len(self._waiting) >= WAITING or _is_local(name[0]):
            return
        # Until there is an answer.
        life.rests_until = now + REST
        self._waiting.append((name, found, gap))
        if len(self._learning) < AT_A_TIME:
            task = self._loop.create_task(self._learn_all())
            self._learning.add(task)
            task.add_done_callback(self._learning.discard)

    async def _learn_all(self) -> None:
        while self._waiting:
            name, found, gap = self._waiting.popleft()
            life = self._lives.get(name)
            if life is None:
                continue
            asked_at = self._loop.time()
            # For both kinds of addresses, unless one is wanted.
            self.asked += 2 if name[1] == AF_UNSPEC else 1
            try:
                given, seconds = await self._learn(*name)
            except Exception:  # noqa: BLE001, S112 - whoever looks the name up is told what is wrong
                continue
            if given != frozenset(found):
                continue
            if seconds < max(LEAST, gap):
                life.rests_until = asked_at + SHORT_REST * gap
                continue
            life.found, life.until, life.rests_until = found, asked_at + min(seconds, MOST), asked_at


def _is_local(host: str) -> bool:
    """
    Return True for a name that name servers are not asked for: also one without a dot, which the host
    completes.
    """
    host = host.rstrip(".").lower()
    return "." not in host or host.endswith(LOCAL)
