"""
Elements that both pages share: levels, times, labels, findings. Pure.
"""

from datetime import UTC, datetime

from exporter.report.filters import Selection
from exporter.report.inventory import Inventory, Place, target_path
from exporter.report.status import Finding, Level
from exporter.report.times import ago, date, span
from exporter.server.pages.markup import Child, Markup, element, foreign, link, together


def badge(level: Level) -> Markup:
    """
    Return the level as a word in its colour.
    """
    name = level.name.lower()
    return element("span", name, class_=f"badge {name}")


def moment(timestamp: float) -> Markup:
    """
    Return a time in seconds since the epoch as an element that people and programs can read.
    """
    try:
        stamp = datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return element("span", date(timestamp))
    return element("time", date(timestamp), datetime=stamp.rjust(20, "0"))


def distance(timestamp: float, now: float) -> str:
    """
    Return the time between a moment and now, in words: `in 12 d 3 h`, `3 h 20 min ago`.
    """
    return f"in {span(timestamp - now)}" if timestamp >= now else ago(now - timestamp)


def target_link(root: str, name: str, **attributes: str | None) -> Markup:
    """
    Return a link to a target's page.
    """
    return link(f"{root}{target_path(name)}", foreign(name), **attributes)


def label_links(root: str, labels: tuple[tuple[str, str], ...]) -> Child:
    """
    Return the user's labels, each as a link to the targets that have it.
    """
    if not labels:
        return None
    return element(
        "ul",
        (
            element(
                "li",
                link(
                    f"{root}{Selection(labels=((name, value),)).query()}",
                    foreign(f"{name}={value}"),
                    class_="chip",
                ),
            )
            for name, value in labels
        ),
        class_="chips",
        aria_label="Labels",
    )


def finding(found: Finding, newer: Place | None, root: str) -> Markup:
    """
    Return a finding with its advice; with a newer certificate elsewhere, the advice is to install that one.
    """
    to_do: Child = coded(found.advice) if found.advice else None
    if newer is not None:
        to_do = together(
            "It was renewed, but not deployed here: ",
            place(newer, root),
            " already has one that expires ",
            moment(newer.judged.item.not_after),
            ". Install that one here, and reload.",
        )
    return element(
        "li",
        element("p", foreign(found.words), class_="words"),
        element("p", to_do, _explanation(found, root), class_="todo") if to_do is not None else None,
        class_=found.level.name.lower(),
    )


def _explanation(found: Finding, root: str) -> Child:
    """
    Return a link to the manual's text about the reason of a finding.
    """
    if not found.reason:
        return None
    return " Manual: ", link(f"{root}docs/reasons#{found.reason}", found.reason), "."


def coded(text: str) -> Child:
    """
    Return a text with its parts between backticks as code.
    """
    return [element("code", part) if odd % 2 else part for odd, part in enumerate(text.split("`"))]


def newer_for(found: Finding, inventory: Inventory, items: dict[str, Place]) -> Place | None:
    """
    Return the place of a newer item that would resolve a finding; None when none is known, or would not.
    """
    here = items.get(found.item) if found.deploy and found.item is not None else None
    return inventory.newer(here.judged) if here is not None else None


def place(one: Place, root: str) -> Markup:
    """
    Return target and endpoint in words, with a link to the target's page.
    """
    return together(target_link(root, one.row.target.name), " at ", foreign(one.row.label))
