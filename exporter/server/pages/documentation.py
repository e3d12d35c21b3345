"""
Pages of the manual and of the runbooks, made from Markdown. Pure.

They need no JavaScript and nothing from elsewhere: at 3 a.m. the exporter may be all that answers.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from posixpath import normpath
from urllib.parse import urlsplit

from markdown_it import MarkdownIt
from markdown_it.token import Token

from exporter.server.pages.markup import Markup, document, element, foreign, generated, link, together
from exporter.server.pages.shelves import Document, Shelf
from exporter.server.pages.words import coded

PROJECT = "https://github.com/expiry-exporter/expiry-exporter/blob/main"
"""URL of the files that documents link to and that do not ship, such as pictures."""


SOURCES = {"docs": "exporter/manual", "runbooks": "alerts/runbooks"}
"""Path of each shelf's files in the project: their links are relative to it."""


ROLES = {
    "table_open": "table",
    "thead_open": "rowgroup",
    "tbody_open": "rowgroup",
    "tr_open": "row",
    "th_open": "columnheader",
    "td_open": "cell",
}
"""A narrow window shows rows as blocks, which would no longer be a table to screen readers."""


_NOT_IN_ANCHORS = re.compile(r"[^\w -]")


@dataclass(frozen=True, slots=True)
class Heading:
    """
    A heading of a document.
    """

    level: int
    """1 to 6."""
    anchor: str
    """Its id on the page, the target of links with a `#` before it. The same as on GitHub."""
    words: str


def render(shown: Document, place: str, root: str, versions: str) -> str:
    """
    Return the page of a document, whose shelf is called `place`, with links to its headings.
    """
    html, headings = _rendered(shown.text, place)
    title, end, text = html.partition("</h1>\n")
    contents = element(
        "details", element("summary", "On this page"), _contents(headings, ""), class_="contents"
    )
    main = element("article", generated(title + end), contents, generated(text), class_="prose card")
    return document(f"{shown.title}: expiry-exporter", root, main, versions)


def render_shelf(shelf: Shelf, root: str, versions: str) -> str:
    """
    Return the page that lists the documents of a shelf, each with its first sentence and, if wanted, its
    headings.
    """
    cards = (
        element(
            "section",
            element("h2", link(name, one.title)),
            element("p", coded(one.about)),
            _contents(_rendered(one.text, shelf.place)[1], name) if shelf.shows_headings else None,
            class_="contents card",
        )
        for name, one in shelf.documents.items()
    )
    main = together(element("h1", shelf.title), element("p", shelf.intro), cards)
    return document(f"{shelf.title}: expiry-exporter", root, main, versions)


def render_missing(name: str, shelf: Shelf, root: str, versions: str) -> str:
    """
    Return the page for a document that does not exist. It lists those that do.
    """
    there = (
        element("li", link(f"{root}{shelf.place}/{one.name}", one.title), ": ", coded(one.about))
        for one in shelf.documents.values()
    )
    main = together(
        element("h1", "There is no such page"),
        element("p", "Nothing is called ", foreign(name), " here. There are these:"),
        element("div", element("ul", there), class_="prose card"),
    )
    return document("No such page: expiry-exporter", root, main, versions)


def _contents(headings: Iterable[Heading], page: str) -> Markup:
    """
    Return links to the headings of a page, without its title.
    """
    return element(
        "ul",
        (
            element("li", link(f"{page}#{one.anchor}", one.words), class_=f"level{one.level}")
            for one in headings
            if one.level > 1
        ),
    )


@lru_cache(maxsize=64)
def _rendered(text: str, place: str) -> tuple[str, tuple[Heading, ...]]:
    """
    Return the HTML of a document and its headings. HTML in the document is shown as text.
    """
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(text)
    headings = []
    for at, token in enumerate(tokens):
        if token.children is not None:
            token.children = list(_linked(token.children, place))
        if token.type == "heading_open":
            inline = tokens[at + 1]
            words = _words(inline)
            headings.append(Heading(int(token.tag[1:]), anchor_of(words), words))
            token.attrSet("id", headings[-1].anchor)
            # The heading is a link to itself, to be copied.
            inline.children = _link(f"#{headings[-1].anchor}", inline.children or [])
    _label_cells(tokens)
    return str(parser.renderer.render(tokens, parser.options, {})), tuple(headings)


def anchor_of(heading: str) -> str:
    """
    Return the anchor of a heading, as GitHub makes it: lower case, hyphens for spaces, no punctuation.
    """
    return _NOT_IN_ANCHORS.sub("", heading.lower()).replace(" ", "-")


def destination(href: str, place: str) -> str:
    """
    Return the destination of a link on the page of a document.

    One to another document that ships goes to that, without the `.md`; one to another file of the project
    goes to the project's site; all others are unchanged.
    """
    parts = urlsplit(href)
    if parts.scheme or parts.netloc or not parts.path:
        return href
    path = normpath(f"{SOURCES[place]}/{parts.path}")
    directory, _, file = path.rpartition("/")
    shelf = next((name for name, source in SOURCES.items() if source == directory), None)
    if shelf is None:
        return f"{PROJECT}/{path}"
    name = file.removesuffix(".md")
    there = name if shelf == place else f"../{shelf}/{name}"
    return f"{there}#{parts.fragment}" if parts.fragment else there


def _linked(children: Iterable[Token], place: str) -> Iterator[Token]:
    """
    Yield the tokens of a line with links that work on the page. A picture becomes a link: pictures do not
    ship.
    """
    for token in children:
        if token.type == "link_open":
            token.attrSet("href", destination(str(token.attrGet("href")), place))
        if token.type == "image":
            yield from _link(destination(str(token.attrGet("src")), place), token.children or [])
        else:
            yield token


def _link(href: str, children: list[Token]) -> list[Token]:
    return [Token("link_open", "a", 1, attrs={"href": href}), *children, Token("link_close", "a", -1)]


def _label_cells(tokens: Iterable[Token]) -> None:
    """
    Give each cell of a table the heading of its column, which a narrow window shows before it.
    """
    labels: list[str] = []
    column = 0
    opened = ""
    for token in tokens:
        if (role := ROLES.get(token.type)) is not None:
            token.attrSet("role", role)
        if token.type == "table_open":
            labels = []
        elif token.type == "tr_open":
            column = 0
        elif token.type == "inline" and opened == "th_open":
            labels.append(_words(token))
        elif token.type == "td_open":
            token.attrSet("data-label", labels[column])
            column += 1
        opened = token.type


def _words(inline: Token) -> str:
    return "".join(one.content for one in inline.children or () if one.type in {"text", "code_inline"})
