"""
The status page: every endpoint, the most urgent first. Pure.
"""

from dataclasses import dataclass

from exporter.report.filters import PAGE_SIZE, Selection, Sort
from exporter.report.inventory import Entry, Inventory, Place, Rhythm, deciding
from exporter.report.status import Level, Status
from exporter.report.times import ago, span
from exporter.server.pages.markup import Child, Markup, document, element, foreign, link, together
from exporter.server.pages.words import (
    badge,
    coded,
    distance,
    finding,
    label_links,
    moment,
    newer_for,
    target_link,
)

SHOWN_FINDINGS = 4
"""Findings in a row of the list; the target's page has all."""


SHOWN_LABELS = 200
"""Labels that the filter offers. Any other can be searched for."""


EXAMPLE = "targets:\n  - https://www.example.com\n  - tls://ldap.example.com:636\n"


COLUMNS = (
    ("State", Sort.URGENCY),
    ("Target", Sort.TARGET),
    ("Location", Sort.LOCATION),
    ("Ends", Sort.END),
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
            _as_of(inventory, situation),
            notices(inventory, situation),
            id="state",
        ),
        (
            _tiles(counts, selection),
            _form(inventory, selection),
            _results(inventory, selection, situation, root),
        )
        if inventory.scrape.endpoints
        else _nothing(root),
    )
    navigation = link(f"{root}unwatched", "Not watched")
    return document(f"{title}: expiry-exporter", root, navigation, main, versions)


def headline(counts: dict[Level, int]) -> str:
    """
    Return the number of endpoints at each level that is not OK, in a few words.
    """
    wrong = [f"{count} {level.name.lower()}" for level, count in counts.items() if count and level]
    if wrong:
        return ", ".join(wrong)
    return "All is well" if counts[Level.OK] else "Nothing to watch yet"


def _as_of(inventory: Inventory, situation: Situation) -> Markup:
    scrape = inventory.scrape
    return element(
        "p",
        f"{counted(len(scrape.endpoints), 'endpoint')} of {counted(len(scrape.targets), 'target')}, "
        f"looked at {ago(situation.now - scrape.at)}. ",
        next_sweep(situation),
        class_="asof",
    )


def counted(count: int, noun: str) -> str:
    """
    Return a number with its noun: `1 target`, `12,345 targets`.
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def next_sweep(situation: Situation) -> str:
    """
    Return in words when the next scrape is expected, or that scrapes have stopped.
    """
    rhythm = situation.rhythm
    if rhythm is None:
        return "It looks whenever /metrics is scraped."
    late = situation.now - rhythm.next
    if late > rhythm.every:
        return (
            f"Nobody has scraped /metrics for {span(situation.now - rhythm.last)}, though it was scraped "
            f"every {span(rhythm.every)} before: is Prometheus up?"
        )
    when = f"in {span(-late)}" if late < 0 else "now"
    return f"Scraped every {span(rhythm.every)}, the next look is due {when}."


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
    if scrape.endpoints and scrape.failures == len(scrape.endpoints) > 1:
        found.append(
            "Every single look failed. Suspect this exporter's own host first: its network, its resolver, "
            "its firewall."
        )
    elif not scrape.complete:
        found.append(
            f"The last look was cut off after {scrape.timeout:.1f} s, when Prometheus would have given up. "
            "Endpoints not reached by then say `timeout`: raise `scrape_timeout`, or share the targets among "
            "several exporters."
        )
    return [element("p", coded(words), class_="notice", role="note") for words in found]


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


def _tiles(counts: dict[Level, int], selection: Selection) -> Markup:
    def tile(level: Level, count: int) -> Markup:
        chosen = level in selection.levels
        levels = selection.levels ^ {level}
        return element(
            "li",
            link(
                selection.query(levels=levels),
                element("span", f"{count:,}", class_="count"),
                " ",
                element("span", level.name.lower()),
                class_=f"tile {level.name.lower()}{'' if count else ' none'}",
                aria_current="true" if chosen else None,
            ),
        )

    return element(
        "nav",
        element("ul", (tile(*pair) for pair in counts.items()), class_="tiles"),
        aria_label="Filter by state",
    )


def _form(inventory: Inventory, selection: Selection) -> Markup:
    hidden = [("level", level.name.lower()) for level in sorted(selection.levels)]
    hidden += [("target", name) for name in sorted(selection.targets)]
    # The menu has one label; further ones stay as they are.
    hidden += [("label", f"{name}={value}") for name, value in selection.labels[1:]]
    if selection.sort is not Sort.URGENCY or selection.descending:
        hidden.append(("sort", f"{'-' * selection.descending}{selection.sort}"))
    return element(
        "form",
        element(
            "div",
            element("label", "Search", for_="q"),
            element(
                "input",
                type="search",
                id="q",
                name="q",
                value=selection.text,
                placeholder="name, address, subject, issuer, fingerprint, reason",
                autocomplete="off",
                spellcheck="false",
                aria_keyshortcuts="/",
            ),
            class_="field grow",
        ),
        _label_menu(inventory, selection),
        [element("input", type="hidden", name=name, value=value) for name, value in hidden],
        element("button", "Show", type="submit"),
        method="get",
        action="./",
        role="search",
        class_="filters",
    )


def _label_menu(inventory: Inventory, selection: Selection) -> Child:
    if not inventory.labels:
        return None
    chosen = selection.labels[0] if selection.labels else None
    offered = inventory.labels[:SHOWN_LABELS]
    if chosen is not None and chosen not in {pair for pair, _ in offered}:
        offered = [(chosen, 0), *offered]
    return element(
        "div",
        element("label", "Label", for_="label"),
        element(
            "select",
            element("option", "any", value=""),
            (
                element(
                    "option",
                    f"{name}={value} ({count:,})" if count else f"{name}={value}",
                    value=f"{name}={value}",
                    selected=(name, value) == chosen,
                )
                for (name, value), count in offered
            ),
            id="label",
            name="label",
        ),
        class_="field",
    )


def _results(inventory: Inventory, selection: Selection, situation: Situation, root: str) -> Markup:
    found = inventory.select(selection, situation.now)
    begin = (selection.page - 1) * PAGE_SIZE
    shown = found[begin : begin + PAGE_SIZE]
    if shown:
        words = f"{begin + 1:,} to {begin + len(shown):,} of {counted(len(found), 'endpoint')}"
    elif found:
        words = f"There is no page {selection.page:,} of {counted(len(found), 'endpoint')}"
    else:
        words = "No endpoint fits"
    return element(
        "section",
        element("h2", "Endpoints", id="endpoints"),
        element(
            "div",
            # The script changes its text and keeps the element, or a screen reader would not read it.
            element("p", words, role="status", id="shown"),
            element("div", _chosen(selection), id="chosen"),
            class_="summary",
        ),
        element(
            "div",
            _table(shown, inventory, selection, situation.now, root) if shown else None,
            _pager(selection, len(found)),
            id="results",
        ),
        aria_labelledby="endpoints",
    )


def _chosen(selection: Selection) -> Child:
    """
    Return each filter in use, as a link to the list without it.
    """
    if not selection.narrowed:
        return None
    without: list[tuple[str, str]] = []
    if selection.text:
        without.append((f"“{selection.text}”", selection.query(text="")))
    without += [
        (level.name.lower(), selection.query(levels=selection.levels - {level}))
        for level in sorted(selection.levels)
    ]
    without += [
        (f"{name}={value}", selection.query(labels=tuple(set(selection.labels) - {(name, value)})))
        for name, value in selection.labels
    ]
    without += [
        (name, selection.query(targets=selection.targets - {name})) for name in sorted(selection.targets)
    ]
    return element(
        "ul",
        (
            element(
                "li",
                link(
                    where,
                    foreign(words),
                    element("span", " ✕", aria_hidden="true"),
                    class_="chip chosen",
                    aria_label=f"Remove the filter {words}",
                ),
            )
            for words, where in without
        ),
        element("li", link("./", "all", class_="chip")) if len(without) > 1 else None,
        class_="chips",
        aria_label="Filters in use",
    )


def _table(shown: list[Entry], inventory: Inventory, selection: Selection, now: float, root: str) -> Markup:
    def heading(words: str, by: Sort | None) -> Markup:
        if by is None:
            return element("th", words, scope="col", role="columnheader")
        active = selection.sort is by
        down = active and not selection.descending
        order = ("descending" if selection.descending else "ascending") if active else None
        mark = element("span", " ▲" if down else " ▼", aria_hidden="true") if active else None
        where = selection.query(sort=by, descending=down)
        return element(
            "th",
            link(where, words, mark),
            scope="col",
            role="columnheader",
            aria_sort=order,
            class_="sortable",
        )

    # Roles, since narrow windows show rows as cards, and `display` would take away what a table means.
    return element(
        "table",
        element("thead", element("tr", (heading(*one) for one in COLUMNS), role="row"), role="rowgroup"),
        element("tbody", (_row(one, inventory, now, root) for one in shown), role="rowgroup"),
        role="table",
        aria_labelledby="endpoints",
        class_="list",
    )


def _row(entry: Entry, inventory: Inventory, now: float, root: str) -> Markup:
    row = entry.row
    found = inventory.status(row, now)
    cells = (
        badge(entry.level),
        (
            target_link(root, row.target.name, class_="target"),
            label_links(root, row.target.labels),
        ),
        foreign(row.label),
        _end(entry, now),
        _what_to_know(found, entry, inventory, root),
    )
    return element(
        "tr",
        (
            element("td", cell, role="cell", data_label=heading)
            for cell, (heading, _) in zip(cells, COLUMNS, strict=True)
        ),
        role="row",
        class_=entry.level.name.lower(),
    )


def _end(entry: Entry, now: float) -> Child:
    """
    Return the time left, the end, and a bar of the share of the lifetime that is left.
    """
    first = deciding(entry.row)
    if first is None:
        return None
    item, due = first.item, first.deadlines
    assert due is not None
    lifetime = item.not_after - item.not_before
    share = min(max((item.not_after - now) / lifetime, 0.0), 1.0) if lifetime > 0 else 0.0
    level = Level.CRITICAL if now >= due.critical else Level.WARNING if now >= due.warning else Level.OK
    return element(
        "div",
        element("strong", distance(item.not_after, now)),
        moment(item.not_after),
        element(
            "svg",
            element("rect", width="100%", height="6", rx="3", class_="track"),
            element(
                "rect", width=f"{100 * share:.1f}%", height="6", rx="3", class_=f"fill {level.name.lower()}"
            ),
            class_="bar",
            height="6",
            aria_hidden="true",
        ),
        class_="end",
    )


def _what_to_know(found: Status, entry: Entry, inventory: Inventory, root: str) -> Child:
    if not found.findings:
        return None
    verdict = entry.row.verdict
    items = {one.item.name: Place(entry.row, one) for one in (verdict.items if verdict is not None else ())}
    shown = found.findings[:SHOWN_FINDINGS]
    more = len(found.findings) - len(shown)
    return (
        element(
            "ul", (finding(one, newer_for(one, inventory, items), root) for one in shown), class_="findings"
        ),
        element("p", f"and {more} more") if more else None,
    )


def _pager(selection: Selection, count: int) -> Child:
    pages = -(-count // PAGE_SIZE)
    if pages <= 1 and selection.page == 1:
        return None

    def step(number: int, words: str, rel: str | None) -> Markup:
        if not 1 <= number <= pages:
            return element("li", element("span", words, class_="off"))
        return element("li", link(selection.query(page=number), words, rel=rel))

    last = max(pages, 1)
    return element(
        "nav",
        element(
            "ul",
            step(1 if selection.page > 1 else 0, "First", None),
            step(min(selection.page - 1, last), "Previous", "prev"),
            element("li", element("span", f"Page {selection.page:,} of {last:,}", aria_current="page")),
            step(selection.page + 1, "Next", "next"),
            step(last if selection.page < last else 0, "Last", None),
        ),
        aria_label="Pages",
        class_="pager",
    )
