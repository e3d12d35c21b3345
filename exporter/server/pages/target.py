"""
The page of one target: each endpoint with its deadlines, its chain, and other places of its certificates.
Pure.
"""

from urllib.parse import urlencode

from exporter.engine.scrape import TargetRow
from exporter.judgement.verdicts import JudgedItem
from exporter.model.observation import Certificate, Failed, Item
from exporter.model.reasons import Kind
from exporter.report.filters import Selection
from exporter.report.inventory import Entry, Inventory, Place
from exporter.report.status import NOUNS, Level, Status, worst
from exporter.report.times import ago, date, distance, rounded, span
from exporter.server.pages.markup import Child, Markup, document, element, foreign, link, together
from exporter.server.pages.overview import Situation, next_sweep, notices
from exporter.server.pages.timeline import Line, Span, draw
from exporter.server.pages.words import (
    Told,
    badge,
    counted,
    finding,
    found_by,
    label_links,
    moment,
    newer_for,
    place,
    term,
    terms,
)

SHOWN_ENDPOINTS = 50
"""Endpoints that are shown in full, the most urgent ones."""


SHOWN_LINES = 20
"""Items of an endpoint with a time line, those that end first. A file may hold hundreds."""


SHOWN_ITEMS = 50
"""Items of an endpoint that are shown."""


SHOWN_NAMES = 10
"""Names of a certificate that are shown."""


SHOWN_PLACES = 12
"""Other places of a certificate that are shown."""


STEPS = ("Valid from", "Renewal due", "Warning", "Critical", "Expires")


def render(inventory: Inventory, of: TargetRow, situation: Situation, root: str, versions: str) -> str:
    """
    Return the page of this target, as HTML.
    """
    entries = inventory.of_target(of.target, situation.now)
    name = of.target.name
    more = len(entries) - SHOWN_ENDPOINTS
    told = Told()
    main = together(
        element(
            "div",
            badge(worst(one.level for one in entries)),
            element("h1", foreign(name)),
            class_="title",
        ),
        _about(inventory, of, situation, root),
        notices(inventory, situation),
        (
            _endpoint(one, inventory, situation.now, root, told, alone=len(entries) == 1)
            for one in entries[:SHOWN_ENDPOINTS]
        ),
        element(
            "p",
            link(
                f"{root}{Selection(targets=frozenset({name})).query()}",
                f"{counted(more, 'less urgent endpoint')} more",
            ),
        )
        if more > 0
        else None,
    )
    return document(f"{name}: expiry-exporter", root, main, versions)


def _about(inventory: Inventory, of: TargetRow, situation: Situation, root: str) -> Markup:
    target = of.target
    query = urlencode({"target": target.name}, errors="replace")
    rows: list[tuple[str, Child]] = [
        ("Probes", foreign(target.url.shown)),
        # Files and domains are not verified by the name of a server.
        ("Expects", ("a certificate for ", foreign(target.expected_name)) if target.url.port else None),
        ("Comes from", found_by(target)),
        ("Renewal", f"by the policy {target.policy.name}"),
        ("Labels", label_links(root, target.labels)),
        ("Last probe", (f"{ago(situation.now - inventory.scrape.at)}. ", next_sweep(situation))),
        ("Left out", _left_out(inventory, of)),
        (
            "More",
            element(
                "ul",
                element("li", link(f"{root}probe?debug=true&{query}", "Probe now, step by step")),
                element("li", link(f"{root}calendar.ics?{query}", "Calendar")),
                element("li", link(f"{root}api/v1/items?{query}", "JSON")),
                class_="inline",
            ),
        ),
    ]
    return terms(*rows)


def _left_out(inventory: Inventory, of: TargetRow) -> Child:
    if not of.left_out:
        return None
    words = inventory.left_out.get(of.target.name, ())
    if of.target.url.scheme == "file":
        count = counted(of.left_out, "file")
    else:
        count = f"{of.left_out} addresses" if of.left_out > 1 else "1 address"
    shown = [element("li", foreign(str(one))) for one in words[:SHOWN_LINES]]
    if len(words) > len(shown):
        shown.append(element("li", f"and {len(words) - len(shown)} more"))
    return count, element("ul", shown) if shown else None


def _endpoint(
    entry: Entry, inventory: Inventory, now: float, root: str, told: Told, *, alone: bool
) -> Markup:
    row = entry.row
    found = inventory.status(row, now)
    judged = row.verdict.items if row.verdict is not None else ()
    return element(
        "section",
        element(
            "div",
            badge(entry.level),
            element("h2", foreign(row.label)),
            class_="title",
        ),
        _last_probe(entry, now),
        _findings(found, entry, inventory, root, told),
        (_deadlines(entry, one, inventory, now, root) for one in _first_to_end(judged)),
        _chain(judged, entry, inventory, root, opened=alone or entry.level is not Level.OK),
        class_=f"card endpoint {entry.level.name.lower()}",
    )


def _first_to_end(judged: tuple[JudgedItem, ...]) -> list[JudgedItem]:
    """
    Return the items that get a time line: those with deadlines, of too many the first to end.
    """
    found = [one for one in judged if one.deadlines is not None]
    if len(found) > SHOWN_LINES:
        found.sort(key=lambda one: one.item.not_after)
    return found[:SHOWN_LINES]


def _last_probe(entry: Entry, now: float) -> Markup:
    held = entry.row.held
    took = f"The last probe took {held.duration:.3f} s"
    if not isinstance(held.observation, Failed):
        words: Child = f"{took} and saw everything."
    elif held.seen_at is None:
        words = f"{took} and failed. Nothing was ever seen here."
    elif not held.observation.saw_nothing:
        words = f"{took}. The server showed its certificate, then ended the conversation."
    else:
        words = (
            f"{took} and failed. What follows was last seen {ago(now - held.seen_at)}, ",
            moment(held.seen_at),
            ".",
        )
    tls = held.facts.tls if held.facts is not None else None
    return element("p", words, f" {tls.protocol}, {tls.cipher}." if tls is not None else None, class_="asof")


def _findings(found: Status, entry: Entry, inventory: Inventory, root: str, told: Told) -> Child:
    if not found.findings:
        return None
    verdict = entry.row.verdict
    items = {one.item.name: Place(entry.row, one) for one in (verdict.items if verdict is not None else ())}
    return element(
        "ul",
        (finding(one, newer_for(one, inventory, items), root, told) for one in found.findings),
        class_="findings boxed",
        aria_label="What to know",
    )


def _deadlines(entry: Entry, judged: JudgedItem, inventory: Inventory, now: float, root: str) -> Markup:
    item, due = judged.item, judged.deadlines
    assert due is not None
    before = entry.row.held.past.previous.get(item.name)
    newer = inventory.newer(judged)
    line = Line(
        Span(item.not_before, item.not_after),
        due.renewal_due,
        due.warning,
        due.critical,
        now,
        Span(before.not_before, before.not_after) if before is not None else None,
        Span(newer.judged.item.not_before, newer.judged.item.not_after) if newer is not None else None,
    )
    moments = (item.not_before, due.renewal_due, due.warning, due.critical, item.not_after)
    words = ", ".join(f"{name.lower()} {date(when)}" for name, when in zip(STEPS, moments, strict=True))
    # Not `capitalize`: it is "CA certificate".
    noun = NOUNS[item.kind][:1].upper() + NOUNS[item.kind][1:]
    return element(
        "div",
        element(
            "h3",
            noun if item.name == item.kind else (f"{noun} ", foreign(item.name)),
        ),
        draw(line, f"Time line: {words}; now {date(now)}"),
        element(
            "dl",
            (
                element(
                    "div",
                    element("dt", name),
                    element("dd", moment(when), element("span", distance(when, now), class_="off")),
                    class_=f"step {key}{' past' if when <= now else ''}",
                )
                for name, when, key in zip(
                    STEPS, moments, ("fine", "due", "warned", "late", "ended"), strict=True
                )
            ),
            class_="moments",
        ),
        _renewal(judged),
        _before(before),
        _newer(newer, root),
        class_="item",
    )


def _renewal(judged: JudgedItem) -> Child:
    """
    Return in words where the deadlines come from: the policy and the habit, or the item's issuer or manager.
    """
    item, renewal = judged.item, judged.item.renewal
    if renewal is None:
        return element(
            "p",
            f"Deadlines by the policy {judged.policy.name}, ",
            f"for {span(item.not_after - item.not_before)} of lifetime.",
            f" It is renewed every {rounded(judged.rhythm)}." if judged.rhythm is not None else None,
            class_="hint",
        )
    why = renewal.explanation_url
    return element(
        "p",
        "Its issuer or manager says when to renew it",
        f", from {date(renewal.begin)}" if renewal.begin is not None else None,
        f" by {date(renewal.due)}. ",
        # Only a URL that a browser opens as a page (not `javascript:`), since it comes from outside.
        link(why, "Why", rel="noopener noreferrer") if why.startswith(("https://", "http://")) else None,
        class_="hint",
    )


def _before(before: Item | None) -> Child:
    if before is None:
        return None
    certificate = before.certificate
    return element(
        "p",
        element("strong", "Before it: "),
        "one from ",
        moment(before.not_before),
        " to ",
        moment(before.not_after),
        (", issued by ", foreign(certificate.issuer)) if certificate is not None else None,
        ".",
        class_="hint",
    )


def _newer(newer: Place | None, root: str) -> Child:
    if newer is None:
        return None
    return element(
        "p",
        element("strong", "Newer: "),
        place(newer, root),
        " has one for the same names, from ",
        moment(newer.judged.item.not_before),
        " to ",
        moment(newer.judged.item.not_after),
        ".",
        class_="hint",
    )


def _chain(
    judged: tuple[JudgedItem, ...], entry: Entry, inventory: Inventory, root: str, *, opened: bool
) -> Child:
    if not judged:
        return None
    more = len(judged) - SHOWN_ITEMS
    return element(
        "details",
        element("summary", f"What it presents: {counted(len(judged), 'item')}"),
        element("ol", (_item(one, entry, inventory, root) for one in judged[:SHOWN_ITEMS]), class_="chain"),
        element("p", f"and {more:,} more, which the JSON has", class_="hint") if more > 0 else None,
        open=opened,
    )


def _item(judged: JudgedItem, entry: Entry, inventory: Inventory, root: str) -> Markup:
    item, certificate = judged.item, judged.item.certificate
    title = certificate.subject or "no subject" if certificate is not None else item.name
    rows: list[tuple[str, Child]] = [("Valid", (moment(item.not_before), " to ", moment(item.not_after)))]
    if certificate is not None:
        rows += [
            ("Names", _names(certificate)),
            ("Issuer", foreign(certificate.issuer)),
            ("Key", f"{certificate.key}, signed with {certificate.signature_hash}"),
            ("Serial", element("code", certificate.serial)),
            ("SHA-256", element("code", certificate.fingerprint_sha256)),
            ("Also at", _elsewhere(judged, certificate, entry, inventory, root)),
        ]
    return element(
        "li",
        element("p", element("span", f"{item.name}", class_="place"), " ", element("strong", foreign(title))),
        element("dl", (term(name, value) for name, value in rows), class_="facts"),
    )


def _names(certificate: Certificate) -> Child:
    names = (*certificate.dns_names, *certificate.ip_addresses)
    if not names:
        return None
    shown = names[:SHOWN_NAMES]
    more = len(names) - len(shown)
    return element(
        "ul",
        (element("li", foreign(one)) for one in shown),
        element("li", f"and {more:,} more") if more else None,
        class_="inline",
    )


def _elsewhere(
    judged: JudgedItem, certificate: Certificate, entry: Entry, inventory: Inventory, root: str
) -> Child:
    """
    Return the other places of a certificate; of a CA's only their number, since there may be thousands.
    """
    others = [one for one in inventory.sharing(certificate) if one.row is not entry.row]
    if not others:
        return None
    every = f"{root}{Selection(certificate.fingerprint_sha256).query()}"
    if judged.item.kind is not Kind.LEAF:
        return link(every, counted(len(others), "other place"))
    shown = others[:SHOWN_PLACES]
    more = len(others) - len(shown)
    return element(
        "ul",
        (element("li", place(one, root)) for one in shown),
        element("li", link(every, f"and {more:,} more")) if more else None,
    )
