"""
Rationed look-ups: queries to others, made in the background at intervals, and their answers kept in between.

Registries, authorities and renewal information are queried every few hours, not at each scrape: spread, a few
at a time, less and less often while they fail. A failed look-up never removes an earlier answer.

Targets have turns: one that names ever new servers, which answer as slowly as they may, does not keep the
others from theirs.
"""

import asyncio
import logging
import time
import zlib
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from math import inf
from typing import Any

from exporter.logs import fields
from exporter.model.caches import size
from exporter.model.errors import ProbeError
from exporter.model.reasons import Reason
from exporter.net.backoff import Backoff
from exporter.net.shares import Shares

logger = logging.getLogger(__name__)


AT_A_TIME = 8
"""Look-ups under way at once."""


WAITING = 256
"""Look-ups that wait for a free place. A look-up without a waiting caller that is due beyond this number
begins at a later scrape, unless it is the only one of its target.
"""


OWNERS_WAITING = 2048
"""Waiting look-ups that are the only one of their target: each waits in a task of some kilobytes."""


QUICK_ANSWER = 2.0
"""Seconds up to which an answer counts as quick."""


FIRST_PAUSE = 60.0
"""Seconds after a first failure. Each further one doubles them."""


LONGEST_PAUSE = 6 * 3600.0
"""The longest pause, in seconds, after a failed look-up, unless the server asks for a longer one."""


FORGET_AFTER = 2 * 86400.0
"""Seconds after the last request for an answer until it is forgotten."""


HELD_LIMIT = 256 * 1024 * 1024
"""Bytes of all answers that are kept. Beyond it the answer requested least recently is dropped first.

Servers that show another certificate each time name ever new lists and responders.
"""


ENTRY = 2000
"""Bytes of one kept look-up, without its key, its name and a large answer."""


class LookupFailedError(ProbeError):
    """
    A look-up that gave no answer: the reason, and a sentence for a person.
    """

    def __init__(self, reason: Reason, detail: str, retry_after: float | None = None) -> None:
        super().__init__(reason, detail)
        self.retry_after = retry_after
        """Seconds that the server asked to wait before the next query; None when it named no time."""


@dataclass(frozen=True, slots=True)
class Answer:
    """
    The answer of a look-up, and the time until the next one.
    """

    value: Any
    again_after: float
    """Seconds."""
    weight: int = 0
    """Bytes that the value takes in memory, where they are more than a thousand."""


@dataclass(frozen=True, slots=True)
class Known:
    """
    The last answer of a look-up, and its time.
    """

    value: Any
    at: float
    """Seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class LookupState:
    """
    The last answer of a look-up in the background, and the result of the last try.
    """

    known: Known | None = None
    """The last answer; None when there never was one."""
    failure: LookupFailedError | None = None
    """The failure of the last try; None when it succeeded, or there was none yet."""


Fetch = Callable[[], Awaitable[Answer]]
"""One try of a look-up. Raises ProbeError, or LookupFailedError with a longer pause; any other error is a
fault of this program."""


@dataclass(slots=True)
class _Entry:
    """
    One look-up: its key's last answer, its times and its failures.
    """

    what: str = ""
    """The subject of the look-up, for messages."""
    target: str = ""
    """The name of the target that requested it last; empty when no target did."""
    known: Known | None = None
    heard: float = -inf
    """When the last answer came, by the monotonic clock, which may have begun later."""
    due: float = -inf
    """When the next try is due, by the monotonic clock."""
    weight: int = 0
    """Bytes."""
    backoff: Backoff = field(default_factory=lambda: Backoff(FIRST_PAUSE, LONGEST_PAUSE))
    failure: LookupFailedError | None = None
    task: "asyncio.Task[None] | None" = None
    asked: float = -inf
    """When it was last requested, by the monotonic clock."""
    quick: bool = False
    """True when the last try gave an answer, and soon."""
    settles: bool = False
    """True when `settle` waits for it."""


class Lookups:
    """
    All look-ups of the process, by key.

    `clock` returns seconds since the epoch. It gives the time of an answer, for people and for the state that
    is kept. The next try is planned by `monotonic` alone, since the time of day may be set at any moment.
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
        # In the order in which they were last requested.
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()
        self._held = 0
        self._places = Shares(AT_A_TIME)
        self._begun = 0
        """Look-ups that are under way or wait for their turn."""
        self._begun_for: Counter[str] = Counter()
        """By owner (the target, unless another was named), how many look-ups are under way. None with 0."""
        self._cleaned = monotonic()
        self._over: str | None = None
        """The failure detail of all look-ups without an answer, once `give_up` was called; None before."""

    def peek(self, key: Hashable, fetch: Fetch, what: str, target: str = "") -> Known | None:
        """
        Return the last answer, or None when there is none yet. Begin a try in the background when one is due.

        `what` (the subject) and `target` (the name of the target) are for messages.
        """
        return self._asked(key, fetch, what, target, WAITING).known

    def hear(self, key: Hashable, fetch: Fetch, what: str, target: str = "") -> LookupState:
        """
        Return the last answer and the result of the last try. Begin a try in the background when one is due.

        `settle` waits for this try. `what` (the subject) and `target` (the name of the target) are for
        messages.
        """
        entry = self._asked(key, fetch, what, target, WAITING if self._over is None else 0)
        entry.settles = True
        failure = entry.failure
        if self._over is not None and failure is None and entry.known is None:
            failure = LookupFailedError(Reason.TIMEOUT, f"{what}: {self._over}")
        return LookupState(entry.known, failure)

    def refuse(self, key: Hashable, detail: str, what: str, target: str = "") -> LookupState:
        """
        Return the state of a look-up that can't be made, with `detail` as the reason of its failure.
        """
        entry = self._entry(key, what, target)
        if entry.failure is None:
            self._failed(key, entry, LookupFailedError(Reason.LOOKUP_FAILED, detail))
        return LookupState(None, entry.failure)

    async def settle(self, timeout: float) -> None:
        """
        Wait until all tries begun by `hear` have ended, at most `timeout` seconds.
        """
        if tasks := self.unsettled:
            await asyncio.wait(tasks, timeout=timeout)

    @property
    def unsettled(self) -> "list[asyncio.Task[None]]":
        """
        The tasks begun by `hear` that are still running.
        """
        return [one.task for one in self._entries.values() if one.settles and one.task is not None]

    def give_up(self, why: str) -> None:
        """
        Begin no more look-ups, and give every look-up without an answer that `hear` is called for the failure
        `why`.
        """
        self._over = why

    def known(self, key: Hashable) -> Known | None:
        """
        Return the last answer, or None when there is none. Begins no try, and counts as a request for
        FORGET_AFTER.
        """
        entry = self._entries.get(key)
        if entry is None:
            return None
        entry.asked = self._monotonic()
        self._entries.move_to_end(key)
        return entry.known

    def failure(self, key: Hashable) -> LookupFailedError | None:
        """
        Return the failure of the last try; None when it succeeded, or there was none.
        """
        entry = self._entries.get(key)
        return entry.failure if entry is not None else None

    def remember(self, key: Hashable, known: Known, again_after: float) -> None:
        """
        Restore an answer from before a restart, so that it is not queried before it is due.
        """
        entry = self._entries.get(key) or self._entry(key, "", "")
        if entry.known is None:
            now = self._monotonic()
            # An answer from the future came while the time of day was wrong: it counts as new.
            age = max(0.0, self._clock() - known.at)
            entry.known, entry.asked, entry.heard = known, now, now - age
            entry.due = entry.heard + again_after * spread(key)

    def hurry(self, key: Hashable, again_after: float) -> None:
        """
        Make the next try due once the answer is `again_after` seconds old, if that is sooner than planned.

        Has no effect while look-ups fail: the server's pause counts.
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
        owner: str = "",
    ) -> Known:
        """
        Return the answer, waiting at most `timeout` seconds for a first one.

        `owner` has the turn for it, if that is not the target: so look-ups of many targets at one server have
        one turn together.

        While look-ups fail, an answer older than `patience` seconds does not count. Raises ProbeError when
        there is none.
        """
        entry = self._asked(key, fetch, what, target, owner=owner)
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
        Cancel all look-ups that are running.
        """
        for entry in self._entries.values():
            if entry.task is not None:
                entry.task.cancel()

    def _asked(
        self,
        key: Hashable,
        fetch: Fetch,
        what: str,
        target: str,
        at_most: float = inf,
        owner: str = "",
    ) -> _Entry:
        owner = owner or target
        entry = self._entry(key, what, target)
        if entry.task is None and entry.due <= entry.asked:
            if at_most and owner not in self._begun_for:
                at_most = max(at_most, OWNERS_WAITING)
            if self._begun < at_most:
                self._begun += 1
                self._begun_for[owner] += 1
                entry.task = self._loop.create_task(self._look(key, entry, fetch, owner))
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

    async def _look(self, key: Hashable, entry: _Entry, fetch: Fetch, owner: str) -> None:
        quick, entry.quick = entry.quick, False
        try:
            async with self._places.place(owner, quick=quick):
                began = self._loop.time()
                answer = await fetch()
        except LookupFailedError as failure:
            self._failed(key, entry, failure)
        except ProbeError as error:
            self._failed(key, entry, LookupFailedError(error.reason, error.detail))
        except Exception:
            # An internal error must not be repeated at each scrape, and must be logged.
            logger.exception("internal error while looking up", extra=_fields(entry))
            words = "please report it with the traceback in the exporter's log"
            self._failed(key, entry, LookupFailedError(Reason.INTERNAL_ERROR, words))
        else:
            entry.known, entry.failure = Known(answer.value, self._clock()), None
            entry.backoff.succeeded()
            entry.quick = self._loop.time() - began <= QUICK_ANSWER
            self._weigh(key, entry, ENTRY + size(key, entry.what) + answer.weight)
            entry.heard = self._monotonic()
            entry.due = entry.heard + answer.again_after * spread(key)
        finally:
            entry.task = None
            self._begun -= 1
            self._begun_for[owner] -= 1
            if not self._begun_for[owner]:
                del self._begun_for[owner]

    def _failed(self, key: Hashable, entry: _Entry, failure: LookupFailedError) -> None:
        if entry.failure is None or entry.failure.reason is not failure.reason:
            logger.warning(
                "a look-up failed", extra=_fields(entry, reason=failure.reason, detail=failure.detail)
            )
        entry.failure = failure
        entry.due = self._monotonic() + entry.backoff.failed(spread(key), failure.retry_after or 0.0)

    def _clean(self, now: float) -> None:
        """
        Forget answers that are no longer requested, so that look-ups of old certificates do not pile up.
        """
        if now - self._cleaned < FORGET_AFTER / 8:
            return
        self._cleaned = now
        for key in [key for key, one in self._entries.items() if one.asked < now - FORGET_AFTER]:
            self._forget(key)

    def _forget_beyond(self) -> None:
        """
        Forget the answers requested least recently, until at most HELD_LIMIT bytes are kept.
        """
        while self._held > HELD_LIMIT and len(self._entries) > 1:
            self._forget(next(iter(self._entries)))

    def _forget(self, key: Hashable) -> None:
        """
        Forget a look-up. A try that is running ends without effect.
        """
        self._held -= self._entries.pop(key).weight

    def _weigh(self, key: Hashable, entry: _Entry, weight: int) -> None:
        if self._entries.get(key) is entry:
            self._held += weight - entry.weight
            entry.weight = weight
            self._forget_beyond()


def _fields(entry: _Entry, **more: str) -> dict[str, dict[str, object]]:
    """
    Return the fields of a log line about a look-up.
    """
    return fields(lookup=entry.what, **({"target": entry.target} if entry.target else {}), **more)


def spread(key: Hashable) -> float:
    """
    Return a factor between 0.9 and 1.1, constant for each key, so that look-ups begun together drift apart.
    """
    return 0.9 + 0.2 * (zlib.crc32(repr(key).encode("utf-8", "replace")) % 1000) / 1000
