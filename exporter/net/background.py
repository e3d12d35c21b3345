"""
Rationed look-ups: what is asked of others in the background, now and then, and kept in between.

Registries, authorities and renewal information are asked every few hours, not at each scrape: spread, a few
at a time, less and less often while they fail. A failed look-up never takes away what is known.
"""

import asyncio
import logging
import time
import zlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from math import inf
from typing import Any

from exporter.logs import fields
from exporter.model.caches import size
from exporter.model.errors import ProbeError
from exporter.model.reasons import Reason
from exporter.net.backoff import Backoff

logger = logging.getLogger(__name__)


AT_A_TIME = 8
"""Look-ups under way at once."""


WAITING = 256
"""Look-ups that wait for that. What nobody waits for and is due beyond them is begun at a later scrape.

So ten thousand certificates that are seen for the first time keep no registration from being looked up.
"""


FIRST_PAUSE = 60.0
"""Seconds after a first failure. Each further one doubles them."""


LONGEST_PAUSE = 6 * 3600.0
"""Seconds that a look-up which fails is left alone at most, unless the server asks for more."""


FORGET_AFTER = 2 * 86400.0
"""Seconds after which what nobody asks for any more is forgotten."""


HELD_LIMIT = 256 * 1024 * 1024
"""Bytes of all that is kept: what nobody asked for longest goes first.

Servers that show another certificate each time name ever new lists and responders.
"""


ENTRY = 2000
"""Bytes of what is kept of a look-up besides its key, its name and a large answer."""


class LookupFailedError(ProbeError):
    """
    A look-up gave nothing: for this reason, with this sentence for a person.
    """

    def __init__(self, reason: Reason, detail: str, retry_after: float | None = None) -> None:
        super().__init__(reason, detail)
        self.retry_after = retry_after
        """Seconds that the server asked to be left alone; None when it did not say."""


@dataclass(frozen=True, slots=True)
class Answer:
    """
    What a look-up gave, and when to look again.
    """

    value: Any
    again_after: float
    """Seconds."""
    weight: int = 0
    """Bytes that the value takes in memory, where that is more than a thousand."""


@dataclass(frozen=True, slots=True)
class Known:
    """
    What a look-up gave last, and when.
    """

    value: Any
    at: float
    """Seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class LookupState:
    """
    What is known of a look-up that nobody waits for, and what came of the last try.
    """

    known: Known | None = None
    """None while nothing ever was."""
    failure: LookupFailedError | None = None
    """None when the last try did not fail, or there was none yet."""


Fetch = Callable[[], Awaitable[Answer]]
"""Looks up once. Raises ProbeError, LookupFailedError to be left alone for longer; all else is our fault."""


@dataclass(slots=True)
class _Entry:
    """
    One thing that is looked up.
    """

    what: str = ""
    """What is looked up, for a person."""
    target: str = ""
    """The name of the target that asked last; empty when it was none."""
    known: Known | None = None
    heard: float = -inf
    """When what is known was heard, by the monotonic clock, which may have begun later."""
    due: float = -inf
    """When to look next, by the monotonic clock."""
    weight: int = 0
    """Bytes."""
    backoff: Backoff = field(default_factory=lambda: Backoff(FIRST_PAUSE, LONGEST_PAUSE))
    failure: LookupFailedError | None = None
    task: "asyncio.Task[None] | None" = None
    asked: float = -inf
    """When somebody last wanted it, by the monotonic clock."""
    settles: bool = False
    """True when `settle` waits for it."""


class Lookups:
    """
    All look-ups of the process, by key.

    `clock` gives seconds since the epoch: it says when something was heard, for people and for the state that
    is kept. When to ask again goes by `monotonic` alone, since the time of day may be set at any moment.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Callable[[], float],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._loop = loop
        self._clock = clock
        self._monotonic = monotonic
        # In the order in which they were last asked for.
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()
        self._held = 0
        self._turn = asyncio.Semaphore(AT_A_TIME)
        self._begun = 0
        """Look-ups that are under way or wait for their turn."""
        self._cleaned = monotonic()
        self._over: str | None = None
        """What is said of all that has no answer; None while it may come."""

    def peek(self, key: Hashable, fetch: Fetch, what: str, target: str = "") -> Known | None:
        """
        What is known by now, None when nothing is; looks up in the background when that is due.

        `what` and the name of the target that asks are for messages.
        """
        return self._asked(key, fetch, what, target, WAITING).known

    def hear(self, key: Hashable, fetch: Fetch, what: str, target: str = "") -> LookupState:
        """
        The same, with what came of the last try. `settle` waits for it.
        """
        entry = self._asked(key, fetch, what, target, WAITING if self._over is None else 0)
        entry.settles = True
        failure = entry.failure
        if self._over is not None and failure is None and entry.known is None:
            failure = LookupFailedError(Reason.TIMEOUT, f"{what}: {self._over}")
        return LookupState(entry.known, failure)

    def refuse(self, key: Hashable, detail: str, what: str, target: str = "") -> LookupState:
        """
        The failure of a look-up that can't be made, for a reason that this sentence gives.
        """
        entry = self._entry(key, what, target)
        if entry.failure is None:
            self._failed(key, entry, LookupFailedError(Reason.LOOKUP_FAILED, detail))
        return LookupState(None, entry.failure)

    async def settle(self, timeout: float) -> None:
        """
        Wait at most so many seconds for all that was asked for by `hear`.
        """
        if tasks := self.unsettled:
            await asyncio.wait(tasks, timeout=timeout)

    @property
    def unsettled(self) -> "list[asyncio.Task[None]]":
        """
        What was asked for by `hear` and is under way.
        """
        return [one.task for one in self._entries.values() if one.settles and one.task is not None]

    def give_up(self, why: str) -> None:
        """
        Begin no more, and call all that `hear` is asked for and that has no answer by now a failure.
        """
        self._over = why

    def known(self, key: Hashable) -> Known | None:
        """
        What is known by now, None when nothing is. Looks up nothing, and keeps it from being forgotten.
        """
        entry = self._entries.get(key)
        if entry is None:
            return None
        entry.asked = self._monotonic()
        self._entries.move_to_end(key)
        return entry.known

    def failure(self, key: Hashable) -> LookupFailedError | None:
        """
        Why the last look-up failed; None when it did not, or there was none.
        """
        entry = self._entries.get(key)
        return entry.failure if entry is not None else None

    def remember(self, key: Hashable, known: Known, again_after: float) -> None:
        """
        Take in what was known before a restart, so that it is not asked for before it is due.
        """
        entry = self._entries.get(key) or self._entry(key, "", "")
        if entry.known is None:
            now = self._monotonic()
            # What was heard in the future was heard while the time of day was wrong: it counts as new.
            age = max(0.0, self._clock() - known.at)
            entry.known, entry.asked, entry.heard = known, now, now - age
            entry.due = entry.heard + again_after * spread(key)

    def hurry(self, key: Hashable, again_after: float) -> None:
        """
        Look up what is known again once it is so many seconds old, where that is sooner than planned.

        While look-ups fail it changes nothing: who was asked wants to be left alone.
        """
        entry = self._entries.get(key)
        if entry is not None and entry.known is not None and entry.failure is None:
            entry.due = min(entry.due, entry.heard + again_after)

    async def wait(
        self,
        key: Hashable,
        fetch: Fetch,
        what: str,
        target: str = "",
        *,
        patience: float,
        timeout: float,
    ) -> Known:
        """
        What is known, waiting for the first look-up within `timeout` seconds.

        What is older than `patience` seconds while look-ups fail counts as not known. Raises ProbeError.
        """
        entry = self._asked(key, fetch, what, target)
        if entry.known is None and entry.task is not None:
            await asyncio.wait([entry.task], timeout=timeout)
        if entry.known is not None and (entry.failure is None or self._monotonic() - entry.heard < patience):
            return entry.known
        if entry.failure is not None:
            raise ProbeError(entry.failure.reason, entry.failure.detail)
        raise ProbeError(
            Reason.TIMEOUT,
            f"{what}: no answer in {timeout:g} s; while serving, the look-up goes on in the background",
        )

    def close(self) -> None:
        """
        Stop all that is under way.
        """
        for entry in self._entries.values():
            if entry.task is not None:
                entry.task.cancel()

    def _asked(self, key: Hashable, fetch: Fetch, what: str, target: str, at_most: float = inf) -> _Entry:
        entry = self._entry(key, what, target)
        if entry.task is None and entry.due <= entry.asked and self._begun < at_most:
            self._begun += 1
            entry.task = self._loop.create_task(self._look(key, entry, fetch))
        return entry

    def _entry(self, key: Hashable, what: str, target: str) -> _Entry:
        now = self._monotonic()
        self._clean(now)
        entry = self._entries.get(key)
        if entry is None:
            entry = self._entries[key] = _Entry()
            self._weigh(key, entry, ENTRY + size(key, what))
        else:
            self._entries.move_to_end(key)
        entry.asked, entry.what, entry.target = now, what, target
        return entry

    async def _look(self, key: Hashable, entry: _Entry, fetch: Fetch) -> None:
        try:
            async with self._turn:
                answer = await fetch()
        except LookupFailedError as failure:
            self._failed(key, entry, failure)
        except ProbeError as error:
            self._failed(key, entry, LookupFailedError(error.reason, error.detail))
        except Exception:
            # A fault of ours must not be asked for again at each scrape, and must not be quiet either.
            logger.exception("internal error while looking up", extra=_fields(entry))
            words = "please report it with the traceback in the exporter's log"
            self._failed(key, entry, LookupFailedError(Reason.INTERNAL_ERROR, words))
        else:
            entry.known, entry.failure = Known(answer.value, self._clock()), None
            entry.backoff.succeeded()
            self._weigh(key, entry, ENTRY + size(key, entry.what) + answer.weight)
            entry.heard = self._monotonic()
            entry.due = entry.heard + answer.again_after * spread(key)
        finally:
            entry.task = None
            self._begun -= 1

    def _failed(self, key: Hashable, entry: _Entry, failure: LookupFailedError) -> None:
        if entry.failure is None or entry.failure.reason is not failure.reason:
            logger.warning(
                "a look-up failed", extra=_fields(entry, reason=failure.reason, detail=failure.detail)
            )
        entry.failure = failure
        entry.due = self._monotonic() + entry.backoff.failed(spread(key), failure.retry_after or 0.0)

    def _clean(self, now: float) -> None:
        """
        Forget what nobody asks for any more, so that look-ups of old certificates do not pile up.
        """
        if now - self._cleaned < FORGET_AFTER / 8:
            return
        self._cleaned = now
        for key in [key for key, one in self._entries.items() if one.asked < now - FORGET_AFTER]:
            self._forget(key)

    def _forget_beyond(self) -> None:
        """
        Forget what nobody asked for longest, as far as there is more than may be kept.
        """
        while self._held > HELD_LIMIT and len(self._entries) > 1:
            self._forget(next(iter(self._entries)))

    def _forget(self, key: Hashable) -> None:
        """
        Forget a look-up. One that is under way comes to its end, and nobody hears of it.
        """
        self._held -= self._entries.pop(key).weight

    def _weigh(self, key: Hashable, entry: _Entry, weight: int) -> None:
        if self._entries.get(key) is entry:
            self._held += weight - entry.weight
            entry.weight = weight
            self._forget_beyond()


def _fields(entry: _Entry, **more: str) -> dict[str, dict[str, object]]:
    """
    Fields of a line of log about a look-up.
    """
    return fields(lookup=entry.what, **({"target": entry.target} if entry.target else {}), **more)


def spread(key: Hashable) -> float:
    """
    A factor between 0.9 and 1.1, always the same for a key: what began together does not go on together.
    """
    return 0.9 + 0.2 * (zlib.crc32(repr(key).encode("utf-8", "replace")) % 1000) / 1000
