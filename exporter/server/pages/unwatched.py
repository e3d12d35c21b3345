"""
The page of what nobody watches: names without a target, and certificates that no server presents. Pure.
"""

from collections.abc import Iterable, Sequence

from exporter.judgement.coverage import Coverage, Gap, Unused
from exporter.model.coverage import Nowhere
from exporter.report.inventory import Inventory
from exporter.report.times import ago
from exporter.server.pages.markup import Child, Markup, document, element, foreign, link, together
from exporter.server.pages.overview import Situation
from exporter.server.pages.words import counted, moment, target_link

SHOWN = 500
"""Most rows of each table; the JSON has all."""


def render(inventory: Inventory, situation: Situation, root: str, versions: str, *, sharded: bool) -> str:
    """
    Return the page as HTML. `sharded`: other replicas have targets that this one does not know.
    """
    found = inventory.scrape.coverage
    hosts, wildcards, unresolved = found.hosts, found.wildcards, found.unresolved
    main = together(
        element(
            "div",
            element("h1", "Not watched"),
            element(
                "p", _sum(inventory), f" As of {ago(situation.now - inventory.scrape.at)}.", class_="asof"
            ),
            _notice(found, sharded=sharded),
            id="state",
        ),
        _names(hosts, root) if hosts else None,
        _wildcards(wildcards, root) if wildcards else None,
        _unresolved(unresolved, root) if unresolved else None,
        _nowhere(found.nowhere, root) if found.nowhere else None,
        _unused(found.unused, root) if found.unused else None,
    )
    return document("Not watched: expiry-exporter", root, main, versions)


def _sum(inventory: Inventory) -> str:
    found = inventory.scrape.coverage
    if not inventory.scrape.endpoints and not found.nowhere:
        return "Nothing was seen yet: no targets are configured."
    if not found.gaps and not found.unused and not found.nowhere:
        return "Each name on a certificate that was seen has a target, and each stored certificate is in use."
    more = "More than " if found.above else ""
    nowhere = f" {counted(len(found.nowhere), 'place')} found whose name does not resolve."
    return (
        f"{more}{counted(len(found.gaps), 'name')} without a target, and "
        f"{counted(len(found.unused), 'stored certificate')} that no server presents."
        f"{nowhere if found.nowhere else ''}"
    )


def _notice(found: Coverage, *, sharded: bool) -> Child:
    words = []
    if sharded:
        words.append("This replica knows its own share of the targets only: others may look at these names.")
    if found.unread:
        words.append(
            "A source of targets has no list, since it was never read: what it finds may look at these names."
        )
    if found.above:
        words.append("There are more names than are kept: watch some of these, and the others follow.")
    return [element("p", one, class_="notice", role="note") for one in words]


def _names(hosts: Sequence[Gap], root: str) -> Markup:
    targets = "".join(f"  - {one.suggestion}\n" for one in hosts[:SHOWN])
    return element(
        "section",
        element("h2", "Names without a target", id="names"),
        element(
            "p", "These hosts are on certificates that were seen, and no target looks at what they serve."
        ),
        _gap_table(hosts, "names", root),
        element(
            "details",
            element("summary", "Targets that would watch them"),
            element("pre", element("code", f"targets:\n{targets}")),
            class_="card",
        ),
        aria_labelledby="names",
    )


def _wildcards(wildcards: Sequence[Gap], root: str) -> Markup:
    return element(
        "section",
        element("h2", "Wildcards without a target", id="wildcards"),
        element(
            "p", "No target is a host of these. Which hosts there are, only your DNS or inventory knows."
        ),
        _gap_table(wildcards, "wildcards", root),
        aria_labelledby="wildcards",
    )


def _unresolved(gaps: Sequence[Gap], root: str) -> Markup:
    return element(
        "section",
        element("h2", "Names without an address", id="unresolved"),
        element(
            "p",
            "DNS knows no address of these, so no client gets there, and no target could look. "
            "Leave them out at the next renewal: many authorities refuse it because of them.",
        ),
        _gap_table(gaps, "unresolved", root),
        aria_labelledby="unresolved",
    )


def _nowhere(found: Sequence[Nowhere], root: str) -> Markup:
    rows = ((foreign(one.url), foreign(one.source), foreign(one.why)) for one in found[:SHOWN])
    return element(
        "section",
        element("h2", "Found, but the name does not resolve", id="nowhere"),
        element(
            "p",
            "A source found these, and this host's resolver knows no address of the name. "
            "They become targets once it does.",
        ),
        _table(("Would be", "Source", "Found where"), rows, "nowhere"),
        _more(len(found), root),
        aria_labelledby="nowhere",
    )


def _gap_table(gaps: Sequence[Gap], heading: str, root: str) -> Markup:
    rows = (
        (
            foreign(one.name),
            (target_link(root, one.target.name), " at ", foreign(one.location)),
            foreign(one.certificate.subject or one.certificate.fingerprint_sha256),
            moment(one.certificate.not_after),
        )
        for one in gaps[:SHOWN]
    )
    return together(
        _table(("Name", "Seen at", "Certificate", "Expires"), rows, heading), _more(len(gaps), root)
    )


def _unused(unused: Sequence[Unused], root: str) -> Markup:
    rows = (
        (
            foreign(", ".join(one.certificate.dns_names[:3])),
            (target_link(root, one.target.name), " at ", foreign(f"{one.location}, {one.item}")),
            foreign(one.certificate.subject or one.certificate.fingerprint_sha256),
            moment(one.certificate.not_after),
        )
        for one in unused[:SHOWN]
    )
    return element(
        "section",
        element("h2", "Certificates that no server presents", id="unused"),
        element("p", "Each is unused, or on a host that you do not watch."),
        _table(("First names", "Stored at", "Certificate", "Expires"), rows, "unused"),
        _more(len(unused), root),
        aria_labelledby="unused",
    )


def _more(count: int, root: str) -> Child:
    if count <= SHOWN:
        return None
    return element("p", f"and {count - SHOWN:,} more: ", link(f"{root}api/v1/unwatched", "all as JSON"))


def _table(headings: Sequence[str], rows: Iterable[tuple[Child, ...]], labelled_by: str) -> Markup:
    # With roles, as on the status page.
    return element(
        "table",
        element(
            "thead",
            element(
                "tr",
                (element("th", one, scope="col", role="columnheader") for one in headings),
                role="row",
            ),
            role="rowgroup",
        ),
        element(
            "tbody",
            (
                element(
                    "tr",
                    (
                        element("td", cell, role="cell", data_label=heading)
                        for cell, heading in zip(cells, headings, strict=True)
                    ),
                    role="row",
                )
                for cells in rows
            ),
            role="rowgroup",
        ),
        role="table",
        aria_labelledby=labelled_by,
        class_="list",
    )
