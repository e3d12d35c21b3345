"""
The service: a configuration, the watches over its targets, and the state on disk.

It is what lives as long as the process. The web server is a thin layer over it.
"""

import asyncio
import logging
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass

from OpenSSL import SSL

from exporter import __version__, metrics, state
from exporter.config import Config, ConfigError
from exporter.logs import fields
from exporter.metrics import Exposition, Samples
from exporter.network import Network
from exporter.targets import Target
from exporter.watch import Scrape, Watch

logger = logging.getLogger(__name__)

ASKED_TARGETS = 10_000
"""Targets only asked for by /probe that are remembered; the one not asked for longest goes first."""


CONCURRENCY = 256
"""Looks under way at a time. Each holds some 50 kB; more are of use when most servers are far away."""


@dataclass(frozen=True, slots=True)
class Options:
    """
    What the command line says about how to look.
    """

    concurrency: int = CONCURRENCY
    state_path: str | None = None
    """None: nothing is kept over a restart."""


class Service:
    """
    Everything that lives as long as the process. Raises ConfigError when its first configuration is bad.
    """

    def __init__(
        self,
        load: Callable[[], Config],
        options: Options,
        loop: asyncio.AbstractEventLoop,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._load = load
        self._clock = clock
        self.config = load()
        self._loaded_at = clock()
        self._load_succeeded = True
        self._names = {target.name for target in self.config.targets}
        self._network = Network(loop)
        self._configured = Watch(self._network, options.concurrency, clock)
        self._asked = Watch(self._network, options.concurrency, clock)
        self._exposition = Exposition()
        self._loop = loop
        self._state = state.State(options.state_path) if options.state_path is not None else None
        self._state_works = True
        self._saving: asyncio.Future[None] | None = None
        self.last: Scrape | None = None
        """The latest scrape of all targets; None before the first one of this configuration."""

    def start(self) -> None:
        """
        Take back what was known before a restart, and say what is odd in the configuration.
        """
        self._log_config()
        if self._state is None:
            return
        try:
            known = self._state.load(self._clock())
        except state.StateError as error:
            self._state_fails(error)
            return
        for name in known.keys() & self._names:
            self._configured.memory.restore(name, known[name])

    async def close(self) -> None:
        """
        Save what is known and let go of the network.
        """
        if self._saving is not None:
            # Before the first scrape there is nothing that the file does not hold already.
            await self._saving
            assert self._state is not None
            await self._save(self._state)
        if self._state is not None:
            self._state.close()
        self._network.close()

    async def reload(self) -> None:
        """
        Load the configuration anew. Raises ConfigError; then the one before it stays in use.
        """
        try:
            config = await asyncio.to_thread(self._load)
        except ConfigError as error:
            self._load_succeeded = False
            logger.error(  # noqa: TRY400 - the cause is a field; a traceback says no more
                "the new configuration is not usable; the one before it stays in use",
                extra=fields(cause=str(error)),
            )
            raise
        self.config = config
        self._names = {target.name for target in config.targets}
        self._loaded_at = self._clock()
        self._load_succeeded = True
        self._configured.memory.keep_only(self._names)
        self.last = None
        self._log_config()

    async def scrape(self, timeout: float) -> Scrape:
        """
        Look at every configured target and answer within this many seconds.
        """
        scrape = await self._configured.scrape(
            self.config.targets, timeout, lambda target: target.name in self._names
        )
        self.last = scrape
        if self._state is not None and (self._saving is None or self._saving.done()):
            self._saving = self._loop.create_task(self._save(self._state))
        return scrape

    async def probe(self, target: Target, timeout: float, *, trace_steps: bool = False) -> Scrape:
        """
        Look at one target, configured or not, and answer within this many seconds.
        """
        configured = target.name in self._names
        watch = self._configured if configured else self._asked
        scrape = await watch.probe(target, timeout, trace_steps=trace_steps)
        if not configured:
            self._asked.memory.keep_newest(ASKED_TARGETS)
        return scrape

    def text(self, scrape: Scrape) -> str:
        """
        A scrape of all targets as Prometheus text, with the exporter's own metrics.
        """
        return self._exposition.text(scrape.targets, scrape.endpoints, self._own(scrape))

    def probe_text(self, scrape: Scrape) -> str:
        """
        A probe of one target as Prometheus text.
        """
        return Exposition().text(scrape.targets, scrape.endpoints, {})

    def _own(self, scrape: Scrape) -> Samples:
        """
        The metrics of the exporter itself.
        """
        values = {
            metrics.SWEEP_DURATION: scrape.duration,
            metrics.SWEEP_TIMEOUT: scrape.timeout,
            metrics.SWEEP_COMPLETE: scrape.complete,
            metrics.SWEEP_TIME: scrape.at,
            metrics.SWEEP_TARGETS: len(scrape.targets),
            metrics.SWEEP_ENDPOINTS: len(scrape.endpoints),
            metrics.SWEEP_FAILURES: scrape.failures,
            metrics.RELOAD_SUCCESS: self._load_succeeded,
            metrics.RELOAD_TIME: self._loaded_at,
        }
        if self._state is not None:
            values[metrics.STATE_SUCCESS] = self._state_works
        own: Samples = {family: [((), float(value))] for family, value in values.items()}
        own[metrics.BUILD] = [
            (
                (
                    ("version", __version__),
                    ("python", platform.python_version()),
                    ("openssl", SSL.OpenSSL_version(SSL.OPENSSL_VERSION).decode("ascii", "replace")),
                ),
                1.0,
            )
        ]
        return own

    async def _save(self, kept: state.State) -> None:
        taken = state.snapshot(self._configured.memory)
        try:
            await asyncio.to_thread(kept.save, taken)
        except state.StateError as error:
            self._state_fails(error)
        else:
            if not self._state_works:
                logger.info("state can be kept again", extra=fields(path=str(kept.path)))
            self._state_works = True

    def _state_fails(self, error: state.StateError) -> None:
        if self._state_works:
            logger.error(str(error))
        self._state_works = False

    def _log_config(self) -> None:
        for warning in self.config.warnings:
            logger.warning(warning)
        logger.info("configuration loaded", extra=fields(targets=len(self.config.targets)))
