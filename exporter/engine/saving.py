"""
Saving: the memory is written to the state file in the background, and nothing waits for it.

The file is used in a thread of its own that does not keep the process from ending: a disk that hangs delays
neither a scrape nor a stop.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from exporter.engine.memory import Memory, TargetMemory
from exporter.engine.slices import in_slices
from exporter.engine.snapshots import part, snapshot
from exporter.engine.state import State, StateError
from exporter.logs import fields
from exporter.net.calm import Calm
from exporter.net.pools import Pool

logger = logging.getLogger(__name__)


CLOSE_TIMEOUT = 5.0
"""Seconds that the last save may take when the process ends."""


Lists = tuple[tuple[str, float, str], ...]
"""Lists of discovered targets: source, time in seconds since the epoch, and content of each."""


STUCK_AFTER = 60.0
"""Seconds after which an unfinished save counts as a failure."""


LONG = 0.1
"""Seconds from which a save takes long. Then the next one waits, however often scrapes come."""


REST = 20.0
"""Times as long as a long save took is the rest after it."""


async def _no_lists() -> Lists:
    return ()


class Saving:
    """
    Keeps a memory in a state file.
    """

    def __init__(
        self,
        state: State,
        memory: Memory,
        restore: Callable[[Mapping[str, TargetMemory]], None],
        loop: asyncio.AbstractEventLoop,
        clock: Callable[[], float],
        lists: Callable[[], Awaitable[Lists]] = _no_lists,
        calm: Calm | None = None,
    ) -> None:
        """
        `restore` gets the state from before a restart. `clock` returns seconds since the epoch. `lists`
        returns the lists of discovered targets. Saves give way to what disturbs the `calm`; None: to nothing.
        """
        self.works = True
        """False when the last save failed, or is not finished after STUCK_AFTER."""
        self._state = state
        self._memory = memory
        self._lists = lists
        self._calm = calm or Calm()
        self._restore = restore
        self._loop = loop
        self._clock = clock
        self._loaded = False
        self._said = ""
        self._begun = 0.0
        self._rests_until = 0.0
        self._under_way: asyncio.Task[None] | None = None
        self._pool = Pool("state", 1)

    def load(self) -> None:
        """
        Restore the state from before a restart. If it can't be read now, it is read before the first save.
        """
        try:
            known = self._state.load(self._clock())
        except StateError as error:
            self._fails(error)
            return
        self._take_back(known)

    @property
    def lists(self) -> Mapping[str, tuple[float, str]]:
        """
        The lists of discovered targets from before a restart: time and content by source.
        """
        return self._state.lists

    def begin(self) -> None:
        """
        Begin to save the present state, unless a save is under way, or rests after it.
        """
        if self._under_way is None or self._under_way.done():
            if self._loop.time() < self._rests_until:
                return
            self._begun = self._loop.time()
            self._under_way = self._loop.create_task(self._save_and_rest())
        elif self._loop.time() - self._begun > STUCK_AFTER:
            self._fails(StateError(self._unfinished("for more than a minute")))

    async def settle(self) -> None:
        """
        Wait for the save that is under way, if any.
        """
        if self._under_way is not None:
            await asyncio.wait([self._under_way])

    async def close(self) -> None:
        """
        Save the present state and close the file, within CLOSE_TIMEOUT.
        """
        # Before the first scrape there is nothing that the file does not hold already, but for a list.
        if self._under_way is not None or await self._has_other_lists():
            try:
                async with asyncio.timeout(CLOSE_TIMEOUT):
                    await self.settle()
                    await self._save()
            except TimeoutError:
                # The thread still hangs in it: it ends with the process.
                logger.error(  # noqa: TRY400 - a traceback says no more
                    "%s. What was seen since the last save will not survive the restart",
                    self._unfinished(f"after {CLOSE_TIMEOUT:g} s, and the process ends now"),
                )
                return
        self._pool.close()
        self._state.close()

    async def _has_other_lists(self) -> bool:
        known = self._state.lists
        return any(known.get(source, (0.0, ""))[1] != text for source, _, text in await self._lists())

    async def _save_and_rest(self) -> None:
        # A save begins with the end of a sweep, whose answer is made then: beside it, both would take longer,
        # and what each of them makes of ten thousand targets would be there at once.
        await self._calm.wait()
        began = self._loop.time()
        await self._save()
        now = self._loop.time()
        if now - began >= LONG:
            self._rests_until = now + REST * (now - began)

    async def _save(self) -> None:
        try:
            if not self._loaded:
                self._take_back(await self._pool.run(lambda: self._state.load(self._clock())))
            parts = [part(*one) async for one in in_slices(tuple(self._memory))]
            taken = snapshot(parts, await self._lists())
            await self._pool.run(lambda: self._state.save(taken))
        except StateError as error:
            self._fails(error)
        except Exception:
            logger.exception("internal error while saving state", extra=fields(path=str(self._state.path)))
            self.works = False
        else:
            if not self.works:
                logger.info("state can be kept again", extra=fields(path=str(self._state.path)))
            self.works, self._said = True, ""

    def _take_back(self, known: Mapping[str, TargetMemory]) -> None:
        self._loaded = True
        self._restore(known)
        if self._state.refused is not None:
            self._fails(self._state.refused)

    def _fails(self, error: StateError) -> None:
        """
        Log the error, once while it is the same.
        """
        words = str(error)
        if words != self._said:
            logger.error(words)
        self.works, self._said = False, words

    def _unfinished(self, since: str) -> str:
        return f"writing to {self._state.path} is not finished {since}: the disk or the file server hangs"
