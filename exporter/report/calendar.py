"""
The agenda: deadlines as an iCalendar that calendar programs subscribe to (RFC 5545, RFC 7986). Pure.

An event is a moment of an item of a target: its renewal being due, its critical deadline, its end. It
describes the endpoint where that comes first, so it moves when the last endpoint has the renewed certificate.
Its UID names target, item and moment and no certificate, so a renewal moves the event and makes no new one.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import NAMESPACE_URL, UUID, uuid5

from exporter import __version__
from exporter.judgement.verdicts import Deadlines, JudgedItem
from exporter.model.foreign_text import printable_lines
from exporter.model.observation import Item
from exporter.model.policies import DAY
from exporter.report import advice
from exporter.report.inventory import Entry, Place
from exporter.report.paths import target_path
from exporter.report.status import NOUNS
from exporter.report.times import date

EVENT_LIMIT = 2000
"""Events in a calendar, the soonest ones. Calendar services refuse larger files (Google: a megabyte)."""


REFRESH = "PT1H"
"""Interval at which a program is to fetch the calendar again: a duration (RFC 5545 section 3.3.6)."""


WIDTH = 74
"""Bytes of a line before it is folded; the rest follows after a space (RFC 5545 section 3.1)."""


PAST = 31 * DAY
"""Seconds after which past events come last, behind all future ones."""


@dataclass(frozen=True, slots=True)
class Moment:
    """
    One event.
    """

    key: str
    """Key of the moment, unique within an item. Part of the UID: never change it."""
    words: str
    when: float
    place: Place
    others: int
    """Other endpoints of the target that have an item of this name."""


def render(entries: Iterable[Entry], seen_at: float, external_url: str | None, name: str) -> bytes:
    """
    Return the calendar of these endpoints as seen at `seen_at` (seconds since the epoch).

    It has links to the pages at `external_url`; None: it has none.
    """
    return b"".join(parts(entries, seen_at, external_url, name))


def parts(entries: Iterable[Entry], seen_at: float, external_url: str | None, name: str) -> Iterator[bytes]:
    """
    Yield the calendar in parts, in their order: its head, each event, its end.
    """
    found = sorted(moments(entries), key=lambda one: (one.when < seen_at - PAST, one.when))
    words = "When renewals are due, and when what they renew becomes critical and expires."
    if len(found) > EVENT_LIMIT:
        words += f" The first {EVENT_LIMIT} of {len(found)} events: ask for fewer with ?label=NAME=VALUE."
    yield b"".join(
        (
            _line("BEGIN", "VCALENDAR"),
            _line("VERSION", "2.0"),
            _line("PRODID", f"-//expiry-exporter//{__version__}//EN"),
            _line("METHOD", "PUBLISH"),
            _line("DESCRIPTION", _text(words)),
            _line("X-WR-CALDESC", _text(words)),
            _line("NAME", _text(name)),
            _line("X-WR-CALNAME", _text(name)),
            _line("REFRESH-INTERVAL;VALUE=DURATION", REFRESH),
            _line("X-PUBLISHED-TTL", REFRESH),
        )
    )
    for one in found[:EVENT_LIMIT]:
        when = _date_time(one.when)
        # A moment that no calendar can say (before the year 1, after 9999) is no event.
        if when is not None:
            yield _event(one, when, seen_at, external_url)
    yield _line("END", "VCALENDAR")


def moments(entries: Iterable[Entry]) -> Iterator[Moment]:
    """
    Yield the events of all items with deadlines, each for the endpoint where it comes first.
    """
    first: dict[tuple[str, str, str], tuple[float, Place]] = {}
    count: Counter[tuple[str, str]] = Counter()
    for entry in entries:
        for judged in entry.row.verdict.items if entry.row.verdict is not None else ():
            if judged.deadlines is None:
                continue
            about = entry.row.target.name, judged.item.name
            count[about] += 1
            for key, when in _times(judged.item, judged.deadlines):
                # One that ends first may be critical last: it lasts less long.
                known = first.get((*about, key))
                if known is None or when < known[0]:
                    first[*about, key] = when, Place(entry.row, judged)
    for (target, item, key), (when, place) in first.items():
        words = _WORDS[key].format(_what(place.judged))
        yield Moment(key, words, when, place, count[target, item] - 1)


def _times(item: Item, due: Deadlines) -> Iterator[tuple[str, float]]:
    """
    Yield the key and the time of each moment of an item, in seconds since the epoch.
    """
    yield "renewal_due", due.renewal_due
    yield "critical", max(due.warning, due.critical)
    yield "end", item.not_after


_WORDS = {"renewal_due": "renewal of the {} is due", "critical": "{} is critical", "end": "{} expires"}
"""The words about each moment, by its key."""


def _what(judged: JudgedItem) -> str:
    noun = NOUNS[judged.item.kind]
    return noun if judged.item.name == judged.item.kind else f"{noun} {judged.item.name}"


def _event(one: Moment, when: str, seen_at: float, external_url: str | None) -> bytes:
    row, judged = one.place.row, one.place.judged
    item, target = judged.item, row.target
    words = [f"At {row.label}, from {date(item.not_before)} to {date(item.not_after)}."]
    if one.others:
        endpoints = "1 other endpoint" if one.others == 1 else f"{one.others} other endpoints"
        words.append(f"At {endpoints} this comes then or later.")
    if item.certificate is not None:
        words.append(f"Subject: {item.certificate.subject}")
        words.append(f"Issuer: {item.certificate.issuer}")
    words.append(f"Policy: {judged.policy.name}")
    words.append(advice.renewal(item.kind, judged.policy))
    link = b""
    if external_url is not None:
        page = f"{external_url}/{target_path(target.name)}"
        words.append(page)
        link = _line("URL", page)
    return b"".join(
        (
            _line("BEGIN", "VEVENT"),
            _line("SUMMARY", _text(f"{target.name}: {one.words}")),
            _line("DTSTART", when),
            _line("DTSTAMP", _date_time(seen_at) or when),
            _line("UID", str(uid(target.name, item.name, one.key))),
            # A program ignores what has a lower number than it knows, and of equal ones takes the later
            # DTSTAMP (RFC 5546 section 2.1.5). So it must not fall: not when an older certificate comes back,
            # a server goes, a policy changes, or a restart forgets what was before. Time does not. In hours:
            # it has 32 bits.
            _line("SEQUENCE", str(max(0, int(seen_at // 3600)))),
            _line("CATEGORIES", one.key.replace("_", " ")),
            _line("DESCRIPTION", _text("\n".join(words))),
            # It takes nobody's time.
            _line("TRANSP", "TRANSPARENT"),
            link,
            _line("END", "VEVENT"),
        )
    )


def uid(target: str, item: str, key: str) -> UUID:
    """
    Return the UID of an event, which never changes for a moment of an item (RFC 7986 section 5.3).
    """
    name = f"expiry-exporter\n{target}\n{item}\n{key}"
    return uuid5(NAMESPACE_URL, name.encode("utf-8", "replace").decode("utf-8"))


def _text(text: str) -> str:
    """
    Return a value of the type TEXT (RFC 5545 section 3.3.11): escaped, without control characters but line
    feeds.
    """
    text = printable_lines(text).replace("\\", r"\\")
    return text.replace(";", r"\;").replace(",", r"\,").replace("\n", r"\n")


def _line(name: str, value: str) -> bytes:
    """
    Return a content line in UTF-8 with its end, folded between characters and not within an escape.
    """
    rest, folded = f"{name}:{value}".encode(), b""
    while len(rest) > WIDTH:
        cut = WIDTH
        while rest[cut] & 0b1100_0000 == 0b1000_0000:
            cut -= 1
        # After an odd number of backslashes: the last of them belongs to what follows.
        cut -= (cut - len(rest[:cut].rstrip(b"\\"))) % 2
        folded += rest[:cut] + b"\r\n "
        rest = rest[cut:]
    return folded + rest + b"\r\n"


def _date_time(timestamp: float) -> str | None:
    """
    Return the moment in UTC to the second (RFC 5545 section 3.3.5); None before the year 1 and after 9999.
    """
    try:
        when = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=int(timestamp))
    except (OverflowError, ValueError):
        return None
    # The year has four digits.
    return when.isoformat()[:19].replace("-", "").replace(":", "") + "Z"
