"""
Feeds: each source of the configuration with its last list, and what became of its last run.
"""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from exporter.config.settings import Config
from exporter.config.sources import SourceEntry
from exporter.discovery.lists import Kept, key_of
from exporter.discovery.resolving import LookUps
from exporter.discovery.targets import Made
from exporter.model.coverage import Nowhere
from exporter.model.issuance import Issuance


@dataclass(slots=True)
class Feed:
    """
    One source of the configuration, with its last list.
    """

    entry: SourceEntry
    config: Config
    kept: Kept = field(default_factory=Kept)
    made: Made = field(default_factory=Made)
    remembered: Any = None
    so_far: Callable[[], Any] | None = None
    """Returns what is to be remembered instead if the run ends before its time; None where there is none."""
    issuances: tuple[Issuance, ...] = ()
    """The certificates that it knows to be issued, as far as it is a source of such."""
    text: str = ""
    """The list as it is saved; empty when there is none."""
    success: bool | None = None
    """True if the last run could read the source; None before the first one ended."""
    succeeded_at: float | None = None
    """Seconds since the epoch; None when it never could."""
    told: tuple[str, ...] = ()
    """The notes of the last run without their numbers: they are logged when they change."""
    taken_at: float = 0.0
    """When a list was taken last, in seconds since the epoch."""
    took: float = 0.0
    """Seconds that it took in the last run; 0 when that brought none."""
    failure: str = ""
    """Why the last run could not read it; empty when it could."""
    task: asyncio.Task[None] | None = None
    look_ups: LookUps | None = None
    """Those of its names beside the runs; None before the first one."""
    taking: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while a list is taken: answers of look-ups change the one that a run brought, not one before."""

    @property
    def name(self) -> str:
        """
        The name in metrics and logs.
        """
        return self.entry.name or self.entry.source

    @property
    def nowhere(self) -> Iterator[Nowhere]:
        """
        The entries of its list whose names have no address.
        """
        return (Nowhere(one.url, self.name, one.why) for one in self.kept.names.nowhere)

    @property
    def kept_targets(self) -> int:
        """
        Targets that the source does not list any more, and that are kept.
        """
        missing = self.kept.missing
        return sum(key_of(found) in missing for found, _ in self.made.by_found.values()) if missing else 0

    def stop(self) -> list[asyncio.Task[None]]:
        """
        End its work, and return the tasks that end.
        """
        tasks = [self.task, self.look_ups.task if self.look_ups is not None else None]
        ending = [one for one in tasks if one is not None]
        for one in ending:
            one.cancel()
        return ending

    @property
    def left_out(self) -> int:
        """
        Targets above the limit, and those that can't be targets.
        """
        return self.kept.above + len(self.made.notes)
