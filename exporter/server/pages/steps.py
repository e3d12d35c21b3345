"""
The page of one probe, step by step: what was done, what was found, and the metrics of it. Pure.
"""

from exporter.engine.results import ProbeResult
from exporter.engine.scrape import EndpointRow, Scrape
from exporter.judgement.verdicts import Deadlines
from exporter.model.targets import Target
from exporter.report.inventory import Inventory
from exporter.report.paths import target_path
from exporter.report.status import Status, worst
from exporter.report.times import date, distance
from exporter.server.pages.markup import Child, Markup, document, element, foreign, link, together
from exporter.server.pages.words import (
    Told,
    badge,
    finding,
    found_by,
    label_links,
    moment,
    terms,
)


def render(
    target: Target, scrape: Scrape, metrics: str, query: str, now: float, root: str, versions: str
) -> str:
    """
    Return the page of a probe of a target, as HTML. `metrics` is its text for Prometheus, `query` that of the
    request.
    """
    inventory, told = Inventory(scrape), Told()
    statuses = {row.label: inventory.status(row, now) for row in scrape.endpoints}
    rows = {row.label: row for row in scrape.endpoints}
    looks = {look.label: look for result in scrape.results for look in result.looks}
    left_out = [element("li", foreign(str(one))) for result in scrape.results for one in result.left_out]
    main = together(
        element(
            "div",
            badge(worst(one.level for one in statuses.values())),
            element("h1", "Probe of ", foreign(target.name)),
            class_="title",
        ),
        (
            _endpoint(label, looks.get(label), rows.get(label), statuses.get(label), now, root, told)
            for label in dict.fromkeys([*looks, *rows])
        ),
        _about(target, left_out, query, root),
        element(
            "details",
            element("summary", "Metrics of this probe"),
            element("pre", element("code", metrics)),
            class_="card",
        ),
    )
    return document(f"Probe of {target.name}: expiry-exporter", root, main, versions)


def _about(target: Target, left_out: list[Markup], query: str, root: str) -> Markup:
    configured = target.configured
    return terms(
        ("Probes", foreign(target.url.shown)),
        ("Expects", ("a certificate for ", foreign(target.expected_name)) if target.url.port else None),
        ("Policy", target.policy.name),
        ("Comes from", found_by(target) if configured else "whoever asked: it is not configured"),
        ("Labels", label_links(root, target.labels)),
        (
            "Left out",
            element("ul", (element("li", foreign(str(one))) for one in left_out)) if left_out else None,
        ),
        (
            "More",
            element(
                "ul",
                element("li", link(f"?{query}", "Probe again")),
                element("li", link(f"{root}{target_path(target.name)}", "Page of the target"))
                if configured
                else None,
                class_="inline",
            ),
        ),
    )


def _endpoint(
    label: str,
    look: ProbeResult | None,
    row: EndpointRow | None,
    found: Status | None,
    now: float,
    root: str,
    told: Told,
) -> Markup:
    level = found.level if found is not None else None
    return element(
        "section",
        element(
            "div",
            badge(level) if level is not None else None,
            element("h2", foreign(label)),
            element("span", f"{look.duration:.3f} s", class_="asof") if look is not None else None,
            class_="title",
        ),
        element(
            "ol",
            (
                element("li", element("span", f"{when:.3f} s", class_="when"), foreign(words))
                for when, words in look.steps
            ),
            class_="steps",
            aria_label="Steps",
        )
        if look is not None and look.steps
        else None,
        element(
            "ul",
            (finding(one, None, root, told) for one in found.findings),
            class_="findings boxed",
            aria_label="What to know",
        )
        if found is not None and found.findings
        else None,
        _items(row, now) if row is not None else None,
        class_=f"card endpoint{f' {level.name.lower()}' if level is not None else ''}",
    )


def _items(row: EndpointRow, now: float) -> Child:
    """
    Return when each item expires, with its deadlines if it has some.
    """
    if row.verdict is None:
        return None
    return element(
        "ul",
        (
            element(
                "li",
                element("span", judged.item.name, class_="place"),
                " expires ",
                moment(judged.item.not_after),
                f", {distance(judged.item.not_after, now)}",
                _deadlines(judged.deadlines),
            )
            for judged in row.verdict.items
        ),
        class_="ends",
    )


def _deadlines(due: Deadlines | None) -> str | None:
    if due is None:
        return None
    return (
        f"; renewal due {date(due.renewal_due)}, warning {date(due.warning)}, critical {date(due.critical)}"
    )
