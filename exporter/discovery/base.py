"""
The interface of sources: what each of them gets, and what it gives.
"""

import glob
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeVar
from urllib.parse import quote

from exporter.model.issuance import Issuance
from exporter.net.network import Network

T = TypeVar("T")


FAILURES = 3
"""Places that could not be read which are told in words; the others are counted."""


NOTHING: Mapping[str, Any] = MappingProxyType({})
"""One for all targets without labels or settings, of which there may be a hundred thousand."""


@dataclass(frozen=True, slots=True)
class Found:
    """
    One target that a source found: what a person would write under `targets:`.
    """

    url: str
    """As in the configuration: `https://www.example.com`, `file:///etc/ssl/www.pem`."""
    why: str
    """Where it was found, for a person: `server_name in /etc/nginx/sites-enabled/www, line 12`."""
    name: str = ""
    """Empty: the URL is the name."""
    labels: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    policy: str = ""
    """
    The name of a policy that this source knows to fit; empty: as for any target. Policies of the
    configuration that match an item go before it.
    """
    settings: Mapping[str, Any] = field(default_factory=lambda: NOTHING)
    """Further keys of a target, as a configuration has them: `{"server_name": "www.example.com"}`."""
    renew_before: float | None = None
    """Seconds before the end at which what renews it says that it will; None: as the policy has it."""
    links: tuple[int, ...] | None = None
    """Of a file, the numbers of its directories that are links, from 0; None where nobody looked."""


@dataclass(frozen=True, slots=True)
class Listing:
    """
    The answer of a source that could be read.
    """

    found: tuple[Found, ...] = ()
    notes: tuple[str, ...] = ()
    """What was passed over and why, a sentence each, for a person: a file with an error in line 3."""
    remember: Any = None
    """What the source wants to get back at its next run, also after a restart: anything that is JSON."""
    unchanged: bool = False
    """True: it is the same list as that of the run that `Context.remembered` is from; the rest is ignored."""
    named: tuple[Found, ...] = ()
    """
    What else is found, by names that somebody wrote down for other purposes: targets as far as this host's
    resolver knows them (see `resolving`).
    """
    took: float = 0.0
    """Seconds of work that it took, without waiting for others: the rest after it is in proportion."""


class SourceError(Exception):
    """
    A source could not be read, or not all of it. The message says what failed and what to do.
    """

    def __init__(
        self,
        words: str,
        retry_after: float = 0.0,
        listing: Listing | None = None,
    ) -> None:
        """
        `retry_after`: seconds for which the source asks to be left alone. `listing`: what there is in spite
        of the failure, which replaces the last list; None: the last list stays.
        """
        super().__init__(words)
        self.retry_after = retry_after
        self.listing = listing


def file_url(path: str) -> str:
    """
    Return the URL of exactly the file at this path: what the prober takes for a pattern is escaped.

    acme.sh names the directory of a wildcard certificate `*.example.com_ecc`.
    """
    return f"file://{quote(glob.escape(path), errors='surrogateescape')}"


def in_part(failures: Sequence[str], listing: Listing | None = None, retry_after: float = 0.0) -> SourceError:
    """
    Return the error of a source some of whose places could not be read. `listing`: what the others gave.
    """
    more = f"; and {len(failures) - FAILURES} more" if len(failures) > FAILURES else ""
    return SourceError("; ".join(failures[:FAILURES]) + more, retry_after, listing)


@dataclass(frozen=True, slots=True)
class Context:
    """
    All that a source works with. It opens nothing else, and knows no time but this.
    """

    network: Network
    now: float
    """Seconds since the epoch at which this run began."""
    remembered: Any = None
    """`Listing.remember` of its last run; None at the first. It may come from an older version: check it."""
    before: tuple[Found, ...] = ()
    """What its last list had, as far as the element wants it: it stays where a part can't be read now."""
    directory: str = "."
    """The directory of the configuration file, to which paths are relative."""
    whole: bool = False
    """True: there is room for what was left out at the limit, so `unchanged` is no answer."""
    wanted: Callable[[Found], bool] = lambda _: True
    """Returns True if `include` and `exclude` want this target: other places are not even tried."""
    excluded: Callable[[Found], bool] = lambda _: False
    """Returns True if `exclude` alone matches this target, for a place that has no name yet."""
    so_far: Callable[[Callable[[], Any]], None] = lambda _: None
    """
    Says how to go on with a run that is stopped before its end: by what this function returns then, which is
    `remembered` in the next one. It is called on the event loop. Not for a list that may be `unchanged`.
    """
    progress: Callable[[str], None] = lambda _: None
    """Says to a person who waits (`discover`) what is being done: `zone example.com: 1200 of 10000`."""


def rows_in(remembered: Any, length: int, kind: type[T]) -> dict[str, list[T]]:
    """
    Return the part of what was remembered that has the form of this version: by key, lists of `length` values
    of one kind.
    """
    items = remembered.items() if isinstance(remembered, dict) else ()
    return {
        key: row
        for key, row in items
        if isinstance(row, list) and len(row) == length and all(isinstance(one, kind) for one in row)
    }


@dataclass(frozen=True, slots=True)
class Source:
    """
    One kind of source: a row of the registry.
    """

    name: str
    """The key in `discover:`, and the label `source` of what it found."""
    interval: float
    """Seconds between two runs unless the configuration says otherwise."""
    run: Callable[[Any, Context], Awaitable[Listing]]
    """Takes the parsed settings of the entry (`config.sources`) and the context. Raises SourceError."""
    issuances: Callable[[Any], tuple[Issuance, ...]] = lambda _: ()
    """Takes what the last run wants to get back, and returns the certificates that it knows to be issued."""
    steady: bool = False
    """
    True: a run asks nobody else, or spares them itself. So the next one is after the usual pause, however
    long it has failed.
    """
    by_place: bool = False
    """True: what it remembers is by place, so of other settings too it is right where both have a place."""
    history: bool = False
    """True: its names are of the past too, so one that has no address any more is no target any more."""
