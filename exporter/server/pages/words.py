"""
Elements that both pages share: levels, times, labels, findings. Pure.
"""

import re
from datetime import UTC, datetime

from exporter.model.targets import Target
from exporter.report.filters import Selection
from exporter.report.inventory import Inventory, Place
from exporter.report.paths import target_path
from exporter.report.status import Finding, Level
from exporter.report.times import date, distance
from exporter.server.pages.markup import Child, Markup, element, foreign, link, together

SHORT_LABELS = 42
"""Characters of all labels of a target up to which they stay on one line of the list."""


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
    short = sum(len(name) + len(value) + 3 for name, value in labels) <= SHORT_LABELS
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
        class_="chips short" if short else "chips",
        aria_label="Labels",
    )


def terms(*rows: tuple[str, Child]) -> Markup:
    """
    Return a card of facts, each with its name; those without a value are left out.
    """
    return element("dl", (term(name, value) for name, value in rows), class_="facts card")


def term(name: str, value: Child) -> Child:
    """
    Return a fact with its name; nothing without a value.
    """
    return element("div", element("dt", name), element("dd", value)) if value is not None else None


def found_by(target: Target) -> Child:
    """
    Return where a target comes from: the configuration, or the source that found it and where.
    """
    if not target.source:
        return "the configuration"
    return "the source ", foreign(target.source), (": ", foreign(target.why)) if target.why else None


class Told:
    """
    The advice that a page has given, each once: where it applies again, a link leads to it.
    """

    def __init__(self) -> None:
        self._places: dict[Markup, str] = {}

    def advice(self, to_do: Markup) -> Markup:
        """
        Return the advice, or a link to where the page has it.
        """
        anchor = self._places.get(to_do)
        if anchor is not None:
            return link(f"#{anchor}", "What to do", class_="again")
        self._places[to_do] = anchor = f"do-{len(self._places) + 1}"
        return element("p", to_do, class_="todo", id=anchor)


def finding(found: Finding, newer: Place | None, root: str, told: Told) -> Markup:
    """
    Return a finding with its advice; with a newer certificate elsewhere, the advice is to install that one.
    """
    to_do: Child = coded(found.advice) if found.advice else None
    if newer is not None:
        to_do = together(
            "Renewed, but not deployed here: ",
            place(newer, root),
            " has one until ",
            moment(newer.judged.item.not_after),
            ". Install it here, and reload.",
        )
    return element(
        "li",
        element("p", element("bdi", _whole(found.words)), class_="words"),
        told.advice(together(to_do, _explanation(found, root))) if to_do is not None else None,
        class_=found.level.name.lower(),
    )


def _whole(text: str) -> Child:
    """
    Return a text whose dates, times and URLs are not broken at the end of a line.
    """
    parts = _UNBROKEN.split(text)
    if len(parts) == 1:
        return text
    return [element("span", part, class_="nowrap") if odd % 2 else part for odd, part in enumerate(parts)]


_UNBROKEN = re.compile(
    r"(\d{4}-\d\d-\d\d \d\d:\d\d(?::\d\d)? UTC|\d+ d \d+ h|\d+ h \d+ min"
    r"|https?://[^\s,;]{1,40}(?![^\s,;]))"
)


def fitting(text: str, longest: int, *classes: str) -> str | None:
    """
    Return the classes of a name in a list, these and one that lets it be broken if it has more characters
    than `longest`; None when there are none.
    """
    return " ".join((*classes, "long") if len(text) > longest else classes) or None


def end(timestamp: float, now: float) -> Markup:
    """
    Return the time left until an end, and its date.
    """
    return element("div", element("strong", distance(timestamp, now)), moment(timestamp), class_="end")


def counted(count: int, noun: str) -> str:
    """
    Return a number with its noun: `1 target`, `12,345 targets`.
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


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
