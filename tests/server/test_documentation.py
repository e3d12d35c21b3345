"""
The manual and the runbooks as the exporter serves them.
"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import urldefrag, urljoin, urlsplit

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from exporter.model.reasons import Fault, Hazard, Reason
from exporter.server.app import application
from exporter.server.documents import CHAPTERS, manual, runbooks
from exporter.server.pages import documentation
from exporter.server.pages.documentation import PROJECT, destination
from exporter.server.pages.shelves import Document
from tests.golden.scenes import failed
from tests.golden.values import Scene
from tests.golden.values import target as made
from tests.support.html import Element, read
from tests.support.pages import EXTERNAL_URL, service
from tests.support.readme import MANUAL, REPOSITORY, anchors

SHELVES = {"docs": MANUAL, "runbooks": REPOSITORY / "alerts" / "runbooks"}
"""Where the files of each address are."""

OTHERS = {"/", "/metrics", "/targets", "/api/v1/items", "/calendar.ics", "/certificates", "/unwatched"}
"""Other pages of the exporter to which its pages lead."""

DOWN = Scene().see(made(), failed(Reason.CONNECTION_REFUSED))

Client = TestClient[web.Request, web.Application]


def ask(test: Callable[[Client], Awaitable[None]], external_url: str | None = None) -> None:
    """
    Run the test with a client of a server whose one target refuses connections.
    """

    async def run() -> None:
        seen = service(DOWN, asyncio.get_running_loop(), external_url=external_url)
        try:
            async with TestClient(TestServer(application(seen, 0.5))) as client:
                await test(client)
        finally:
            await seen.close()

    asyncio.run(run())


async def page(client: Client, path: str, status: int = 200) -> Element:
    """
    The page there. Its tags are in order and no id comes twice.
    """
    async with client.get(path) as answer:
        assert (path, answer.status) == (path, status)
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'; ")
        assert answer.headers["Cache-Control"] == "no-cache"
        return read(await answer.text())


def test_the_chapters_are_the_files_that_are_there() -> None:
    """
    None is forgotten in the order of reading, and each runbook is there.
    """
    assert sorted(CHAPTERS) == sorted(path.stem for path in MANUAL.iterdir())
    assert list(manual().documents) == list(CHAPTERS)
    assert list(runbooks().documents) == sorted(path.stem for path in SHELVES["runbooks"].iterdir())


@pytest.mark.parametrize("place", SHELVES)
def test_every_link_of_every_page_leads_somewhere(place: str) -> None:
    """
    To a page of the exporter with that anchor, or to a file of the project that does not ship.
    """

    async def test(client: Client) -> None:
        pages: dict[str, Element] = {}
        paths = [f"/{place}/", *(f"/{place}/{path.stem}" for path in SHELVES[place].glob("*.md"))]
        for path in paths:
            for href in (one.attributes["href"] for one in (await page(client, path)).all("a")):
                url, anchor = urldefrag(urljoin(path, href))
                if url.startswith(PROJECT):
                    assert (REPOSITORY / url.removeprefix(PROJECT).removeprefix("/")).is_file()
                elif url.startswith(("/docs/", "/runbooks/")):
                    pages[url] = pages.get(url) or await page(client, url)
                    assert anchor in {"", *(one.attributes.get("id") for one in pages[url])}, href
                else:
                    assert urlsplit(url).netloc or url in OTHERS, href

    ask(test)


@pytest.mark.parametrize("chapter", sorted(MANUAL.glob("*.md")), ids=lambda path: path.stem)
def test_headings_have_the_anchors_that_they_have_in_the_files(chapter: Path) -> None:
    """
    So a link works here and where the project is read. Each is listed at the top, but the title.
    """

    async def test(client: Client) -> None:
        html = await page(client, f"/docs/{chapter.stem}")
        article = html.one("article")
        found = [one.attributes["id"] for one in article if one.name in {"h1", "h2", "h3", "h4"}]
        assert found == anchors(chapter)
        listed = [one.attributes["href"] for one in article.one("details").all("a")]
        assert listed == [f"#{anchor}" for anchor in found[1:]]

    ask(test)


def test_each_reason_is_found_in_the_list_of_chapters() -> None:
    """
    By the search of the browser, with a link to its heading.
    """

    async def test(client: Client) -> None:
        links = {one.text: one.attributes["href"] for one in (await page(client, "/docs/")).all("a")}
        for reason in (*Reason, *Fault, *Hazard):
            assert links[reason] == f"reasons#{reason}"

    ask(test)


@pytest.mark.parametrize("path", ["/", "/targets/https%3A%2F%2Flms.example.com"])
def test_a_reason_leads_to_its_heading(path: str) -> None:
    """
    From the list and from the page of the target; manual and runbooks are in the navigation of both.
    """

    async def test(client: Client) -> None:
        html = await page(client, path)
        (reason,) = (one for one in html.all("a") if one.text == "connection_refused")
        url, anchor = urldefrag(urljoin(path, reason.attributes["href"]))
        assert (url, anchor) == ("/docs/reasons", "connection_refused")
        leads = [urljoin(path, one.attributes["href"]) for one in html.one("nav", aria_label="Site").all("a")]
        assert leads[-2:] == ["/docs/", "/runbooks/"]

    ask(test)


@pytest.mark.parametrize(
    ("path", "back"),
    [("/docs/reason", "../docs/"), ("/docs/a/<b>", "/pages/docs/"), ("/runbooks/Soon", "../runbooks/")],
)
def test_an_unknown_name_is_a_page_that_lists_what_there_is(path: str, back: str) -> None:
    """
    With status 404, and links that work behind a proxy.
    """

    async def test(client: Client) -> None:
        html = await page(client, path, 404)
        assert path.split("/", 2)[2] in html.one("main").text
        links = [one.attributes["href"] for one in html.one("main").all("a")]
        shelf = manual() if path.startswith("/docs") else runbooks()
        assert {f"{back}{name}" for name in shelf.documents} <= set(links)

    ask(test, EXTERNAL_URL)


@pytest.mark.parametrize("place", SHELVES)
def test_other_spellings_of_an_address_lead_there(place: str) -> None:
    """
    Without the slash of a list, and with the ending of a file.
    """

    async def test(client: Client) -> None:
        async with client.get(f"/{place}", allow_redirects=False) as answer:
            assert (answer.status, answer.headers["Location"]) == (308, f"{place}/")
        name = next(SHELVES[place].glob("*.md")).stem
        assert (await page(client, f"/{place}/{name}.md")).text == (
            await page(client, f"/{place}/{name}")
        ).text

    ask(test)


def test_no_html_passes_through_from_markdown() -> None:
    """
    It is shown as text, and a link to a script is none.
    """
    text = (
        "# Title <b>x</b>\n\n<script>alert(1)</script>\n\n"
        "A <i>y</i> [go](javascript:alert(1)) [q](data:text/html,z)\n\n## Part\n\n"
        '| <u>a</u> | "b" |\n|---|---|\n| <s>c</s> | d |\n\n```x"y<z\n<p>\n```\n'
    )
    html = documentation.render(Document("x", text), "docs", "../", "?v=1")
    article = read(html).one("article")

    assert {one.name for one in article} <= {
        *("h1", "h2", "a", "details", "summary", "ul", "li", "p", "pre", "code"),
        *("table", "thead", "tbody", "tr", "th", "td"),
    }
    assert "<script>alert(1)</script>" in article.text
    assert [one.attributes["href"] for one in article.all("a")] == ["#title-bxb", "#part", "#part"]
    assert [one.attributes["data-label"] for one in article.all("td")] == ["<u>a</u>", '"b"']


@pytest.mark.parametrize(
    ("href", "place", "there"),
    [
        ("reasons.md#expired", "docs", "reasons#expired"),
        ("#expired", "docs", "#expired"),
        ("ExpirySoon.md", "runbooks", "ExpirySoon"),
        ("../../exporter/manual/reasons.md#expired", "runbooks", "../docs/reasons#expired"),
        ("../../alerts/runbooks/ExpirySoon.md", "docs", "../runbooks/ExpirySoon"),
        ("../../README.md", "docs", f"{PROJECT}/README.md"),
        ("../../grafana/pictures/fleet-dark.png", "docs", f"{PROJECT}/grafana/pictures/fleet-dark.png"),
        ("https://example.com/a.md", "docs", "https://example.com/a.md"),
    ],
)
def test_links_between_files_are_links_between_pages(href: str, place: str, there: str) -> None:
    """
    Files that do not ship are shown by the project's site.
    """
    assert destination(href, place) == there
