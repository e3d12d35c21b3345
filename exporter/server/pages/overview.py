"""
The status page: every endpoint, the most urgent first. Pure.
"""

from dataclasses import dataclass

from exporter.engine.scrape import EndpointRow
from exporter.model.observation import Failed
from exporter.report.filters import PAGE_SIZE, Selection, Sort
from exporter.report.inventory import Entry, Inventory, Place, Rhythm, deciding
from exporter.report.status import Level
from exporter.report.times import ago, span
from exporter.server.pages.controls import Row, form, listed, results, tiles
from exporter.server.pages.markup import Child, Markup, document, element, foreign, link, together
from exporter.server.pages.words import (
    Told,
    badge,
    coded,
    counted,
    end,
    finding,
    fitting,
    label_links,
    newer_for,
    target_link,
)

SHOWN_FINDINGS = 4
"""Findings in a row of the list; the target's page has all."""


SHOWN_SOURCES = 6
"""Sources that a notice names."""


LONG_NAME, LONG_LOCATION = 40, 32
"""Characters of a name and a location that stay on one line of the list."""


EXAMPLE = "targets:\n  - https://www.example.com\n  - tls://ldap.example.com:636\n"


COLUMNS = (
    ("State", Sort.URGENCY),
    ("Expires", Sort.END),
    ("Target", Sort.TARGET),
    ("Location", Sort.LOCATION),
    ("What to know", None),
)
"""Headings of the list, each with the order that it sorts by."""


@dataclass(frozen=True, slots=True)
class Situation:
    """
    The state of the exporter itself, for notices on pages.
    """

    now: float
    """Seconds since the epoch."""
    rhythm: Rhythm | None
    """None while /metrics is not scraped regularly."""
    load_succeeded: bool = True
    """False when the configuration on disk can't be used, and an earlier one is in use."""
    failing_sources: tuple[str, ...] = ()
    """Names of sources of targets that could not be read the last time."""


def render(inventory: Inventory, selection: Selection, situation: Situation, root: str, versions: str) -> str:
    """
    Return the status page with the selected endpoints, as HTML.
    """
    counts = inventory.counts(situation.now)
    title = headline(counts)
    main = together(
        element(
            "div",
            element("h1", title),
            as_of(inventory, situation),
            notices(inventory, situation),
            id="state",
        ),
        (
            element("div", tiles(counts, selection), form(inventory, selection, ""), class_="controls"),
            _endpoints(inventory, selection, situation, root),
        )
        if inventory.scrape.endpoints
        else _nothing(root),
    )
    return document(f"{title}: expiry-exporter", root, main, versions)


def headline(counts: dict[Level, int]) -> str:
    """
    Return the number of endpoints at each level that is not OK, in a few words.
    """
    wrong = [f"{count:,} {level.name.lower()}" for level, count in counts.items() if count and level]
    if wrong:
        return ", ".join(wrong)
    return "All is well" if counts[Level.OK] else "Nothing to watch yet"


def as_of(inventory: Inventory, situation: Situation) -> Markup:
    """
    Return what was looked at and when, in words.
    """
    scrape = inventory.scrape
    return element(
        "p",
        f"{counted(len(scrape.endpoints), 'endpoint')} of {counted(len(scrape.targets), 'target')}, "
        f"probed {ago(situation.now - scrape.at)}. ",
        next_sweep(situation),
        class_="asof",
    )


def next_sweep(situation: Situation) -> str:
    """
    Return in words when the next scrape is expected, or that scrapes have stopped.
    """
    rhythm = situation.rhythm
    if rhythm is None:
        return "Each scrape of /metrics probes again."
    late = situation.now - rhythm.next
    if late > rhythm.every:
        return (
            f"Nobody has scraped /metrics for {span(situation.now - rhythm.last)}, though it was scraped "
            f"every {span(rhythm.every)} before: is Prometheus up?"
        )
    when = f"in {span(-late)}" if late < 0 else "now"
    return f"Scraped every {span(rhythm.every)}, the next probe is due {when}."


def notices(inventory: Inventory, situation: Situation) -> Child:
    """
    Return notices about faults of the exporter itself, in whose presence results are not to be trusted.
    """
    scrape = inventory.scrape
    found = []
    if not situation.load_succeeded:
        found.append(
            "The configuration on disk can't be used, so the one before it still is. The log has every "
            "fault, and so has `expiry-exporter --config.check`."
        )
    if situation.failing_sources:
        names = ", ".join(f"`{name}`" for name in situation.failing_sources[:SHOWN_SOURCES])
        more = len(situation.failing_sources) - SHOWN_SOURCES
        names += f" and {more} more" if more > 0 else ""
        found.append(
            f"These sources of targets can't be read: {names}. What they found before is still probed, and "
            "nothing new is found. The log says why."
        )
    # Mostly it is known with the first one: not `failures`, which counts them all.
    if len(scrape.endpoints) > 1 and all(_failed(one) for one in scrape.endpoints):
        found.append(
            "Every single probe failed. Suspect this exporter's own host first: its network, its resolver, "
            "its firewall."
        )
    elif not scrape.complete:
        found.append(
            f"The last scrape was cut off after {scrape.timeout:.1f} s, when Prometheus would have given up. "
            "Endpoints not reached by then say `timeout`: raise `scrape_timeout`, or share the targets among "
            "several exporters."
        )
    return [element("p", coded(words), class_="notice", role="note") for words in found]


def _failed(row: EndpointRow) -> bool:
    return isinstance(row.held.observation, Failed) and row.held.observation.saw_nothing


def _nothing(root: str) -> Markup:
    return element(
        "section",
        element("h2", "No targets are configured"),
        element("p", "Name them in the configuration file, then load it anew:"),
        element("pre", element("code", EXAMPLE)),
        element(
            "p",
            "Or keep them in Prometheus, and let it ask ",
            link(f"{root}probe?target=https://www.example.com&debug=true", "/probe?target=URL"),
            " for each.",
        ),
        class_="card",
    )


def _endpoints(inventory: Inventory, selection: Selection, situation: Situation, root: str) -> Markup:
    shown, count = inventory.page(selection, situation.now, PAGE_SIZE)
    told = Told()
    rows = (_row(one, inventory, situation.now, root, told) for one in shown)
    return results(selection, "", "endpoint", len(shown), count, listed(selection, COLUMNS, rows))


def _row(entry: Entry, inventory: Inventory, now: float, root: str, told: Told) -> Row:
    row = entry.row
    name = row.target.name
    first = deciding(row)
    return entry.level, (
        badge(entry.level),
        end(first.item.not_after, now) if first is not None else None,
        (
            target_link(root, name, class_=fitting(name, LONG_NAME, "target")),
            label_links(root, row.target.labels),
        ),
        foreign(row.label, class_=fitting(row.label, LONG_LOCATION)),
        _what_to_know(entry, inventory, now, root, told),
    )


def _what_to_know(entry: Entry, inventory: Inventory, now: float, root: str, told: Told) -> Child:
    findings = inventory.status(entry.row, now).findings
    if not findings:
        return None
    verdict = entry.row.verdict
    items = {one.item.name: Place(entry.row, one) for one in (verdict.items if verdict is not None else ())}
    shown = findings[:SHOWN_FINDINGS]
    more = len(findings) - len(shown)
    return (
        element(
            "ul",
            (finding(one, newer_for(one, inventory, items), root, told) for one in shown),
            class_="findings",
        ),
        element("p", f"and {more} more") if more else None,
    )
