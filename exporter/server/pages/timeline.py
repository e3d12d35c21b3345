"""
The life of an item as a line: before, due, warned, critical, over. Pure.

Drawn as SVG without a style of its own. Across, everything is in percent, so that a
picture has the width of its window and letters keep their size.
"""

from dataclasses import dataclass

from exporter.report.status import date
from exporter.server.pages.markup import Child, Markup, element

HEIGHT = 74


_NOW_TOP = 16


_BEFORE, _SERVED, _NEWER = (20, 6), (29, 14), (46, 6)
"""Top and height of each lane, in pixels."""


_WORDS = 70
"""The base line of the dates below."""


_ROOM = 34.0
"""Percent of the width between two dates, so that they don't overlap in a window of 360 pixels."""


@dataclass(frozen=True, slots=True)
class Span:
    """
    From when to when.
    """

    begin: float
    end: float


@dataclass(frozen=True, slots=True)
class Line:
    """
    What to draw.
    """

    served: Span
    renewal_due: float
    warning: float
    critical: float
    now: float
    before: Span | None = None
    """What was there before; None when nothing is known of it."""
    newer: Span | None = None
    """What is known elsewhere for the same names, and ends later; None when nothing is."""


def draw(line: Line, words: str) -> Markup:
    """
    The picture. `words` say the same to who can't see it.
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
    # However short, it is seen.
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
    The dates of begin and end below the line; of the end only, where there is no room for both.
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
