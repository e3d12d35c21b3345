"""
Feeds: each source of the configuration with its last list, and what became of its last run.
"""

import asyncio
import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from exporter.config.settings import Config
from exporter.config.sources import SourceEntry
from exporter.discovery import source
from exporter.discovery.lists import Kept, chosen, from_text, key_of
from exporter.discovery.resolving import LookUps
from exporter.discovery.targets import Made, made
from exporter.model.coverage import Nowhere
from exporter.model.issuance import Issuance

UNDER_WAY = " under way"
"""Follows the identity in the state of how far a run came that is under way."""


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
    before: "Feed | None" = None
    """The one that a reload replaces by this one, until this one is in use."""
    elsewhere: bool = False
    """True: its list is of another place, named before it: it stays until this one could be read once."""

    @property
    def name(self) -> str:
        """
        The name in metrics and logs.
        """
        return self.entry.name or self.entry.source

    @property
    def choice(self) -> list[Any]:
        """
        The part of the entry that leaves targets out. When it changes, a source must say its whole list.
        """
        return _choice(self.entry)

    def follow(self, old: "Feed") -> None:
        """
        Take the place of another one of the same kind: its targets stay until this one brings its own.
        """
        self.before = old
        self.elsewhere = old.elsewhere or old.entry.identity != self.entry.identity
        if self._may_go_on(old.entry):
            # Before its list: a run may bring both meanwhile, and a newer list is only listed again.
            self.remembered = old.remembered
        self.kept, self.issuances = self._chosen(old.kept), old.issuances
        if not self.elsewhere:
            self.text, self.told = old.text, old.told
            self.success, self.succeeded_at = old.success, old.succeeded_at

    def go_on(self) -> None:
        """
        Go on from where the run came that this one replaces. That was stopped before.
        """
        old, self.before = self.before, None
        if old is not None and old.so_far is not None and self._may_go_on(old.entry):
            self.remembered = old.so_far()

    def _may_go_on(self, old: SourceEntry) -> bool:
        """
        Return whether what another element remembers is right for this one.
        """
        return _choice(old) == self.choice and (not self.elsewhere or _is_by_place(self.entry))

    def restore(self, at: float, text: str, *, elsewhere: bool) -> None:
        """
        Take up a list from before a restart, read at that time. Raises ValueError.
        """
        self.elsewhere = elsewhere
        kept, remembered = from_text(text)
        # With other patterns than those of the list, the source must say all of it again.
        chosen_alike = isinstance(remembered, list) and remembered[:1] == [self.choice]
        if chosen_alike and (not elsewhere or _is_by_place(self.entry)):
            self.remembered = remembered[-1]
            self.issuances = issued(self.entry, self.remembered)
        self.kept = self._chosen(kept)
        if not elsewhere:
            self.text, self.succeeded_at = text, at
        self.made = made(self.kept.found, self.entry, self.config)

    def restore_run(self, text: str) -> None:
        """
        Have the first run go on from how far one came before a restart, if the state says so.
        """
        try:
            choice, reached = json.loads(text)
        except (ValueError, TypeError, RecursionError):
            return
        # With other patterns, it would miss what they excluded.
        if choice == self.choice and (not self.elsewhere or _is_by_place(self.entry)):
            self.remembered, self.so_far = reached, lambda: reached
            self.issuances = issued(self.entry, reached)

    def _chosen(self, kept: Kept) -> Kept:
        return chosen(kept, self.entry.include, self.entry.exclude, self.entry.limit)

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


def _choice(entry: SourceEntry) -> list[Any]:
    return [entry.include, entry.exclude, entry.limit]


def _is_by_place(entry: SourceEntry) -> bool:
    try:
        return source(entry.source).by_place
    except (KeyError, ImportError):
        # It can't be used: its run says so.
        return False


def issued(entry: SourceEntry, remembered: Any) -> tuple[Issuance, ...]:
    """
    Return the certificates that a source knows to be issued, by what it remembers.
    """
    try:
        return source(entry.source).issuances(remembered)
    except (KeyError, ImportError):
        return ()


def identified(entries: Iterable[SourceEntry]) -> dict[str, SourceEntry]:
    """
    Return the elements of a configuration by identity.

    Those that look at the same place, each with other settings, are told apart by their order.
    """
    found: dict[str, SourceEntry] = {}
    for entry in entries:
        number = sum(1 for one in found.values() if one.identity == entry.identity)
        found[f"{entry.identity}#{number}" if number else entry.identity] = entry
    return found


def replaced(entries: Mapping[str, SourceEntry], known: Collection[str]) -> dict[str, str]:
    """
    Return by identity, for elements that are not known yet, that of a known one of the same kind which is
    gone: somebody changed where it looks.
    """
    gone = [one for one in known if one not in entries]
    found: dict[str, str] = {}
    for identity, entry in entries.items():
        old = next((one for one in gone if re.match(rf'\["{entry.source}"', one)), None)
        if identity not in known and old is not None:
            found[identity] = old
            gone.remove(old)
    return found
