"""
Controls that narrow a list down: states, search, labels, filters in use, links to its further pages. Pure.
"""

from collections.abc import Iterable, Sequence

from exporter.report.filters import PAGE_SIZE, Selection, Sort
from exporter.report.inventory import Inventory
from exporter.report.status import Level
from exporter.server.pages.markup import Child, Markup, element, foreign, link
from exporter.server.pages.words import counted

SHOWN_LABELS = 200
"""Labels that the filter offers. Any other can be searched for."""


VIEWS = (("By endpoint", ""), ("By certificate", "certificates"))
"""The lists of what is selected, each with the path from the site's start."""


Row = tuple[Level, tuple[Child, ...]]
"""A row of a list: its level, and its cells."""


def tiles(counts: dict[Level, int], selection: Selection) -> Markup:
    """
    Return the number of what the page lists at each level, each as a link that filters by it.
    """

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


def form(inventory: Inventory, selection: Selection, path: str) -> Markup:
    """
    Return the search. `path` is that of the page, from the site's start.
    """
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
            element("label", "Search", for_="q", class_="unseen"),
            element(
                "input",
                type="search",
                id="q",
                name="q",
                value=selection.text,
                placeholder="name, issuer, date, fingerprint",
                autocomplete="off",
                spellcheck="false",
                aria_keyshortcuts="/",
            ),
            class_="field grow",
        ),
        _label_menu(inventory, selection),
        [element("input", type="hidden", name=name, value=value) for name, value in hidden],
        element("button", "Search", type="submit"),
        method="get",
        action=path or "./",
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
        element("label", "Label", for_="label", class_="unseen"),
        element(
            "select",
            element("option", "any label", value=""),
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


def results(selection: Selection, path: str, noun: str, shown: int, count: int, rows: Child) -> Markup:
    """
    Return a page of a list: what it has of `count` things that are selected, and the ways to the others.

    `path` is that of the view, from the site's start.
    """
    begin = (selection.page - 1) * PAGE_SIZE
    if shown:
        words = f"{begin + 1:,} to {begin + shown:,} of {counted(count, noun)}"
    elif count:
        words = f"There is no page {selection.page:,} of {counted(count, noun)}"
    else:
        filters = selection.text, selection.levels, selection.targets, selection.labels
        words = f"No {noun} fits" if any(filters) else f"No {noun} is known"
    return element(
        "section",
        element("h2", f"{noun.capitalize()}s", id="list", class_="unseen"),
        element(
            "div",
            # The script changes its text and keeps the element, or a screen reader would not read it.
            element("p", words, role="status", id="shown"),
            element("div", chosen(selection), id="chosen"),
            _views(selection, path),
            class_="summary",
        ),
        element("div", rows if shown else None, pager(selection, count), id="results"),
        aria_labelledby="list",
    )


def _views(selection: Selection, path: str) -> Markup:
    """
    Return links to the same selection in each view.
    """
    query = selection.query(sort=Sort.URGENCY, descending=False)
    return element(
        "nav",
        element(
            "ul",
            (
                element(
                    "li",
                    link(f"./{to}{query}", words, aria_current="page" if to == path else None),
                )
                for words, to in VIEWS
            ),
            class_="inline",
        ),
        aria_label="View",
        class_="views",
    )


def listed(selection: Selection, columns: Sequence[tuple[str, Sort | None]], rows: Iterable[Row]) -> Markup:
    """
    Return a list as a table. Each of its columns has a heading and the order that it sorts by, if any.
    """
    # Roles, since narrow windows show rows as cards, and `display` would take away what a table means.
    return element(
        "table",
        element(
            "thead",
            element("tr", (_heading(selection, *one) for one in columns), role="row"),
            role="rowgroup",
        ),
        element(
            "tbody",
            (
                element(
                    "tr",
                    (element("td", cell, role="cell") for cell in cells),
                    role="row",
                    class_=level.name.lower(),
                )
                for level, cells in rows
            ),
            role="rowgroup",
        ),
        role="table",
        aria_labelledby="list",
        class_="list dense",
    )


def _heading(selection: Selection, words: str, by: Sort | None) -> Markup:
    """
    Return the heading of a column, which sorts by it; a second time the other way round.
    """
    if by is None:
        return element("th", words, scope="col", role="columnheader")
    active = selection.sort is by
    down = active and not selection.descending
    order = ("descending" if selection.descending else "ascending") if active else None
    mark = element("span", " ▲" if down else " ▼", aria_hidden="true") if active else None
    return element(
        "th",
        link(selection.query(sort=by, descending=down), words, mark),
        scope="col",
        role="columnheader",
        aria_sort=order,
        class_="sortable",
    )


def chosen(selection: Selection) -> Child:
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
        element("li", link("?", "all", class_="chip")) if len(without) > 1 else None,
        class_="chips",
        aria_label="Filters in use",
    )


def pager(selection: Selection, count: int) -> Child:
    """
    Return the links to the other pages of a list of `count` things; nothing where there is one page.
    """
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
