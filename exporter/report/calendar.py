"""
The agenda: deadlines as an iCalendar that calendar programs subscribe to (RFC 5545, RFC 7986). Pure.

An event is a moment of an item of a target: its renewal being due, its critical
deadline, its end. It is told of the endpoint where that comes first, so it moves
when the last endpoint has the renewed certificate. Its UID names target, item and
moment and no certificate, so a renewal moves the event and makes no new one.
"""

from collections.abc import Hashable, Iterable, Iterator, MutableMapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import NAMESPACE_URL, UUID, uuid5

from icalendar import Calendar, Event, vText

from exporter import __version__
from exporter.judgement.verdicts import Deadlines, JudgedItem
from exporter.model.foreign_text import printable_lines
from exporter.model.policies import DAY
from exporter.report import advice
from exporter.report.inventory import Entry, Place, target_path
from exporter.report.status import NOUNS, date

EVENT_LIMIT = 2000
"""Events in a calendar, the soonest ones. Calendar services refuse larger files (Google: a megabyte)."""


REFRESH = timedelta(hours=1)
"""How often a program shall fetch the calendar again."""


PAST = 31 * DAY
"""Seconds after which what is over comes last, behind all that is still to come."""


@dataclass(frozen=True, slots=True)
class Moment:
    """
    One event.
    """

    key: str
    """What tells it from the item's other moments. In the UID: never change it."""
    words: str
    when: float
    place: Place
    others: int
    """Other endpoints of the target that have an item of this name."""


_END = b"END:VCALENDAR\r\n"


def render(entries: Iterable[Entry], seen_at: float, external_url: str | None, name: str) -> bytes:
    """
    The calendar of these endpoints, as seen at this time. Links need the external URL; None: there are none.
    """
    return b"".join(parts(entries, seen_at, external_url, name, {}))


def parts(
    entries: Iterable[Entry],
    seen_at: float,
    external_url: str | None,
    name: str,
    known: MutableMapping[Hashable, bytes],
) -> Iterator[bytes]:
    """
    The same piece by piece, an event at a time: each takes up to a millisecond.

    `known` has the events of the same scrape that were made before, for whichever selection; more are added.
    """
    moments = sorted(_moments(entries), key=lambda one: (one.when < seen_at - PAST, one.when))
    calendar = Calendar()
    calendar.add("prodid", f"-//expiry-exporter//{__version__}//EN")
    calendar.add("version", "2.0")
    calendar.add("method", "PUBLISH")
    # As text by name: the library would write what it doesn't know without escaping.
    for key in ("name", "x-wr-calname"):
        calendar.add(key, vText(printable_lines(name)))
    words = "When renewals are due, and when what they renew becomes critical and ends."
    if len(moments) > EVENT_LIMIT:
        words += f" The first {EVENT_LIMIT} of {len(moments)} events: ask for fewer with ?label=NAME=VALUE."
    for key in ("description", "x-wr-caldesc"):
        calendar.add(key, vText(words))
    calendar.add("refresh-interval", REFRESH, parameters={"VALUE": "DURATION"})
    calendar.add("x-published-ttl", "PT1H")
    yield calendar.to_ical().removesuffix(_END)
    for one in moments[:EVENT_LIMIT]:
        when = _datetime(one.when)
        # A moment that no calendar can say (before the year 1, after 9999) is no event.
        if when is None:
            continue
        row = one.place.row
        same = row.target.name, row.label, one.place.judged.item.name, one.key, one.others
        event = known.get(same)
        if event is None:
            event = known[same] = _event(one, when, seen_at, external_url).to_ical()
        yield event
    yield _END


def _moments(entries: Iterable[Entry]) -> Iterator[Moment]:
    """
    The events of all items with deadlines, each of the endpoint where the item ends first.
    """
    first: dict[tuple[str, str], tuple[Place, Deadlines]] = {}
    count: dict[tuple[str, str], int] = {}
    for entry in entries:
        for judged in entry.row.verdict.items if entry.row.verdict is not None else ():
            if judged.deadlines is None:
                continue
            key = (entry.row.target.name, judged.item.name)
            count[key] = count.get(key, 0) + 1
            if key not in first or judged.item.not_after < first[key][0].judged.item.not_after:
                first[key] = (Place(entry.row, judged), judged.deadlines)
    for key, (place, due) in first.items():
        others = count[key] - 1
        what = _what(place.judged)
        yield Moment("renewal_due", f"renewal of the {what} is due", due.renewal_due, place, others)
        yield Moment("critical", f"{what} is critical", due.critical, place, others)
        yield Moment("end", f"{what} ends", place.judged.item.not_after, place, others)


def _what(judged: JudgedItem) -> str:
    noun = NOUNS[judged.item.kind]
    return noun if judged.item.name == judged.item.kind else f"{noun} {judged.item.name}"


def _event(one: Moment, when: datetime, seen_at: float, external_url: str | None) -> Event:
    row, judged = one.place.row, one.place.judged
    item, target = judged.item, row.target
    event = Event()
    event.add("uid", str(uid(target.name, item.name, one.key)))
    event.add("dtstamp", _datetime(seen_at))
    # A program ignores what has a lower number than it knows, and of equal ones takes the later DTSTAMP
    # (RFC 5546 section 2.1.5). So it must not fall: not when an older certificate comes back, a server goes,
    # a policy changes, or a restart forgets what was before. Time does not. In hours: it has 32 bits.
    event.add("sequence", max(0, int(seen_at // 3600)))
    event.add("dtstart", when)
    event.add("summary", printable_lines(f"{target.name}: {one.words}"))
    lines = [
        f"At {row.label}, from {date(item.not_before)} to {date(item.not_after)}.",
    ]
    if one.others:
        endpoints = "1 other endpoint has" if one.others == 1 else f"{one.others} other endpoints have"
        lines.append(f"{endpoints} one that ends then or later.")
    if item.certificate is not None:
        lines.append(f"Subject: {item.certificate.subject}")
        lines.append(f"Issuer: {item.certificate.issuer}")
    lines.append(f"Policy: {judged.policy.name}")
    lines.append(advice.renewal(item.kind, judged.policy))
    if external_url is not None:
        page = f"{external_url}/{target_path(target.name)}"
        lines.append(page)
        event.add("url", page)
    event.add("description", printable_lines("\n".join(lines)))
    event.add("categories", [one.key.replace("_", " ")])
    # It takes nobody's time.
    event.add("transp", "TRANSPARENT")
    return event


def uid(target: str, item: str, key: str) -> UUID:
    """
    The UID of an event: for ever the same for the same moment of the same item (RFC 7986 section 5.3).
    """
    name = f"expiry-exporter\n{target}\n{item}\n{key}"
    return uuid5(NAMESPACE_URL, name.encode("utf-8", "replace").decode("utf-8"))


def _datetime(timestamp: float) -> datetime | None:
    """
    The moment in UTC to the second; None when it is before the year 1 or after 9999.
    """
    try:
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=int(timestamp))
    except (OverflowError, ValueError):
        return None
