"""
The list of certificates: who shares each of them. Pure.

A certificate on many endpoints is one thing to renew. What has no certificate (a registration, a revocation
list) is in the list of endpoints only.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from exporter.engine.scrape import EndpointRow
from exporter.judgement.verdicts import JudgedItem
from exporter.model.observation import Certificate
from exporter.report.filters import PAGE_SIZE, Selection, Sort
from exporter.report.inventory import Entry, Inventory
from exporter.report.status import URGENCY, Level
from exporter.server.pages.controls import Row, form, listed, results, tiles
from exporter.server.pages.markup import Child, document, element, foreign, link, together
from exporter.server.pages.overview import Situation, as_of, notices
from exporter.server.pages.words import badge, counted, end, fitting, target_link

SHOWN_TARGETS = 6
"""Targets in a row of the list; the list of endpoints has all."""


SHOWN_NAMES = 2
"""Names of a certificate in a row; the target's page has more."""


LONG_NAME = 40
"""Characters of a name that stays on one line."""


COLUMNS = (
    ("State", Sort.URGENCY),
    ("Expires", Sort.END),
    ("Certificate", None),
    ("Issuer", None),
    ("Shared by", None),
)
"""Headings of the list, each with the order that it sorts by."""


def render(inventory: Inventory, selection: Selection, situation: Situation, root: str, versions: str) -> str:
    """
    Return the page with the certificates of the selected endpoints, as HTML.
    """
    now = situation.now
    levels = _levels(inventory.entries(now))
    found = [
        (judged, certificate)
        for judged, certificate in _distinct(inventory.select(replace(selection, levels=frozenset()), now))
        if not selection.levels or levels[certificate.fingerprint_sha256] in selection.levels
    ]
    begin = (selection.page - 1) * PAGE_SIZE
    shown = found[begin : begin + PAGE_SIZE]
    rows = (
        _row(judged, certificate, inventory, levels[certificate.fingerprint_sha256], now, root)
        for judged, certificate in shown
    )
    of_level = Counter(levels.values())
    counts = {level: of_level[level] for level in reversed(URGENCY)}
    main = together(
        element(
            "div",
            element("h1", "Certificates"),
            as_of(inventory, situation),
            notices(inventory, situation),
            id="state",
        ),
        element(
            "div", tiles(counts, selection), form(inventory, selection, "certificates"), class_="controls"
        ),
        results(
            selection,
            "certificates",
            "certificate",
            len(shown),
            len(found),
            listed(selection, COLUMNS, rows),
        ),
    )
    return document("Certificates: expiry-exporter", root, main, versions)


def _levels(entries: Iterable[Entry]) -> dict[str, Level]:
    """
    Return the level of each certificate of the list, by its fingerprint: that of the most urgent of its
    endpoints, of which `entries` has the most urgent first.
    """
    levels: dict[str, Level] = {}
    for entry in entries:
        for _, certificate in _distinct([entry]):
            levels.setdefault(certificate.fingerprint_sha256, entry.level)
    return levels


def _distinct(entries: Iterable[Entry]) -> list[tuple[JudgedItem, Certificate]]:
    """
    Return the certificates with deadlines of their own, each once, in the order of the endpoints.
    """
    found: dict[str, tuple[JudgedItem, Certificate]] = {}
    for entry in entries:
        for judged in entry.row.verdict.items if entry.row.verdict is not None else ():
            certificate = judged.item.certificate
            if certificate is not None and judged.deadlines is not None:
                found.setdefault(certificate.fingerprint_sha256, (judged, certificate))
    return list(found.values())


def _row(
    judged: JudgedItem,
    certificate: Certificate,
    inventory: Inventory,
    level: Level,
    now: float,
    root: str,
) -> Row:
    rows = {id(one.row): one.row for one in inventory.sharing(certificate)}
    return level, (
        badge(level),
        end(judged.item.not_after, now),
        _named(certificate),
        foreign(certificate.issuer, class_=fitting(certificate.issuer, LONG_NAME)),
        _shared_by(certificate, list(rows.values()), root),
    )


def _shared_by(certificate: Certificate, rows: list[EndpointRow], root: str) -> Child:
    every = f"{root}{Selection(certificate.fingerprint_sha256).query()}"
    names = list(dict.fromkeys(one.target.name for one in rows))
    more = len(names) - SHOWN_TARGETS
    return (
        element("p", link(every, counted(len(rows), "endpoint")), f" of {counted(len(names), 'target')}")
        if len(rows) > 1
        else None,
        element(
            "ul",
            (element("li", target_link(root, name)) for name in names[:SHOWN_TARGETS]),
            element("li", link(every, f"and {more:,} more")) if more > 0 else None,
            class_="inline",
        ),
    )


def _named(certificate: Certificate) -> Child:
    """
    Return the first names of a certificate, and the beginning of its fingerprint.
    """
    names = (*certificate.dns_names, *certificate.ip_addresses) or (certificate.subject or "no subject",)
    more = len(names) - SHOWN_NAMES
    return (
        element(
            "ul",
            (
                element("li", element("strong", foreign(one, class_=fitting(one, LONG_NAME))))
                for one in names[:SHOWN_NAMES]
            ),
            element("li", f"and {more:,} more") if more > 0 else None,
            class_="inline",
        ),
        element("p", f"SHA-256 {certificate.fingerprint_sha256[:16]}…", class_="asof"),
    )
