"""
Targets that sources find, for commands that look once: `check` and `forecast`.

Each source is run once, as an exporter does after a restart: it begins with what it kept in the state. So
what it asks of others is rationed as ever, and one that can't be read, or takes too long, has its last list.
"""

import asyncio
import os
from collections.abc import Callable
from dataclasses import replace

from exporter.cli.state_path import kept_state
from exporter.config.settings import Config
from exporter.discovery.feed import Feed
from exporter.discovery.runner import Discovery
from exporter.engine.state_rows import read_lists
from exporter.probes.dependencies import Dependencies
from exporter.report.times import date

TICK = 0.05
"""Seconds between two looks whether all sources have been tried."""


def with_discovered(
    config: Config, state: str | None, timeout: float, warn: Callable[[str], None]
) -> tuple[Config, list[str]]:
    """
    Return the configuration with the targets that its sources find within `timeout` seconds, 0 for those that
    they found last; and the names of the sources that could not be read. `state` is that of the command line.
    """
    return asyncio.run(_run(config, state, timeout, warn))


async def _run(
    config: Config, state: str | None, timeout: float, warn: Callable[[str], None]
) -> tuple[Config, list[str]]:
    path = kept_state(state, os.environ)
    network = Dependencies(asyncio.get_running_loop())
    discovery = Discovery(network, config)
    try:
        if path is not None:
            discovery.restore(read_lists(path))
        if timeout:
            discovery.start()
            end = network.loop.time() + timeout
            while discovery.pending and network.loop.time() < end:  # noqa: ASYNC110 - of many sources
                await asyncio.sleep(TICK)
        unread = [feed for feed in discovery.feeds.values() if timeout and not feed.success]
        for feed in unread:
            warn(_told(feed, timeout))
        rules = replace(config.coverage, unread=discovery.incomplete)
        config = replace(config, targets=discovery.targets, coverage=rules)
        return config, [f"discover: {feed.name}" for feed in unread]
    finally:
        await discovery.close()
        network.close()


def _told(feed: Feed, timeout: float) -> str:
    """
    Return what is the matter with a source, and which targets are used of it.
    """
    why = feed.failure if feed.success is False else f"not done within {timeout:g} s: raise --timeout"
    kept = "its targets are missing here"
    if feed.text and feed.succeeded_at:
        kept = f"its {len(feed.made.targets)} targets are those of {date(feed.succeeded_at)}"
    return f"source {feed.name}: {why}; {kept}"
