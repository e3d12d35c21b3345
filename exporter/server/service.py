"""
The service: a configuration, the monitors of its targets, and the state on disk.

It lives as long as the process. The web server is a thin layer over it.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise

from exporter.config.settings import Config
from exporter.discovery.runner import Discovery
from exporter.engine.descriptors import CONCURRENCY
from exporter.engine.gates import USUAL, Limits
from exporter.engine.memory import TargetMemory
from exporter.engine.monitor import Monitor
from exporter.engine.reserve import Reserve
from exporter.engine.saving import Saving
from exporter.engine.scrape import Scrape
from exporter.engine.state import State
from exporter.logs import fields
from exporter.model.caches import BUDGET
from exporter.model.observation import Facts
from exporter.model.reasons import Kind
from exporter.model.targets import Target
from exporter.net.pools import Pool, PoolFullError
from exporter.probes.dependencies import Dependencies
from exporter.report import families
from exporter.report.compat_families import BLACKBOX_RELOAD
from exporter.report.exposition import Exposition, Samples
from exporter.report.inventory import Inventory, Rhythm
from exporter.server.bodies import Answers, join
from exporter.server.loops import from_any_loop
from exporter.server.own_metrics import Shard, build, of_caches, of_coverage, of_discovery, share
from exporter.yaml_lines import ConfigError, ConfigFault

logger = logging.getLogger(__name__)


FEW = 64
"""
Most endpoints with which the body of a /probe response is made at once: more would hold up the event loop.
"""


ASKED_TARGETS = 10_000
"""Most targets that are remembered for /probe alone; the one probed longest ago is forgotten first."""


PEOPLE_TIMEOUT = 10.0
"""Seconds that a sweep may take which a person waits for."""


RHYTHM_GAPS = 4
"""Times between scrapes by which it is judged whether they come regularly."""


RHYTHM_JITTER = 0.1
"""Share of two gaps in a row by which a gap may differ from the one before the last."""


RHYTHM_LEAST = 5.0
"""Seconds between scrapes below which nobody is missed: a loop in a shell is as regular."""


PEOPLE_AGE = 60.0
"""Age in seconds of the last scrape from which pages start a new one, unless scrapes are farther apart."""


LOAD_TIMEOUT = 120.0
"""Seconds that reading the configuration may take: ten thousand targets need eight of CPU time."""


LOAD_REST = 5.0
"""Seconds at most between two loads when the next one is asked for before the first has ended."""


LOADS = 4
"""Most loads that may hang at a time, each on a file that does not answer. After that, none is begun."""


@dataclass(frozen=True, slots=True)
class Options:
    """
    Options of the command line about probing.
    """

    concurrency: int = CONCURRENCY
    """Probes at a time, as many as the limit of open files allows."""
    state_path: str | None = None
    """Path of the state file; None: nothing is kept over a restart."""
    external_url: str | None = None
    """URL of this server for people, without a slash at the end; None when it is not set."""
    shard: str = ""
    """The share of the targets that this replica probes, `0/2` for the first of two; empty when it is all."""
    processes: int | None = None
    """Processes that probe; None: by the number of targets and of processors."""
    limits: Limits = USUAL
    """The limits of each address that is probed."""
    compat: frozenset[str] = frozenset()
    """Other exporters whose metrics are exported too; names in `report.compat`."""


class Service:
    """
    Everything that lives as long as the process. Raises ConfigError when its first configuration is bad.

    `complete` adds to a configuration whatever else is to be watched now, without waiting.
    """

    def __init__(
        self,
        load: Callable[[], Config],
        options: Options,
        loop: asyncio.AbstractEventLoop,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        load_timeout: float = LOAD_TIMEOUT,
        complete: Callable[[Config], Config] = lambda read: read,
    ) -> None:
        self._load, self._complete, self._using = load, complete, asyncio.Lock()
        self._load_timeout = load_timeout
        self._loads = Pool("configuration", LOADS, waiting=1)
        self._loading: asyncio.Task[None] | None = None
        """The load under way, or the last one."""
        self._load_rest = 0.0
        """Seconds after this one's end before another one may begin that is asked for already."""
        self._next_load: asyncio.Task[None] | None = None
        """The load after it, shared by all who requested one since it began; None when nobody did."""
        self.clock, self._monotonic = clock, monotonic
        began, worked = monotonic(), time.thread_time()
        self._read = load()
        self.config = complete(self._read)
        # Nearly all of it is work: what it took longer, the machine was busy with something else.
        slowness = (monotonic() - began) / max(time.thread_time() - worked, 0.001)
        self._loaded_at = clock()
        self._load_succeeded = True
        self.loads = 0
        """Number of configurations that were loaded after the first one."""
        self.dependencies = Dependencies(loop, clock, monotonic)
        self.discovery = Discovery(self.dependencies, self.config)
        self._exposition = Exposition(options.external_url, options.compat)
        self._configured = Monitor(
            self.dependencies,
            options.concurrency,
            clock,
            self._exposition.prepare,
            options.processes,
            options.limits,
        )
        self._asked = Monitor(self.dependencies, options.concurrency, clock, limits=options.limits)
        self._answers = Answers()
        self._reserve = Reserve(max(1.0, slowness))
        self.loop = loop
        self.saving: Saving | None = None
        """None when nothing is kept over a restart."""
        if options.state_path is not None:
            kept = State(options.state_path, clock)
            memory, saved, calm = self._configured.memory, self.discovery.saved, self.dependencies.calm
            self.saving = Saving(kept, memory, self._restore, loop, clock, saved, calm)
        self.external_url = options.external_url
        self._shard: Shard = (("shard", options.shard),) if options.shard else ()
        # The longest of a few gaps: two Prometheus servers scrape at two times of the same minute.
        self._asked_at: deque[float] = deque(maxlen=RHYTHM_GAPS + 1)
        """Monotonic times of the last scrapes, in seconds, as `_looked_at`."""
        self._asked_last = 0.0
        self._looked_at = 0.0
        self._fleet: Inventory | None = None
        self.last: Scrape | None = None
        """The latest scrape of all targets; None before the first one of this configuration."""

    def start(self) -> None:
        """
        Restore the state from before a restart, and log the warnings about the configuration.
        """
        self._log_config()
        if self.saving is not None:
            self.saving.load()
        self._configured.start(self.discovery.targets, restored=self.saving is not None)
        self.discovery.start()

    def _restore(self, known: Mapping[str, TargetMemory]) -> None:
        # First of all: what was wrong with a target that was found is carried over the restart, too.
        if self.saving is not None:
            self.discovery.restore(self.saving.lists)
        for name in known.keys() & self.discovery.names:
            self._configured.memory.restore(name, known[name])
            for label, held in known[name].endpoints.items():
                if held.facts is not None and held.seen_at is not None:
                    self.dependencies.authorities.restore(held.facts)
                    self._restore_registration(label, held.facts, held.seen_at)

    def _restore_registration(self, label: str, facts: Facts, seen_at: float) -> None:
        if any(item.kind is Kind.REGISTRATION for item in facts.items):
            from exporter.probes.domains import probe  # noqa: PLC0415 - only those with domains need it

            probe.restore(label, facts, seen_at, self.dependencies)

    async def close(self) -> None:
        """
        Save the state and close all connections.
        """
        await self.discovery.close()
        if self.saving is not None:
            await self.saving.close()
        await self._configured.close()
        self.dependencies.close()

    @from_any_loop
    async def reload(self) -> None:
        """
        Load the configuration again. Raises ConfigError; then the present one stays in use.

        One load is under way at a time. All who call meanwhile share the next one, which begins after their
        call and after a rest, since loads without an end would leave the event loop little time.
        """
        if self._next_load is None:
            self._next_load = self.loop.create_task(self._load_after(self._loading))
        await asyncio.shield(self._next_load)

    async def _load_after(self, before: asyncio.Task[None] | None) -> None:
        if before is not None and not before.done():
            await asyncio.wait([before])
            await asyncio.sleep(self._load_rest)
        self._loading, self._next_load = self._next_load, None
        began = self._monotonic()
        try:
            config = await self._loaded()
        except ConfigError as error:
            self._load_succeeded = False
            logger.error(  # noqa: TRY400 - the cause is a field; a traceback says no more
                "the new configuration is not usable; the one before it stays in use",
                extra=fields(cause=str(error)),
            )
            raise
        finally:
            self._load_rest = min(2 * (self._monotonic() - began), LOAD_REST)
        await self._use(config)
        self.loads += 1
        self._loaded_at = self.clock()
        self._load_succeeded = True
        self._log_config()

    @from_any_loop
    async def complete_again(self) -> None:
        """
        Watch what is to be watched now beside the configuration in use, which is not read again.
        """
        await self._use(None)

    async def _use(self, read: Config | None) -> None:
        """
        Put a configuration in use; None: the present one, with what `complete` adds to it now.
        """
        async with self._using:
            self._read = read if read is not None else self._read
            config = self._complete(self._read)
            await self.discovery.reconfigure(config)
            self.config = config
            self._configured.memory.keep_only(self.discovery.names)
            self.last = None

    async def _loaded(self) -> Config:
        """
        Return the configuration on disk, read in a thread: the file may be large, or its disk may hang.
        """
        try:
            async with asyncio.timeout(self._load_timeout):
                return await self._loads.run(lambda: self._load().keeping(self._read))
        except (TimeoutError, PoolFullError):
            why = (
                f"was not read within {self._load_timeout:g} s: is it, or a file that it names, on a mount "
                "that does not answer, or a pipe that nobody writes to?"
            )
            raise ConfigError([ConfigFault("the configuration", 0, "", why)]) from None

    async def scrape(self, timeout: float) -> Scrape:
        """
        Scrape all configured targets, so that the response can be rendered and sent within `timeout` seconds.
        """
        self._asked_at.append(self._monotonic())
        self._asked_last = self.clock()
        return await self._look(timeout, self._reserve)

    @from_any_loop
    async def recent(self) -> Scrape:
        """
        Return the last scrape, for a person; a new one when that is too old.
        """
        patience = max(PEOPLE_AGE, 2 * self.rhythm.every) if self.rhythm is not None else PEOPLE_AGE
        if self.last is not None and self._monotonic() - self._looked_at <= patience:
            return self.last
        return await self._look(PEOPLE_TIMEOUT)

    def fleet_of(self, scrape: Scrape) -> Inventory:
        """
        Return the inventory of a scrape; the same object for the same scrape.
        """
        if self._fleet is None or self._fleet.scrape is not scrape:
            self._fleet = Inventory(scrape)
        return self._fleet

    @property
    def rhythm(self) -> Rhythm | None:
        """
        The interval of scrapes of /metrics, as observed; None while they do not come at regular times.

        Two servers that scrape are regular, for every second gap is the same; a person who asks a few times
        is not.
        """
        # A copy: the port's thread asks while a scrape may begin.
        gaps = [later - earlier for earlier, later in pairwise(tuple(self._asked_at))]
        if len(gaps) < RHYTHM_GAPS or max(gaps) < RHYTHM_LEAST:
            return None
        allowed = RHYTHM_JITTER * 2 * sum(gaps) / len(gaps)
        if any(abs(later - earlier) > allowed for earlier, later in zip(gaps, gaps[2:], strict=False)):
            return None
        return Rhythm(self._asked_last, max(gaps))

    @property
    def load_succeeded(self) -> bool:
        """
        False while the configuration on disk can't be used, and an earlier one is in use.
        """
        return self._load_succeeded

    async def _look(self, timeout: float, reserve: Reserve | None = None) -> Scrape:
        targets, issued = self.discovery.targets, self.discovery.issuances
        rules = replace(
            self.discovery.config.coverage,
            unread=self.discovery.incomplete,
            nowhere=self.discovery.nowhere,
        )
        # A replica knows its share only.
        if self.sharded:
            rules = replace(rules, alert=False)
        scrape = await self._configured.scrape(
            targets,
            timeout,
            self.discovery.names,
            issued,
            rules,
            reserve,
            len(self.last.endpoints) if self.last is not None else 0,
        )
        self.last, self._looked_at = scrape, self._monotonic()
        if self.saving is not None:
            self.saving.begin()
        return scrape

    @from_any_loop
    async def probe(self, target: Target, timeout: float, *, trace_steps: bool = False) -> Scrape:
        """
        Probe one target, configured or not, and return the result within `timeout` seconds.
        """
        configured = target.name in self.discovery.names
        watch = self._configured if configured else self._asked
        timeout -= self._reserve.seconds(len(watch.memory.known(target).endpoints), timeout)
        scrape = await watch.probe(target, timeout, trace_steps=trace_steps)
        if not configured:
            self._asked.memory.keep_newest(ASKED_TARGETS)
        return scrape

    def text(self, scrape: Scrape) -> str:
        """
        Return a scrape of all targets as Prometheus text, with the exporter's own metrics.
        """
        return "".join(self._exposition.parts(scrape, self._own(scrape)))

    @from_any_loop
    async def answered(
        self, timeout: float, rest: Callable[[], bytes], kind: str, *, zipped: bool
    ) -> tuple[Scrape, bytes]:
        """
        Return a scrape within `timeout` seconds, and its `body`. What can wait gives way meanwhile.
        """
        with self.dependencies.calm.disturbed():
            scrape = await self.scrape(timeout)
            return scrape, await self.body(scrape, rest, kind, zipped=zipped)

    async def body(self, scrape: Scrape, rest: Callable[[], bytes], kind: str, *, zipped: bool) -> bytes:
        """
        Return the text of a scrape in UTF-8, followed by `rest()`; in gzip if `zipped`.

        Calls with the same scrape and `kind` at the same time share the object.
        """

        def parts(own: Samples) -> Iterator[bytes]:
            # In the thread: with many targets it takes tens of milliseconds.
            for part in self._exposition.parts(scrape, own):
                yield part.encode("utf-8")
            yield rest()

        # Its own metrics are taken for an answer that is made: not for each of hundreds who share one.
        key = (id(scrape), kind, zipped)
        return await self._answers.get(key, lambda: parts(self._own(scrape)), zipped=zipped)

    @from_any_loop
    async def note_answer(self, scrape: Scrape, made: float, sent: float) -> None:
        """
        Record the loop times at which a response was rendered and sent: the reserve of later ones follows
        them.
        """
        endpoints = len(scrape.endpoints)
        cut = scrape.cut * endpoints / max(1, len(scrape.targets))
        self._reserve.note(endpoints, cut, made - scrape.ended, sent - made)

    @from_any_loop
    async def probe_body(self, scrape: Scrape, rest: Callable[[], bytes], *, zipped: bool) -> bytes:
        """
        Return the text of a probe of one target in UTF-8, followed by `rest()`; in gzip if `zipped`.
        """

        def parts() -> Iterator[bytes]:
            yield self.probe_text(scrape).encode("utf-8")
            yield rest()

        if len(scrape.endpoints) <= FEW:
            return join(parts(), zipped=zipped)
        return await self._answers.get((id(scrape), zipped), parts, zipped=zipped)

    def probe_text(self, scrape: Scrape) -> str:
        """
        Return a probe of one target as Prometheus text, with the metric by which rules know the exporter.
        """
        exposition = Exposition(self.external_url, self._exposition.exporters)
        return "".join(exposition.parts(scrape, build()))

    def _own(self, scrape: Scrape) -> Samples:
        """
        Return the metrics of the exporter itself.
        """
        values = {
            families.SWEEP_DURATION: scrape.duration,
            families.SWEEP_TIMEOUT: scrape.timeout,
            families.SWEEP_COMPLETE: scrape.complete,
            families.SWEEP_TIME: scrape.at,
            families.SWEEP_ENDPOINTS: len(scrape.endpoints),
            families.SWEEP_FAILURES: scrape.failures,
            families.RELOAD_SUCCESS: self._load_succeeded,
            families.RELOAD_TIME: self._loaded_at,
        }
        if self.saving is not None:
            values[families.STATE_SUCCESS] = self.saving.works
        own: Samples = {family: [((), float(value))] for family, value in values.items()}
        if "blackbox" in self._exposition.exporters:
            own[BLACKBOX_RELOAD] = own[families.RELOAD_SUCCESS]
        own[families.SWEEP_TARGETS] = [(self._shard, float(len(scrape.targets)))]
        own[families.SHARD_RATIO] = [(self._shard, share(self._shard))]
        if self.external_url is not None:
            own[families.WEB] = [((("external_url", self.external_url),), 1.0)]
        own |= of_caches(BUDGET)
        own |= of_discovery(self.discovery)
        # A replica knows its share only.
        own |= {} if self.sharded else of_coverage(scrape.coverage)
        own |= build(self._shard)
        return own

    @property
    def sharded(self) -> bool:
        """
        True for a replica that has a share of the targets.
        """
        return bool(self._shard)

    def _log_config(self) -> None:
        for warning in self.config.warnings:
            logger.warning(warning)
        if self.sharded and self.config.coverage.alert:
            logger.warning("coverage.alert is off on a replica: it does not know what the others watch")
        logger.info("configuration loaded", extra=fields(targets=len(self.config.targets)))
