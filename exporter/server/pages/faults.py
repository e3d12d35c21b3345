"""
Pages for what can't be shown: each says what is wrong, and has a way back. Pure.
"""

from http import HTTPStatus

from exporter.passwords import without_user
from exporter.server.pages.markup import Child, document, element, foreign, link, together

TITLES = {
    HTTPStatus.BAD_REQUEST: "This can't be shown",
    HTTPStatus.FORBIDDEN: "This is not allowed",
    HTTPStatus.NOT_FOUND: "There is no such page",
    HTTPStatus.METHOD_NOT_ALLOWED: "This page can't be used so",
    HTTPStatus.INTERNAL_SERVER_ERROR: "Something went wrong in the exporter",
    HTTPStatus.SERVICE_UNAVAILABLE: "Too much to do just now",
}
"""By status, the heading of the page."""

_SAID = {
    HTTPStatus.NOT_FOUND: "Nothing answers at {path}.",
    HTTPStatus.METHOD_NOT_ALLOWED: "{path} wants another method: the header Allow of this answer names it.",
}
"""By status, what is said where the answer says nothing itself."""


def render(status: int, words: str, path: str, root: str, versions: str) -> str:
    """
    Return the page for an answer with this status, as HTML. `words` are what the answer says, `path` is what
    was asked for.
    """
    title = TITLES.get(HTTPStatus(status), f"Error {status}")
    # What the HTTP library says is but the status in other words.
    said = words.strip()
    if said == f"{status}: {HTTPStatus(status).phrase}":
        said = _SAID.get(HTTPStatus(status), "").format(path=path)
    return _page(title, (element("p", foreign(line)) for line in said.splitlines()), root, versions)


def render_missing(asked: str, root: str, versions: str) -> str:
    """
    Return the page for a target that is not configured, as HTML.
    """
    words = (
        element(
            "p", "No target is called ", foreign(without_user(asked)), " in the configuration that is in use."
        ),
        element(
            "p",
            "It may have been renamed or removed since the link was made, or another exporter has it "
            "(sharding).",
        ),
    )
    return _page("There is no such target", words, root, versions)


def _page(title: str, words: Child, root: str, versions: str) -> str:
    main = together(
        element("h1", title),
        words,
        element("p", link(root, "All targets")),
    )
    return document(f"{title}: expiry-exporter", root, main, versions)
