"""
The runner: each source of the configuration in the background, at its own pace.

It never touches the sweep. A source that fails keeps its last list.
"""

import asyncio
import json
import logging
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Any

from exporter.config.settings import Config
from exporter.discovery import MODULES, source
from exporter.discovery.base import NOTHING, Context, Listing, SourceError
from exporter.discovery.feed import UNDER_WAY, Feed, identified, issued, replaced
from exporter.discovery.lists import (
    Kept,
    excluding,
    same_objects,
    settled,
    to_text,
    wanted,
    wanting,
)
from exporter.discovery.resolving import MORE, LookUps, is_history, resolved
from exporter.discovery.targets import Made, joined, made
from exporter.discovery.threads import in_thread
from exporter.logs import fields
from exporter.model.caches import BUDGET
from exporter.model.coverage import Nowhere
from exporter.model.foreign_text import printable
from exporter.model.issuance import Issuance
from exporter.model.targets import Target
from exporter.net.background import spread
from exporter.net.backoff import Backoff
from exporter.net.network import Network
from exporter.net.pools import Pool

logger = logging.getLogger(__name__)


AT_ONCE = 4
"""Runs of one kind of source that are under way at a time: others do not wait for a slow kind."""


RUN_TIMEOUT = 3600.0
"""Seconds that a run may take at least, before it is given up."""


FIRST_PAUSE = 15.0
"""Seconds until the next try after the first failure; a shorter interval goes before it."""


LONGEST_PAUSE = 3600.0


CONFIRMING_PAUSE = 60.0
"""Seconds between two times that an unchanged list counts against the targets that it lost."""


REST = 9.0
"""Seconds of rest for each second that it took to take a list: a tenth of a processor is enough for it."""


LONGEST_REST = 10.0


NOTES = 5
"""Notes of a run that get a line of log each; the others are counted."""


Saved = tuple[str, float, str]
"""A list in the state: identity of its source, when that could last be read, and the list as JSON."""


class Discovery:
    """
    The sources of a configuration, and the targets that they gave last.
    """

    def __init__(self, network: Network, config: Config) -> None:
        self.feeds: dict[str, Feed] = {}
        """By identity, in the order of the configuration."""
        self.targets: tuple[Target, ...] = ()
        """All targets: those of the configuration, then those that were found."""
        self.names: set[str] = set()
        """The names of all targets. The same object always: whoever holds it sees what changes."""
        self.changes = 0
        """How often there were other targets or issuances than before."""
        self.issuances: tuple[Issuance, ...] = ()
        """The certificates that any source knows to be issued."""
        self.known = config
        """The configuration in use, with all targets."""
        self._watched: frozenset[str] | None = None
        """URLs of all targets, as sources spell them; None until somebody wants to know."""
        self._network = network
        self.config = config
        """That in use."""
        self._places: dict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(AT_ONCE))
        # Ten thousand targets take seconds to be checked: not on the event loop.
        self._pool = Pool("discovery", 1)
        self._started = False
        self.configure(config)

    @property
    def pending(self) -> bool:
        """
        True until each source was tried once.
        """
        return any(feed.success is None for feed in self.feeds.values())

    @property
    def failing(self) -> tuple[str, ...]:
        """
        The names of sources that could not be read the last time.
        """
        return tuple(feed.name for feed in self.feeds.values() if feed.success is False)

    @property
    def nowhere(self) -> tuple[Nowhere, ...]:
        """
        The entries of sources whose names have no address, and whose URL no other list makes a target.
        """
        found = tuple(chain.from_iterable(feed.nowhere for feed in self.feeds.values()))
        if not found:
            return ()
        if self._watched is None:
            targets = chain(self.config.by_hand, self.targets)
            self._watched = frozenset(one.url.shortest for one in targets)
        watched = self._watched
        return tuple(one for one in found if one.url not in watched)

    @property
    def incomplete(self) -> bool:
        """
        True while there is a source that has no list, not even one from before.
        """
        return any(not feed.text for feed in self.feeds.values())

    def configure(self, config: Config) -> None:
        """
        Use a configuration. A source that is still in it keeps its list, and an unchanged one its pace.
        """
        self._use(config, self._prepared(config, self.feeds))

    async def reconfigure(self, config: Config) -> None:
        """
        Do the same beside the event loop, for a process that serves.
        """
        before = self.feeds
        self._use(config, await self._pool.run(lambda: self._prepared(config, before)))

    def _prepared(self, config: Config, before: Mapping[str, Feed]) -> dict[str, tuple[Feed, Kept, Made]]:
        """
        Return the sources of a configuration by identity, each with the targets of the list that it has.
        """
        entries = identified(config.discover)
        others = replaced(entries, before)
        feeds: dict[str, tuple[Feed, Kept, Made]] = {}
        for identity, entry in entries.items():
            old = before.get(identity) or before.get(others.get(identity, ""))
            feed = Feed(entry, config) if old is None or old.entry != entry else old
            if old is not None and feed is not old:
                feed.follow(old)
            same = old is feed and _settings(old.config) == _settings(config)
            kept = feed.kept
            feeds[identity] = feed, kept, feed.made if same else made(kept.found, entry, config)
        return feeds

    def _use(self, config: Config, prepared: Mapping[str, tuple[Feed, Kept, Made]]) -> None:
        before = self.feeds
        self.config = config
        self.feeds = {identity: feed for identity, (feed, _, _) in prepared.items()}
        for feed, kept, targets in prepared.values():
            # A run may have brought another list meanwhile.
            same = feed.kept is kept
            feed.config = config
            feed.made = targets if same else made(feed.kept.found, feed.entry, config)
        for identity, feed in before.items():
            if self.feeds.get(identity) is not feed:
                feed.stop()
        for feed in self.feeds.values():
            feed.go_on()
        self._take_over(joined(config, self._lists()))
        if self._started:
            self.start()

    def restore(self, saved: Mapping[str, tuple[float, str]]) -> None:
        """
        Take up the lists from before a restart, where there are no newer ones.
        """
        entries = {identity: feed.entry for identity, feed in self.feeds.items()}
        others = replaced(entries, [one for one in saved if not one.endswith(UNDER_WAY)])
        for identity, feed in self.feeds.items():
            place = others.get(identity, identity)
            if place in saved and not feed.text:
                try:
                    feed.restore(*saved[place], elsewhere=place != identity)
                except ValueError as error:
                    logger.warning(
                        "the last list of a source is damaged: its targets come back when it is read",
                        extra=fields(source=feed.name, cause=str(error)),
                    )
            if feed.so_far is None and feed.success is None:
                feed.restore_run(saved.get(place + UNDER_WAY, (0.0, ""))[1])
        self._take_over(joined(self.config, self._lists()))

    async def saved(self) -> tuple[Saved, ...]:
        """
        Return the lists for the state file, and how far the runs came that are under way.

        It is asked for this before a scrape is answered: what takes time waits for the answer.
        """
        if any(feed.so_far is not None for feed in self.feeds.values()):
            await self._network.calm.wait()
        lists = [
            (identity, feed.succeeded_at or 0.0, feed.text)
            for identity, feed in self.feeds.items()
            if feed.text
        ]
        reached = [
            (identity + UNDER_WAY, [feed.choice, feed.so_far()])
            for identity, feed in self.feeds.items()
            if feed.so_far is not None
        ]
        if reached:
            # Of a hundred thousand names it takes a part of a second: not on the event loop.
            lists += await in_thread(lambda: [(name, 0.0, json.dumps(value)) for name, value in reached])
        return tuple(lists)

    def start(self) -> None:
        """
        Begin to run the sources.
        """
        self._started = True
        for feed in self.feeds.values():
            if feed.task is None:
                feed.task = self._network.loop.create_task(self._run_for_ever(feed))

    async def close(self) -> None:
        """
        Stop the runs.
        """
        tasks = list(chain.from_iterable(feed.stop() for feed in self.feeds.values()))
        if tasks:
            await asyncio.wait(tasks, timeout=1.0)
        self._pool.close()

    async def _run_for_ever(self, feed: Feed) -> None:
        """
        Run a source again and again.
        """
        kind = feed.entry.source
        try:
            interval = feed.entry.interval or source(kind).interval
        except (KeyError, ImportError) as error:
            why = "this version has no such source" if kind not in MODULES else str(error)
            logger.error("a source can't be used", extra=fields(source=kind, cause=why))  # noqa: TRY400
            feed.success, feed.failure = False, why
            return
        backoff = Backoff(min(FIRST_PAUSE, interval), max(LONGEST_PAUSE, interval))
        drift = spread(feed.entry.identity)
        while True:
            async with self._places[kind]:
                wait = await self._run(feed, max(RUN_TIMEOUT, interval))
            if wait is None:
                backoff.succeeded()
            pause = interval * drift if wait is None else backoff.failed(drift, wait)
            await asyncio.sleep(max(pause, min(REST * feed.took, LONGEST_REST)))

    async def _run(self, feed: Feed, timeout: float) -> float | None:
        """
        Run a source once, and take its list. Returns None when the next run is after the usual pause, else
        the seconds for which the source asks to be left alone after it failed.
        """
        wait: float | None = 0.0
        feed.took = 0.0
        if feed.so_far is not None:
            # The last run did not come to its end.
            feed.remembered = feed.so_far()
        now = self._network.clock()
        entry, before = feed.entry, feed.kept
        context = Context(
            *(self._network, now, feed.remembered, before.listed, feed.config.directory),
            whole=before.above > 0 and len(before.found) < entry.limit,
            wanted=wanting(entry.include, entry.exclude),
            excluded=excluding(entry.exclude),
            so_far=partial(setattr, feed, "so_far"),
        )
        try:
            async with asyncio.timeout(timeout):
                try:
                    listing = await source(entry.source).run(entry.given, context)
                except SourceError as error:
                    wait = None if source(entry.source).steady else error.retry_after
                    if error.listing is not None:
                        await self._take(feed, error.listing, now)
                    raise
                await self._take(feed, listing, now)
        except SourceError as error:
            self._fail(feed, printable(str(error)))
        except TimeoutError:
            self._fail(feed, f"it was not done within {timeout:g} s")
        except Exception:
            logger.exception("internal error in a source", extra=fields(source=feed.name))
            feed.success, feed.failure = False, "an internal error: please report it with the log"
        else:
            if feed.success is False:
                logger.info("a source can be read again", extra=fields(source=feed.name))
            feed.success, feed.succeeded_at, feed.failure = True, now, ""
            wait = None
        if feed.look_ups is None:
            feed.look_ups = LookUps(self._network, partial(self._hear, feed), history=is_history(entry))
        feed.look_ups.go_on(feed.kept, before)
        return wait

    def _fail(self, feed: Feed, cause: str) -> None:
        level = logging.WARNING if feed.success is not False else logging.DEBUG
        logger.log(
            level,
            "a source can't be read, or not all of it: what could not be read keeps its targets of before",
            extra=fields(source=feed.name, targets=len(feed.made.targets), cause=cause),
        )
        feed.success, feed.failure = False, cause

    async def _hear(self, feed: Feed, answers: Mapping[str, bool]) -> None:
        """
        Take answers of look-ups, by host: there may be other targets than before, of the same list.
        """
        try:
            await self._take(feed, Listing(unchanged=True), self._network.clock(), answers)
        except Exception:
            logger.exception("internal error in the look-ups of a source", extra=fields(source=feed.name))

    async def _take(
        self, feed: Feed, listing: Listing, now: float, heard: Mapping[str, bool] = NOTHING
    ) -> None:
        """
        Take the answer of a source, or answers about its names: its targets join the next scrape.
        """
        async with feed.taking:
            await self._take_alone(feed, listing, now, heard)

    async def _take_alone(self, feed: Feed, listing: Listing, now: float, heard: Mapping[str, bool]) -> None:
        entry, before, config = feed.entry, feed.kept, feed.config
        unchanged = listing.unchanged
        counts = not heard and bool(before.missing) and abs(now - feed.taken_at) >= CONFIRMING_PAUSE
        if unchanged and not heard and not counts:
            return
        remembered = feed.remembered if unchanged else listing.remember
        listing, names = await resolved(listing, entry, before, self._network, heard=heard)
        if heard and names == before.names:
            # The name servers know no more than before: ten thousand targets are not made into a text for it.
            return
        began, calm = self._network.monotonic(), self._network.calm

        def work() -> tuple[Kept, Made, str, tuple[Issuance, ...]]:
            same = same_objects(before, calm.gently(listing.found))
            listed = tuple(wanted(same, entry.include, entry.exclude))
            # What was found elsewhere, before a reload, is no loss. But an empty list is one, wherever.
            had = Kept() if feed.elsewhere and listed and not heard else before
            kept = settled(had, listed, entry.limit, now, names, counts=not heard)
            if unchanged:
                # Those above the limit were not listed again.
                kept = replace(kept, above=kept.above + before.above)
            return (
                kept,
                made(calm.gently(kept.found), entry, config, feed.made),
                to_text(kept, [feed.choice, remembered]),
                issued(entry, remembered),
            )

        kept, targets, text, issuances = await self._pool.run(work)
        while feed.config is not config:
            # It was loaded anew meanwhile: the same list, with the settings of now.
            config = feed.config
            targets = await self._pool.run(partial(made, calm.gently(kept.found), entry, config))
        changed = _told(targets) != _told(feed.made) or issuances != feed.issuances
        feed.issuances = issuances
        feed.elsewhere = feed.elsewhere and bool(heard)
        feed.kept, feed.made, feed.remembered = kept, targets, remembered
        feed.text = "" if feed.elsewhere else text
        if not heard:
            feed.taken_at = now
        if not unchanged:
            feed.so_far = None
            self._tell(feed, before, listing.notes)
        if changed:
            config, lists = self.config, self._lists()
            all_of_them = await self._pool.run(lambda: joined(config, lists))
            if config is self.config:
                self._take_over(all_of_them)
        feed.took = self._network.monotonic() - began + listing.took

    def _tell(self, feed: Feed, before: Kept, notes: tuple[str, ...]) -> None:
        """
        Log what a person should know about a list, once while it is the same.
        """
        if len(feed.kept.missing) > len(before.missing):
            logger.warning(
                "a source lists far fewer targets than before: those that it lost are kept until it has "
                "not listed them for a day",
                extra=fields(source=feed.name, kept=feed.kept_targets, targets=len(feed.made.targets)),
            )
        if feed.kept.above and not before.above:
            logger.warning(
                "a source found more targets than its limit: raise `limit`, or narrow it down",
                extra=fields(source=feed.name, limit=feed.entry.limit, left_out=feed.kept.above),
            )
        told = (*notes[:NOTES], *feed.made.notes[:NOTES])[:NOTES]
        # How many more there are changes with each name of a cluster.
        gist = tuple(MORE.sub("", note) for note in told)
        if gist == feed.told:
            return
        feed.told = gist
        for note in told:
            logger.warning("a source passed something over", extra=fields(source=feed.name, cause=note))
        more = len(notes) + len(feed.made.notes) - len(told)
        if more > 0:
            logger.warning("a source passed more things over", extra=fields(source=feed.name, things=more))

    def _lists(self) -> list[Made]:
        return [feed.made for feed in self.feeds.values()]

    def _take_over(self, targets: tuple[Target, ...]) -> None:
        self.targets = targets
        self._watched = None
        self.issuances = tuple(chain.from_iterable(feed.issuances for feed in self.feeds.values()))
        self.known = replace(self.config, targets=targets)
        self.names.clear()
        self.names.update(target.name for target in targets)
        self.changes += 1
        BUDGET.fit(len(self.names))


def _told(given: Made) -> list[tuple[Target, str]]:
    """
    Return the targets, each with where it was found: a target is the same wherever that was.
    """
    return [(one, one.why) for one in given.targets]


def _settings(config: Config) -> tuple[Any, ...]:
    """
    Return what of a configuration shapes the targets that are found.
    """
    return config.policies, config.matches, config.by_kind, config.defaults, config.acme, config.directory
