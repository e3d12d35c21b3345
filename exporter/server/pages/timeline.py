"""
The time line of an item: predecessor, renewal due, warning, critical, ended, newer one. Pure.

It is SVG without a style of its own. Horizontally everything is in percent, so that a
picture has the width of its window and letters keep their size.
"""

from dataclasses import dataclass

from exporter.report.times import date
from exporter.server.pages.markup import Child, Markup, element

HEIGHT = 74


_NOW_TOP = 16


_BEFORE, _SERVED, _NEWER = (20, 6), (29, 14), (46, 6)
"""Top and height of each lane, in pixels."""


_WORDS = 70
"""The base line of the dates, in pixels from the top."""


_ROOM = 34.0
"""Percent of the width between two dates, so that they don't overlap in a window of 360 pixels."""


@dataclass(frozen=True, slots=True)
class Span:
    """
    A time range, in seconds since the epoch.
    """

    begin: float
    end: float


@dataclass(frozen=True, slots=True)
class Line:
    """
    The times on a time line, in seconds since the epoch.
    """

    served: Span
    renewal_due: float
    warning: float
    critical: float
    now: float
    before: Span | None = None
    """Validity of the predecessor; None when none is known."""
    newer: Span | None = None
    """Validity of an item elsewhere with the same names and a later end; None when none is known."""


def draw(line: Line, words: str) -> Markup:
    """
    Return the time line as SVG. `words` describe it for a screen reader.
    """
    shown = [one for one in (line.before, line.served, line.newer) if one is not None]
    begin = min(*(one.begin for one in shown), line.now)
    end = max(*(one.end for one in shown), line.now)
    width = max(end - begin, 1.0)

    def across(moment: float) -> float:
        return 100.0 * (min(max(moment, begin), end) - begin) / width

    served = line.served
    edges = [served.begin, line.renewal_due, line.warning, line.critical, served.end]
    classes = ("fine", "due", "warned", "late")
    parts: list[Child] = []
    if line.before is not None:
        parts.append(_bar(across(line.before.begin), across(line.before.end), _BEFORE, "before"))
    parts += [
        _bar(across(left), across(right), _SERVED, name)
        for left, right, name in zip(edges, edges[1:], classes, strict=False)
        if right > left
    ]
    if line.now > served.end:
        parts.append(_bar(across(served.end), across(line.now), _SERVED, "over"))
    if line.newer is not None:
        parts.append(_bar(across(line.newer.begin), across(line.newer.end), _NEWER, "newer"))
    parts.append(_now(across(line.now)))
    parts += _dates(across(served.begin), across(served.end), served)
    return element("svg", parts, class_="line", height=HEIGHT, role="img", aria_label=words)


def _bar(left: float, right: float, lane: tuple[int, int], name: str) -> Markup:
    top, height = lane
    # Even the shortest bar is visible.
    width = max(right - left, 0.4)
    return element(
        "rect",
        x=f"{min(left, 100 - width):.2f}%",
        y=top,
        width=f"{width:.2f}%",
        height=height,
        class_=name,
    )


def _now(where: float) -> Child:
    x = f"{where:.2f}%"
    return (
        element("line", x1=x, x2=x, y1=_NOW_TOP, y2=HEIGHT - 18, class_="now"),
        element("text", "now", x=x, y=_NOW_TOP - 4, text_anchor=_anchor(where), class_="now"),
    )


def _dates(left: float, right: float, served: Span) -> list[Child]:
    """
    Return the dates of begin and end below the line; only that of the end where both do not fit.
    """
    words = [
        element(
            "text",
            date(served.end)[:10],
            x=f"{right:.2f}%",
            y=_WORDS,
            text_anchor="end" if right > 20 else "start",
        )
    ]
    if right - left > _ROOM:
        words.append(
            element("text", date(served.begin)[:10], x=f"{left:.2f}%", y=_WORDS, text_anchor="start")
        )
    return list(words)


def _anchor(where: float) -> str:
    return "start" if where < 5 else "end" if where > 95 else "middle"
