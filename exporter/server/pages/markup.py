"""
HTML elements, with all text escaped that is not Markup already. Pure.
"""

from collections.abc import Iterable
from html import escape

from exporter import __version__
from exporter.model.foreign_text import printable_lines

VOID = frozenset({"br", "hr", "img", "input", "link", "meta"})
"""Elements that have no end tag (HTML Standard, section 13.1.2)."""


class Markup(str):
    """
    Text that is HTML. Only this module may make it.
    """

    __slots__ = ()


Child = str | None | Iterable["Child"]
"""Content of an element: markup as it is, text to be escaped, nothing, or several of these."""


def element(name: str, /, *children: Child, **attributes: str | float | bool | None) -> Markup:
    """
    Return an element. Attributes are named `class_`, `aria_label`; one that is False or None is left out.
    """
    written = "".join(_attribute(key, value) for key, value in attributes.items())
    if name in VOID:
        return Markup(f"<{name}{written}>")
    return Markup(f"<{name}{written}>{together(*children)}</{name}>")


def generated(html: str) -> Markup:
    """
    Return the HTML of a renderer that escapes all text and lets no HTML through.
    """
    return Markup(html)


def together(*children: Child) -> Markup:
    """
    Return the children one after the other, escaped where they are not Markup.
    """
    parts: list[str] = []
    for child in children:
        if child is None:
            continue
        if isinstance(child, Markup):
            parts.append(child)
        elif isinstance(child, str):
            parts.append(escape(printable_lines(child)))
        else:
            parts.append(together(*child))
    return Markup("".join(parts))


def _attribute(key: str, value: str | float | bool | None) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{escape(printable_lines(str(value)))}"'


def foreign(text: str, /, **attributes: str | None) -> Markup:
    """
    Return text from outside, isolated so that right-to-left text does not reorder the text around it.
    """
    return element("bdi", text, **attributes)


def link(where: str, /, *children: Child, **attributes: str | float | bool | None) -> Markup:
    """
    Return a link to the URL `where`.
    """
    return element("a", *children, href=where, **attributes)


NAVIGATION = (
    ("All targets", ""),
    ("Certificates", "certificates"),
    ("Not watched", "unwatched"),
    ("Manual", "docs/"),
    ("Runbooks", "runbooks/"),
)
"""Links on every page: words, and the path from the site's start."""


def document(title: str, root: str, main: Child, versions: str) -> str:
    """
    Return a whole page. `root` is the relative URL of the site's start, `versions` the query of its assets.
    """
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", title),
        element("link", rel="icon", type="image/svg+xml", href=f"{root}assets/icon.svg{versions}"),
        element("link", rel="stylesheet", href=f"{root}assets/page.css{versions}"),
        element("script", src=f"{root}assets/page.js{versions}", defer=True),
    )
    body = element(
        "body",
        link("#main", "Skip to the content", class_="skip"),
        element(
            "header",
            link(root, "expiry-exporter", class_="brand"),
            element(
                "nav",
                (link(f"{root}{path}", words) for words, path in NAVIGATION),
                aria_label="Site",
            ),
            class_="top",
        ),
        element("main", main, id="main", tabindex=-1),
        element(
            "footer",
            element("span", f"expiry-exporter {__version__}"),
            link(f"{root}metrics", "metrics"),
            link(f"{root}targets", "targets (JSON)"),
            link(f"{root}api/v1/items", "items (JSON)"),
            link(f"{root}calendar.ics", "calendar"),
        ),
    )
    return f"<!doctype html>{element('html', head, body, lang='en')}\n"
